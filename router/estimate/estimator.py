"""Everything that is learned from the measured prompts, fitted off the request path and then only read.

    probe -> p(c | prompt)      table -> means per category      prompt model -> corrections per prompt
    neighbourhood -> what is unfamiliar                           wording -> what brevity must not touch

What it would have said about each known prompt without having seen it (``rows``) comes from the same fit on the
other folds: policies choose and calibrate on that, so a choice that only looks good on the prompts it was made
from is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from router.domain.catalogue import Option
from router.domain.estimates import Estimates, FloatArray, Known, PromptView
from router.estimate.directives import membership
from router.estimate.features import Features
from router.estimate.known import take
from router.estimate.neighbours import Neighbourhood
from router.estimate.probe import CategoryProbe, fit_on, fold_of
from router.estimate.prompt import Expectation, Looking, Looks, PromptModel
from router.estimate.table import estimate, redrawn
from router.estimate.wording import no_brevity

FOLDS = 5
NEIGHBOURS = 10
DRAWS = 30


@dataclass(frozen=True, slots=True)
class Estimator:
    """A fitted estimator.

    Attributes:
        known: What it was fitted on.
        probe: Names the category of a prompt.
        looking: How prompts are looked at for them.
        model: Corrections per prompt.
        neighbourhood: The measured prompts in embedding space.
        estimates: The table, with its ``rows``.
        categories: (C,) names.
    """

    known: Known
    probe: CategoryProbe
    looking: Looking
    model: PromptModel
    neighbourhood: Neighbourhood
    estimates: Estimates

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) names in the order of the columns of p."""
        return self.estimates.categories

    def view(self, texts: Sequence[str], embeddings: FloatArray) -> PromptView:
        """What the decision may see of new prompts."""
        vectors = np.asarray(embeddings, dtype=np.float64)
        blocks = self.probe.features.transform(texts, vectors)
        p = self.probe.read(blocks)
        index, distance = self.neighbourhood.nearest(vectors, NEIGHBOURS)
        expected = self.model.predict(self.looking.at(blocks), p)
        return PromptView(
            p=p,
            neighbour_index=index,
            neighbour_distance=distance,
            unfamiliar=self.neighbourhood.unfamiliar(distance),
            no_brevity=no_brevity(texts),
            q=expected.q,
            energy_j=expected.energy_j,
            duration_s=expected.duration_s,
        )


def fit_estimator(
    known: Known,
    *,
    reference: Option | str | None = None,
    traffic: FloatArray | None = None,
    seed: int = 0,
) -> Estimator:
    """Fit everything on the known prompts.

    Args:
        known: Measured prompts.
        reference: The reference as configured, or None to take the best.
        traffic: (C,) shares of the categories in the traffic, in the order of the sorted names; as in the known
            prompts where not given.
        seed: Of the folds.

    Raises:
        PolicyError: If there is nothing to estimate from.
    """
    table = estimate(known, np.ones((len(known.texts), 1)), ("all",), reference)  # refuses what cannot be used
    features = Features.fit(known.texts, seed)
    blocks = features.transform(known.texts, known.embeddings)
    probe, p = fit_on(features, blocks, known, FOLDS, seed)
    table = estimate(known, p, probe.categories, known.options[table.reference], traffic)
    looking = Looking.fit(blocks, seed)
    looks = looking.at(blocks)
    model = PromptModel(table).fit(known, looks, p)
    expected = _out_of_fold(known, looks, p, table, seed)
    neighbourhood = Neighbourhood.fit(known.embeddings)
    n = len(known.texts)
    rows = PromptView(
        p=p,
        neighbour_index=np.zeros((n, 0), dtype=np.int64),
        neighbour_distance=np.zeros((n, 0)),
        unfamiliar=np.zeros(n, dtype=np.bool_),
        no_brevity=no_brevity(known.texts),
        q=expected.q,
        energy_j=expected.energy_j,
        duration_s=expected.duration_s,
    )
    return Estimator(
        known,
        probe,
        looking,
        model,
        neighbourhood,
        replace(table, rows=rows, draws=redrawn(p, known.quality, DRAWS, seed, membership(known.options))),
    )


def _out_of_fold(known: Known, looks: Looks, p: FloatArray, table: Estimates, seed: int) -> Expectation:
    """What would have been said of each known prompt: the whole table's means, corrected by fits on the other folds.

    The corrections are what a prompt was learned from, so they are from without it. The means stay the whole table's:
    five tables, one for each fold, would have a price part prompts that a new prompt's one table cannot tell apart.
    What the table's own luck flatters is the optimism's business (:mod:`router.policy.optimism`).
    """
    fold = fold_of(known.texts, FOLDS, seed + 1)
    shape = known.quality.shape
    whole = PromptModel(table).predict(looks, p)  # no corrections: the table's means
    found = Expectation(np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan))
    reference = known.options[table.reference]
    for k in np.unique(fold):
        inside, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        # a fold without which the reference is unknown is estimated with it: there is nothing else to go on
        told = np.isfinite(known.quality[inside, table.reference]) & np.isfinite(
            known.energy_j[inside, table.reference]
        )
        rows = inside if told.any() else np.arange(len(fold))
        part = take(known, rows)
        cells = estimate(part, p[rows], table.categories, reference, table.w)
        said = PromptModel(cells).fit(part, looks.take(rows), p[rows]).predict(looks.take(held), p[held])
        plain = PromptModel(cells).predict(looks.take(held), p[held])
        found.q[held] = np.clip(whole.q[held] + said.q - plain.q, 0.0, 1.0)
        found.energy_j[held] = whole.energy_j[held] * _ratio(said.energy_j, plain.energy_j)
        found.duration_s[held] = whole.duration_s[held] * _ratio(said.duration_s, plain.duration_s)
    return Expectation(
        np.where(np.isfinite(found.q), found.q, whole.q),
        np.where(np.isfinite(found.energy_j), found.energy_j, whole.energy_j),
        np.where(np.isfinite(found.duration_s), found.duration_s, whole.duration_s),
    )


def _ratio(said: FloatArray, plain: FloatArray) -> FloatArray:
    """(n, O) quotient, 1 where there is nothing to correct."""
    return np.asarray(np.where(plain > 0, said / np.where(plain > 0, plain, 1.0), np.where(plain == 0, 1.0, np.nan)))
