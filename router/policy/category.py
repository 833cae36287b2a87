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
from router.policy.solve import Solution, solve
from router.policy.terms import Target, grams_of, importance, may_be_brief, pooled, rows_of, target_of


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
    """The program of these estimates under these terms."""
    grams = grams_of(estimates, terms)
    reference_q = reference_quality_of(estimates)
    reference_quality = float(estimates.w @ reference_q)
    target = target_of(terms, reference_quality)
    category_floor = None
    if terms.slack is not None and reference_quality > 0:
        share = target.quality / reference_quality
        category_floor = max(share - terms.slack, 0.0) * reference_q
    program = Program(w=estimates.w, g=grams.table, q=estimates.q, floor=target.quality, category_floor=category_floor)
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
        q=program.q,
        reference=r,
        floor=terms.floor,
        floor_quality=target.quality,
        expected_g=solution.expected_g,
        expected_quality=solution.expected_q,
        reference_g=float(pooled(estimates.w, program.g)[r]),
        reference_quality=float(pooled(estimates.w, program.q)[r]),
        price_of_quality_g=solution.price_of_quality_g,
        feasible=solution.feasible,
        reachable_quality=None if solution.price_of_quality_g is not None else solution.reachable_quality,
        embodied=grams_of(estimates, terms).embodied,
        notes=tuple(notes),
        duals=_duals(solution, sites),
        shed=shed,
    )


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
    """The solution at the floor raised by the margin of the confidence, and what there is to say about it.

    The floor is raised to the reference's own quality at the most: with few prompts the margin would ask for more than
    any option has, and a floor that the reference keeps is not out of reach. Limits come before the margin, which
    yields to them by as little as it can: a queue without end serves nobody with confidence. The stated floor itself
    stays, and what the limits leave of the confidence is said.
    """
    program = posed.program
    if terms.confidence <= 0.5:
        return plain, ()
    error = _paired_error(plain.x, known, estimates, posed.target)
    # No confidence makes the reference too uncertain to meet a floor that is stated as a share of it.
    own = float(estimates.w @ reference_quality_of(estimates))
    wanted = min(program.floor + NormalDist().inv_cdf(min(terms.confidence, 1 - 1e-9)) * error, own)
    if wanted <= program.floor:
        return plain, ()
    raised = solve(replace(program, floor=wanted))
    if not raised.shed:
        return raised, ()
    low, high, best = program.floor, wanted, plain
    while not plain.shed and high - low > 1e-4:
        middle = 0.5 * (low + high)
        tried = solve(replace(program, floor=middle))
        low, high, best = (low, middle, best) if tried.shed else (middle, high, tried)
    left = NormalDist().cdf((low - program.floor) / error)
    return best, (f"the limits leave the floor a confidence of {left:.2f} instead of {terms.confidence:.2f}",)


def _paired_error(x: FloatArray, known: Known, estimates: Estimates, target: Target) -> float:
    """Standard error of (plan - share * reference) over the known prompts."""
    rows = rows_of(known, estimates)
    truth = np.where(np.isfinite(known.quality), known.quality, np.nan_to_num(rows.p @ np.nan_to_num(estimates.q)))
    share = 0.0 if target.share is None else target.share
    difference = ((rows.p @ x) * truth).sum(axis=1) - share * truth[:, estimates.reference]
    v = importance(rows.p, estimates.w)
    mean = float(v @ difference)
    return float(np.sqrt(np.sum(v**2 * (difference - mean) ** 2)))
