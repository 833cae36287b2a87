"""HotCarbon'24's Tables 2 to 5 for models of one's own: what each answer took, by category, model and prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.papers.figures import Compared, Row
from router.domain.estimates import FloatArray, Known, Terms
from router.estimate.known import take


def tables_3_to_5(known: Known, seen: Sequence[int], terms: Terms) -> list[Row]:
    """By category and model, over the known prompts.

    Args:
        known: Answers of the models.
        seen: Which of its rows are known.
        terms: Grams per joule and second of its options.
    """
    part = take(known, seen)
    grams = _grams(part, terms)
    rows = []
    for category in dict.fromkeys(c for c in part.categories if c is not None):
        here = np.array([c == category for c in part.categories])
        for o, option in enumerate(part.options):
            right = here & (part.quality[:, o] >= 0.5)
            rows.append(
                Row(
                    f"Tables 3-5: {category}",
                    option.model,
                    (
                        Compared(
                            "gCO2e, mean of correct (3)",
                            None,
                            float(grams[right, o].mean()) if right.any() else None,
                            decimals=5,
                        ),
                        Compared("accuracy (4)", None, float(part.quality[here, o].mean()), decimals=2),
                        Compared("gCO2e, sum (5)", None, float(grams[here, o].sum()), decimals=4),
                    ),
                )
            )
    return rows


def table_2(known: Known, unseen: Sequence[int], terms: Terms) -> Row:
    """Grams of each correct answer to an unseen prompt, in the order of the prompts, and the cheapest of them.

    Args:
        known: Answers of the models.
        unseen: Which of its rows are unseen.
        terms: Grams per joule and second of its options.
    """
    part = take(known, unseen)
    grams = _grams(part, terms)
    right = part.quality >= 0.5  # (P, M)
    cheapest = np.where(right, grams, np.inf).min(axis=1)
    answered = np.isfinite(cheapest)
    lines = []
    for o, option in enumerate(part.options):
        cells = " ".join(f"{grams[i, o]:.4f}" if right[i, o] else "-" for i in range(len(unseen)))
        lines.append(f"{option.model}: {cells}")
    return Row(
        "Table 2: unseen",
        "per-prompt oracle: cheapest correct model",
        (
            Compared("accuracy", None, float(answered.mean()), decimals=3),
            Compared("gCO2e, sum of correct", None, float(cheapest[answered].sum()), decimals=4),
        ),
        note="It sees the answers before choosing. Grams of correct answers, prompt by prompt: " + "; ".join(lines),
        headline=True,
    )


def _grams(known: Known, terms: Terms) -> FloatArray:
    """(n, O) SCI of each answer; the embodied part only where every answer's seconds are known."""
    grams = known.energy_j * terms.g_per_j
    embodied = known.duration_s * terms.g_per_s
    return grams + embodied if np.isfinite(embodied[np.isfinite(grams)]).all() else grams
