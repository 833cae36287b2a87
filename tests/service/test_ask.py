"""A model name says what is pinned and what is left to the policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.domain.catalogue import Catalogue, Directive, Model, Option, Site
from router.domain.errors import RequestError, UnknownModelError
from router.service.ask import Target, resolve

CATALOGUE = Catalogue(
    directives={"L0": Directive("L0", ""), "L1": Directive("L1", "short")},
    sites={"local": Site("local")},
    models={"qwen:1b": Model("qwen:1b"), "plain:latest": Model("plain:latest")},
    aliases={"gpt-4o": "auto", "small": "qwen:1b@L1", "big": "qwen:1b"},
)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("auto", Target()),
        ("auto:latest", Target()),
        ("auto@L1", Target(None, "L1")),
        ("qwen:1b", Target("qwen:1b")),
        ("qwen:1b@L0", Target("qwen:1b", "L0")),
        ("plain", Target("plain:latest")),
        ("gpt-4o", Target()),
        ("gpt-4o:latest", Target()),
        ("gpt-4o@L1", Target(None, "L1")),
        ("small", Target("qwen:1b", "L1")),
        ("big@L1", Target("qwen:1b", "L1")),
    ],
)
def test_names_resolve(name: str, target: Target) -> None:
    assert resolve(name, CATALOGUE) == target


def test_a_directive_field_wins_over_the_name() -> None:
    assert resolve("auto@L1", CATALOGUE, "L0") == Target(None, "L0")


def test_an_unknown_model_is_named_with_a_guess() -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'qwen:1b'"):
        resolve("qwen:1", CATALOGUE)


def test_an_unknown_directive_lists_the_known_ones() -> None:
    with pytest.raises(RequestError, match="known are L0, L1"):
        resolve("auto@L9", CATALOGUE)


def test_a_target_allows_only_what_it_pins() -> None:
    assert Target("qwen:1b").allows(Option("qwen:1b", "L1"))
    assert not Target("qwen:1b", "L0").allows(Option("qwen:1b", "L1"))
    assert Target().is_free
    assert not Target(None, "L1").is_free


@pytest.mark.parametrize("name", ["auto-side", "auto-side:latest", "auto-side@L1"])
def test_auto_side_asks_for_the_cheapest_that_is_not_hopeless(name: str) -> None:
    target = resolve(name, CATALOGUE)
    assert target.is_side
    assert target.model is None
    assert not resolve("auto", CATALOGUE).is_side


def test_an_alias_may_stand_for_auto_side() -> None:
    assert resolve("tasks:latest", replace(CATALOGUE, aliases={"tasks": "auto-side"})).is_side
