"""Cascades beside the options: the estimator's arrays with a column more for each cascade that is in.

What a column holds for a known prompt is what the choice made without that prompt would have given it
(:mod:`router.policy.cascade`); what is expected of a new prompt follows from what is expected of its parts
(:mod:`router.learn.cascade_columns`). The estimates of the options themselves stay as they are without cascades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.domain.cascade import CascadeMode, Signals
from router.domain.catalogue import Option
from router.domain.estimates import Draws, FloatArray, IntArray, Known, PromptView, Terms
from router.estimate.estimator import Estimator
from router.estimate.probe import fold_of
from router.estimate.table import cell_mean, redrawn, shrink
from router.learn.cascade_columns import Fitted, column_of, hstack, widened, with_columns
from router.learn.cascade_ground import PRICES, Ground
from router.policy.cascade import FEWEST, Evidence, Pick, best_single, loss, mean_and_error

FOLDS = 5
SURE = 1.645
"""Standard errors by which cascades have to be ahead to be let in: one in twenty by luck. One would do to choose among
them, but whoever asks waits for the first token until a cascade has decided."""
ALIKE = 0.1
"""Cascades of the same options and signal that send on shares of the prompts less than this apart are one column: the
more columns that differ by luck alone, the luckier the one the plan takes."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A cascade as it did on prompts it was not chosen on.

    Attributes:
        column: The cascade.
        is_in: Whether it is a column of the plan.
        ahead: Grams it is ahead of the best single option once quality is paid for, as a share of the reference's
            grams: of all cascades chosen alike at its price.
        error: Standard error of that.
        sent_on: Share of the known prompts that went on.
        first_token_s: Mean seconds before its first token can be sent, or None.
    """

    column: Option
    is_in: bool
    ahead: float
    error: float
    sent_on: float
    first_token_s: float | None

    def __str__(self) -> str:
        """For people."""
        late = "" if self.first_token_s is None else f", first token after {self.first_token_s:.1f} s"
        return (
            f"cascade {'in' if self.is_in else 'out'}: {self.column} ({self.sent_on:.0%} go on{late}); "
            f"{self.ahead:+.1%} +- {self.error:.1%} of the reference's grams on prompts it was not chosen on"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadedEstimator(Estimator):
    """An estimator whose known prompts, table and views have the cascades' columns behind the options'.

    Attributes:
        fits: Of each cascade's column.
        judged: Every cascade that was considered, for people.
        notes: What a reader has to know.
    """

    fits: tuple[Fitted, ...] = ()
    judged: tuple[Judged, ...] = ()
    notes: tuple[str, ...] = ()

    def view(self, texts: Sequence[str], embeddings: FloatArray) -> PromptView:
        """What the decision may see of new prompts."""
        return widened(Estimator.view(self, texts, embeddings), [self.fits] * len(texts))

    def outcomes(self, unseen: Known, signals: Signals) -> Known:
        """Measured prompts (with their signals) with what the cascades would have given them."""
        columns = [column_of(fit.pick, unseen, signals) for fit in self.fits]
        return with_columns(unseen, self.known.options[len(unseen.options) :], columns)


def with_cascades(
    estimator: Estimator, signals: Signals | None, terms: Terms, mode: CascadeMode, seed: int = 0
) -> CascadedEstimator:
    """The estimator with cascades as further columns, where there are any to have.

    Args:
        estimator: Fitted on the options alone.
        signals: Of the known prompts' answers; None where they were not looked for.
        terms: Grams per joule and second of the options.
        mode: ``auto`` lets in what is ahead of single options by ``SURE`` standard errors, on prompts it was not
            chosen on;
            ``on`` all that look ahead where they were chosen, and leaves the rest to the plan.
        seed: Of the folds.
    """
    known, plain = estimator.known, estimator.estimates

    def unchanged(*notes: str) -> CascadedEstimator:
        return CascadedEstimator(
            known, estimator.probe, estimator.looking, estimator.model, estimator.neighbourhood, plain, notes=notes
        )

    if mode == "off":
        return unchanged()
    if signals is None or signals.are_missing:
        return unchanged("no cascades: the measurements hold no signals (log-probabilities, answers)")
    ground = Ground.of(known, plain, signals, terms, fold_of(known.texts, FOLDS, seed + 2))
    if ground.whole.sum() < 2 * FEWEST:
        return unchanged(
            f"no cascades: {int(ground.whole.sum())} prompts answered by all options are too few to choose"
        )
    fits, columns, picks_of_rows = ground.fit(np.arange(len(known.texts)))
    kept, judged = _judge(ground, fits, picks_of_rows, mode)
    notes = tuple(str(j) for j in judged if j.is_in) or (_best_of(judged),)
    if not kept:
        return replace(unchanged(*notes), judged=judged)
    expected = ground.foretold(kept)
    names = tuple(fits[s].pick.column(known.options) for s in kept)
    wide = with_columns(known, names, [columns[s] for s in kept])
    rows = estimator.estimates.rows
    assert rows is not None
    cells = shrink(rows.p, wide.quality)
    chosen = tuple(fits[s] for s in kept)
    each = np.eye(len(plain.categories))
    table = replace(
        plain,
        options=wide.options,
        q=hstack(plain.q, [fit.quality(each, plain.q) for fit in chosen]),
        q_se=np.hstack([plain.q_se, cells.se[:, -len(kept) :]]),
        energy_j=hstack(plain.energy_j, [fit.joules(each, plain.energy_j) for fit in chosen]),
        duration_s=hstack(plain.duration_s, [fit.seconds(each, plain.duration_s) for fit in chosen]),
        n=np.hstack([plain.n, cells.n[:, -len(kept) :]]),
        rows=widened(rows, expected),
        plain_q=None
        if plain.plain_q is None
        else hstack(plain.plain_q, list(cell_mean(rows.p, wide.quality[:, -len(kept) :]).T)),
        draws=None if plain.draws is None else _drawn(plain.draws, rows.p, wide.quality, seed),
    )
    return CascadedEstimator(
        wide,
        estimator.probe,
        estimator.looking,
        estimator.model,
        estimator.neighbourhood,
        table,
        fits=chosen,
        judged=judged,
        notes=notes,
    )


def _judge(
    ground: Ground, fits: list[Fitted], parts: list[tuple[list[Pick], IntArray]], mode: CascadeMode
) -> tuple[list[int], tuple[Judged, ...]]:
    """Which slots become columns, and what is to be said of each."""
    slots, reference_g = ground.slots, ground.slots[0].price / PRICES[0]
    groups: dict[tuple[float, bool], list[int]] = {}
    for s, slot in enumerate(slots):
        groups.setdefault((slot.price, slot.category is not None), []).append(s)
    u = np.where(ground.whole, ground.v, 0.0)
    u = u / u.sum()
    everywhere = np.zeros(u.size)
    found = []
    for (own_price, _), group in groups.items():
        ahead = _ahead(ground, group, parts)
        found.append((*mean_and_error(ahead, u), group))
        everywhere += ahead / (reference_g + own_price)  # what an answer can cost or be worth at this price
    # Of ten groups one is ahead of its own error by luck: cascades have to be ahead on the whole, too.
    mean, error = mean_and_error(everywhere, u)
    pays = mean > SURE * error
    found.sort(key=lambda entry: entry[0] <= SURE * entry[1])  # those that are in come first
    kept: list[int] = []
    judged: list[Judged] = []
    seen: list[tuple[Pick, float]] = []
    for mean, error, group in found:
        is_in = mode == "on" or (pays and mean > SURE * error)
        for s in group:
            pick = fits[s].pick
            if pick.then is None:
                continue
            column = column_of(pick, ground.known, ground.signals)
            sent, kind = float(np.mean(column.sent_on)), replace(pick, threshold=None)
            if any(kind == other and abs(sent - share) < ALIKE for other, share in seen):
                continue
            seen.append((kind, sent))
            late = float(np.nanmean(column.first_token_s)) if np.isfinite(column.first_token_s).any() else None
            name = pick.column(ground.known.options)
            judged.append(Judged(name, is_in, mean / reference_g, error / reference_g, sent, late))
            if is_in:
                kept.append(s)
    return kept, tuple(judged)


def _ahead(ground: Ground, group: Sequence[int], parts: list[tuple[list[Pick], IntArray]]) -> FloatArray:
    """(n,) how far the choices of a group of slots are ahead of the best single options, made without the prompt."""
    p, v = ground.p, ground.v
    ahead = np.zeros(v.size)
    for picks, rows in parts:
        inside = rows[ground.whole[rows]]
        others = np.setdiff1d(np.flatnonzero(ground.whole), inside)
        others = others if others.size else inside
        theirs = ground.evidence(others)
        mine = Evidence(
            ground.known.quality[inside], ground.g[inside], ground.signals.take(inside), np.zeros(0, dtype=np.int64)
        )
        for s in group:
            if picks[s].then is None:
                continue
            slot = ground.slots[s]
            single = ground.outside(best_single(theirs, slot.weights(p[others], v[others]), slot.price))
            share = 1.0 if slot.category is None else p[inside, slot.category]
            ahead[inside] += share * (loss(single, mine, slot.price) - loss(picks[s], mine, slot.price))
    return ahead


def _best_of(judged: Sequence[Judged]) -> str:
    """Why there is none."""
    if not judged:
        return "no cascade is in: none is ahead of the best single options even where it was chosen"
    best = max(judged, key=lambda j: j.ahead)
    return f"no cascade is in: on the whole they are not surely ahead; the nearest: {best}"


def _drawn(draws: Draws, p: FloatArray, quality: FloatArray, seed: int) -> Draws:
    """The options' draws, and those of the cascades (the last K of O + K) from the same prompts drawn with one seed."""
    options = draws.q.shape[2]
    wide = redrawn(p, quality, len(draws.q), seed)
    return Draws(
        np.concatenate([draws.q, wide.q[:, :, options:]], axis=2),
        np.concatenate([draws.plain_q, wide.plain_q[:, :, options:]], axis=2),
    )
