"""Fit the whole decision from measured prompts; what comes out is immutable and answers per prompt in well under 5 ms.

Two parts of different cost: the estimator (seconds; when measurements change) and the policy (tens of milliseconds;
when intensity, floor or mix change). :meth:`Decider.replan` repeats the second alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.domain.catalogue import Option
from router.domain.decision import Plan
from router.domain.estimates import Estimates, FloatArray, IntArray, Known, PromptView, Terms
from router.domain.ports import Policy
from router.estimate.estimator import Estimator, fit_estimator
from router.estimate.lengths import Lengths
from router.policy.registry import make_policy
from router.policy.terms import expected_of, grams_of, price


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


@dataclass(frozen=True, slots=True)
class Decider:
    """A fitted policy with all it needs; threads may share it.

    Attributes:
        estimator: What was learned from the measured prompts.
        fitted: The policy, fitted.
        terms: Under which it was.
        lengths: How joules and seconds grow with tokens.
    """

    estimator: Estimator
    fitted: Policy
    terms: Terms
    lengths: Lengths
    _with_embodied: bool

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
    def price_of_quality_g(self) -> float | None:
        """Grams that one unit (100 points) of quality is worth under the plan, or None."""
        return None if self.plan is None else self.plan.price_of_quality_g

    def replan(self, terms: Terms, policy: str | None = None) -> Decider:
        """The same estimates under other terms.

        Raises:
            PolicyError: If no decision can be computed.
            ConfigError: If there is no policy of that name.
        """
        return _decide(self.estimator, terms, policy or self.policy, self.lengths)

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

    def assess(self, text: str, embedding: FloatArray, prompt_tokens: int | None = None) -> Assessment:
        """One prompt, with the numbers that explain its weights.

        Args:
            text: The last user turn.
            embedding: (d,) of unit length.
            prompt_tokens: Tokens to be read, history included, where they are known: reading them is priced in.
        """
        view = self.view([text], np.asarray(embedding, dtype=np.float64)[None, :])
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
        )

    def _with_history(self, view: PromptView, text: str, prompt_tokens: int) -> PromptView:
        """Add what reading the tokens beyond the text itself takes."""
        extra = self.lengths.extra_tokens(text, prompt_tokens)
        _, energy, duration = expected_of(view, self.estimates)
        return replace(
            view,
            energy_j=energy + extra * self.lengths.j_per_prompt_token,
            duration_s=duration + extra * self.lengths.s_per_prompt_token,
        )


def fit_decider(
    known: Known,
    terms: Terms,
    policy: str = "joint",
    seed: int = 0,
    *,
    reference: Option | str | None = None,
    traffic: FloatArray | None = None,
) -> Decider:
    """Fit everything.

    Args:
        known: Measured prompts, from :func:`router.estimate.known.build_known`.
        terms: Floor, grams per joule and second, slack, confidence.
        policy: One of :data:`router.policy.registry.POLICY_NAMES`.
        seed: Of the folds.
        reference: As configured: an option, or a model's name (at L0); None to take the most accurate.
        traffic: (C,) shares of the categories (sorted names) in the traffic; None: as measured.

    Raises:
        PolicyError: If no decision can be computed from what is known.
        ConfigError: If there is no policy of that name.
    """
    make_policy(policy)  # a wrong name is told before the work
    return _decide(
        fit_estimator(known, reference=reference, traffic=traffic, seed=seed), terms, policy, Lengths.fit(known)
    )


def _decide(estimator: Estimator, terms: Terms, policy: str, lengths: Lengths) -> Decider:
    grams = grams_of(estimator.estimates, terms)
    fitted = make_policy(policy).fit(estimator.known, estimator.estimates, terms)
    return Decider(estimator, fitted, terms, lengths, grams.with_embodied)
