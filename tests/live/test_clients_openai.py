"""The openai client's own test suite against a running server, in its loose and in its strict mode."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import cast

import pytest

from router.api.app import create_app
from tests.api.server import serve
from tests.api.stage import StageBackend
from tests.service import federation

pytestmark = pytest.mark.live

# What of each file is chosen, and in which modes of the client; docs/api.md says why the rest is left out.
SERVED = {
    "tests/api_resources/chat/test_completions.py": ("create or path_params", ("loose", "strict")),
    "tests/api_resources/test_models.py": ("not delete or path_params", ("loose", "strict")),
    "tests/api_resources/test_embeddings.py": ("loose and not all_params", ("loose",)),
}
ITS_MODEL = "gpt-6-astra"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of the installed client, which carries the suite."""
    folder = tmp_path_factory.mktemp("openai")
    wanted = f"openai=={version('openai')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(folder)]
    fetched = subprocess.run([*command, wanted], capture_output=True, text=True, timeout=300, check=False)
    if fetched.returncode != 0:
        pytest.skip(f"{wanted} could not be fetched as source: {fetched.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    service = federation.build(backend=StageBackend())
    cast("dict[str, str]", service.catalogue.aliases)[ITS_MODEL] = "auto"
    with serve(create_app(service)) as address:
        yield address


@pytest.mark.parametrize("file", SERVED)
def test_the_client_s_own_tests_pass_for_what_is_served(suite: Path, url: str, file: str) -> None:
    chosen, modes = SERVED[file]
    done = run(suite, url, file, chosen)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    for mode in modes:
        assert f"[{mode}] PASSED" in done.stdout
    assert "SKIPPED" not in done.stdout


@pytest.mark.parametrize("file", SERVED)
def test_nothing_is_left_out_that_would_pass(suite: Path, url: str, file: str) -> None:
    chosen, _ = SERVED[file]
    done = run(suite, url, file, f"not ({chosen})")
    assert " FAILED" in done.stdout
    assert " PASSED" not in done.stdout, [line for line in done.stdout.splitlines() if " PASSED" in line]


def run(suite: Path, url: str, file: str, chosen: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-v", "-o", "addopts=", "-p", "no:cacheprovider", file, "-k", chosen]
    environment = {**os.environ, "TEST_API_BASE_URL": f"{url}/v1"}
    return subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, timeout=150, check=False)
