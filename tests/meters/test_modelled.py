"""The modelled meter counts busy cores, its own and its children's, and says that it models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from router.meters.modelled import BusyCoreCounter
from router.meters.none import NoMeter
from router.meters.window import SharedMeter


def busy(cpu_s: float) -> None:
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass


def test_joules_are_busy_core_seconds_times_the_stated_watts() -> None:
    window = SharedMeter(BusyCoreCounter(10.0, engine_processes=())).start()
    before = time.process_time()
    busy(0.2)
    reading = window.stop()
    spent_s = time.process_time() - before
    assert reading.energy_j == pytest.approx(10.0 * spent_s, rel=0.1)
    assert reading.energy_j is not None
    assert reading.energy_j >= 2.0
    assert reading.method == "modelled"
    assert "10 W per core" in reading.source


def test_sleeping_costs_next_to_nothing() -> None:
    window = SharedMeter(BusyCoreCounter(10.0, engine_processes=())).start()
    time.sleep(0.2)
    energy_j = window.stop().energy_j
    assert energy_j is not None
    assert energy_j < 0.5


def test_a_child_that_works_is_counted_and_the_counter_never_runs_backwards() -> None:
    code = "import time\nprint('up', flush=True)\nwhile time.process_time() < 60: pass"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        counter = BusyCoreCounter(10.0, engine_processes=())
        first = counter.read_j()
        time.sleep(0.6)
        second = counter.read_j()
    finally:
        child.kill()
        child.communicate()
    third = counter.read_j()
    assert first is not None
    assert second is not None
    assert third is not None
    assert second - first > 1.0
    assert third >= second


def test_a_site_without_a_meter_reads_unknown_not_zero() -> None:
    reading = NoMeter().start().stop()
    assert reading.energy_j is None
    assert reading.device_s is not None


BUSY = "import time\nwhile time.process_time() < 60: pass"


def orphan(program: Path, folder: Path) -> int:
    """Starts a program whose parent ends at once; its process id."""
    pid_file = folder / "pid"
    command = f'"{program}" -c "{BUSY}" >/dev/null 2>&1 & echo $! > "{pid_file}"'
    subprocess.run(["setsid", "sh", "-c", command], check=True, timeout=30)
    return int(pid_file.read_text())


def advance_j(counter: BusyCoreCounter, seconds: float) -> float:
    """What it counts meanwhile, looked at often enough to find who is new."""
    first = counter.read_j()
    until = time.monotonic() + seconds
    last = first
    while time.monotonic() < until:
        time.sleep(0.2)
        last = counter.read_j()
    assert first is not None
    assert last is not None
    return last - first


@pytest.mark.parametrize(("name", "counted"), [("pretend-engine", True), ("something-else", False)])
def test_an_engine_that_starts_later_counts_by_its_name_and_others_do_not(
    tmp_path: Path, name: str, counted: bool
) -> None:
    counter = BusyCoreCounter(10.0, engine_processes=("pretend-engine",))
    counter.read_j()
    program = tmp_path / name
    program.symlink_to(sys.executable)
    pid = orphan(program, tmp_path)
    try:
        advanced_j = advance_j(counter, 3.0)
    finally:
        os.kill(pid, signal.SIGKILL)
    assert (advanced_j > 2.0) is counted


def test_what_a_process_did_before_it_was_first_seen_counts_where_it_is_younger_than_the_counter(
    tmp_path: Path,
) -> None:
    program = tmp_path / "pretend-engine"
    program.symlink_to(sys.executable)
    older = orphan(program, tmp_path)
    younger = None
    try:
        time.sleep(1.0)
        counter = BusyCoreCounter(10.0, engine_processes=("pretend-engine",))
        first = counter.read_j()
        os.kill(older, signal.SIGSTOP)
        at_start = psutil.Process(older).cpu_times()
        younger = orphan(program, tmp_path)
        time.sleep(1.0)
        os.kill(younger, signal.SIGSTOP)
        last = counter.read_j()
        did = psutil.Process(younger).cpu_times()
    finally:
        for pid in filter(None, (older, younger)):
            os.kill(pid, signal.SIGKILL)
    assert first is not None
    assert last is not None
    worked_s = did.user + did.system
    assert worked_s > 0.3
    assert last - first >= 10.0 * worked_s - 0.5  # the younger one's work, although nobody looked while it worked
    assert first < 10.0 * (time.process_time() + at_start.user)  # and not what the older one did before


def test_a_childs_child_counts_too() -> None:
    counter = BusyCoreCounter(10.0, engine_processes=())
    counter.read_j()
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        assert advance_j(counter, 3.0) > 2.0
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_memory_counts_where_its_watts_are_stated() -> None:
    now_s = [0.0]
    plain = BusyCoreCounter(1e-9, engine_processes=())
    counter = BusyCoreCounter(1e-9, watts_per_gb=2.0, engine_processes=(), clock=lambda: now_s[0])
    assert "memory x 2 W per GB" in counter.source
    assert "memory" not in plain.source
    first_j = counter.read_j()
    held_gb = psutil.Process().memory_info().rss / 1e9
    now_s[0] = 10.0
    second_j = counter.read_j()
    assert first_j is not None
    assert second_j is not None
    assert second_j - first_j == pytest.approx(2.0 * held_gb * 10.0, rel=0.1)


def test_memory_of_a_child_counts_while_it_lives() -> None:
    code = "x = bytearray(200_000_000)\nprint('up', flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    now_s = [0.0]
    counter = BusyCoreCounter(1e-9, watts_per_gb=1.0, engine_processes=(), clock=lambda: now_s[0])
    own_gb = psutil.Process().memory_info().rss / 1e9
    try:
        assert child.stdout is not None
        child.stdout.readline()
        before_j = counter.read_j()
        now_s[0] = 10.0
        with_child_j = counter.read_j()
    finally:
        child.communicate(b"\n")
    now_s[0] = 20.0
    without_j = counter.read_j()
    assert before_j is not None
    assert with_child_j is not None
    assert without_j is not None
    assert with_child_j - before_j == pytest.approx(10.0 * (own_gb + 0.21), rel=0.15)
    assert without_j - with_child_j == pytest.approx(10.0 * own_gb, rel=0.15)
