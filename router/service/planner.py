"""Keeps the plan fresh: refits and re-solves off the request path whenever something it rests on has changed.

What it rests on: the measured prompts (the store's generation), the federation (models.yaml, which is watched), which
options the engines can run now, the grid intensity of every site now and before, and what is asked for how often. A
request reads the current :class:`Snapshot`, which never changes once published.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from router.domain.catalogue import Catalogue, Option
from router.domain.errors import PolicyError, RouterError
from router.domain.ports import IntensitySource, MeasurementStore
from router.domain.reading import Intensity
from router.domain.record import Measurement
from router.estimate.estimator import Estimator, fit_estimator
from router.estimate.known import build_known
from router.estimate.lengths import Lengths
from router.estimate.signals import build_signals
from router.learn.cascades import CascadedEstimator, with_cascades
from router.learn.decider import Decider
from router.learn.refit import decide, weighted
from router.policy.registry import make_policy
from router.service.ask import ABILITIES
from router.service.conditions import Conditions, have_moved, slide, terms_of
from router.service.coverage import coverage_notes, fallback_reference, federation_notes, graded_options, measured
from router.service.engines import Engines
from router.service.grid import Grid, read_grid
from router.service.load import LoadWatch
from router.service.memory import Load, Place, Resident, house
from router.service.past import Past
from router.service.reload import Reloader
from router.service.snapshot import Snapshot
from router.service.storewatch import StoreWatch
from router.service.traffic import Traffic

logger = logging.getLogger(__name__)

_SAVE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class _Solved:
    """A plan with what it rests on."""

    decider: Decider
    conditions: Conditions
    residents: tuple[Resident, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What the planner remembers beside the measurements; by default nothing outlives the process.

    Attributes:
        traffic: What is asked for, how often.
        past: The intensity of the hours before.
        loads: Reads what loading each model took.
    """

    traffic: Traffic = field(default_factory=Traffic)
    past: Past = field(default_factory=Past)
    loads: Callable[[], Mapping[Place, Load]] = dict


