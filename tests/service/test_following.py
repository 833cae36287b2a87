"""What a conversation makes of the plan's weights, with the sentence that says why."""

from __future__ import annotations

import numpy as np
import pytest

from router.domain.catalogue import Option
from router.service.conversation import Place, Seat
from router.service.following import settle
from router.service.staying import WARM_S, Turn

SMALL, BRIEF, LARGE = OPTIONS = (Option("small", "L0"), Option("large", "L1"), Option("large", "L0"))
ANY = np.ones(3, dtype=bool)


def turn(weights: list[float], may: list[bool] | None = None) -> Turn:
    g, q, history_g = np.array([1.0, 4.0, 5.0]), np.array([0.5, 0.8, 0.9]), np.array([0.2, 4.0, 4.0])
    return Turn(np.array(weights), g, q, history_g, ANY if may is None else np.array(may))


def place(option: Option | None, *, idle_s: float = 1.0, again: bool = False) -> Place:
    seat = None if option is None else Seat(option, b"whole", 0.0)
    return Place(b"key", b"whole", seat, idle_s, again)


def test_without_a_conversation_the_plan_stands() -> None:
    settled = settle(place(None), OPTIONS, turn([1, 0, 0]), price_g=None, most_loss=0.05)
    assert settled.weights.tolist() == [1, 0, 0]
    assert settled.outcome is None


def test_the_whole_model_is_kept_not_the_directive() -> None:
    settled = settle(place(LARGE), OPTIONS, turn([0.5, 0.5, 0]), price_g=None, most_loss=0.05)
    assert settled.outcome == "kept"
    assert settled.weights.tolist() == [0, 1, 0]
    assert settled.said == "kept on large: a switch would cost 1 g more"


def test_after_a_pause_the_cache_counts_no_more() -> None:
    settled = settle(place(LARGE, idle_s=WARM_S + 1), OPTIONS, turn([1, 0, 0]), price_g=None, most_loss=0.05)
    assert settled.outcome == "switched"
    assert settled.said is not None
    assert "saves 3 g" in settled.said


def test_what_quality_forbids_is_said() -> None:
    settled = settle(place(SMALL), OPTIONS, turn([0, 0, 1]), price_g=0.1, most_loss=0.05)
    assert settled.outcome == "switched"
    assert settled.said == "switched from small, which would give up more quality here than the plan may"


def test_an_unfamiliar_prompt_takes_the_reference_whatever_the_conversation() -> None:
    for option, outcome in ((SMALL, "switched"), (LARGE, "kept")):
        settled = settle(place(option), OPTIONS, turn([0, 0, 1]), price_g=None, most_loss=1, is_unfamiliar=True)
        assert settled.weights.tolist() == [0, 0, 1]
        assert settled.outcome == outcome


def test_a_regeneration_goes_up_within_what_may_answer() -> None:
    up = settle(place(SMALL, again=True), OPTIONS, turn([1, 0, 0]), price_g=None, most_loss=0.05)
    assert (up.outcome, up.weights.tolist()) == ("escalated", [0, 1, 0])
    plain = settle(
        place(SMALL, again=True), OPTIONS, turn([1, 0, 0], [True, False, True]), price_g=None, most_loss=0.05
    )
    assert plain.weights.tolist() == [0, 0, 1]
    best = settle(place(LARGE, again=True), OPTIONS, turn([1, 0, 0]), price_g=None, most_loss=0.05)
    assert (best.outcome, best.weights.tolist()) == ("kept", [0, 0, 1])


def test_a_model_the_client_chose_may_only_change_its_directive() -> None:
    only_large = [False, True, True]
    kept = settle(
        place(SMALL), OPTIONS, turn([0, 1, 0], only_large), price_g=None, most_loss=0.05, is_model_pinned=True
    )
    assert (kept.outcome, kept.weights.tolist()) == (None, [0, 1, 0])
    up = settle(
        place(BRIEF, again=True), OPTIONS, turn([0, 1, 0], only_large), price_g=None, most_loss=0.05,
        is_model_pinned=True,
    )  # fmt: skip
    assert (up.outcome, up.weights.tolist()) == ("escalated", [0, 0, 1])


@pytest.mark.parametrize("again", [True, False])
def test_an_option_that_is_gone_leaves_the_plan(again: bool) -> None:
    settled = settle(place(Option("gone"), again=again), OPTIONS, turn([1, 0, 0]), price_g=None, most_loss=0.05)
    assert settled.weights.tolist() == [1, 0, 0]
    assert settled.outcome == "switched"
