from __future__ import annotations

from pathlib import Path

import pytest

from router.config.federation import load_catalogue
from router.domain.errors import ConfigError

MODELS = "models: {a: {}}\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "models.yaml"
    file.write_text(text + MODELS, "utf-8")
    return file


def test_left_out_the_floor_slides_and_nothing_is_limited(tmp_path: Path) -> None:
    catalogue = load_catalogue(write(tmp_path, ""))
    assert catalogue.sliding_floor is True
    assert catalogue.max_mean_seconds is None
    assert catalogue.carbon_budget_g_per_hour is None


def test_limits_are_numbers_with_a_unit_in_their_name(tmp_path: Path) -> None:
    text = "sliding_floor: false\nmax_mean_seconds: 2.5\ncarbon_budget_g_per_hour: 40\n"
    catalogue = load_catalogue(write(tmp_path, text))
    assert catalogue.sliding_floor is False
    assert catalogue.max_mean_seconds == 2.5
    assert catalogue.carbon_budget_g_per_hour == 40.0


@pytest.mark.parametrize("nothing", ["", "off", "null", "~"])
def test_a_limit_can_be_switched_off(tmp_path: Path, nothing: str) -> None:
    assert load_catalogue(write(tmp_path, f"max_mean_seconds: {nothing}\n")).max_mean_seconds is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_mean_seconds: 0", "above 0"),
        ("max_mean_seconds: -1", "above 0"),
        ("max_mean_seconds: soon", "a number"),
        ("carbon_budget_g_per_hour: .inf", "a number"),
        ("carbon_budget_g_per_hour: [1]", "a number"),
        ("sliding_floor: maybe", "true or false"),
        ("sliding_floor: [true]", "a text"),
        ("max_mean_second: 3", "did you mean `max_mean_seconds`"),
    ],
)
def test_a_mistake_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_catalogue(write(tmp_path, f"floor: .9\n{line}\n"))
    assert caught.value.line == 2
    assert said in str(caught.value)