class Planner:
    """Publishes snapshots."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: MeasurementStore,
        engines: Engines,
        sources: Mapping[str, IntensitySource],
        *,
        seed: int = 0,
        reloader: Reloader | None = None,
        memory: Memory | None = None,
        load: LoadWatch | None = None,
    ) -> None:
        """Take what the plan rests on.

        Args:
            catalogue: The federation to begin with.
            store: The measured prompts.
            engines: Where options run.
            sources: The intensity sources by site name.
            seed: Of folds and draws.
            reloader: Watches models.yaml; None where the federation stays as it is.
            memory: Traffic, past intensity and loading; None to begin with nothing.
            load: Follows how many generations the sites have in flight; None to begin with nothing.
        """
        self._catalogue = catalogue
        self._stored = StoreWatch(store)
        self._engines = engines
        self._sources = sources
        self._seed = seed
        self._reloader = reloader
        self._memory = Memory() if memory is None else memory
        self._load = LoadWatch() if load is None else load
        self._learned: tuple[Estimator, CascadedEstimator, Lengths] | None = None
        self._plan_notes: tuple[str, ...] = ()
        self._levels: Mapping[str, int] = {}
        self._saved_at = time.monotonic()
        self._rests_on: tuple[object, ...] | None = None
        self._grams: dict[str, float] = {}
        self._last_known: dict[tuple[str, str | None], Intensity] = {}
        self._is_due = False
        self._lock = asyncio.Lock()
        self.current = Snapshot(catalogue)

    @property
    def traffic(self) -> Traffic:
        """Where requests are counted."""
        return self._memory.traffic

    def save(self) -> None:
        """Write what is to outlive the process."""
        self._memory.traffic.save()
        self._memory.past.save()

    async def refresh(self, *, force: bool = False) -> bool:
        """Plan anew if anything has changed; True if a new snapshot was published.

        A plan that cannot be made leaves a snapshot without a decider: requests then go to the reference.
        """
        async with self._lock:
            # Due until it has been published: a refresh that fails must not lose a change that was read only once.
            self._is_due = await self._reload() or force or self._is_due
            await self._engines.refresh(force=self._is_due)
            generation = await self._stored.look()
            grid = await read_grid(self._sources, self._catalogue)
            intensities = grid.intensities
            available = tuple(o for o in self._catalogue.options() if self._engines.available(o, self._catalogue))
            for name, value in intensities.items():
                self._memory.past.note(value)
                self._last_known[name, self._catalogue.sites[name].zone] = value
            if time.monotonic() - self._saved_at > _SAVE_EVERY_S:
                self._saved_at = time.monotonic()
                await asyncio.to_thread(self.save)
            grams = {name: value.g_per_kwh for name, value in intensities.items()}
            rests_on = (
                generation,
                available,
                self._lacking(available),
                self._load.observe(self._engines.gates),
            )
            if self._is_due or rests_on != self._rests_on:
                self.current = await asyncio.to_thread(self._plan, available, intensities)
            elif grams != self._grams and self._learned is None:
                # There was no plan; with other intensities there may be one.
                self.current = await asyncio.to_thread(self._plan, available, intensities)
            elif grams != self._grams or self._has_moved(intensities):
                self.current = await asyncio.to_thread(self._replan, intensities)
            elif self._trouble() != self.current.trouble:
                self.current = replace(self.current, trouble=self._trouble())
            else:
                self._show(grid)
                return False
            self._show(grid)
            self._rests_on, self._grams, self._is_due = rests_on, grams, False
            return True

    def _show(self, grid: Grid) -> None:
        """A figure that only grows older changes no decision, but records have to say how old it is."""
        if grid != self.current.grid:
            self.current = replace(self.current, intensities=grid.intensities, grid=grid)

    async def _reload(self) -> bool:
        """Take over a changed models.yaml; True if there was a good one."""
        if self._reloader is None:
            return False
        reloaded = await asyncio.to_thread(self._reloader.poll, self._catalogue, self._engines.all, self._sources)
        if reloaded is None:
            return False
        # No await from here on: a request sees either all of the old federation or all of the new one.
        self._catalogue, self._sources = reloaded.catalogue, reloaded.sources
        self._engines.exchange(reloaded.engines)
        return True

    def _trouble(self) -> str | None:
        troubles = [None if self._reloader is None else self._reloader.trouble, self._stored.trouble]
        return "; ".join(trouble for trouble in troubles if trouble) or None

    async def run(self, *, every_s: float = 1.0) -> None:
        """Refresh for ever; what goes wrong is logged and tried again."""
        while True:
            await asyncio.sleep(every_s)
            try:
                if await self.refresh():
                    logger.info("plan renewed in %.0f ms", 1000 * self.current.solved_s)
            except RouterError as error:
                logger.warning("the plan could not be renewed, the old one stays: %s", error)
            except Exception:
                # The edge of a background task: one mistake must not end planning for good.
                logger.exception("the plan could not be renewed, the old one stays")

    def _plan(self, available: tuple[Option, ...], intensities: Mapping[str, Intensity]) -> Snapshot:
        started = time.perf_counter()
        measurements, embeddings = self._stored.measurements, self._stored.embeddings
        columns = measured(measurements, available)
        at_load, loads, load_notes = self._load.read(measurements)
        self._levels = {load.site: load.level for load in loads}
        notes = (*federation_notes(self._catalogue, measurements, available), *load_notes)
        planned_with, older = self._planned_with(intensities)
        solved: _Solved | None = None
        self._learned = None
        rows = [i for i, m in enumerate(measurements) if m.split != "validation"]
        if columns and rows:
            known = build_known([at_load[i] for i in rows], embeddings[rows], options=columns)
            try:
                make_policy(self._catalogue.policy)  # a wrong name is told before the work
                estimator = fit_estimator(known, reference=self._catalogue.reference, seed=self._seed)
                notes = (*notes, *coverage_notes(known, estimator.estimates))
                cascaded = self._cascaded(estimator, [measurements[i] for i in rows], planned_with)
                self._learned = estimator, cascaded, Lengths.fit(cascaded.known)
                notes = (*notes, *cascaded.notes)
                solved = self._solve(planned_with)
            except PolicyError as error:
                self._learned = None
                notes = (*notes, f"no plan: {error}")
                logger.warning("no plan: %s", error)
        elif not measurements and self._stored.generation is not None:
            notes = (*notes, "the store is empty: every prompt takes the reference; run `make bench`")
        self._plan_notes = notes
        reference = fallback_reference(self._catalogue, available) if solved is None else solved.decider.reference
        return Snapshot(
            catalogue=self._catalogue,
            decider=None if solved is None else solved.decider,
            reference=reference,
            intensities=intensities,
            prompts={measurements[i].id: measurements[i] for i in rows},
            measured_models=frozenset(option.model for option in graded_options(measurements)),
            available=available,
            lacking=self._lacking(available),
            notes=notes if solved is None else (*notes, *older, *solved.notes),
            solved_s=time.perf_counter() - started,
            planned_at=time.time(),
            trouble=self._trouble(),
            conditions=self._conditions(reference, intensities) if solved is None else solved.conditions,
            residents=() if solved is None else solved.residents,
            loads=loads,
        )

    def _lacking(self, available: tuple[Option, ...]) -> dict[str, frozenset[Option]]:
        return {
            ability: frozenset(o for o in available if self._engines.can(ability, o, self._catalogue) is False)
            for ability in ABILITIES
        }

    def _planned_with(self, intensities: Mapping[str, Intensity]) -> tuple[Mapping[str, Intensity], tuple[str, ...]]:
        """Intensities to plan with, and a note where one is not known now: its last one, rather than no plan at all."""
        sites = self._catalogue.sites.items()
        last = {name: self._last_known.get((name, site.zone)) for name, site in sites if name not in intensities}
        older = {name: value for name, value in last.items() if value is not None}
        note = f"planned with the last known grid intensity at {', '.join(older)}"
        return {**older, **intensities}, (note,) if older else ()

    def _replan(self, intensities: Mapping[str, Intensity]) -> Snapshot:
        """The same estimates under other conditions: milliseconds instead of seconds.

        What has no solution under the new ones (an intensity is gone) leaves the old plan, and says so.
        """
        started = time.perf_counter()
        before = self.current
        try:
            solved = self._solve(intensities)
        except PolicyError as error:
            logger.warning("the plan is not solved anew: %s", error)
            return replace(
                before,
                intensities=intensities,
                notes=(*self._plan_notes, f"the plan is an older one, since there is no new one: {error}"),
                trouble=self._trouble(),
                conditions=self._conditions(before.reference, intensities),
            )
        return replace(
            before,
            decider=solved.decider,
            intensities=intensities,
            notes=(*self._plan_notes, *solved.notes),
            solved_s=time.perf_counter() - started,
            planned_at=time.time(),
            trouble=self._trouble(),
            conditions=solved.conditions,
            residents=solved.residents,
        )

    def _conditions(self, reference: Option | None, intensities: Mapping[str, Intensity]) -> Conditions:
        """As they are now."""
        past, traffic = self._memory.past, self._memory.traffic
        mix = None
        if self._learned is not None:
            estimates = self._learned[0].estimates
            mix = traffic.mix(estimates.categories, estimates.w)
        sliding = slide(self._catalogue, reference, intensities, past)
        return Conditions(sliding, mix, traffic.rate_per_s(), self._levels)

    def _has_moved(self, intensities: Mapping[str, Intensity]) -> bool:
        """Whether the current plan rests on conditions that are no longer so."""
        if self.current.decider is None or self._learned is None:
            return False
        now = self._conditions(self.current.reference, intensities)
        return have_moved(self.current.conditions, now, self.current.decider.estimates, self._catalogue)

    def _solve(self, intensities: Mapping[str, Intensity]) -> _Solved:
        """Who stays in memory, then the policy.

        Raises:
            PolicyError: If no decision can be computed.
        """
        assert self._learned is not None
        estimator, cascaded, lengths = self._learned
        columns = estimator.known.options
        conditions = self._conditions(columns[estimator.estimates.reference], intensities)
        shaped = weighted(estimator, conditions.traffic)
        terms = terms_of(self._catalogue, columns, intensities, conditions, self._seed)
        housing = house(shaped.estimates, terms, self._catalogue, self._engines, self._memory.loads())
        decider = decide(weighted(cascaded, conditions.traffic), housing.terms, self._catalogue.policy, lengths)
        notes = housing.notes
        if self._catalogue.carbon_budget_g_per_hour is not None and conditions.rate_per_s is None:
            notes = (*notes, "carbon_budget_g_per_hour is not planned for yet: there has been no request")
        return _Solved(decider, conditions, housing.residents, notes)

    def _cascaded(
        self, estimator: Estimator, rows: Sequence[Measurement], intensities: Mapping[str, Intensity]
    ) -> CascadedEstimator:
        """The estimator with the cascades that are worth a column."""
        mode, columns = self._catalogue.cascades, estimator.known.options
        conditions = self._conditions(columns[estimator.estimates.reference], intensities)
        terms = terms_of(self._catalogue, columns, intensities, conditions, self._seed)
        signals = None if mode == "off" else build_signals(rows, columns)
        return with_cascades(estimator, signals, terms, mode, self._seed)
