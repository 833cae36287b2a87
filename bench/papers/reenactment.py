"""HotCarbon'24 again, with models of one's own: its Tables 2 to 5 from measurements, and the classifier beside ours.

As in the paper, the first 50 prompts of each of five public sets are known and 5 more a set are unseen. Its models ran
without a directive, so the classifier (policy ``nearest``) sees the options at L0 alone. Ours is shown on the same
options, and with the directives where they were measured too. No floor per category: the paper has none.

Twenty-five unseen prompts decide nothing: one prompt is four points. So the paper's split is followed by draws of
other 25 unseen prompts from the same file, with intervals over the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.intervals import at_level, interval_of_mean
from bench.papers.figures import Compared, Curve, Reproduction, Row
from bench.papers.reenactment_tables import table_2, tables_3_to_5
from bench.replay_scores import HeldOut, outcome
from bench.splits import content_of
from router.domain.catalogue import NO_DIRECTIVE, Floor, Option, Site
from router.domain.errors import ConfigError, MeasurementError
from router.domain.estimates import FloatArray, Known, Terms
from router.domain.record import Measurement
from router.domain.sci import operational_g_per_j
from router.estimate.known import build_known, take
from router.learn.refit import fit_decider
from router.policy.registry import make_policy
from router.policy.terms import grams_of

KNOWN_PER_CATEGORY = 50
UNSEEN_PER_CATEGORY = 5
DRAWS = 20
FLOORS = (1.0, 0.98, 0.95, 0.92, 0.90, 0.86, 0.82, 0.78, 0.74, 0.70, 0.65, 0.60, 0.55, 0.50)
"""Shares of the reference's accuracy, fixed beforehand."""
HEADLINE_FLOORS = (1.0, 0.95, 0.90, 0.80)
CLASSIFIER = "nearest"
OURS = "joint"
AT_L0 = "models at L0"
WITH_DIRECTIVES = "models and directives"

TermsOf = Callable[[Sequence[Option], Floor], Terms]


@dataclass(frozen=True, slots=True)
class Mean:
    """What one scheme came to on unseen prompts: accuracy and grams a prompt."""

    accuracy: float
    grams: float


def terms_at(site: Site) -> TermsOf:
    """Terms under a site's own intensity, PUE and embodied carbon.

    Raises:
        ConfigError: If the site states no intensity.
    """
    if site.intensity_g_per_kwh is None:
        raise ConfigError(f"the site {site.name} states no intensity_g_per_kwh", hint="put one in, 385 is the paper's")
    g_per_j = operational_g_per_j(site.intensity_g_per_kwh, site.pue)
    g_per_s = np.nan if site.k1_g_per_s is None else site.k1_g_per_s

    def terms(options: Sequence[Option], floor: Floor) -> Terms:
        count = len(options)
        return Terms(floor=floor, g_per_j=np.full(count, g_per_j), g_per_s=np.full(count, g_per_s), slack=None)

    return terms


def reenact(
    measurements: Sequence[Measurement],
    embeddings: FloatArray,
    terms_of: TermsOf,
    *,
    known: int = KNOWN_PER_CATEGORY,
    unseen: int = UNSEEN_PER_CATEGORY,
    draws: int = DRAWS,
) -> Reproduction:
    """The paper's experiment on measurements of one's own.

    Args:
        measurements: In the order of the sets: the first ``known`` of a category are known, the next ``unseen`` not.
        embeddings: (n, d), in the same order.
        terms_of: Grams per joule and second of options under a floor.
        known: Prompts a category.
        unseen: Prompts a category.
        draws: Other random draws of as many unseen prompts, the rest of the same prompts being known.

    Raises:
        MeasurementError: If a category has too few prompts, or nothing was measured at L0.
    """
    _refuse_repeated(measurements)
    everything = build_known(measurements, embeddings)
    plain = [option for option in everything.options if option.directive == NO_DIRECTIVE]
    if not plain:
        raise MeasurementError("nothing was measured at L0, which the paper's tables are of")
    at_l0 = build_known(measurements, embeddings, plain)
    rows = _complete(at_l0)
    first, last = _papers_split(at_l0, rows, known, unseen)
    sets = {AT_L0: at_l0}
    if len(plain) < len(everything.options):
        sets[WITH_DIRECTIVES] = everything
    terms = terms_of(at_l0.options, Floor(1.0))
    tables = [*tables_3_to_5(at_l0, first, terms), table_2(at_l0, last, terms)]
    shown = list(_schemes(sets, first, last, terms_of))
    reference = str(shown[0][2])
    papers = _rows(f"the paper's split: {len(last)} unseen", [(name, what, mean) for name, what, _, mean in shown])
    pooled, curves = _draws(sets, at_l0, rows, unseen, draws, terms_of)
    return Reproduction(
        "hotcarbon",
        "HotCarbon'24 with models of one's own",
        (*papers, *pooled, *tables),
        curves,
        x_label="accuracy on unseen prompts",
        y_label="gCO2e per prompt",
        notes=(
            f"{len(first)} known and {len(last)} unseen prompts; reference {reference}.",
            "Where no model answered the nearest prompt correctly, which the paper leaves open, the reference answers.",
            f"Draws: {draws} times {unseen} unseen prompts of each category at random, the others known; "
            "they share prompts.",
            "Floors are shares of the reference's accuracy and were fixed beforehand.",
        ),
        missing=()
        if WITH_DIRECTIVES in sets
        else ("directives: the measurements hold none, so ours is confined to the paper's choice among models",),
    )


