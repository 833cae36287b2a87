"""Cascades beside the options: the estimator's arrays with a column more for each cascade that is in.

What a column holds for a known prompt is what the choice made without that prompt would have given it
(:mod:`router.policy.cascade`); what is expected of a new prompt follows from what is expected of its parts:

    q = q_A + sum_c p_c dq_c          dq_c  the column's shrunk mean in category c less A's
    E = (E_A + E_S + sum_c p_c r_c E_B) k     r_c the share of B's joules that category c runs up, k the ratio of what
                                      the column took on prompts it was not chosen on to what this sum would say

so the tokens of a long history are paid for as often as they are read. Seconds likewise. The estimates of the options
themselves stay exactly as they are without cascades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.domain.cascade import Cascade, CascadeMode, Signals
from router.domain.catalogue import Option
from router.domain.estimates import Estimates, FloatArray, IntArray, Known, PromptView, Terms
from router.estimate.estimator import Estimator
from router.estimate.known import take
from router.estimate.probe import fold_of
from router.estimate.prompt import mix
from router.estimate.table import shrink
from router.policy.cascade import (
    FEWEST,
    MARGIN,
    Evidence,
    Pick,
    Slot,
    best_single,
    choose,
    cross_fitted,
    loss,
    mean_and_error,
)
from router.policy.terms import grams_of, importance, price, rows_of

FOLDS = 5
PRICES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Prices of quality for which cascades are sought, in the reference's grams per unit of quality."""

ALIKE = 0.1
"""Cascades of the same options and signal that send on shares of the prompts less than this apart are one column: the
more columns that differ by luck alone, the luckier the one the plan takes."""

STEADY_PROMPTS = 4.0
"""Pseudo-prompts of the pooled share that steady a category's share of prompts sent on."""


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
        return _widened(Estimator.view(self, texts, embeddings), [self.fits] * len(texts))

    def outcomes(self, unseen: Known, signals: Signals) -> Known:
        """Measured prompts (with their signals) with what the cascades would have given them."""
        columns = [_given(fit.pick, unseen, signals) for fit in self.fits]
        return _beside(unseen, self.known.options[len(unseen.options) :], columns)


def with_cascades(
    estimator: Estimator, signals: Signals | None, terms: Terms, mode: CascadeMode, seed: int = 0
) -> CascadedEstimator:
    """The estimator with cascades as further columns, where there are any to have.

    Args:
        estimator: Fitted on the options alone.
        signals: Of the known prompts' answers; None where they were not looked for.
        terms: Grams per joule and second of the options.
        mode: ``auto`` lets in what is ahead of single options by a standard error, on prompts it was not chosen on;
            ``on`` all that look ahead where they were chosen, and leaves the rest to the plan.
        seed: Of the folds.
    """
    known, plain = estimator.known, estimator.estimates

    def unchanged(*notes: str) -> CascadedEstimator:
        return CascadedEstimator(known, estimator.probe, estimator.model, estimator.neighbourhood, plain, notes=notes)

    if mode == "off":
        return unchanged()
    if signals is None or signals.are_missing:
        return unchanged("no cascades: the measurements hold no signals (log-probabilities, answers)")
    ground = _Ground.of(known, plain, signals, terms, fold_of(known.texts, FOLDS, seed + 2))
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
    wide = _beside(known, names, [columns[s] for s in kept])
    rows = estimator.estimates.rows
    assert rows is not None
    cells = shrink(rows.p, wide.quality)
    chosen = tuple(fits[s] for s in kept)
    each = np.eye(len(plain.categories))
    table = replace(
        plain,
        options=wide.options,
        q=_hstack(plain.q, [fit.quality(each, plain.q) for fit in chosen]),
        q_se=np.hstack([plain.q_se, cells.se[:, -len(kept) :]]),
        energy_j=_hstack(plain.energy_j, [fit.joules(each, plain.energy_j) for fit in chosen]),
        duration_s=_hstack(plain.duration_s, [fit.seconds(each, plain.duration_s) for fit in chosen]),
        n=np.hstack([plain.n, cells.n[:, -len(kept) :]]),
        rows=_widened(rows, expected),
        plain_q=None if plain.plain_q is None else _hstack(plain.plain_q, list(_cell_means(rows.p, wide, len(kept)).T)),
        draws=None if plain.draws is None else _drawn(plain.draws, rows.p, wide.quality, seed),
    )
    return CascadedEstimator(
        wide, estimator.probe, estimator.model, estimator.neighbourhood, table, fits=chosen, judged=judged, notes=notes
    )


