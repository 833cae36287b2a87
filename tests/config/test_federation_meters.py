"""What ``models.yaml`` says of a site's meters."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.federation import load_catalogue
from router.domain.catalogue import Site, Wall
from router.domain.errors import ConfigError


def site(folder: Path, text: str) -> Site:
    file = folder / "models.yaml"
    file.write_text(f"sites:\n  local:\n    engine: embedded\n    {text}\nmodels: {{a: {{}}}}\n", "utf-8")
    return load_catalogue(file).sites["local"]


def test_nothing_is_assumed(tmp_path: Path) -> None:
    found = site(tmp_path, "")
    assert (found.wall, found.idle_w, found.memory_watts_per_gb) == (None, None, None)


def test_a_plug_with_and_without_where_the_watts_are(tmp_path: Path) -> None:
    assert site(tmp_path, "wall: {url: 'http://plug/meter/0', power: power}").wall == Wall(
        "http://plug/meter/0", "power"
    )
    assert site(tmp_path, "wall: {url: 'http://plug/rpc'}").wall == Wall("http://plug/rpc", "apower")


def test_a_command_with_and_without_a_pattern(tmp_path: Path) -> None:
    assert site(tmp_path, "wall: {command: [ipmitool, dcmi, power, reading]}").wall == Wall(
        command=("ipmitool", "dcmi", "power", "reading")
    )
    assert site(tmp_path, "wall: {command: [meter], pattern: 'P=([0-9]+)'}").wall == Wall(
        command=("meter",), pattern="P=([0-9]+)"
    )


def test_watts(tmp_path: Path) -> None:
    found = site(tmp_path, "idle_w: 41.5\n    memory_watts_per_gb: 0.37")
    assert (found.idle_w, found.memory_watts_per_gb) == (41.5, 0.37)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("wall: {}", "either `url` or `command`"),
        ("wall: {url: 'http://a', command: [b]}", "either `url` or `command`"),
        ("wall: {url: plug}", "not a url"),
        ("wall: {url: 'http://a', pattern: '(x)'}", "belongs to `command`"),
        ("wall: {command: [a], power: b}", "belongs to `url`"),
        ("wall: {command: []}", "no command"),
        ("wall: {command: [a], pattern: '['}", "not a pattern"),
        ("wall: {command: [a], pattern: 'x'}", "no group"),
        ("wall: {plug: a}", "plug"),
        ("wall: plug", "expected"),
        ("idle_w: 0", "idle_w"),
        ("memory_watts_per_gb: -1", "memory_watts_per_gb"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        site(tmp_path, line)
    assert said in str(caught.value)
    assert "models.yaml" in str(caught.value)
