"""HotCarbon'24's classifier: the nearest measured prompt's cheapest option that answered it correctly.

The paper does not say what happens when none did, nor with ties: the reference answers, and the option with the
lower mean SCI goes first. An answer counts as correct from a quality of ``CORRECT`` on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.domain.decision import Plan
from router.domain.errors import PolicyError
from router.domain.estimates import Estimates, FloatArray, IntArray, Known, PromptView, Terms
from router.policy.terms import grams_of, pooled_grams, price

CORRECT = 0.5


@dataclass(slots=True)
class Nearest:
    """Fitted once, then only read."""

    name: str = "nearest"
    _choice: IntArray | None = None
    _columns: int = 0

    @property
    def plan(self) -> Plan | None:
        """None: it decides prompt by prompt and knows no floor."""
        return None

    def fit(self, known: Known, estimates: Estimates, terms: Terms) -> Nearest:
        """Choose for each known prompt.

        Raises:
            PolicyError: If no grams can be computed.
        """
        grams = grams_of(estimates, terms)
        g = price(known.energy_j, known.duration_s, terms, grams.with_embodied)  # (n, O)
        right = np.isfinite(g) & (np.nan_to_num(known.quality) >= CORRECT)
        cost = np.where(right, g, np.inf)
        cheapest = cost.min(axis=1, keepdims=True)
        mean = np.where(
            np.isfinite(m := pooled_grams(estimates.w, grams.table, estimates.reference)), m, np.inf
        )  # (O,)
        tied = np.where(right & (cost <= cheapest), mean, np.inf)
        self._choice = np.where(right.any(axis=1), np.argmin(tied, axis=1), estimates.reference).astype(np.int64)
        unranked = right.any(axis=1) & ~np.isfinite(tied.min(axis=1))
        self._choice[unranked] = np.argmin(cost[unranked], axis=1)
        self._columns = len(known.options)
        return self

    def weights(self, view: PromptView) -> FloatArray:
        """(n, O), all on one option."""
        if self._choice is None:
            raise PolicyError("fit the policy first")
        return np.asarray(np.eye(self._columns)[self._choice[view.neighbour_index[:, 0]]])
