"""Means per category and option under soft assignment, shrunk where few prompts speak (empirical Bayes).

With a_ic = v_i p(c | prompt i) and the sums running over prompts i on which option o is known:

    n[c,o]  = (sum_i a_ic)^2 / sum_i a_ic^2                     effective number of prompts (Kish)
    m[c,o]  = sum_i a_ic y_io / sum_i a_ic                      the cell's own mean
    s2[c,o] = (var_c(z_o) n + var(z_o) k0) / ((n + k0) n)       its squared error against the other options, with
                                                                z_io = y_io - mean_o y_io: all options answer the
                                                                same prompts, so a lucky draw of easy ones moves
                                                                the row, not the differences; k0 pseudo-prompts of
                                                                the pooled variance steady small cells
    prior   = row[c] + pooled[o]                                additive: how hard the category is for all options
                                                                plus how the option does over all categories
    tau2[o] = max(0, weighted mean of (m - prior)^2 - s2)       how much cells truly differ from that (moments)
    B       = 1 - f s2 / (tau2 + s2)                            f = (C - 3) / (C - 1), at least 1/4: tau2 is itself
                                                                estimated from C cells (Efron and Morris), and too
                                                                much shrinkage costs more than too little
    y[c,o]  = prior + B (m - prior)

Where options are directives of models, quality is shrunk in two steps: a model (the mean of its options) as above, and
what its directives add, of which there is less to learn, by :mod:`router.estimate.directives`.

The pooled mean towards which an option is shrunk is thus taken relative to the category's own difficulty: an
option measured on easy prompts only does not look good on hard ones. Joules and seconds are shrunk in the same
way in logarithms (their errors are multiplicative), around the logarithm of the cell's mean. A cell with an
effective number below ``MIN_PROMPTS``, or with fewer measured prompts than that which are more likely of this category
than of any other, stays NaN: nothing is known of it, and a prior alone is no measurement. So does the quality of an
option that was graded on none of the prompts labelled with a category: others that read like it tell nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from router.domain.catalogue import NO_DIRECTIVE, Option
from router.domain.errors import PolicyError
from router.domain.estimates import Draws, Estimates, FloatArray, Known
from router.estimate.directives import added, membership

MIN_PROMPTS = 1.0
PSEUDO_PROMPTS = 4.0


@dataclass(frozen=True, slots=True)
class Cells:
    """One shrunk quantity.

    Attributes:
        mean: (C, O), NaN where unknown.
        se: (C, O) its standard error after shrinkage.
        n: (C, O) effective number of prompts.
    """

    mean: FloatArray
    se: FloatArray
    n: FloatArray


def estimate(
    known: Known,
    p: FloatArray,
    categories: tuple[str, ...],
    reference: Option | str | None = None,
    traffic: FloatArray | None = None,
) -> Estimates:
    """The table the program is made of.

    Args:
        known: Measured prompts.
        p: (n, C) probability of each category, out of fold.
        categories: (C,) names.
        reference: The reference as configured (an option, or a model's name at L0); None to take the best.
        traffic: (C,) shares of the categories in the traffic; as in the measured prompts where not given.

    Raises:
        PolicyError: If there is no prompt, or no option that could be the reference.
    """
    if not known.texts or not known.options:
        raise PolicyError("no measured prompts to estimate from", hint="run `make bench`")
    w = p.mean(axis=0) if traffic is None else np.asarray(traffic, dtype=np.float64) / np.sum(traffic)  # (C,)
    quality = _only_graded(shrink(p, known.quality, membership(known.options)), known, categories)
    energy = shrink_positive(p, known.energy_j)
    duration = shrink_positive(p, known.duration_s)
    chosen = reference_of(known, reference)
    q, se = _bounded(quality.mean), quality.se.copy()
    energy_j, duration_s = energy.mean.copy(), duration.mean.copy()
    ungraded = np.flatnonzero(~np.isfinite(q).any(axis=1))
    for c in np.flatnonzero(~(np.isfinite(q) & np.isfinite(energy_j)).any(axis=1)):
        # Nobody measured this category: only the reference may answer it, at its own pooled figures where it has none.
        if not np.isfinite(q[c, chosen]):
            q[c, chosen] = np.nanmean(known.quality[:, chosen])
            se[c, chosen] = np.nanstd(known.quality[:, chosen])
        if not np.isfinite(energy_j[c, chosen]):
            energy_j[c, chosen] = np.nanmean(known.energy_j[:, chosen])
        if not np.isfinite(duration_s[c, chosen]):
            duration_s[c, chosen] = _column_mean(known.duration_s)[chosen]
    return Estimates(
        categories=categories,
        options=known.options,
        w=w,
        q=q,
        q_se=se,
        energy_j=energy_j,
        duration_s=duration_s,
        n=quality.n,
        reference=chosen,
        plain_q=np.where(np.isfinite(quality.mean), cell_mean(p, known.quality), np.nan),
        ungraded_rows=tuple(map(int, ungraded)),
    )


def _only_graded(cells: Cells, known: Known, categories: tuple[str, ...]) -> Cells:
    """Cells without those whose category has labelled prompts of which the option was graded on none."""
    labelled = np.array([[label == name for name in categories] for label in known.categories], dtype=np.float64)
    graded = labelled.T @ np.isfinite(known.quality)  # (C, O)
    unknown = (labelled.sum(axis=0) > 0)[:, None] & (graded == 0)
    return Cells(*(np.where(unknown, nothing, part) for part, nothing in (
        (cells.mean, np.nan), (cells.se, np.nan), (cells.n, 0.0),
    )))  # fmt: skip


def redrawn(p: FloatArray, y: FloatArray, draws: int, seed: int = 0, models: FloatArray | None = None) -> Draws:
    """Tables of prompts drawn anew, with replacement (B of them), against the table of ``y`` (n, O).

    0 where a cell is unknown in the table or in the draw. ``models`` as in :func:`shrink`.
    """
    rows = np.random.default_rng(seed).integers(0, len(y), (draws, len(y)))
    q = np.array([_bounded(shrink(p[i], y[i], models).mean) for i in rows]) - _bounded(shrink(p, y, models).mean)
    plain = np.array([cell_mean(p[i], y[i]) for i in rows]) - cell_mean(p, y)
    return Draws(np.nan_to_num(q), np.where(np.isfinite(q), plain, 0.0))


def shrink(p: FloatArray, y: FloatArray, models: FloatArray | None = None) -> Cells:
    """Shrunk means of ``y`` (n, O) per category; NaN entries of ``y`` are left out.

    Args:
        p: (n, C) probability of each category.
        y: (n, O) values.
        models: (O, M) membership; each column of ``y`` for itself where not given. Errors and numbers of prompts are
            then still those of columns for themselves, which are not smaller.
    """
    if models is not None and models.shape[1] < models.shape[0]:
        alone = shrink(p, y)
        beside = added(p, y, cell_mean(p, y), alone.n, models)
        # Taken, not multiplied: a model unknown in a category is NaN there, and must not make the others so.
        of_models = shrink(p, _mean_of(y - p @ beside, models)).mean[:, models.argmax(axis=1)]
        return replace(alone, mean=np.where(np.isfinite(alone.mean), of_models + beside, np.nan))
    given = np.isfinite(y)
    value = np.where(given, y, 0.0)
    mass = p.T @ given  # (C, O)
    # Many prompts of other tasks, each a little like this one, add up to a large n and say nothing about it.
    named = (p >= p.max(axis=1, keepdims=True)).T.astype(np.float64) @ given  # (C, O)
    n = np.where(named >= MIN_PROMPTS, _divide(mass**2, (p**2).T @ given), 0.0)
    mean = _divide(p.T @ value, mass)
    own2 = _error2(p, value, given, n)
    paired2 = _error2(p, _against_the_others(y), given, n)
    return _towards_prior(mean, own2, paired2, n, mass)


def shrink_positive(p: FloatArray, y: FloatArray) -> Cells:
    """Like :func:`shrink` for joules or seconds: in logarithms of the cells' means."""
    plain = shrink(p, np.where(y >= 0, y, np.nan))
    raw = cell_mean(p, y)
    positive = np.isfinite(raw) & (raw > 0) & (plain.n >= MIN_PROMPTS)
    log_mean = np.where(positive, np.log(np.where(positive, raw, 1.0)), np.nan)
    expected = p @ np.where(positive, raw, 0.0)
    relative = np.where(np.isfinite(y) & (y >= 0) & (expected > 0), y / np.where(expected > 0, expected, 1.0), np.nan)
    given = np.isfinite(relative)
    own2 = _error2(p, np.where(given, relative, 0.0), given, plain.n)
    paired2 = _error2(p, _against_the_others(relative), given, plain.n)
    cells = _towards_prior(log_mean, own2, paired2, plain.n, np.where(positive, plain.n, 0.0))
    mean = np.exp(cells.mean)
    zero = np.isfinite(raw) & (raw == 0) & (plain.n >= MIN_PROMPTS)
    return Cells(np.where(zero, 0.0, mean), np.where(zero, 0.0, mean * cells.se), plain.n)


def reference_of(known: Known, wanted: Option | str | None = None) -> int:
    """Column of the reference: highest mean quality at L0, ties to the cheaper, unless configured.

    Options graded on fewer than half as many prompts as the best covered one are passed over: their means speak
    of other prompts. An option without known joules cannot be a reference, since nothing could be compared to it.

    Raises:
        PolicyError: If none qualifies, or the one configured has no measurements.
    """
    graded = np.isfinite(known.quality).sum(axis=0)
    metered = np.isfinite(known.energy_j).sum(axis=0)
    usable = (graded > 0) & (metered > 0)
    if wanted is not None:
        for o, option in enumerate(known.options):
            named = option == wanted or (option.model == wanted and option.directive == NO_DIRECTIVE)
            if named and usable[o]:
                return o
        raise PolicyError(
            f"the reference {wanted} has no measured quality and energy",
            hint="measure it with `make bench`, or name another reference, or none",
        )
    plain = np.array([option.directive == NO_DIRECTIVE for option in known.options])
    pool = usable & plain if (usable & plain).any() else usable
    if not pool.any():
        raise PolicyError("no option has both quality and energy measured", hint="run `make bench`")
    pool &= 2 * graded >= graded[pool].max()
    quality = np.where(pool, _column_mean(known.quality), -np.inf)
    tied = np.flatnonzero(quality >= quality.max() - 1e-12)
    return int(tied[np.argmin(_column_mean(known.energy_j)[tied])])


def _bounded(q: FloatArray) -> FloatArray:
    """Quality within 0 and 1, which the additive prior of a cell does not know of."""
    return np.clip(q, 0.0, 1.0)


def _against_the_others(y: FloatArray) -> FloatArray:
    """(n, O) each value less the mean of its prompt's known values; 0 where unknown.

    A prompt with a single known value has nothing to be compared with and keeps its distance from the option's mean.
    """
    given = np.isfinite(y)
    value = np.where(given, y, 0.0)
    count = given.sum(axis=1, keepdims=True)
    row = value.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    alone = np.nan_to_num(_column_mean(y))[None, :]
    return np.where(given, value - np.where(count > 1, row, alone), 0.0)


def _error2(p: FloatArray, value: FloatArray, given: np.ndarray, n: FloatArray) -> FloatArray:
    """(C, O) squared error of the cells' means, small cells steadied by the option's pooled variance."""
    mass, count = p.T @ given, given.sum(axis=0).astype(np.float64)
    spread = np.maximum(_divide(p.T @ value**2, mass) - _divide(p.T @ value, mass) ** 2, 0.0)
    pooled = np.maximum(_divide((value**2).sum(axis=0), count) - _divide(value.sum(axis=0), count) ** 2, 0.0)
    return np.maximum(_divide(spread * n + pooled * PSEUDO_PROMPTS, (n + PSEUDO_PROMPTS) * n), 1e-12)


def _towards_prior(mean: FloatArray, own2: FloatArray, paired2: FloatArray, n: FloatArray, mass: FloatArray) -> Cells:
    """Shrink cells towards the additive prior; cells nobody measured stay NaN."""
    seen = np.isfinite(mean) & (n >= MIN_PROMPTS)
    weight = np.where(seen, mass, 0.0)
    prior = _additive(np.where(seen, mean, 0.0), weight)
    gap = np.where(seen, mean - prior, 0.0)
    total = weight.sum(axis=0)
    rows = seen.sum(axis=0)
    # Moments; the C/(C-1) undoes the degree of freedom that the prior takes from the cells.
    freedom = np.where(rows > 1, rows / np.maximum(rows - 1, 1), 0.0)
    s2 = paired2
    tau2 = _divide((weight * (freedom * gap**2 - np.where(seen, s2, 0.0))).sum(axis=0), total)
    tau2 = np.maximum(np.nan_to_num(tau2), 0.0)
    factor = np.maximum((rows - 3.0) / np.maximum(rows - 1.0, 1.0), 0.25)
    noise = np.where(seen, s2, 0.0)
    keep = np.where(seen, 1.0 - factor * noise / np.maximum(tau2 + noise, 1e-300), 0.0)
    if mean.shape[0] == 1:
        keep = np.ones_like(keep)  # one category: the cell is the pooled mean
    # Error of the shrunk cell: its own part, and the prior's, which is as well known as the option's pooled mean.
    prior_s2 = _divide((weight**2 * np.where(seen, own2, 0.0)).sum(axis=0), total**2)
    variance = keep * np.where(seen, own2, 0.0) + (1 - keep) ** 2 * prior_s2
    shrunk = prior + keep * gap
    return Cells(np.where(seen, shrunk, np.nan), np.where(seen, np.sqrt(variance), np.nan), n)


def _additive(mean: FloatArray, weight: FloatArray) -> FloatArray:
    """(C, O) weighted least-squares fit of row + column effects, by alternation."""
    row, column = np.zeros((mean.shape[0], 1)), np.zeros((1, mean.shape[1]))
    for _ in range(50):
        row = np.nan_to_num(_divide((weight * (mean - column)).sum(axis=1), weight.sum(axis=1)))[:, None]
        column = np.nan_to_num(_divide((weight * (mean - row)).sum(axis=0), weight.sum(axis=0)))[None, :]
    return np.asarray(row + column)


def cell_mean(p: FloatArray, y: FloatArray) -> FloatArray:
    """(C, O) plain means of ``y`` (n, O) per category, NaN where nothing is known; negative entries are no figures."""
    given = np.isfinite(y) & (y >= 0)
    return _divide(p.T @ np.where(given, y, 0.0), p.T @ given)


def _mean_of(y: FloatArray, models: FloatArray) -> FloatArray:
    """(n, M) means of each model's known options."""
    given = np.isfinite(y)
    return _divide(np.where(given, y, 0.0) @ models, given @ models)


def _column_mean(y: FloatArray) -> FloatArray:
    given = np.isfinite(y)
    return _divide(np.where(given, y, 0.0).sum(axis=0), given.sum(axis=0).astype(np.float64))


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Elementwise quotient, NaN where the denominator is 0."""
    safe = np.where(denominator > 0, denominator, 1.0)
    return np.asarray(np.where(denominator > 0, numerator / safe, np.nan), dtype=np.float64)
