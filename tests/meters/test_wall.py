"""Watts from a plug or a command, and the many ways in which neither answers."""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest

from router.domain.errors import ConfigError, MeterError
from router.meters.recording import ReplayClock
from router.meters.wall import CommandPower, HttpPower, WallCounter


def plug(body: Any, path: str = "apower", status: int = 200) -> HttpPower:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=body if isinstance(body, str) else json.dumps(body))

    return HttpPower("http://plug.test/status", path, transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"id": 0, "apower": 42.5}, "apower"),
        ({"power": "42.5", "is_valid": True}, "power"),
        ({"meters": [{"power": 1.0}, {"power": 42.5}]}, "meters.1.power"),
        ({"StatusSNS": {"ENERGY": {"Power": 42.5}}}, "StatusSNS.ENERGY.Power"),
    ],
)
def test_the_watts_are_found_by_the_path_of_each_kind_of_plug(body: Any, path: str) -> None:
    assert plug(body, path)() == 42.5


@pytest.mark.parametrize(
    "body", [{}, {"apower": None}, {"apower": True}, {"apower": "much"}, {"apower": [1]}, [], "<html>", "", 3]
)
def test_an_answer_without_watts_is_a_failed_reading(body: Any) -> None:
    with pytest.raises(MeterError):
        plug(body)()


def test_a_refusing_or_absent_plug_is_a_failed_reading_that_names_it() -> None:
    with pytest.raises(MeterError, match=r"plug\.test"):
        plug({}, status=503)()
    with pytest.raises(MeterError, match=r"127\.0\.0\.1:9"):
        HttpPower("http://127.0.0.1:9/", timeout_s=1.0)()


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(ConfigError, match="path"):
        HttpPower("http://plug.test", "")


def test_a_real_plug_on_this_machine_is_read_over_http() -> None:
    class Plug(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"id": 0, "output": true, "apower": 57.3}')

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Plug)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    power = HttpPower(f"http://127.0.0.1:{server.server_port}/rpc/Switch.GetStatus?id=0")
    try:
        assert power() == 57.3
    finally:
        power.close()
        server.shutdown()
        thread.join()
        server.server_close()


IPMI_OUTPUT = """
    Instantaneous power reading:                   212 Watts
    Minimum during sampling period:                  2 Watts
"""


def printing(text: str, *, status: int = 0, **settings: Any) -> CommandPower:
    code = f"import sys; sys.stdout.write({text!r}); sys.stderr.write('no device'); sys.exit({status})"
    return CommandPower([sys.executable, "-c", code], **settings)


def test_ipmis_output_is_understood_as_it_is() -> None:
    assert printing(IPMI_OUTPUT)() == 212.0


def test_any_line_is_understood_by_a_pattern_of_ones_own() -> None:
    assert printing("P=57.25;U=230", pattern=r"P=([\d.]+)")() == 57.25


@pytest.mark.parametrize(
    ("power", "says"),
    [
        (printing("nothing"), "no watts in the output"),
        (printing(IPMI_OUTPUT, status=1), "no device"),
        (CommandPower(["no-such-command-here"]), "installed"),
        (CommandPower([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3), "longer than 0.3 s"),
        (printing("P=1.2.3", pattern=r"P=([\d.]+)"), "no watts at"),
    ],
)
def test_a_command_that_does_not_say_is_a_failed_reading_with_the_reason(power: CommandPower, says: str) -> None:
    with pytest.raises(MeterError, match=says):
        power()


def test_no_shell_reads_the_command() -> None:
    assert CommandPower([sys.executable, "-c", "print('$HOME; 5 W')"], r"HOME; (\d+) W")() == 5.0
    with pytest.raises(ConfigError, match="list of words"):
        CommandPower("ipmitool dcmi power reading")


@pytest.mark.parametrize("pattern", ["(", "watts"])
def test_a_pattern_that_gives_no_watts_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        CommandPower(["true"], pattern)


def test_the_counter_integrates_the_watts_and_a_silent_plug_makes_them_unknown() -> None:
    clock = ReplayClock()
    answers: list[float | None] = [50.0, 100.0, None, 100.0, 100.0]

    def answer(_: httpx.Request) -> httpx.Response:
        watts = answers.pop(0)
        return httpx.Response(500) if watts is None else httpx.Response(200, json={"apower": watts})

    power = HttpPower("http://plug.test", transport=httpx.MockTransport(answer))
    counter = WallCounter(power, clock=clock, sample_in_background=False)
    readings = []
    for _ in range(5):
        readings.append(counter.read_j())
        clock.sleep(1.0)
    assert readings == [0.0, 75.0, None, 75.0, 175.0]
    assert counter.source == "wall: http://plug.test (apower)"
    counter.close()


def test_nobody_waits_for_a_slow_plug() -> None:
    asked, let_go = threading.Event(), threading.Event()

    def slow(_: httpx.Request) -> httpx.Response:
        asked.set()
        let_go.wait(10.0)
        return httpx.Response(200, json={"apower": 50.0})

    counter = WallCounter(HttpPower("http://plug.test", transport=httpx.MockTransport(slow)), period_s=0.01)
    try:
        assert asked.wait(5.0)
        began = time.monotonic()
        assert counter.read_j() is None, "nothing is known yet, and nobody waits for it"
        assert time.monotonic() - began < 1.0
    finally:
        let_go.set()
    for _ in range(200):
        time.sleep(0.01)
        first = counter.read_j()
        if first is not None:
            break
    time.sleep(0.2)
    then = counter.read_j()
    assert first is not None
    assert then is not None
    assert 0.0 < then - first < 50.0
    counter.close()
