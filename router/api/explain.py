"""Decisions and plans as JSON for people and programs; what is not known is null."""

from __future__ import annotations

import math
from typing import Any

from router.domain.cascade import Cascade
from router.domain.catalogue import Option
from router.domain.decision import Decision, Plan
from router.service.snapshot import Snapshot

_NEIGHBOUR_TEXT_CHARACTERS = 200


def number(value: float | None) -> float | None:
    """A figure for JSON, which has no NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


def option_json(option: Option) -> dict[str, str]:
    """An option by its parts; of a cascade the option that answers first, and in words who follows and when."""
    parts = {"model": option.model, "directive": option.directive, "site": option.site, "setting": option.setting}
    return {**parts, "cascade": str(option)} if isinstance(option, Cascade) else parts


def decision_json(decision: Decision) -> dict[str, Any]:
    """One prompt's decision with every number behind it."""
    return {
        **option_json(decision.option),
        "policy": decision.policy,
        "reason": decision.reason,
        "fallback": decision.fallback,
        "side": decision.side,
        "conversation": decision.conversation,
        "category": decision.category,
        "category_probability": number(decision.category_probability),
        "probabilities": {name: number(p) for name, p in decision.probabilities},
        "reference": {**option_json(decision.reference), "expected_g": number(decision.reference_g)},
        "neighbours": [
            {
                "id": neighbour.id,
                "category": neighbour.category,
                "distance": number(neighbour.distance),
                "prompt": neighbour.prompt[:_NEIGHBOUR_TEXT_CHARACTERS],
            }
            for neighbour in decision.neighbours
        ],
        "options": [
            {
                **option_json(candidate.option),
                "weight": number(candidate.weight),
                "expected_g": number(candidate.expected_g),
                "expected_quality": number(candidate.expected_quality),
            }
            for candidate in decision.candidates
        ],
    }


def plan_json(snapshot: Snapshot) -> dict[str, Any]:
    """The current plan, or why there is none."""
    decider = snapshot.decider
    plan = None if decider is None else decider.plan
    return {
        "policy": snapshot.catalogue.policy,
        "decided_by": None if decider is None else "prompt" if plan is None else "plan",
        "floor": str(snapshot.catalogue.floor),
        "planned_at": snapshot.planned_at or None,
        "solved_ms": 1000 * snapshot.solved_s,
        "reference": None if snapshot.reference is None else option_json(snapshot.reference),
        "intensity_g_per_kwh": {
            site: {"value": i.g_per_kwh, "zone": i.zone, "source": i.source, "kind": i.kind, "age_s": i.age_s,
                   "estimated": i.estimated, "stale": i.stale}
            for site, i in snapshot.intensities.items()
        },
        "intensity_forecast": {
            site: [{"begins_at": point.begins_s, "g_per_kwh": point.g_per_kwh} for point in points]
            for site, points in snapshot.grid.forecasts.items()
        },
        "measured_prompts": len(snapshot.prompts),
        "notes": [
            *([snapshot.trouble] if snapshot.trouble else []),
            *snapshot.grid.notes(snapshot.catalogue),
            *snapshot.notes,
            *(plan.notes if plan else ()),
            *([f"{decider.policy} decides prompt by prompt: there is no mix"] if decider and plan is None else []),
        ],
        **conditions_json(snapshot),
        "load": {
            each.site: {"observed": number(each.observed), "rows_at": each.level} for each in snapshot.loads
        },
        "plan": None if plan is None else {**_mix_json(plan), "rows": _rows_json(snapshot)},
    }  # fmt: skip


def conditions_json(snapshot: Snapshot) -> dict[str, Any]:
    """What the plan was solved for beside the measurements: the floor's slide, traffic, and who stays in memory."""
    conditions, plan = snapshot.conditions, None if snapshot.decider is None else snapshot.decider.plan
    sliding, mix = conditions.sliding, conditions.mix
    categories = () if snapshot.decider is None else snapshot.decider.categories
    return {
        "sliding_floor": {
            "on": sliding.is_on,
            "s": number(sliding.s),
            "why": sliding.why,
            "site": sliding.site,
            "k0_g_per_kwh": number(sliding.k0_g_per_kwh),
            "k0_min_g_per_kwh": None if sliding.span is None else number(sliding.span.low_g_per_kwh),
            "k0_max_g_per_kwh": None if sliding.span is None else number(sliding.span.high_g_per_kwh),
            "hours_of_history": None if sliding.span is None else sliding.span.hours,
            "floor_in_force": None if plan is None else number(plan.floor_quality),
        },
        "traffic": {
            "shares": {} if mix is None else {c: number(w) for c, w in zip(categories, mix.w, strict=True)},
            "effective_n": None if mix is None else number(mix.effective_n),
            "prior_n": None if mix is None else number(mix.prior_n),
            "half_life_s": None if mix is None else number(mix.half_life_s),
            "rate_per_s": number(conditions.rate_per_s),
        },
        "residency": [
            {
                "site": resident.site,
                "model": resident.model,
                "state": resident.state,
                "bytes": number(resident.bytes),
                "load_energy_j": number(resident.load.energy_j),
                "load_s": number(resident.load.seconds),
                "load_method": resident.load.method,
            }
            for resident in snapshot.residents
        ],
    }


def _rows_json(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Every row of the program; prices are grams a prompt for one unit of the row made stricter."""
    return [
        {
            "row": row.name,
            "limit": number(row.limit),
            "value": number(row.value),
            "unit": row.unit,
            "price_g_per_unit": number(row.price_g),
            "exceeded_by": number(row.excess),
        }
        for row in (() if snapshot.decider is None else snapshot.decider.rows)
    ]


def _mix_json(plan: Plan) -> dict[str, Any]:
    saving = None
    if plan.reference_g > 0:
        saving = 1.0 - plan.expected_g / plan.reference_g
    return {
        "feasible": plan.feasible,
        "floor_quality": number(plan.floor_quality),
        "expected_quality": number(plan.expected_quality),
        "reference_quality": number(plan.reference_quality),
        "reachable_quality": number(plan.reachable_quality),
        "expected_g": number(plan.expected_g),
        "reference_g": number(plan.reference_g),
        "expected_saving": number(saving),
        "price_of_quality_g_per_point": None
        if plan.price_of_quality_g is None
        else number(plan.price_of_quality_g / 100.0),
        "embodied": plan.embodied,
        "categories": [
            {
                "category": category,
                "share": number(plan.w[c]),
                "mix": [
                    {
                        **option_json(option),
                        "weight": number(plan.x[c, o]),
                        "expected_g": number(plan.g[c, o]),
                        "expected_quality": number(plan.q[c, o]),
                    }
                    for o, option in sorted(enumerate(plan.options), key=lambda pair: -plan.x[c, pair[0]])
                    if plan.x[c, o] > 1e-9
                ],
            }
            for c, category in enumerate(plan.categories)
        ],
    }
