"""Mixed traffic in a bounded run: memory stays flat, no slot is stuck, and everybody has counted the same."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.api.server import wait_until
from tests.api.test_metrics import samples
from tests.api.traffic import Counts, requests, send_all

ROOT = Path(__file__).resolve().parents[2]
MOST_GROWTH_BYTES = 8 * 2**20  # 2.3 kB a request: less than any turn that is kept would take


@dataclass(frozen=True)
class Server:
    """The router's process."""

    url: str
    process: psutil.Process
    folder: Path

    def rss_bytes(self) -> int:
        return int(self.process.memory_info().rss)


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "tests.api.traffic_server", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            url = process.stdout.readline().strip()
            assert url, "the server did not start"
            yield Server(url, psutil.Process(process.pid), folder)
        finally:
            process.stdin.close()
            process.wait(30)


def assert_all_agree(server: Server, seen: Counts) -> None:
    """Journal, metrics and client, per status; and nobody holds a slot or waits."""
    assert seen.wrong == []
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30.0) as http:
        looks: list[str] = []

        def is_idle() -> bool:
            looks.append(http.get("/metrics").text)
            return samples(looks[-1], "running") == {'{site="local"}': 0}

        wait_until(is_idle, 5.0)
        text = looks[-1]
        stats = http.get("/v1/stats").json()
    assert samples(text, "queue_depth") == {'{site="local"}': 0}
    assert samples(text, "journal_waiting") == {"": 0}
    counted: Counter[str] = Counter()
    for labels, value in samples(text, "requests_total").items():
        found = re.search(r'status="(\w+)"', labels)
        assert found is not None
        counted[found[1]] += int(value)
    with sqlite3.connect(server.folder / "journal.sqlite3") as journal:
        rows = dict(journal.execute("SELECT status, COUNT(*) FROM turns GROUP BY status"))
        (energy_j,) = journal.execute("SELECT SUM(energy_j) FROM turns").fetchone()
        (fallbacks,) = journal.execute(
            "SELECT COUNT(*) FROM turns WHERE fallback LIKE '%failed%' AND status = 'ok'"
        ).fetchone()
    assert rows == counted == seen.turns == stats["by_status"]
    assert fallbacks == seen.fallbacks
    assert sum(samples(text, "energy_joules_total").values()) == pytest.approx(energy_j)
    assert stats["energy_j"] == pytest.approx(energy_j)
    by_status = {int(re.findall(r"\d+", k)[0]): int(v) for k, v in samples(text, "http_responses_total").items()}
    # Each look at the figures is a response too, and shows those before it.
    assert by_status == seen.statuses + Counter({200: len(looks) - 1})


async def test_a_thousand_requests_are_counted_alike_by_everybody(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        seen = await send_all(server.url, requests(1000, seed=1), at_once=12)
        assert_all_agree(server, seen)
    assert min(seen.turns.values()) >= 10


@pytest.mark.live
async def test_five_thousand_requests_leave_the_memory_as_it_was(tmp_path: Path) -> None:
    rss_bytes: dict[int, int] = {}
    with started(tmp_path) as server:

        def after(ended: int) -> None:
            if ended % 500 == 0:
                rss_bytes[ended] = server.rss_bytes()

        began = time.monotonic()
        seen = await send_all(server.url, requests(5000, seed=2), at_once=12, after=after)
        took_s = time.monotonic() - began
        assert_all_agree(server, seen)
    print(
        f"{took_s:.0f} s, {dict(seen.turns)}, {dict(seen.statuses)}, MiB:", {n: b >> 20 for n, b in rss_bytes.items()}
    )
    assert sum(seen.statuses.values()) == 5000
    assert rss_bytes[5000] - rss_bytes[1500] <= MOST_GROWTH_BYTES, rss_bytes
