"""A cascade's column: what it gave measured prompts, and what is expected of new ones.

    q = q_A + sum_c p_c dq_c          dq_c  the column's shrunk mean in category c less A's
    E = (E_A + E_S + sum_c p_c r_c E_B) k     r_c the share of B's joules that category c runs up, k the ratio of what
                                      the column took on prompts it was not chosen on to what this sum would say

so the tokens of a long history are paid for as often as they are read. Seconds likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.domain.cascade import Signals
from router.domain.catalogue import Option
from router.domain.estimates import FloatArray, IntArray, Known, PromptView
from router.estimate.prompt import mix
from router.policy.cascade import Pick

STEADY_PROMPTS = 4.0
"""Pseudo-prompts of the pooled share that steady a category's share of prompts sent on."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of :class:`Known`, (n,) each."""

    quality: FloatArray
    energy_j: FloatArray
    duration_s: FloatArray
    output_tokens: FloatArray
    prompt_tokens: FloatArray
    first_token_s: FloatArray
    sent_on: FloatArray


@dataclass(frozen=True, slots=True)
class Fitted:
    """One slot: its choice, and what that does per category.

    Attributes:
        pick: By the columns of the options.
        dq: (C,) quality beyond the first option's.
        share_j: (C,) of the escalation's joules that is run up; ``share_s`` of its seconds.
        share_s: (C,).
        scale_j: Correction of the sum of joules; ``scale_s`` of seconds.
        scale_s: Likewise.
    """

    pick: Pick
    dq: FloatArray
    share_j: FloatArray
    share_s: FloatArray
    scale_j: float
    scale_s: float

    def quality(self, p: FloatArray, q: FloatArray) -> FloatArray:
        """(n,) from the options' q (n, O) and categories p (n, C)."""
        return np.clip(q[:, self.pick.first] + _mixed(p, self.dq), 0.0, 1.0)

    def joules(self, p: FloatArray, energy_j: FloatArray) -> FloatArray:
        """(n,) likewise."""
        return self._sum(p, energy_j, self.share_j) * self.scale_j

    def seconds(self, p: FloatArray, duration_s: FloatArray) -> FloatArray:
        """(n,) likewise."""
        return self._sum(p, duration_s, self.share_s) * self.scale_s

    def _sum(self, p: FloatArray, values: FloatArray, share: FloatArray) -> FloatArray:
        total = values[:, self.pick.first].copy()
        if self.pick.beside is not None:
            total += values[:, self.pick.beside]
        if self.pick.then is not None:
            total += _mixed(p, share) * values[:, self.pick.then]
        return total


def column_of(pick: Pick, known: Known, signals: Signals) -> Column:
    """What a choice gives measured prompts."""
    sent_on = pick.sent_on(signals)
    late = known.prefill_s[:, pick.first].copy()
    if pick.then is not None:  # nothing is sent before it is decided
        late = pick.charged(known.duration_s, np.zeros_like(sent_on))
        late = late + np.where(sent_on, known.prefill_s[:, pick.then], 0.0)
    return Column(
        pick.answered(known.quality, sent_on).copy(),
        pick.charged(known.energy_j, sent_on),
        pick.charged(known.duration_s, sent_on),
        pick.charged(known.output_tokens, sent_on),
        known.prompt_tokens[:, pick.first].copy(),
        late,
        sent_on.astype(np.float64),
    )


def overwrite(column: Column, part: Column, at: IntArray) -> None:
    """Put a part's values into the column's rows ``at``."""
    for name in ("quality", "energy_j", "duration_s", "output_tokens", "prompt_tokens", "first_token_s", "sent_on"):
        getattr(column, name)[at] = getattr(part, name)


