"""An assessment's weights made to fit a request, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from router.domain.catalogue import NO_DIRECTIVE, Model, Option
from router.domain.decision import Neighbour
from router.domain.estimates import FloatArray
from router.estimate.lengths import CHARACTERS_PER_TOKEN, Lengths
from router.learn.decider import Assessment
from router.service.ask import Ask, Target
from router.service.following import Settled
from router.service.snapshot import Snapshot

ROOM_TOKENS = 512
"""What is kept free for an answer when a conversation is held against a model's context window."""


def tokens_of(ask: Ask, lengths: Lengths | None) -> float:
    """About how many tokens the whole conversation has, by the tokens a character took in the measured prompts.

    The same line that says what a prompt's own text takes, so that a prompt without history has none. With nothing
    measured a token is taken to be four characters.
    """
    characters = sum(len(message.content) for message in ask.messages)
    if lengths is None:
        return characters / CHARACTERS_PER_TOKEN
    return lengths.overhead_tokens + lengths.tokens_per_character * characters


def scores_of(assessment: Assessment, price_of_quality_g: float | None, typical_q: FloatArray) -> FloatArray:
    """(O,) what an option costs this prompt once its quality is paid for, ``g - lambda q``; lower is better.

    Without a price (the floor is out of reach, or the policy has none) nobody has said what quality is worth: it
    decides, and grams among equals. ``typical_q`` (O,) stands in where a prompt's own quality is not known.
    """
    cost = np.where(np.isnan(assessment.g), np.inf, assessment.g)
    quality = np.nan_to_num(np.where(np.isnan(assessment.q), typical_q, assessment.q))
    if price_of_quality_g is None:
        return np.argsort(np.lexsort((cost, -quality))).astype(np.float64)
    return np.asarray(cost - price_of_quality_g * quality, dtype=np.float64)


def too_narrow(ask: Ask, models: Sequence[Model], tokens: float) -> frozenset[str]:
    """Names of models that cannot hold the conversation and an answer; where none can, all but the widest.

    Engines cut what is too long without a word, or refuse it. A window that nobody states is taken to do.

    Args:
        ask: The request.
        models: That may answer.
        tokens: About so many are to be read.
    """
    most = ask.sampling.max_tokens
    wanted = tokens + (ROOM_TOKENS if most is None else min(most, ROOM_TOKENS))
    windows = {model.name: model.context or math.inf for model in models}
    enough = min(wanted, max(windows.values(), default=0.0))
    return frozenset(name for name, window in windows.items() if window < enough)


def made_plain(weights: FloatArray, columns: tuple[Option, ...]) -> FloatArray:
    """(O,) every option's weight moved to the same model without a directive, where that is an option."""
    moved = weights.copy()
    for o, option in enumerate(columns):
        plain = replace(option, directive=NO_DIRECTIVE)
        if plain != option and plain in columns:
            moved[columns.index(plain)] += moved[o]
            moved[o] = 0.0
    return moved


def restricted(weights: FloatArray, allowed: list[bool], scores: FloatArray) -> FloatArray | None:
    """(O,) the weights among allowed options; where they have none, all of it to the one that scores best."""
    mask = np.asarray(allowed, dtype=bool)
    if not mask.any():
        return None
    kept = np.where(mask, weights, 0.0)
    if kept.sum() > 0:
        return np.asarray(kept / kept.sum(), dtype=np.float64)
    only = np.zeros_like(weights)
    only[int(np.argmin(np.where(mask, scores, np.inf)))] = 1.0
    return only


def neighbours_of(snapshot: Snapshot, assessment: Assessment) -> list[Neighbour]:
    """The measured prompts nearest to this one, those the plan was not made from left out."""
    found = []
    for key, distance in zip(assessment.neighbour_ids, assessment.neighbour_distances, strict=True):
        measured = snapshot.prompts.get(key)
        if measured is not None:
            found.append(Neighbour(key, measured.prompt, measured.category, float(distance)))
    return found


def reason_for(
    option: Option, category: str, assessment: Assessment, weight: float, target: Target, settled: Settled
) -> str:
    """Why this option, in a sentence; ``weight`` is its share in the plan."""
    if assessment.unfamiliar and target.is_free and settled.said is None:
        who = "the best that can do what it needs" if target.unable else "the reference"
        return f"unlike anything measured, so {who} answers"
    what = f"{category} ({assessment.p.max():.0%} sure)"
    pinned = "" if target.is_free else ", among what was asked for"
    plain = "; it fixes length or format, so no brevity" if assessment.no_brevity or target.is_plain_for_form else ""
    if settled.said is not None:
        return f"{what}: {option} answers, {settled.said}{plain}"
    unsaid = "; nobody has graded answers of its kind" if assessment.ungraded else ""
    return f"{what}: {option} has {weight:.0%} of the plan's weight{pinned}{plain}{unsaid}"


def known(value: float) -> float | None:
    """NaN as what is unknown elsewhere: None."""
    return None if np.isnan(value) else float(value)
