"""A fitted decision: immutable, shared by threads, and answers per prompt in well under 5 ms."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from router.domain.catalogue import NO_DIRECTIVE, Option
from router.domain.decision import Plan, Row
from router.domain.errors import PolicyError
from router.domain.estimates import Estimates, FloatArray, IntArray, PromptView, Terms
from router.domain.ports import Policy
from router.estimate.estimator import Estimator
from router.estimate.lengths import Lengths, Line
from router.learn.cascades import CascadedEstimator
from router.policy.registry import make_policy
from router.policy.terms import expected_of, grams_of, pooled_grams, pooled_quality, price

logger = logging.getLogger(__name__)

_SOLVED_ANEW = ("joint", "category-lp")
"""Policies that solve a program of their own for what a pin leaves open."""

MOSTLY = 0.5
"""A prompt that is more likely than this of kinds nobody graded is one of them."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """One prompt as the decision saw it.

    Attributes:
        p: (C,) probability of each category.
        weights: (O,) probability of each option.
        g: (O,) grams expected for this prompt, NaN where unknown.
        q: (O,) quality expected, NaN where unknown.
        energy_j: (O,) joules expected, NaN where unknown.
        duration_s: (O,) seconds expected, NaN where unknown.
        neighbour_ids: Nearest measured prompts, nearest first.
        neighbour_distances: Their squared distances.
        unfamiliar: Outside what was measured.
        no_brevity: Asks for length, or fixes a format.
        ungraded: Of a kind of task of which no answer was graded; the reference's quality is then a stand-in.
    """

    p: FloatArray
    weights: FloatArray
    g: FloatArray
    q: FloatArray
    energy_j: FloatArray
    duration_s: FloatArray
    neighbour_ids: tuple[str, ...]
    neighbour_distances: FloatArray
    unfamiliar: bool
    no_brevity: bool
    ungraded: bool = False


@dataclass(frozen=True, slots=True)
class Decider:
    """A fitted policy with all it needs; threads may share it.

    Attributes:
        estimator: What was learned from the measured prompts.
        fitted: The policy, fitted.
        terms: Under which it was.
        lengths: How joules and seconds grow with tokens.
        rows: What the plan's rows ask for and come to; none where the policy has no plan.
        output_tokens: (C, O) tokens an answer is expected to have, NaN where unknown.
    """

    estimator: Estimator
    fitted: Policy
    terms: Terms
    lengths: Lengths
    _with_embodied: bool
    rows: tuple[Row, ...] = ()
    output_tokens: FloatArray | None = None
    _pinned: dict[bytes, Policy | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def policy(self) -> str:
        """Its name."""
        return self.fitted.name

    @property
    def plan(self) -> Plan | None:
        """The plan it follows, or None where it decides prompt by prompt."""
        return self.fitted.plan

    @property
    def estimates(self) -> Estimates:
        """The table of means per category and option."""
        return self.estimator.estimates

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) names."""
        return self.estimator.categories

    @property
    def options(self) -> tuple[Option, ...]:
        """(O,) columns."""
        return self.estimator.known.options

    @property
    def reference(self) -> Option:
        """The reference option."""
        return self.options[self.estimator.estimates.reference]

    @property
    def is_embodied_priced(self) -> bool:
        """Whether the embodied component is part of the grams; left out for all where any option lacks it."""
        return self._with_embodied

    @property
    def notes(self) -> tuple[str, ...]:
        """Which cascades are in or out, and why."""
        return self.estimator.notes if isinstance(self.estimator, CascadedEstimator) else ()

    @property
    def price_of_quality_g(self) -> float | None:
        """Grams that one unit (100 points) of quality is worth under the plan, or None."""
        return None if self.plan is None else self.plan.price_of_quality_g

    def reading_g(self, tokens: float) -> FloatArray:
        """(O,) grams of reading so many tokens more; 0 where that is not known, as prompts are priced."""
        read_j = tokens * self.lengths.j_per_prompt_token
        alone = replace(self.terms, load_j=None, load_s=None, closed=None)  # reading more loads no model twice
        return price(read_j, tokens * self.lengths.s_per_prompt_token, alone, self._with_embodied)

    def typical(self) -> tuple[FloatArray, FloatArray]:
        """(O,) grams and quality of a prompt of the traffic, NaN where unknown."""
        table = grams_of(self.estimates, self.terms).table
        return pooled_grams(self.estimates.w, table, self.estimates.reference), self.typical_quality()

    def typical_quality(self) -> FloatArray:
        """(O,) quality of a prompt of the traffic, as far as it was graded; NaN where unknown."""
        return pooled_quality(self.estimates.graded_w, self.estimates.q, self.estimates.reference)

    def typical_reference(self, tokens: float) -> tuple[float, float]:
        """Joules and device seconds of the reference for a prompt of the traffic with so many tokens more to read."""
        estimates, r = self.estimates, self.estimates.reference
        return (
            float(estimates.w @ estimates.energy_j[:, r] + tokens * self.lengths.j_per_prompt_token[r]),
            float(estimates.w @ estimates.duration_s[:, r] + tokens * self.lengths.s_per_prompt_token[r]),
        )

    def view(self, texts: Sequence[str], embeddings: FloatArray) -> PromptView:
        """What the policy sees of prompts, embeddings (n, d)."""
        return self.estimator.view(texts, embeddings)

    def probabilities(self, texts: Sequence[str], embeddings: FloatArray) -> FloatArray:
        """(n, C) probability of each category."""
        return self.estimator.probe.probabilities(texts, embeddings)

    def neighbours(self, embeddings: FloatArray, k: int = 10) -> tuple[IntArray, FloatArray]:
        """Rows of the nearest measured prompts and squared distances, (n, k)."""
        return self.estimator.neighbourhood.nearest(embeddings, k)

    def weights(self, texts: Sequence[str], embeddings: FloatArray) -> FloatArray:
        """(n, O) probability of each option for each prompt."""
        return self.fitted.weights(self.view(texts, embeddings))

    def assess(
        self, text: str, embedding: FloatArray, prompt_tokens: float | None = None, max_tokens: int | None = None
    ) -> Assessment:
        """One prompt, with the numbers that explain its weights.

        Args:
            text: The last user turn.
            embedding: (d,) of unit length.
            prompt_tokens: Tokens to be read, history included, where they are known: reading them is priced in.
            max_tokens: Most tokens the answer may have, where the request says so: no more are priced in.
        """
        view = self.view([text], np.asarray(embedding, dtype=np.float64)[None, :])
        if max_tokens is not None:
            view = self._with_cap(view, text, max_tokens)
        if prompt_tokens is not None:
            view = self._with_history(view, text, prompt_tokens)
        q, energy, duration = expected_of(view, self.estimates)
        ids = self.estimator.known.ids
        return Assessment(
            p=view.p[0],
            weights=self.fitted.weights(view)[0],
            g=price(energy, duration, self.terms, self._with_embodied)[0],
            q=q[0],
            energy_j=energy[0],
            duration_s=duration[0],
            neighbour_ids=tuple(ids[i] for i in view.neighbour_index[0]),
            neighbour_distances=view.neighbour_distance[0],
            unfamiliar=bool(view.unfamiliar[0]),
            no_brevity=bool(view.no_brevity[0]),
            ungraded=bool(view.p[0] @ self.estimates.ungraded > MOSTLY),
        )

    def among(self, allowed: Sequence[bool], assessment: Assessment) -> FloatArray | None:
        """(O,) weights among allowed options under the plan's own terms; None where there is nothing to go by.

        The program is solved anew over these options alone: the floor is kept at the least grams where they reach it,
        else they give the most quality they can. Leaving out the others' share of the plan instead would miss the floor
        on either side, since what is left was chosen to go with them. Each set of options is solved once and kept; the
        first time takes as long as a plan, so ask from a thread.
        """
        mask = np.asarray(allowed, dtype=np.bool_)
        if not mask.any():
            return None
        options, estimates = self.options, self.estimates
        plain = mask & np.array([option.directive == NO_DIRECTIVE for option in options])
        if assessment.unfamiliar:
            # Nothing measured is like it: the reference if it may answer, else what is best on the whole.
            only = plain if plain.any() else mask
            mean = np.where(only, np.nan_to_num(self.typical_quality(), nan=-1.0), -np.inf)
            best = estimates.reference if mask[estimates.reference] else int(np.argmax(mean))
            return np.asarray(np.eye(len(options))[best])
        policy = self._restricted(mask)
        if policy is None:
            return None
        view = PromptView(
            p=assessment.p[None, :],
            neighbour_index=np.zeros((1, 0), dtype=np.int64),
            neighbour_distance=np.zeros((1, 0)),
            unfamiliar=np.zeros(1, dtype=np.bool_),
            no_brevity=np.array([assessment.no_brevity and bool(plain.any())]),
            q=assessment.q[None, :],
            energy_j=assessment.energy_j[None, :],
            duration_s=assessment.duration_s[None, :],
        )
        weights = np.where(mask, policy.weights(view)[0], 0.0)
        total = float(weights.sum())
        return weights / total if total > 0 else None

    def _restricted(self, mask: NDArray[np.bool_]) -> Policy | None:
        """The policy fitted on allowed options alone; None where it has no program, or there is no solution."""
        key = mask.tobytes()
        if key not in self._pinned:
            # `joint` measures everything against the reference's own answers, so it needs it as a column.
            name = self.policy if mask[self.estimates.reference] else "category-lp"
            found: Policy | None = None
            if self.policy in _SOLVED_ANEW:
                try:
                    found = make_policy(name).fit(
                        self.estimator.known, self.estimates, replace(self.terms, closed=~mask)
                    )
                except PolicyError as error:
                    logger.info("no program for a pin: %s", error)
            self._pinned[key] = found  # last: other threads take what is there for solved
        return self._pinned[key]

    def _with_cap(self, view: PromptView, text: str, max_tokens: int) -> PromptView:
        """An answer cut at ``max_tokens``: what the expected length takes, times the ratio of the fitted lines."""
        if self.output_tokens is None:
            return view
        known = np.isfinite(self.output_tokens)
        mass = view.p @ known  # (n, O)
        expected = view.p @ np.nan_to_num(self.output_tokens) / np.where(mass > 0, mass, np.nan)
        cut = np.minimum(expected, float(max_tokens))
        own = np.array([[self.lengths.overhead_tokens + self.lengths.tokens_per_character * len(text)]])
        _, energy, duration = expected_of(view, self.estimates)

        def ratio(line: Line) -> FloatArray:
            whole, part = line.predict(own, expected), line.predict(own, cut)
            return np.where((whole > 0) & np.isfinite(part), part / np.where(whole > 0, whole, 1.0), 1.0)

        return replace(
            view,
            energy_j=energy * ratio(self.lengths.energy),
            duration_s=duration * ratio(self.lengths.duration),
        )

    def _with_history(self, view: PromptView, text: str, prompt_tokens: float) -> PromptView:
        """Add what reading the tokens beyond the text itself takes."""
        extra = self.lengths.extra_tokens(text, prompt_tokens)
        _, energy, duration = expected_of(view, self.estimates)
        return replace(
            view,
            energy_j=energy + extra * self.lengths.j_per_prompt_token,
            duration_s=duration + extra * self.lengths.s_per_prompt_token,
        )