def fitted(pick: Pick, column: Column, known: Known, signals: Signals, p: FloatArray, dq: FloatArray) -> Fitted:
    """A choice with what it does per category; ``dq`` (C,) as in :class:`Fitted`, p (n, C)."""
    if pick.then is None:
        nothing = np.zeros(p.shape[1])
        return Fitted(pick, nothing, nothing, nothing, 1.0, 1.0)
    sent_on = pick.sent_on(signals)
    fit = Fitted(
        pick,
        dq,
        _share(p, sent_on, known.energy_j[:, pick.then]),
        _share(p, sent_on, known.duration_s[:, pick.then]),
        1.0,
        1.0,
    )
    return replace(
        fit,
        scale_j=_ratio(column.energy_j, fit._sum(p, known.energy_j, fit.share_j)),
        scale_s=_ratio(column.duration_s, fit._sum(p, known.duration_s, fit.share_s)),
    )


def _share(p: FloatArray, sent_on: np.ndarray, values: FloatArray) -> FloatArray:
    """(C,) share of the values that is run up by prompts sent on, few prompts steadied by the pooled share."""
    given = np.isfinite(values)
    if not given.any():
        return np.full(p.shape[1], np.nan)
    value = np.where(given, values, 0.0)
    pooled = float((value * sent_on).sum() / value.sum()) if value.sum() > 0 else 1.0
    steady = STEADY_PROMPTS * float(value.sum() / given.sum())
    return np.asarray((p.T @ (value * sent_on) + steady * pooled) / np.maximum(p.T @ value + steady, 1e-300))


def _ratio(taken: FloatArray, said: FloatArray) -> float:
    given = np.isfinite(taken) & np.isfinite(said)
    total = float(said[given].sum())
    return float(taken[given].sum()) / total if total > 0 else 1.0


def _mixed(p: FloatArray, cells: FloatArray) -> FloatArray:
    return mix(p, cells[:, None])[:, 0]


def with_columns(known: Known, names: Sequence[Option], columns: Sequence[Column]) -> Known:
    """Known prompts with cascades as further options."""
    nothing = [np.full(len(known.texts), np.nan) for _ in columns]
    return replace(
        known,
        options=(*known.options, *names),
        quality=hstack(known.quality, [c.quality for c in columns]),
        energy_j=hstack(known.energy_j, [c.energy_j for c in columns]),
        duration_s=hstack(known.duration_s, [c.duration_s for c in columns]),
        prompt_tokens=hstack(known.prompt_tokens, [c.prompt_tokens for c in columns]),
        output_tokens=hstack(known.output_tokens, [c.output_tokens for c in columns]),
        prefill_s=hstack(known.prefill_s, nothing),
        decode_s=hstack(known.decode_s, nothing),
        mean_logprob=hstack(known.mean_logprob, nothing),
    )


def widened(view: PromptView, fits: Sequence[Sequence[Fitted]]) -> PromptView:
    """A view with the cascades' columns; ``fits`` of each of its prompts."""
    assert view.q is not None
    assert view.energy_j is not None
    assert view.duration_s is not None
    width = len(fits[0]) if fits else 0
    blocks = {"q": view.q, "energy_j": view.energy_j, "duration_s": view.duration_s}
    more = {name: np.full((len(fits), width), np.nan) for name in blocks}
    rows_of_fit: dict[int, list[int]] = {}
    for i, own in enumerate(fits):
        rows_of_fit.setdefault(id(own), []).append(i)
    for rows in rows_of_fit.values():
        p = view.p[rows]
        for column, fit in enumerate(fits[rows[0]]):
            more["q"][rows, column] = fit.quality(p, view.q[rows])
            more["energy_j"][rows, column] = fit.joules(p, view.energy_j[rows])
            more["duration_s"][rows, column] = fit.seconds(p, view.duration_s[rows])
    wide = {name: np.hstack([block, more[name]]) for name, block in blocks.items()}
    return replace(view, **wide)


def hstack(values: FloatArray, columns: Sequence[FloatArray]) -> FloatArray:
    """(n, O + K) with further columns (n,) each."""
    return np.column_stack([values, *columns])
