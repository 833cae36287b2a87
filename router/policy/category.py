"""The joint program over category x option, solved as it stands: decision weights are ``p(c | prompt) x[c, .]``.

The policy ``category-lp``: what a plan with limits on latency, capacity or budget falls back on, since its rows
hold exactly, and the yardstick that prices per prompt have to beat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from router.domain.decision import Plan
from router.domain.errors import PolicyError
from router.domain.estimates import Estimates, FloatArray, Known, Limits, PromptView, Terms
from router.policy.program import Budget, Capacity, Program, site_names
from router.policy.solve import REACH, Solution, solve
from router.policy.terms import (
    Target,
    error_of_cells,
    grams_of,
    importance,
    may_be_brief,
    pooled_grams,
    pooled_quality,
    rows_of,
    target_of,
)

STEPS = 12
"""Higher floors looked at for a plan that is certain enough."""


@dataclass(slots=True)
class CategoryLP:
    """Fitted once, then only read."""

    name: str = "category-lp"
    _plan: Plan | None = None
    _plain: FloatArray | None = None

    @property
    def plan(self) -> Plan | None:
        """The solution."""
        return self._plan

    def fit(self, known: Known, estimates: Estimates, terms: Terms) -> CategoryLP:
        """Solve the program; with a confidence above .5 once more, the floor raised by the margin.

        Raises:
            PolicyError: If no decision can be computed.
        """
        posed = program_of(estimates, terms)
        program = posed.program
        solution, notes = _with_margin(solve(program), posed, known, estimates, terms)
        if solution.shed and terms.cleanliness < 1.0:
            # What a clean hour gives beyond the user's floor is the first to yield to limits.
            self.fit(known, estimates, replace(terms, cleanliness=1.0))
            assert self._plan is not None
            note = "the quality a clean hour would add is given up for the limits; the stated floor is kept"
            self._plan = replace(self._plan, notes=(note, *self._plan.notes))
            return self
        self._plan = plan_of(self.name, solution, replace(posed, notes=(*posed.notes, *notes)), estimates, terms)
        self._plain = may_be_brief(estimates)
        return self

    def weights(self, view: PromptView) -> FloatArray:
        """(n, O)."""
        if self._plan is None or self._plain is None:
            raise PolicyError("fit the policy first")
        x = self._plan.x
        plain_x = np.where(np.isinf(self._plain), 0.0, x)  # brevity's share goes to the other options of the row
        empty = plain_x.sum(axis=1) <= 0
        plain_x[empty, self._plan.reference] = 1.0
        plain_x = plain_x / plain_x.sum(axis=1, keepdims=True)
        weights = np.where(view.no_brevity[:, None], view.p @ plain_x, view.p @ x)
        weights[view.unfamiliar] = np.eye(x.shape[1])[self._plan.reference]
        return np.asarray(weights)


@dataclass(frozen=True, slots=True)
class Posed:
    """A program with what has to be said about it.

    Attributes:
        program: What is to be solved.
        target: Its floor.
        notes: Rows that were asked for and could not be posed, in sentences.
    """

    program: Program
    target: Target
    notes: tuple[str, ...] = ()


def program_of(estimates: Estimates, terms: Terms) -> Posed:
    """The program of these estimates under these terms.

    What nobody graded is outside the floor: its row is given the quality asked for, so that it neither pays for what
    others lose nor has to be paid for.
    """
    grams = grams_of(estimates, terms)
    reference_q = reference_quality_of(estimates)
    reference_quality = float(estimates.graded_w @ reference_q)
    target = target_of(terms, reference_quality)
    reference_q = np.where(estimates.ungraded, target.quality, reference_q)
    q = np.where(estimates.ungraded[:, None] & np.isfinite(estimates.q), target.quality, estimates.q)
    category_floor = None
    if terms.slack is not None and reference_quality > 0:
        share = target.quality / reference_quality
        category_floor = max(share - terms.slack, 0.0) * reference_q
    program = Program(w=estimates.w, g=grams.table, q=q, floor=target.quality, category_floor=category_floor)
    if terms.limits is None:
        return Posed(program, target)
    return Posed(*_with_limits(program, estimates, terms, terms.limits, target))


def reference_quality_of(estimates: Estimates) -> FloatArray:
    """(C,) the reference's quality; its mean over the other categories where it was not measured in one."""
    q, w = estimates.q[:, estimates.reference], estimates.w
    known = np.isfinite(q)
    mass = float(w[known].sum())
    mean = float(w[known] @ q[known]) / mass if mass > 0 else float(np.mean(q[known])) if known.any() else 0.0
    return np.where(known, q, mean)


