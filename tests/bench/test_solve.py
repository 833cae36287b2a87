from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bench.solve import app, made_up, terms_for
from router.domain.errors import ConfigError
from router.policy.category import program_of
from router.policy.solve import solve


def test_every_size_is_timed_with_and_without_limits() -> None:
    answer = CliRunner().invoke(app, ["--sizes", "3x6,4x9", "--repeats", "2", "--json"])
    told = json.loads(answer.stdout)
    assert [(t["categories"], t["options"], t["rows"]) for t in told["timings"]] == [
        (3, 6, "floors"),
        (3, 6, "all"),
        (4, 9, "floors"),
        (4, 9, "all"),
    ]
    assert all(t["median_ms"] > 0 for t in told["timings"])
    assert {"numpy", "scipy", "python", "carbon-router"} <= set(told["versions"])


def test_the_table_says_whether_what_is_asked_is_kept() -> None:
    answer = CliRunner().invoke(app, ["--sizes", "6x30", "--repeats", "1"])
    assert answer.exit_code == 0
    assert "< 5 ms:" in answer.stdout


def test_the_limits_of_the_made_up_programs_bind() -> None:
    estimates = made_up(6, 30, seed=0)
    free, limited = (solve(program_of(estimates, terms_for(estimates, rows)).program) for rows in ("floors", "all"))
    assert limited.feasible
    assert limited.expected_g > free.expected_g
    assert (limited.latency_price_g or 0.0) > 0.0


@pytest.mark.parametrize("size", ["6", "6x", "0x5", "axb"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ConfigError, match="no size"):
        CliRunner().invoke(app, ["--sizes", size], catch_exceptions=False)