def _refuse_repeated(measurements: Sequence[Measurement]) -> None:
    seen: dict[str, str] = {}
    for measurement in measurements:
        text = content_of(measurement)
        if text in seen:
            raise MeasurementError(
                f"{measurement.id!r} is the same prompt as {seen[text]!r}",
                hint="remove one: what was seen tells nothing about what was not",
            )
        seen[text] = measurement.id


def _complete(known: Known) -> np.ndarray:
    """Rows that every option answered and that were graded: the tables compare like with like."""
    whole = np.isfinite(known.quality).all(axis=1) & np.isfinite(known.energy_j).all(axis=1)
    return np.flatnonzero(whole)


def _papers_split(known: Known, rows: np.ndarray, first: int, next_: int) -> tuple[list[int], list[int]]:
    seen: list[int] = []
    unseen: list[int] = []
    for category, places in _by_category(known, rows).items():
        if len(places) < first + next_:
            raise MeasurementError(
                f"{category} has {len(places)} prompts that every model answered; {first + next_} are needed",
                hint="measure more: python -m bench run --dataset ... --limit N --directives L0, or ask for fewer",
            )
        seen += places[:first]
        unseen += places[first : first + next_]
    return seen, unseen


def _by_category(known: Known, rows: np.ndarray) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for i in rows:
        category = known.categories[i]
        if category is not None:
            places.setdefault(category, []).append(int(i))
    if not places:
        raise MeasurementError("no graded prompt with a category was answered by every model at L0")
    return places


def _schemes(
    sets: dict[str, Known], seen: Sequence[int], unseen: Sequence[int], terms_of: TermsOf
) -> Iterator[tuple[str, str, Option, Mean]]:
    """Every scheme on one split: which options, its name, the reference, what it came to; the reference first."""
    for which, known in sets.items():
        options = known.options
        decider = fit_decider(take(known, seen), terms_of(options, Floor(1.0)), policy="reference")
        held_out = take(known, unseen)
        r = decider.estimates.reference
        terms = terms_of(options, Floor(1.0))
        with_embodied = grams_of(decider.estimates, terms).with_embodied
        held = HeldOut.of(held_out, r, terms, with_embodied=with_embodied)
        view = decider.view(held_out.texts, held_out.embeddings)
        if which == AT_L0:
            yield which, "reference everywhere", options[r], _mean(np.eye(len(options))[np.full(len(unseen), r)], held)
            for o, option in enumerate(options):
                if o != r:
                    yield (
                        which,
                        f"{option.model} everywhere",
                        options[r],
                        _mean(np.eye(len(options))[np.full(len(unseen), o)], held),
                    )
            classifier = make_policy(CLASSIFIER).fit(
                decider.estimator.known, decider.estimates, terms_of(options, Floor(1.0))
            )
            yield which, "classifier (HotCarbon)", options[r], _mean(classifier.weights(view), held)
        for floor in FLOORS:
            fitted = make_policy(OURS).fit(decider.estimator.known, decider.estimates, terms_of(options, Floor(floor)))
            yield which, f"joint, floor {floor:.2f}", options[r], _mean(fitted.weights(view), held)


def _mean(weights: FloatArray, held: HeldOut) -> Mean:
    got = outcome(weights[held.kept], held)
    return Mean(float(got.quality.mean()), float(got.g.mean()))


