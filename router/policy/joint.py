"""The policy ``joint``: every prompt takes the option that is cheapest once quality is paid for.

The joint program, with the known prompts themselves as its rows, is solved by its dual: a price of quality for
the whole traffic, and a higher one for categories whose own floor binds. Decision and calibration see the same
thing, what would have been expected of this prompt had it been new (``Estimates.rows``), and what is counted is how
the chosen options really did. Letters: i prompt, o option, c category, k rung of the ladder, v_i weight of a prompt.

    x_i(k)   the option of prompt i on rung k                                        (:mod:`router.policy.ladder`)
    D_c(k) = sum_i v_i p_ic (y_i,x_i(k) - (share - slack) y_i,ref) / w_c             y: the measured quality
    k_c      where D_c crosses 0: a mixture of two rungs, the least dear one that keeps the category's floor
    F(k)   = sum_i v_i (sum_c p_ic f_i,x_i(max(k, k_c)) - share f_i,ref)          f: the quality foretold
    plan     where F, less the optimism of the same rungs and a margin, crosses 0
             (:mod:`router.policy.optimism`, :mod:`router.policy.mixture`)

Options are chosen by shrunk means (q), but counted by the means as they were measured (f = q with the shrinkage of
its categories' means taken back): those are right on average for any choice that is not made from them, and what
is made from them is the optimism's business. Shrunk means would take off a part of it twice.

D_c, which few prompts speak for, is shrunk towards what the estimates foretold, less its optimism. Against the
reference itself the difference is zero and so is its error: no confidence makes the reference too uncertain to meet
its own floor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.domain.decision import Plan
from router.domain.errors import PolicyError
from router.domain.estimates import Estimates, FloatArray, IntArray, Known, PromptView, Terms
from router.policy.category import CategoryLP, program_of
from router.policy.ladder import Ladder, rising
from router.policy.mixture import Comparison, Mixture, cheapest_mixture
from router.policy.optimism import optimism_of
from router.policy.terms import (
    Target,
    error_of_cells,
    expected_of,
    grams_of,
    importance,
    may_be_brief,
    price,
    rows_of,
    target_of,
)

UNUSED = 1e-9
"""Share of a rung that is rounding."""


@dataclass(frozen=True, slots=True)
class _Lowest:
    """Under which rungs a category may not go.

    Attributes:
        below: (C,) the lower of the two rungs of the mixture.
        above: (C,) the higher.
        share: (C,) weight of the higher.
    """

    below: IntArray
    above: IntArray
    share: FloatArray

    @classmethod
    def none(cls, categories: int) -> _Lowest:
        """No category has a floor of its own."""
        nothing = np.zeros(categories, dtype=np.int64)
        return cls(nothing, nothing.copy(), np.ones(categories))

    def parts(self, category: int) -> tuple[tuple[int, float], ...]:
        """Rungs of one category with their weights."""
        share = float(self.share[category])
        both = ((int(self.below[category]), 1.0 - share), (int(self.above[category]), share))
        return tuple((rung, weight) for rung, weight in both if weight > 0.0)


@dataclass(slots=True)
class Joint:
    """Fitted once, then only read."""

    name: str = "joint"
    _plan: Plan | None = None
    _estimates: Estimates | None = None
    _terms: Terms | None = None
    _ladder: Ladder | None = None
    _lowest: _Lowest | None = None
    _mixture: Mixture | None = None
    _with_embodied: bool = False
    _limited: CategoryLP | None = None

    @property
    def plan(self) -> Plan | None:
        """What the rule comes to per category, on the known prompts."""
        return self._plan

    def fit(self, known: Known, estimates: Estimates, terms: Terms) -> Joint:
        """Calibrate the price of quality.

        Raises:
            PolicyError: If no decision can be computed.
        """
        grams = grams_of(estimates, terms)
        self._estimates, self._terms, self._with_embodied = estimates, terms, grams.with_embodied
        rows, r = rows_of(known, estimates), estimates.reference
        v = importance(rows.p, estimates.w)
        graded = _graded(known, v)
        q, g = self._expected(rows)
        truth = np.where(np.isfinite(known.quality), known.quality, q)
        spent = price(known.energy_j, known.duration_s, terms, self._with_embodied)
        spent = np.where(np.isfinite(spent), spent, g)
        for array in (truth, spent):  # the reference may be unmeasured on a prompt of a category nobody measured
            array[~np.isfinite(array[:, r]), r] = np.nanmean(array[:, r])
        target = target_of(terms, float(graded @ truth[:, r]))

        self._ladder = Ladder.around(float(np.median(spent[:, r])), r)
        g = self._closed(g, rows)
        chosen = self._ladder.choose(g, q)  # (n, K + 1)
        optimism = optimism_of(estimates.draws, rows.p, graded, g, q, self._ladder)
        quality, cost = _pick(truth, chosen), _pick(spent, chosen)
        f = np.where(np.isfinite(q), q + _unshrunk(rows.p, estimates), truth)
        foretold = _pick(f, chosen)
        self._lowest = self._lowest_rungs(rows.p, graded, quality, foretold - optimism, target)
        held = _held(rows.p, quality, self._lowest)  # (n, K + 1) quality with every category on its rung or above
        paid = v @ _held(rows.p, cost, self._lowest)
        told = _held(rows.p, foretold, self._lowest)
        optimism = graded @ _held(rows.p, np.broadcast_to(optimism, held.shape), self._lowest)
        unmeasured = self._unmeasured_error(rows, graded, known, chosen, target.share or 0.0)
        compare = Comparison.of(graded, held, truth[:, r], told, f[:, r], optimism, unmeasured, target)
        self._mixture = cheapest_mixture(compare, paid, terms.confidence)
        self._plan = self._as_plan(rows, v, float(graded @ truth[:, r]), spent, grams.table, target)
        self._respect_limits(known)
        return self

    def weights(self, view: PromptView) -> FloatArray:
        """(n, O)."""
        if self._limited is not None:
            return self._limited.weights(view)
        if self._estimates is None or self._ladder is None or self._lowest is None or self._mixture is None:
            raise PolicyError("fit the policy first")
        q, g = self._expected(view)
        parts = [
            (c, max(rung, low), outer * inner)
            for rung, outer in zip(self._mixture.rungs, self._mixture.share, strict=True)
            for c in range(view.p.shape[1])
            for low, inner in self._lowest.parts(c)
            if outer > 0.0
        ]
        asked = np.unique([rung for _, rung, _ in parts])
        chosen = self._ladder.choose(self._closed(g, view), q, asked)  # (n, asked)
        weights = np.zeros(g.shape)
        row = np.arange(g.shape[0])
        for c, rung, share in parts:
            weights[row, chosen[:, np.searchsorted(asked, rung)]] += share * view.p[:, c]
        weights[view.unfamiliar] = np.eye(g.shape[1])[self._estimates.reference]
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def _expected(self, view: PromptView) -> tuple[FloatArray, FloatArray]:
        """(n, O) quality and grams expected of each prompt."""
        assert self._estimates is not None
        assert self._terms is not None
        q, energy_j, duration_s = expected_of(view, self._estimates)
        return q, price(energy_j, duration_s, self._terms, self._with_embodied)

    def _closed(self, g: FloatArray, view: PromptView) -> FloatArray:
        """Grams with brevity made infinitely dear where a prompt forbids it."""
        assert self._estimates is not None
        return np.where(view.no_brevity[:, None], g + may_be_brief(self._estimates), g)

    def _unmeasured_error(
        self, view: PromptView, v: FloatArray, known: Known, chosen: NDArray[np.intp], share: float
    ) -> FloatArray:
        """(K + 1,) standard error of what each rung owes to cells that were not measured, but filled in by a mean.

        All prompts filled in with one option's means share their error, and options do not share theirs. ``share`` of
        the reference's own is taken off, prompt by prompt, as it is from the quality.
        """
        assert self._estimates is not None
        assert self._lowest is not None
        missing = ~np.isfinite(known.quality)
        rungs = np.arange(chosen.shape[1])
        if not missing.any():
            return np.zeros(rungs.size)
        count = len(self._estimates.options)
        error = missing * (view.p @ error_of_cells(self._estimates))  # (n, O)
        total = np.zeros(rungs.size * count)
        for c in range(view.p.shape[1]):
            for low, weight in self._lowest.parts(c):
                option = chosen[:, np.maximum(rungs, low)]  # (n, K + 1)
                part = (weight * v * view.p[:, c])[:, None] * np.take_along_axis(error, option, axis=1)
                total += np.bincount((rungs * count + option).ravel(), part.ravel(), total.size)
        owed = total.reshape(rungs.size, count)
        owed[:, self._estimates.reference] -= share * float(v @ error[:, self._estimates.reference])
        return np.asarray(np.sqrt((owed**2).sum(axis=1)))

    def _lowest_rungs(
        self, p: FloatArray, v: FloatArray, quality: FloatArray, foretold: FloatArray, target: Target
    ) -> _Lowest:
        """The rungs k_c under which a category may not go."""
        assert self._terms is not None
        assert self._ladder is not None
        count, top = p.shape[1], self._ladder.top
        if self._terms.slack is None:
            return _Lowest.none(count)
        reference_quality = float(v @ quality[:, top])
        share = target.quality / reference_quality if reference_quality > 0 else 0.0
        share = max(share - self._terms.slack, 0.0)
        mass = np.maximum(p.T @ v, 1e-300)[:, None]  # (C, 1)
        weight = (p * v[:, None]).T / mass  # (C, n), rows summing to 1
        difference = quality - share * quality[:, [top]]
        seen = weight @ difference  # (C, K + 1)
        told = weight @ (foretold - share * foretold[:, [top]])
        surprise = quality - foretold  # (n, K + 1)
        error2 = weight**2 @ (surprise - share * surprise[:, [top]]) ** 2  # (C, K + 1)
        gap = seen - told
        pooled_gap = mass.T @ gap / mass.sum()
        spread = mass.T @ ((gap - pooled_gap) ** 2 * (count / max(count - 1, 1)) - error2) / mass.sum()
        tau2 = np.maximum(spread, 0.0)
        keep = tau2 / np.maximum(tau2 + error2, 1e-300) if count > 1 else np.ones_like(gap)
        shrunk = told + keep * (gap - pooled_gap)
        shrunk[:, top] = seen[:, top]  # the reference against itself is no estimate
        lowest = _Lowest.none(count)
        for c in range(count):
            line = np.append(rising(shrunk[c, :top]), max(shrunk[c, top], 0.0))
            above = int(np.flatnonzero(line >= 0.0)[0])
            if above > 0:
                lowest.below[c], lowest.above[c] = above - 1, above
                lowest.share[c] = -line[above - 1] / (line[above] - line[above - 1])
        return lowest

    def _as_plan(
        self, rows: PromptView, v: FloatArray, reference_q: float, spent: FloatArray, g: FloatArray, target: Target
    ) -> Plan:
        """The rule's mix of options per category, and what it comes to."""
        assert self._estimates is not None
        assert self._terms is not None
        assert self._ladder is not None
        assert self._lowest is not None
        assert self._mixture is not None
        estimates, mixture, top, r = self._estimates, self._mixture, self._ladder.top, self._estimates.reference
        x_rows = self.weights(rows)
        mass = rows.p.T @ v
        x = (rows.p * v[:, None]).T @ x_rows / np.maximum(mass, 1e-300)[:, None]
        x[mass <= 0] = np.eye(len(estimates.options))[r]
        finite = np.where(x_rows > 0, spent, 0.0)
        notes = []
        reachable = None if mixture.reachable_gap is None else target.quality + mixture.reachable_gap
        bound = [name for name, low in zip(estimates.categories, self._lowest.above, strict=True) if low == top]
        if bound and min(mixture.rungs) < top:
            notes.append(f"the floor of {', '.join(bound)} is kept with the reference's help")
        if reachable is not None:
            notes.append(
                f"the floor is out of reach: at most {reachable:.3f} can be had"
                + (f" with confidence {self._terms.confidence:g}" if self._terms.confidence > 0.5 else "")
            )
        price = self._price()
        return Plan(
            policy=self.name,
            categories=estimates.categories,
            options=estimates.options,
            w=estimates.w,
            x=x / x.sum(axis=1, keepdims=True),
            g=g,
            q=estimates.stated_q,
            reference=r,
            floor=self._terms.floor,
            floor_quality=target.quality,
            expected_g=float(v @ (x_rows * finite).sum(axis=1)),
            expected_quality=target.quality + mixture.quality_gap,
            reference_g=float(v @ spent[:, r]),
            reference_quality=reference_q,
            price_of_quality_g=price,
            feasible=mixture.feasible,
            reachable_quality=reachable,
            embodied="included" if self._with_embodied else "excluded",
            notes=tuple(notes),
            duals={} if price is None else self._category_duals(mass / mass.sum(), price),
        )

    def _price(self) -> float | None:
        """Grams that one more unit of quality costs: that of the rung in use, or of the way from it to the reference.

        None where the floor is out of reach, and where the reference answers everything: no price is known to do.
        """
        assert self._ladder is not None
        assert self._mixture is not None
        used = [rung for rung, share in zip(self._mixture.rungs, self._mixture.share, strict=True) if share > UNUSED]
        if not self._mixture.feasible or min(used) == self._ladder.top:
            return None
        priced = float(self._ladder.prices[min(used)])
        return max(priced, self._mixture.slope_g) if max(used) == self._ladder.top else priced

    def _category_duals(self, w: FloatArray, price: float) -> dict[str, float]:
        """What the floors of categories cost: ``w_c`` times the price beyond the one all categories pay.

        A category that only the reference keeps is left out: no price is known to be high enough.
        """
        assert self._terms is not None
        assert self._ladder is not None
        assert self._lowest is not None
        if self._terms.slack is None:
            return {}
        return {
            f"category:{c}": float(w[c] * max(self._ladder.prices[rung] - price, 0.0))
            for c, rung in enumerate(self._lowest.above)
            if rung < self._ladder.top
        }

    def _respect_limits(self, known: Known) -> None:
        """Where the priced plan breaks a limit, the program with that limit as a row takes over."""
        assert self._estimates is not None
        assert self._terms is not None
        assert self._plan is not None
        posed = program_of(self._estimates, self._terms)
        self._plan = replace(self._plan, notes=(*self._plan.notes, *posed.notes))
        if not posed.program.carries(self._plan.x, self._plan.expected_g):
            self._limited = CategoryLP(self.name).fit(known, self._estimates, self._terms)
            self._plan = self._limited.plan


def _graded(known: Known, v: FloatArray) -> FloatArray:
    """(n,) weights of the prompts that statements about quality are about: those any answer was graded on."""
    weight = np.where(known.graded, v, 0.0)
    return np.asarray(weight / weight.sum()) if weight.sum() > 0 else v


def _unshrunk(p: FloatArray, estimates: Estimates) -> FloatArray | float:
    """(n, O) what shrinkage took from the quality of each prompt's categories."""
    if estimates.plain_q is None:
        return 0.0
    return np.asarray(p @ np.nan_to_num(estimates.plain_q - estimates.q))


def _pick(values: FloatArray, chosen: NDArray[np.intp]) -> FloatArray:
    """(n, K) the value of each prompt's chosen option."""
    return np.asarray(np.take_along_axis(values, chosen, axis=1))


def _held(p: FloatArray, values: FloatArray, lowest: _Lowest) -> FloatArray:
    """(n, K) values with every category lifted to its lowest rungs."""
    if not lowest.above.any():
        return values
    rungs = np.arange(values.shape[1])
    total = np.zeros_like(values)
    for c in range(p.shape[1]):
        for low, share in lowest.parts(c):
            total += share * p[:, [c]] * values[:, np.maximum(rungs, low)]
    return total