def terms_for(terms: Terms, options: Sequence[Option]) -> Terms:
    """Terms made to fit the cascades among the options: all that their parts cost and forbid."""
    plain = [o for o, option in enumerate(options) if not isinstance(option, Cascade)]
    if len(plain) == len(options):
        return terms
    place = {options[o]: o for o in plain}
    parts = [
        [place[part] for part in (option.first, option.then, option.beside) if part is not None]
        if isinstance(option, Cascade)
        else [o]
        for o, option in enumerate(options)
    ]

    def first(values: FloatArray) -> FloatArray:
        return np.array([values[own[0]] for own in parts])

    limits = terms.limits
    if limits is not None and limits.slots is not None:
        limits = replace(limits, slots=first(limits.slots))
    return replace(
        terms,
        g_per_j=first(terms.g_per_j),
        g_per_s=first(terms.g_per_s),
        limits=limits,
        load_j=None if terms.load_j is None else np.array([terms.load_j[own].sum() for own in parts]),
        load_s=None if terms.load_s is None else np.array([terms.load_s[own].sum() for own in parts]),
        closed=None if terms.closed is None else np.array([bool(terms.closed[own].any()) for own in parts]),
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of :class:`Known`, (n,) each."""

    quality: FloatArray
    energy_j: FloatArray
    duration_s: FloatArray
    output_tokens: FloatArray
    prompt_tokens: FloatArray
    first_token_s: FloatArray
    sent_on: FloatArray


@dataclass(frozen=True, slots=True)
class _Ground:
    """What cascades are chosen on.

    Attributes:
        known: The measured prompts.
        plain: The options' table, with its rows.
        signals: Of the known prompts.
        g: (n, O) grams.
        usable: (U,) options measured on enough prompts to take part.
        whole: (n,) prompts on which all of those are known.
        v: (n,) weights of the prompts.
        fold: (n,).
        slots: What is sought.
    """

    known: Known
    plain: Estimates
    signals: Signals
    g: FloatArray
    usable: IntArray
    whole: np.ndarray
    v: FloatArray
    fold: IntArray
    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, known: Known, plain: Estimates, signals: Signals, terms: Terms, fold: IntArray) -> _Ground:
        g = price(known.energy_j, known.duration_s, terms, grams_of(plain, terms).with_embodied)
        told = np.isfinite(known.quality) & np.isfinite(g)
        usable = np.flatnonzero(2 * told.sum(axis=0) >= told.sum(axis=0).max())
        reference_g = float(np.nanmean(g[:, plain.reference]))
        categories: list[int | None] = [None, *range(len(plain.categories))] if len(plain.categories) > 1 else [None]
        return cls(
            known,
            plain,
            signals,
            g,
            usable,
            np.asarray(told[:, usable].all(axis=1)),
            importance(rows_of(known, plain).p, plain.w),
            fold,
            tuple(Slot(c, factor * reference_g) for factor in PRICES for c in categories),
        )

    @property
    def p(self) -> FloatArray:
        """(n, C)."""
        return rows_of(self.known, self.plain).p

    def evidence(self, rows: IntArray) -> Evidence:
        """Of some prompts, the usable options alone."""
        cells = np.ix_(rows, self.usable)
        names = [self.known.options[o].site for o in self.usable]
        signals = self.signals
        return Evidence(
            self.known.quality[cells],
            self.g[cells],
            Signals(signals.mean_logprob[cells], signals.checks[cells], signals.sameness[cells]),
            np.array([names.index(name) for name in names], dtype=np.int64),
        )

    def chosen(self, rows: IntArray) -> tuple[list[Pick], list[tuple[list[Pick], IntArray]]]:
        """The picks of all these prompts, and per fold those made without it with the prompts (of ``rows``) in it."""
        whole = rows[self.whole[rows]]
        evidence, p, v = self.evidence(whole), self.p[whole], self.v[whole] / self.v[whole].sum()
        final = [self.outside(pick) for pick in choose(evidence, p, v, self.slots)]
        picks, _ = cross_fitted(evidence, p, v, self.slots, self.fold[whole])
        parts = []
        for k, made in zip(np.unique(self.fold[whole]), picks, strict=True):
            parts.append(([self.outside(pick) for pick in made], rows[self.fold[rows] == k]))
        return final, parts

    def fit(self, rows: IntArray) -> tuple[list[Fitted], list[_Column], list[tuple[list[Pick], IntArray]]]:
        """Every slot fitted on these prompts, its column on them, and who was chosen for which of them."""
        final, parts = self.chosen(rows)
        known, signals, p = take(self.known, rows), self.signals.take(rows), self.p[rows]
        place = np.full(len(self.known.texts), -1)
        place[rows] = np.arange(rows.size)
        columns = []
        for s in range(len(self.slots)):
            column = _given(final[s], known, signals)
            for picks, inside in parts:
                _overwrite(column, _given(picks[s], take(self.known, inside), self.signals.take(inside)), place[inside])
            columns.append(column)
        cells = shrink(p, np.column_stack([known.quality, *(column.quality for column in columns)])).mean
        width = len(known.options)
        fits = []
        for s, (pick, column) in enumerate(zip(final, columns, strict=True)):
            beyond = cells[:, width + s] - cells[:, pick.first]
            fits.append(_fitted(pick, column, known, signals, p, beyond))
        return fits, columns, parts

    def foretold(self, kept: Sequence[int]) -> list[tuple[Fitted, ...]]:
        """For every known prompt the fits of the kept slots on the other folds."""
        everybody = np.arange(len(self.known.texts))
        found: list[tuple[Fitted, ...]] = [()] * everybody.size
        for k in np.unique(self.fold):
            others = everybody[self.fold != k]
            others = others if self.whole[others].sum() >= FEWEST else everybody
            fits, _, _ = self.fit(others)
            own = tuple(fits[s] for s in kept)
            for i in everybody[self.fold == k]:
                found[i] = own
        return found

    def outside(self, pick: Pick) -> Pick:
        """By the columns of all options."""

        def column(o: int | None) -> int | None:
            return None if o is None else int(self.usable[o])

        return replace(pick, first=int(self.usable[pick.first]), then=column(pick.then), beside=column(pick.beside))


def _judge(
    ground: _Ground, fits: list[Fitted], parts: list[tuple[list[Pick], IntArray]], mode: CascadeMode
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
    pays = mean > MARGIN * error
    found.sort(key=lambda entry: entry[0] <= MARGIN * entry[1])  # those that are in come first
    kept: list[int] = []
    judged: list[Judged] = []
    seen: list[tuple[Pick, float]] = []
    for mean, error, group in found:
        is_in = mode == "on" or (pays and mean > MARGIN * error)
        for s in group:
            pick = fits[s].pick
            if pick.then is None:
                continue
            column = _given(pick, ground.known, ground.signals)
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


def _ahead(ground: _Ground, group: Sequence[int], parts: list[tuple[list[Pick], IntArray]]) -> FloatArray:
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
    return f"no cascade is in: on the whole they are not ahead by a standard error; the nearest: {best}"


def _given(pick: Pick, known: Known, signals: Signals) -> _Column:
    """What a choice gives measured prompts."""
    sent_on = pick.sent_on(signals)
    late = known.prefill_s[:, pick.first].copy()
    if pick.then is not None:  # nothing is sent before it is decided
        late = pick.charged(known.duration_s, np.zeros_like(sent_on))
        late = late + np.where(sent_on, known.prefill_s[:, pick.then], 0.0)
    return _Column(
        pick.answered(known.quality, sent_on).copy(),
        pick.charged(known.energy_j, sent_on),
        pick.charged(known.duration_s, sent_on),
        pick.charged(known.output_tokens, sent_on),
        known.prompt_tokens[:, pick.first].copy(),
        late,
        sent_on.astype(np.float64),
    )


def _overwrite(column: _Column, part: _Column, at: IntArray) -> None:
    for name in ("quality", "energy_j", "duration_s", "output_tokens", "prompt_tokens", "first_token_s", "sent_on"):
        getattr(column, name)[at] = getattr(part, name)


def _fitted(pick: Pick, column: _Column, known: Known, signals: Signals, p: FloatArray, dq: FloatArray) -> Fitted:
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


def _cell_means(p: FloatArray, wide: Known, count: int) -> FloatArray:
    """(C, K) plain means of the last columns' quality per category, NaN where nothing is known."""
    quality = wide.quality[:, -count:]
    given = np.isfinite(quality)
    mass = p.T @ given
    return np.asarray(np.where(mass > 0, p.T @ np.where(given, quality, 0.0) / np.where(mass > 0, mass, 1.0), np.nan))


def _drawn(draws: FloatArray, p: FloatArray, quality: FloatArray, seed: int) -> FloatArray:
    """(B, C, O + K) the options' draws, and those of the cascades from the same prompts drawn with the same seed."""
    table = shrink(p, quality).mean
    rows = np.random.default_rng(seed).integers(0, len(quality), (len(draws), len(quality)))
    moved = np.nan_to_num(np.array([shrink(p[i], quality[i]).mean - table for i in rows]))
    return np.concatenate([draws, moved[:, :, draws.shape[2] :]], axis=2)


def _mixed(p: FloatArray, cells: FloatArray) -> FloatArray:
    return mix(p, cells[:, None])[:, 0]


def _hstack(values: FloatArray, columns: Sequence[FloatArray]) -> FloatArray:
    return np.column_stack([values, *columns])


def _widened(view: PromptView, fits: Sequence[Sequence[Fitted]]) -> PromptView:
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


def _beside(known: Known, names: Sequence[Option], columns: Sequence[_Column]) -> Known:
    nothing = [np.full(len(known.texts), np.nan) for _ in columns]
    return replace(
        known,
        options=(*known.options, *names),
        quality=_hstack(known.quality, [c.quality for c in columns]),
        energy_j=_hstack(known.energy_j, [c.energy_j for c in columns]),
        duration_s=_hstack(known.duration_s, [c.duration_s for c in columns]),
        prompt_tokens=_hstack(known.prompt_tokens, [c.prompt_tokens for c in columns]),
        output_tokens=_hstack(known.output_tokens, [c.output_tokens for c in columns]),
        prefill_s=_hstack(known.prefill_s, nothing),
        decode_s=_hstack(known.decode_s, nothing),
        mean_logprob=_hstack(known.mean_logprob, nothing),
    )
