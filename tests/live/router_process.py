"""A router as its user starts it: a process of its own, on a free port of the loopback, ended by its process id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
START_S = 120


@dataclass(frozen=True, slots=True)
class Running:
    """A router that answers."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    started_s: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def router_process(data_dir: Path, *arguments: str, **environment: str) -> Iterator[Running]:
    """``carbon-router serve`` until the block ends; the log says why where it does not come up."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "serve.log"
    port = free_port()
    command = [sys.executable, "-m", "router", "serve", "--no-fetch", "--port", str(port), *arguments]
    began = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "ROUTER_DATA_DIR": str(data_dir), **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            if process.poll() is not None or time.monotonic() - began > START_S:
                raise AssertionError(f"the router did not come up:\n{log.read_text()}")
            with contextlib.suppress(httpx.HTTPError):
                # 401: it listens, and asks for keys
                if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code in (200, 401):
                    break
            time.sleep(0.1)
        yield Running(url, process, log, time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