def _rows(where: str, shown: Sequence[tuple[str, str, Mean]]) -> list[Row]:
    baseline = shown[0][2]
    return [
        Row(
            where,
            what if which == AT_L0 else f"{what}, with directives",
            _figures(mean.accuracy, mean.grams, 1 - mean.grams / baseline.grams),
            headline=_is_headline(what),
        )
        for which, what, mean in shown
        if not what.startswith("joint") or _is_headline(what)
    ]


def _is_headline(what: str) -> bool:
    return not what.startswith("joint") or any(what == f"joint, floor {floor:.2f}" for floor in HEADLINE_FLOORS)


def _figures(accuracy: float, grams: float | None, saving: float | None) -> tuple[Compared, ...]:
    return (
        Compared("accuracy", None, accuracy, decimals=3),
        Compared("gCO2e per prompt", None, grams, decimals=5),
        Compared("saving % of the reference", None, None if saving is None else 100 * saving),
    )


def _draws(
    sets: dict[str, Known], at_l0: Known, rows: np.ndarray, unseen: int, draws: int, terms_of: TermsOf
) -> tuple[list[Row], tuple[Curve, ...]]:
    """Means over random draws, and how much ours saves at the classifier's own accuracy."""
    found: dict[tuple[str, str], list[Mean]] = {}
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        apart = [
            int(i)
            for places in _by_category(at_l0, rows).values()
            for i in rng.choice(places, size=unseen, replace=False)
        ]
        seen = [int(i) for i in rows if int(i) not in set(apart)]
        for which, what, _, mean in _schemes(sets, seen, apart, terms_of):
            what = "other models everywhere" if _is_other_model(what) else what
            found.setdefault((which, what), []).append(mean)
    found = {key: means for key, means in found.items() if key[1] != "other models everywhere"}
    if not found:
        return [], ()
    where = f"{draws} draws of {unseen * len(_by_category(at_l0, rows))} unseen"
    baseline = found[AT_L0, "reference everywhere"]
    means = {key: Mean(*np.mean([(m.accuracy, m.grams) for m in got], axis=0)) for key, got in found.items()}
    base = means[AT_L0, "reference everywhere"]
    out = []
    for (which, what), mean in means.items():
        if not _is_headline(what):
            continue
        got = found[which, what]
        saved = np.array([1 - m.grams / b.grams for m, b in zip(got, baseline, strict=True)])
        accuracy = np.array([m.accuracy for m in got])
        out.append(
            Row(
                where,
                what if which == AT_L0 else f"{what}, with directives",
                _figures(mean.accuracy, mean.grams, 1 - mean.grams / base.grams),
                note=f"{what}{'' if which == AT_L0 else ', with directives'}: 95 % over draws: accuracy "
                f"{_range(accuracy, 3)}, saving {_range(100 * saved, 1)} %.",
                headline=True,
            )
        )
    classifier = means[AT_L0, "classifier (HotCarbon)"]
    curves = []
    for which in sets:
        path = [base, *(means[which, f"joint, floor {floor:.2f}"] for floor in FLOORS)]
        accuracy = np.array([point.accuracy for point in path])
        saving = np.array([1 - point.grams / base.grams for point in path])
        at = at_level(accuracy, saving, classifier.accuracy)
        curves.append(Curve(where, f"joint, {which}", tuple((p.accuracy, p.grams) for p in path)))
        out.append(
            Row(
                where,
                f"joint at the classifier's accuracy, {which}",
                _figures(
                    classifier.accuracy,
                    base.grams * (1 - at) if np.isfinite(at) else None,
                    at if np.isfinite(at) else None,
                ),
                note="Read off the mean curve over floors, where it crosses the classifier's mean accuracy."
                if np.isfinite(at)
                else "No floor comes down to the classifier's accuracy.",
                headline=True,
            )
        )
    curves.append(Curve(where, "classifier (HotCarbon)", ((classifier.accuracy, classifier.grams),)))
    return out, tuple(curves)


def _is_other_model(what: str) -> bool:
    return what.endswith(" everywhere") and not what.startswith("reference")


def _range(values: FloatArray, decimals: int) -> str:
    interval = interval_of_mean(values)
    return "unknown" if interval is None else f"{interval[0]:.{decimals}f} to {interval[1]:.{decimals}f}"
