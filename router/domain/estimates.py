"""The arrays the decision works on. Letters as in DESIGN: c category, o option, i prompt.

Unknown entries are NaN inside arrays (None everywhere else), and every sum over them stays NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.domain.catalogue import Floor, Option

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Known:
    """The measured prompts as arrays, rows in store order.

    Attributes:
        options: The columns o.
        ids: (n,) identities of the prompts.
        texts: (n,) prompts.
        categories: (n,) labels, None where a prompt has none.
        embeddings: (n, d) of unit length.
        quality: (n, o) in [0, 1], NaN unknown; repeats averaged.
        energy_j: (n, o) joules, NaN unknown.
        duration_s: (n, o) device seconds, NaN unknown.
        prompt_tokens: (n, o), NaN unknown.
        output_tokens: (n, o), NaN unknown.
        prefill_s: (n, o), NaN unknown.
        decode_s: (n, o), NaN unknown.
        mean_logprob: (n, o), NaN unknown.
    """

    options: tuple[Option, ...]
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    categories: tuple[str | None, ...]
    embeddings: FloatArray
    quality: FloatArray
    energy_j: FloatArray
    duration_s: FloatArray
    prompt_tokens: FloatArray
    output_tokens: FloatArray
    prefill_s: FloatArray
    decode_s: FloatArray
    mean_logprob: FloatArray

    @property
    def graded(self) -> NDArray[np.bool_]:
        """(n,) whether any answer was graded: the others tell nothing of quality."""
        return np.asarray(np.isfinite(self.quality).any(axis=1))


@dataclass(frozen=True, slots=True)
class PromptView:
    """What the decision may see of prompts to be answered (n of them).

    Attributes:
        p: (n, C) probability of each category, rows summing to 1.
        neighbour_index: (n, k) rows of :class:`Known`, nearest first.
        neighbour_distance: (n, k) squared Euclidean distances of the embeddings.
        unfamiliar: (n,) True where a prompt lies outside what was measured: it takes the reference at L0.
        no_brevity: (n,) True where a prompt asks for length or fixes a format: it gets L0 only.
        q: (n, O) quality expected for this very prompt, or None where only the categories' means are known.
        energy_j: (n, O) joules expected for it, or None likewise.
        duration_s: (n, O) device seconds expected for it, or None likewise.
    """

    p: FloatArray
    neighbour_index: IntArray
    neighbour_distance: FloatArray
    unfamiliar: NDArray[np.bool_]
    no_brevity: NDArray[np.bool_]
    q: FloatArray | None = None
    energy_j: FloatArray | None = None
    duration_s: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Draws:
    """Tables of as many prompts drawn anew from the measured ones, as differences from the table itself.

    Attributes:
        q: (B, C, O) of the shrunk means, by which options are chosen; 0 where nothing is known.
        plain_q: (B, C, O) of the means before shrinkage, by which they are counted.
    """

    q: FloatArray
    plain_q: FloatArray


@dataclass(frozen=True, slots=True)
class Estimates:
    """Means per category and option under soft assignment, shrunk towards the option's pooled mean.

    Attributes:
        categories: (C,) names, in the probe's order.
        options: (O,) columns.
        w: (C,) share of each category in the traffic, summing to 1.
        q: (C, O) expected quality, NaN where nothing is known.
        q_se: (C, O) its standard error.
        energy_j: (C, O) expected joules.
        duration_s: (C, O) expected device seconds.
        n: (C, O) effective number of graded prompts.
        reference: Column index of the reference option.
        rows: What would have been expected of each known prompt (n of them) without what was learned from itself
            beyond the table, or None.
        plain_q: (C, O) the means of quality before shrinkage, NaN where nothing is known; or None.
        draws: What sampling alone does to the table, or None.
        ungraded_rows: Categories c no answer was graded in: only the reference may answer, and as nobody knows how
            well it does, they are outside the floor.
    """

    categories: tuple[str, ...]
    options: tuple[Option, ...]
    w: FloatArray
    q: FloatArray
    q_se: FloatArray
    energy_j: FloatArray
    duration_s: FloatArray
    n: FloatArray
    reference: int
    rows: PromptView | None = None
    plain_q: FloatArray | None = None
    draws: Draws | None = None
    ungraded_rows: tuple[int, ...] = ()

    @property
    def ungraded(self) -> NDArray[np.bool_]:
        """(C,) whether no answer was graded in a category."""
        return np.isin(np.arange(len(self.categories)), self.ungraded_rows)

    @property
    def stated_q(self) -> FloatArray:
        """(C, O) expected quality as far as anybody knows it: NaN where nothing was graded."""
        return np.where(self.ungraded[:, None], np.nan, self.q)

    @property
    def graded_w(self) -> FloatArray:
        """(C,) shares of the traffic that a statement about quality is about, summing to 1."""
        w = np.where(self.ungraded, 0.0, self.w)
        return np.asarray(w / w.sum()) if self.ungraded_rows and w.sum() > 0 else self.w


@dataclass(frozen=True, slots=True)
class Limits:
    """Optional rows of the program; None leaves a row out.

    Attributes:
        rate_per_s: Forecast requests per second; needed by slots and budget.
        max_mean_duration_s: Highest mean device seconds of an answer.
        slots: Generations at a time of each option's site, in units of those its rows were measured at, (O,).
        budget_g_per_hour: Grams that may be emitted in an hour.
    """

    rate_per_s: float = 0.0
    max_mean_duration_s: float | None = None
    slots: FloatArray | None = None
    budget_g_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms a plan is made.

    Attributes:
        floor: The user's q_min, never undercut.
        g_per_j: (O,) grams per joule of each option's site: intensity times PUE over 3.6e6.
        g_per_s: (O,) embodied grams per second of each option's site; NaN where unknown (the embodied term is
            then left out for all options and the plan says so).
        slack: How far a category may fall below its share of the reference; None switches those rows off.
        confidence: Probability with which the floor is to hold; .5 is no margin.
        cleanliness: s in [0, 1] of the sliding floor: 1 at the dirtiest hour (the floor is q_min), 0 at the
            cleanest (the floor is the reference). 1 for fixed intensity.
        seed: Of every random draw inside.
        limits: Rows for latency, capacity and budget, or None.
        load_j: (O,) joules that every answer of an option takes beyond generating, since its model does not stay in
            memory; None where all stay.
        load_s: (O,) device seconds likewise.
        closed: (O,) options that may not be used (no room, or ruled out by a pin); None where all may.
    """

    floor: Floor
    g_per_j: FloatArray
    g_per_s: FloatArray
    slack: float | None = 0.05
    confidence: float = 0.5
    cleanliness: float = 1.0
    seed: int = 0
    limits: Limits | None = None
    load_j: FloatArray | None = None
    load_s: FloatArray | None = None
    closed: NDArray[np.bool_] | None = None