def _with_limits(
    program: Program, estimates: Estimates, terms: Terms, limits: Limits, target: Target
) -> tuple[Program, Target, tuple[str, ...]]:
    """Add the rows of latency, capacity and budget, where what they need is known; say it where it is not."""
    duration = estimates.duration_s if terms.load_s is None else estimates.duration_s + terms.load_s
    columns = np.isfinite(program.g) & np.isfinite(program.q)
    timed = columns & np.isfinite(duration)
    notes: list[str] = []
    latency = limits.max_mean_duration_s
    if latency is not None and not timed.any(axis=1).all():
        bare = ", ".join(name for c, name in enumerate(estimates.categories) if not timed[c].any())
        notes.append(f"max_mean_seconds cannot be kept: no option's seconds are known for {bare}; run `make bench`")
        latency = None
    capacity, budget = None, None
    if limits.slots is not None and limits.rate_per_s > 0:
        # Capacity is a row nobody asked for by name: an option without known seconds must not be lost to it.
        if (columns & ~timed).any():
            notes.append("the sites' capacity is not planned for: seconds of some options are not known")
        else:
            names = [option.site for option in estimates.options]
            sites = site_names(estimates.options)
            slots = np.array([limits.slots[names.index(site)] for site in sites])
            capacity = Capacity.of_slots(np.array([sites.index(n) for n in names]), slots, limits.rate_per_s)
    if limits.budget_g_per_hour is not None and limits.rate_per_s > 0:
        budget = Budget(limits.budget_g_per_hour, limits.rate_per_s)
    posed = replace(program, duration_s=duration, max_mean_duration_s=latency, capacity=capacity, budget=budget)
    return posed, target, tuple(notes)


def plan_of(name: str, solution: Solution, posed: Posed, estimates: Estimates, terms: Terms) -> Plan:
    """A solution as the plan people see."""
    r, program, target = estimates.reference, posed.program, posed.target
    notes = list(posed.notes)
    sites = site_names(estimates.options)
    shed = {_named(row, sites): excess for row, excess in solution.shed.items()}
    if solution.lowered_categories:
        names = ", ".join(estimates.categories[c] for c in solution.lowered_categories)
        notes.append(f"no option reaches the floor of {names}: the best there is takes it")
    if solution.price_of_quality_g is None:
        notes.append(f"the floor is out of reach: at most {solution.reachable_quality:.3f} can be had")
    notes += [f"{_said(row)} had to give way by {excess:.1%}" for row, excess in shed.items()]
    if solution.served_share < 1:
        notes.append(f"the sites carry {solution.served_share:.0%} of the traffic at this floor; the rest has to wait")
    return Plan(
        policy=name,
        categories=estimates.categories,
        options=estimates.options,
        w=estimates.w,
        x=solution.x,
        g=program.g,
        q=estimates.stated_q,
        reference=r,
        floor=terms.floor,
        floor_quality=target.quality,
        expected_g=solution.expected_g,
        expected_quality=target.quality + (solution.expected_q - target.quality) / _graded_share(estimates),
        reference_g=float(pooled_grams(estimates.w, program.g, r)[r]),
        reference_quality=float(pooled_quality(estimates.graded_w, estimates.q, r)[r]),
        price_of_quality_g=solution.price_of_quality_g,
        feasible=solution.feasible,
        reachable_quality=None if solution.price_of_quality_g is not None else solution.reachable_quality,
        embodied=grams_of(estimates, terms).embodied,
        notes=tuple(notes),
        duals=_duals(solution, sites),
        shed=shed,
    )


def _graded_share(estimates: Estimates) -> float:
    """Share of the traffic that the floor is about."""
    return max(1.0 - float(estimates.w[estimates.ungraded].sum()), 1e-300)


def _named(row: str, sites: tuple[str, ...]) -> str:
    kind, _, index = row.partition(":")
    return f"capacity:{sites[int(index)]}" if kind == "capacity" else row


def _said(row: str) -> str:
    kind, _, site = row.partition(":")
    return {"latency": "max_mean_seconds", "budget": "carbon_budget_g_per_hour"}.get(kind, f"the capacity of {site}")


def _duals(solution: Solution, sites: tuple[str, ...]) -> dict[str, float]:
    """The rows' prices by name; a row that was not posed, or whose price means nothing, is missing."""
    duals = {f"category:{c}": float(price) for c, price in enumerate(solution.category_price_g)}
    named = {
        "floor": solution.price_of_quality_g,
        "latency": solution.latency_price_g,
        "budget": solution.budget_price_g,
    }
    duals |= {name: price for name, price in named.items() if price is not None}
    if solution.capacity_price_g is not None:
        duals |= {f"capacity:{site}": float(p) for site, p in zip(sites, solution.capacity_price_g, strict=True)}
    return duals


