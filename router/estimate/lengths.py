"""Joules and seconds by tokens: ``prefill(p) + decode(o)`` per option (R-ICE's form).

    y_i = base + a p_i + b o_i          base, a, b >= 0; p prompt tokens, o output tokens

fitted by non-negative least squares on the rows that know both counts, relative errors weighted alike. Where an
option's rows carry no prompt tokens, or too few, its slopes are NaN and re-pricing leaves its means as they are:
unknown, not zero. Where seconds were measured apart for reading and writing, they are fitted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.domain.estimates import FloatArray, Known

FEWEST = 8
"""Rows an option needs before its lengths are fitted."""

CHARACTERS_PER_TOKEN = 4.0


@dataclass(frozen=True, slots=True)
class Line:
    """``base + per_prompt_token p + per_output_token o`` of each option, (O,) each, NaN where it was not fitted."""

    base: FloatArray
    per_prompt_token: FloatArray
    per_output_token: FloatArray

    def predict(self, prompt_tokens: FloatArray, output_tokens: FloatArray) -> FloatArray:
        """(n, O) for tokens (n, O) or (n, 1)."""
        return np.asarray(self.base + self.per_prompt_token * prompt_tokens + self.per_output_token * output_tokens)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How joules and seconds grow with tokens.

    Attributes:
        energy: Joules.
        duration: Seconds.
        tokens_per_character: Of the measured prompts.
        overhead_tokens: Tokens a prompt has beyond its own text (chat template).
    """

    energy: Line
    duration: Line
    tokens_per_character: float
    overhead_tokens: float

    @classmethod
    def fit(cls, known: Known) -> Lengths:
        """Fit each option on its rows."""
        characters = np.array([len(text) for text in known.texts], dtype=np.float64)
        slope, overhead = _tokens_by_characters(known.prompt_tokens, characters)
        return cls(
            energy=_lines(known.prompt_tokens, known.output_tokens, known.energy_j),
            duration=_durations(known),
            tokens_per_character=slope,
            overhead_tokens=overhead,
        )

    @property
    def j_per_prompt_token(self) -> FloatArray:
        """(O,) joules of reading one more token, 0 where it is not known: means are then left as they are."""
        return np.nan_to_num(self.energy.per_prompt_token)

    @property
    def s_per_prompt_token(self) -> FloatArray:
        """(O,) seconds of reading one more token, 0 where it is not known."""
        return np.nan_to_num(self.duration.per_prompt_token)

    def extra_tokens(self, text: str, prompt_tokens: float) -> float:
        """Tokens to read beyond the text itself: the history; never negative."""
        own = self.overhead_tokens + self.tokens_per_character * len(text)
        return max(float(prompt_tokens) - own, 0.0)


def expected_output_tokens(known: Known, p: FloatArray) -> FloatArray:
    """(C, O) mean output tokens per category and option under soft categories p (n, C); NaN where unknown."""
    given = np.isfinite(known.output_tokens)
    mass = p.T @ given
    total = p.T @ np.where(given, known.output_tokens, 0.0)
    return np.asarray(np.where(mass > 0.5, total / np.where(mass > 0, mass, 1.0), np.nan))


def _durations(known: Known) -> Line:
    """Reading and writing fitted apart where they were measured apart."""
    apart = np.isfinite(known.prefill_s) & np.isfinite(known.decode_s)
    whole = _lines(known.prompt_tokens, known.output_tokens, known.duration_s)
    nothing = np.zeros_like(known.prompt_tokens)
    reading = _lines(known.prompt_tokens, nothing, np.where(apart, known.prefill_s, np.nan))
    writing = _lines(nothing, known.output_tokens, np.where(apart, known.decode_s, np.nan))
    both = np.isfinite(reading.base) & np.isfinite(writing.base)
    return Line(
        np.where(both, reading.base + writing.base, whole.base),
        np.where(both, reading.per_prompt_token, whole.per_prompt_token),
        np.where(both, writing.per_output_token, whole.per_output_token),
    )


def _lines(prompt_tokens: FloatArray, output_tokens: FloatArray, y: FloatArray) -> Line:
    from scipy.optimize import nnls

    fitted = np.full((3, y.shape[1]), np.nan)
    for o in range(y.shape[1]):
        rows = (
            np.isfinite(y[:, o]) & np.isfinite(prompt_tokens[:, o]) & np.isfinite(output_tokens[:, o]) & (y[:, o] > 0)
        )
        if rows.sum() < FEWEST:
            continue
        design = np.column_stack([np.ones(rows.sum()), prompt_tokens[rows, o], output_tokens[rows, o]])
        weight = 1.0 / y[rows, o]  # relative errors: long answers vary in proportion
        size = np.maximum(np.abs(design).max(axis=0), 1e-12)  # columns of one size, so that nnls converges
        solution, _ = nnls(design / size * weight[:, None], np.ones(rows.sum()))
        fitted[:, o] = solution / size
    return Line(fitted[0], fitted[1], fitted[2])


def _tokens_by_characters(prompt_tokens: FloatArray, characters: Sequence[float] | FloatArray) -> tuple[float, float]:
    """Tokens per character, and tokens of a prompt without any text."""
    size = np.asarray(characters, dtype=np.float64)
    given = np.isfinite(prompt_tokens)
    mean = np.where(given, prompt_tokens, 0.0).sum(axis=1) / np.maximum(given.sum(axis=1), 1)
    rows = given.any(axis=1)
    if rows.sum() < FEWEST or np.ptp(size[rows]) == 0:
        return 1.0 / CHARACTERS_PER_TOKEN, 0.0
    slope, overhead = np.polyfit(size[rows], mean[rows], 1)
    if slope <= 0:
        return 1.0 / CHARACTERS_PER_TOKEN, 0.0
    return float(slope), float(max(overhead, 0.0))
