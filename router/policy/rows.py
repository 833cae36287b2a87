"""The rows of a plan as people read them: what is asked for, what the plan comes to, and what strictness costs.

Every price is in grams a prompt for one unit of the row made stricter: one more unit (100 points) of quality, one
second less of mean duration, one busy second per second less of a site, one gram an hour less of budget. A row that
does not bind costs nothing; where a plan was not made by a linear program, the price of a row that does is not known.
"""

from __future__ import annotations

import numpy as np

from router.domain.decision import Plan, Row
from router.domain.estimates import Estimates, Terms
from router.domain.units import SECONDS_PER_HOUR
from router.policy.category import program_of
from router.policy.program import site_names

BINDS = 1e-6
"""A row whose value is this close to its limit, relative to it, binds."""


def rows_of_plan(plan: Plan, estimates: Estimates, terms: Terms) -> tuple[Row, ...]:
    """Every row of the program that this plan answers to.

    Args:
        plan: Of any policy.
        estimates: It was made from.
        terms: Under which.
    """
    program = program_of(estimates, terms).program
    x = np.where(np.isfinite(program.g) & np.isfinite(program.q), plan.x, 0.0)  # (C, O)
    rows = [_row(plan, "floor", "floor", plan.floor_quality, plan.expected_quality, "quality", at_least=True)]
    if program.category_floor is not None:
        own = (x * np.nan_to_num(program.q)).sum(axis=1)  # (C,)
        for c, name in enumerate(plan.categories):
            if c in estimates.ungraded_rows:
                continue  # nobody knows what is kept there
            rows.append(
                _row(
                    plan,
                    f"category:{c}",
                    f"floor of {name}",
                    float(program.category_floor[c]),
                    float(own[c]),
                    "quality",
                    at_least=True,
                )
            )
    load = None if program.duration_s is None else program.w[:, None] * np.nan_to_num(program.duration_s) * x  # (C, O)
    if load is not None and program.max_mean_duration_s is not None:
        rows.append(_row(plan, "latency", "mean seconds", program.max_mean_duration_s, float(load.sum()), "s a prompt"))
    if load is not None and program.capacity is not None:
        capacity = program.capacity
        for s, site in enumerate(site_names(plan.options)):
            busy = capacity.rate_per_s * float(load[:, capacity.site == s].sum())
            limit = float(capacity.limit_s_per_s[s])
            rows.append(_row(plan, f"capacity:{site}", f"capacity of {site}", limit, busy, "busy s per s"))
    if program.budget is not None:
        emitted = SECONDS_PER_HOUR * program.budget.rate_per_s * plan.expected_g
        rows.append(
            _row(
                plan,
                "budget",
                "budget",
                program.budget.grams_per_hour,
                emitted,
                "g per h",
                scale=program.budget.rate_per_s * SECONDS_PER_HOUR,
            )
        )
    return tuple(rows)


def _row(
    plan: Plan,
    key: str,
    name: str,
    limit: float,
    value: float,
    unit: str,
    *,
    at_least: bool = False,
    scale: float = 1.0,
) -> Row:
    room = value - limit if at_least else limit - value
    price: float | None = plan.duals.get(key)
    if price is not None:
        price /= scale
    elif key == "floor":
        price = plan.price_of_quality_g
    elif room > BINDS * max(abs(limit), 1e-12):
        price = 0.0
    return Row(name, limit, value, unit, price, plan.shed.get(key, 0.0))
