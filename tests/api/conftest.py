from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from router.api.app import create_app
from router.service.assembly import Service
from tests.api.server import serve
from tests.api.stage import StageBackend
from tests.service import federation


@dataclass(frozen=True)
class Running:
    """A server that runs, and what is behind it."""

    url: str
    service: Service
    stage: StageBackend


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    stage = StageBackend()
    service = federation.build(backend=stage)
    with serve(create_app(service)) as url:
        yield Running(url, service, stage)


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=20.0, trust_env=False) as client:
        yield client