def _with_margin(
    plain: Solution, posed: Posed, known: Known, estimates: Estimates, terms: Terms
) -> tuple[Solution, tuple[str, ...]]:
    """The cheapest plan that keeps the floor with the confidence asked for, and what there is to say about it.

    Looked at are the plans of higher floors, up to what can be reached, and each of them mixed with the reference: that
    is no estimate of itself, so against a share of its own quality it is always certain. Limits come before the margin,
    since a queue without end serves nobody with confidence: where nothing within them is sure enough, the surest plan
    is taken and the confidence that is left is said.
    """
    program, r = posed.program, estimates.reference
    if terms.confidence <= 0.5 or plain.price_of_quality_g is None:
        return plain, ()
    z = NormalDist().inv_cdf(min(terms.confidence, 1 - 1e-9))
    higher = np.linspace(program.floor, max(plain.reachable_quality, program.floor), STEPS + 1)[1:]
    found = [plain, *(s for f in higher if not (s := solve(replace(program, floor=float(f)))).shed)]
    mixable = bool((np.isfinite(program.q[:, r]) & np.isfinite(program.g[:, r])).all())
    judge = _Judge(posed, known, estimates).judge
    alone = judge(np.eye(program.q.shape[1])[[r] * program.w.size], plain) if mixable else None
    plans = []
    for solution in found:
        plan = judge(solution.x, solution)
        plans.append(plan)
        if alone is not None and plan.bound(z) < 0.0 < alone.bound(z):
            part = -plan.bound(z) / (alone.bound(z) - plan.bound(z))
            mixed = (1.0 - part) * plan.solution.x + part * alone.solution.x
            plans.append(judge(mixed, solution))
    within = [plan for plan in plans if program.carries(plan.solution.x, plan.solution.expected_g)] or plans[:1]
    sure = [plan for plan in within if plan.bound(z) >= -REACH]
    if sure:
        return min(sure, key=lambda plan: plan.solution.expected_g).solution, ()
    best = max(within, key=lambda plan: plan.bound(z))
    left = NormalDist().cdf(best.gap / best.error) if best.error > 0 else 1.0
    note = f"the floor holds with a confidence of {left:.2f} instead of {terms.confidence:.2f}: nothing else is surer"
    return best.solution, (note,)


@dataclass(frozen=True, slots=True)
class _Certain:
    """A plan with its quality above the floor and the standard error of that."""

    solution: Solution
    gap: float
    error: float

    def bound(self, z: float) -> float:
        return self.gap - z * self.error


class _Judge:
    """Judges plans by the known prompts; what is the same for all of them is worked out once."""

    def __init__(self, posed: Posed, known: Known, estimates: Estimates) -> None:
        self._program = posed.program
        self._reference = estimates.reference
        self._share = 0.0 if posed.target.share is None else posed.target.share
        self._p = rows_of(known, estimates).p
        self._measured = np.isfinite(known.quality)
        # What nobody graded is in the program at the floor's own quality, and as sure as that.
        self._v = np.where(known.graded, importance(self._p, estimates.w), 0.0)
        expected = np.nan_to_num(self._p @ np.nan_to_num(estimates.q))
        self._truth = np.where(self._measured, known.quality, expected)
        self._error_of_cells = error_of_cells(estimates)

    def judge(self, x: FloatArray, of: Solution) -> _Certain:
        """The plan ``x`` (C, O), a mixture with the plan of a solution, whose prices it keeps."""
        program = self._program
        g, q = ((np.where(x > 0, cells, 0.0) * x).sum(axis=1) @ program.w for cells in (program.g, program.q))
        solution = replace(of, x=x, expected_g=float(g), expected_q=float(q))
        return _Certain(solution, float(q) - program.floor, self._paired_error(x))

    def _paired_error(self, x: FloatArray) -> float:
        """Standard error of (plan - share * reference) over the known prompts.

        What was not measured was filled in by its category's mean, whose own error all prompts filled in with it share.
        """
        weight = self._p @ x  # (n, O)
        weight[:, self._reference] -= self._share
        difference = (weight * self._truth).sum(axis=1)
        mean = float(self._v @ difference) / max(float(self._v.sum()), 1e-300)
        filled = np.where(self._measured, 0.0, self._v[:, None] * weight)
        shared = (np.abs(self._p.T @ filled) * self._error_of_cells).sum(axis=0)  # (O,)
        return float(np.sqrt(np.sum(self._v**2 * (difference - mean) ** 2) + np.sum(shared**2)))
