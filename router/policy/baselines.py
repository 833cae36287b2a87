"""Policies that give every prompt the same mix: what any router has to beat, and Sprout's form.

``reference``             the reference for everybody
``best-single``           the single option of highest mean quality, directives included
``cheapest``              the single option of least grams
``cheapest-meeting-floor``the cheapest single option that keeps the floor; the best one where none does
``random-mix``            the best lottery among single options that keeps the floor
``sprout``                the same lottery among the directives of the reference's model (EMNLP'24: one model, one
                          LP over levels, no categories; its xi is 1 - floor)

The lotteries are linear programs with a single category; none of these policies looks at the prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from router.domain.decision import Plan
from router.domain.errors import PolicyError
from router.domain.estimates import Estimates, FloatArray, Known, PromptView, Terms
from router.policy.program import Program
from router.policy.solve import solve
from router.policy.terms import constant_plan, grams_of, importance, pooled_grams, pooled_quality, rows_of, target_of


@dataclass(frozen=True, slots=True)
class Market:
    """What a constant policy may look at: pooled grams and quality of the options.

    Attributes:
        g: (O,) grams, NaN where unknown.
        q: (O,) quality, NaN where unknown.
        floor: As an accuracy.
        reference: Column.
        same_model: (O,) 1 for directives of the reference's model at its site and setting, else NaN.
    """

    g: FloatArray
    q: FloatArray
    floor: float
    reference: int
    same_model: FloatArray


@dataclass(frozen=True, slots=True)
class Pick:
    """A mix (O,) and what is to be said of it."""

    mix: FloatArray
    price_of_quality_g: float | None = None
    feasible: bool = True


@dataclass(slots=True)
class Constant:
    """A policy that gives every prompt the same mix; fitted once, then only read.

    Attributes:
        name: Under which it is reported.
        choose: From the market to the mix.
    """

    name: str
    choose: Callable[[Market], Pick]
    _plan: Plan | None = None

    @property
    def plan(self) -> Plan | None:
        """The mix as a plan with equal rows."""
        return self._plan

    def fit(self, known: Known, estimates: Estimates, terms: Terms) -> Constant:
        """Choose the mix.

        Raises:
            PolicyError: If no decision can be computed.
        """
        grams = grams_of(estimates, terms)
        g, q = _pooled(known, estimates, grams.table)
        r = estimates.reference
        if not (np.isfinite(g[r]) and np.isfinite(q[r])):
            raise PolicyError("the reference is not measured in half of the traffic", hint="run `make bench`")
        mine = estimates.options[r]
        same = np.array([replace(option, directive=mine.directive) == mine for option in estimates.options])
        market = Market(g, q, target_of(terms, float(q[r])).quality, r, np.where(same, 1.0, np.nan))
        pick = self.choose(market)
        plan = constant_plan(self.name, estimates, terms, pick.mix, feasible=pick.feasible)
        self._plan = replace(plan, price_of_quality_g=pick.price_of_quality_g)
        return self

    def weights(self, view: PromptView) -> FloatArray:
        """(n, O), all rows equal."""
        if self._plan is None:
            raise PolicyError("fit the policy first")
        return np.tile(self._plan.x[0], (view.p.shape[0], 1))


def reference_only(market: Market) -> Pick:
    """The reference for everybody."""
    return _single(market, market.reference)


def best_single(market: Market) -> Pick:
    """Highest mean quality, ties to the cheaper."""
    q = np.where(np.isfinite(market.g), market.q, np.nan)
    tied = np.flatnonzero(q >= np.nanmax(q) - 1e-12)
    return _single(market, int(tied[np.argmin(market.g[tied])]))


def cheapest(market: Market) -> Pick:
    """Least grams."""
    return _single(market, int(np.nanargmin(np.where(np.isfinite(market.q), market.g, np.nan))))


def cheapest_meeting_floor(market: Market) -> Pick:
    """Least grams among single options that keep the floor by the same estimates."""
    meets = np.isfinite(market.g) & (np.nan_to_num(market.q, nan=-1.0) >= market.floor - 1e-12)
    if not meets.any():
        return replace(best_single(market), feasible=False)
    return _single(market, int(np.argmin(np.where(meets, market.g, np.inf))))


def random_mix(market: Market) -> Pick:
    """The lottery of least grams that keeps the floor."""
    return _lottery(market, np.ones_like(market.g))


def sprout(market: Market) -> Pick:
    """The lottery of least grams among the levels of the reference's model."""
    return _lottery(market, market.same_model)


def _pooled(known: Known, estimates: Estimates, g: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(O,) grams from the table, and quality as plain means where an option was graded on every prompt.

    These policies need no shrinkage, and shrunk cells do not add up to the plain mean.
    """
    q = pooled_quality(estimates.graded_w, estimates.q, estimates.reference)
    v = importance(rows_of(known, estimates).p, estimates.w)[known.graded]
    whole = np.isfinite(known.quality[known.graded]).all(axis=0) & np.isfinite(q)
    q[whole] = v @ known.quality[known.graded][:, whole] / v.sum()
    return pooled_grams(estimates.w, g, estimates.reference), q


def _single(market: Market, option: int) -> Pick:
    kept = bool(market.q[option] >= market.floor - 1e-12)
    return Pick(np.eye(market.g.size)[option], feasible=kept)


def _lottery(market: Market, allowed: FloatArray) -> Pick:
    program = Program(w=np.ones(1), g=(market.g * allowed)[None, :], q=market.q[None, :], floor=market.floor)
    solution = solve(program)
    return Pick(solution.x[0], solution.price_of_quality_g, solution.feasible)
