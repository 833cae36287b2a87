"""Fit the whole decision from measured prompts.

Two parts of different cost: the estimator (seconds; when measurements change) and the policy (tens of milliseconds;
when intensity, floor or mix change). :func:`replan` repeats the second alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from router.domain.cascade import CascadeMode, Signals
from router.domain.catalogue import Option
from router.domain.estimates import FloatArray, Known, Terms
from router.estimate.estimator import Estimator, fit_estimator
from router.estimate.lengths import Lengths, expected_output_tokens
from router.learn.cascade_terms import terms_for
from router.learn.cascades import with_cascades
from router.learn.decider import Decider
from router.policy.registry import make_policy
from router.policy.rows import rows_of_plan
from router.policy.terms import grams_of, rows_of


def fit_decider(
    known: Known,
    terms: Terms,
    policy: str = "joint",
    seed: int = 0,
    *,
    reference: Option | str | None = None,
    traffic: FloatArray | None = None,
    signals: Signals | None = None,
    cascades: CascadeMode = "off",
) -> Decider:
    """Fit everything.

    Args:
        known: Measured prompts, from :func:`router.estimate.known.build_known`.
        terms: Floor, grams per joule and second, slack, confidence.
        policy: One of :data:`router.policy.registry.POLICY_NAMES`.
        seed: Of the folds.
        reference: As configured: an option, or a model's name (at L0); None to take the most accurate.
        traffic: (C,) shares of the categories (sorted names) in the traffic; None: as measured.
        signals: Of the known prompts' answers, for cascades.
        cascades: Whether there are any: ``auto`` where they pay on prompts they were not chosen on.

    Raises:
        PolicyError: If no decision can be computed from what is known.
        ConfigError: If there is no policy of that name.
    """
    make_policy(policy)  # a wrong name is told before the work
    estimator = fit_estimator(known, reference=reference, traffic=traffic, seed=seed)
    if cascades != "off":
        estimator = with_cascades(estimator, signals, terms, cascades, seed)
    return decide(estimator, terms, policy, Lengths.fit(estimator.known))


def weighted(estimator: Estimator, traffic: FloatArray | None) -> Estimator:
    """The same estimates for other shares (C,) of the categories; None leaves them as they are."""
    if traffic is None:
        return estimator
    shares = np.asarray(traffic, dtype=np.float64)
    return replace(estimator, estimates=replace(estimator.estimates, w=shares / shares.sum()))


def decide(estimator: Estimator, terms: Terms, policy: str, lengths: Lengths) -> Decider:
    """Fit a policy on estimates that are there already.

    Raises:
        PolicyError: If no decision can be computed.
        ConfigError: If there is no policy of that name.
    """
    estimates, known = estimator.estimates, estimator.known
    terms = terms_for(terms, known.options)
    grams = grams_of(estimates, terms)
    fitted = make_policy(policy).fit(known, estimates, terms)
    plan = fitted.plan
    return Decider(
        estimator,
        fitted,
        terms,
        lengths,
        grams.with_embodied,
        rows=() if plan is None else rows_of_plan(plan, estimates, terms),
        output_tokens=expected_output_tokens(known, rows_of(known, estimates).p),
    )


def replan(decider: Decider, terms: Terms, policy: str | None = None, *, traffic: FloatArray | None = None) -> Decider:
    """The same estimates under other terms.

    Args:
        decider: What was fitted.
        terms: The new ones.
        policy: Another policy, or None for the same.
        traffic: (C,) shares of the categories in the traffic; None leaves them as they are.

    Raises:
        PolicyError: If no decision can be computed.
        ConfigError: If there is no policy of that name.
    """
    return decide(weighted(decider.estimator, traffic), terms, policy or decider.policy, decider.lengths)
