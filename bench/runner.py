"""Measures prompts on models: generates, meters, grades and saves, one row at a time.

The runner is given everything it works with (engines, meters, output, grader) and can be killed at any moment:
a row is saved before the next one begins, and what is saved is not measured again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from bench.datasets.item import Item
from bench.graders.grade import Grade
from bench.graders.registry import grade_answer
from bench.regrade import regraded, row_of
from bench.run_conditions import Conditions
from bench.run_entry import name_run, new_entry
from bench.run_estimate import Estimator
from bench.run_generate import Bounds, EngineDownError, Generated, generate_patiently, request
from bench.run_jobs import Job, Present
from bench.run_output import Output, read_runs
from bench.run_progress import Reporter, SilentReporter
from bench.run_summary import Summary
from router.backends.auto import AutoBackend
from router.domain.catalogue import Catalogue
from router.domain.errors import BackendError, ModelMissingError, RequestError
from router.domain.ports import Backend, Meter
from router.domain.record import Outcome

WAVE = 4
"""Under concurrency C, 4 C generations are kept going C at a time before they are graded and saved: grading between
them would disturb the joules, and only the ends of a wave run below C."""
WARM_UP_PROMPT = "Say hello."
_DIGITS = 6  # of joules and seconds in a row


@dataclass(frozen=True, slots=True)
class Rig:
    """What generations run on.

    Attributes:
        catalogue: The federation.
        backends: By site.
        meters: By site.
    """

    catalogue: Catalogue
    backends: Mapping[str, Backend]
    meters: Mapping[str, Meter]

    def tag(self, model: str, site: str) -> str:
        """A model's name at an engine."""
        return self.catalogue.models[model].tags.get(site, model)


async def digests_of(rig: Rig) -> dict[tuple[str, str], str]:
    """Hashes of the weights every engine has now, by site and model name; what nobody can say is left out."""
    found: dict[tuple[str, str], str] = {}
    for site, backend in rig.backends.items():
        try:
            served = {model.name: model.digest for model in await backend.models()}
        except BackendError:
            continue  # an engine that is down is met with patience when its first row is due
        for model in rig.catalogue.models:
            digest = served.get(rig.tag(model, site))
            if digest is not None:
                found[site, model] = digest
    return found


class Runner:
    """Measures jobs on a rig and appends them to an output."""

    def __init__(
        self,
        rig: Rig,
        output: Output,
        *,
        bounds: Bounds | None = None,
        grade: Callable[[Item, str], Grade] = grade_answer,
        reporter: Reporter | None = None,
        estimator: Estimator | None = None,
        conditions: Conditions | None = None,
        summary: Summary | None = None,
    ) -> None:
        """Take what to work with; the output must be open.

        Args:
            rig: Engines and meters.
            output: Where rows go.
            bounds: Of a generation.
            grade: Grades an answer.
            reporter: Hears of progress.
            estimator: Says how long it takes.
            conditions: Watch over the machine; by default nothing is waited for.
            summary: To go on counting in, where a run has several parts.
        """
        self._rig = rig
        self._output = output
        self._bounds = bounds or Bounds()
        self._grade = grade
        self._reporter = reporter or SilentReporter()
        self._estimator = estimator or _estimator(rig, self._bounds)
        self._conditions = conditions or Conditions()
        self._meters: Mapping[str, Meter] = rig.meters
        self._warned = False
        self.summary = summary or Summary()

    async def run(self, jobs: Sequence[Job]) -> Summary:
        """Measure jobs in the order given.

        Raises:
            EngineDownError: If an engine kept failing; what was measured until then is saved.
            MeasurementError: If the output cannot be written.
        """
        used = {job.option.site for job in jobs}
        meters = {site: meter for site, meter in self._rig.meters.items() if site in used}
        entry = new_entry(self._rig.catalogue, meters, self._bounds, datetime.now(UTC))
        for backend in self._rig.backends.values():
            if isinstance(backend, AutoBackend):
                await backend.pin()
        digests = {f"{site}/{model}": digest for (site, model), digest in (await digests_of(self._rig)).items()}
        self._meters, phases = await self._conditions.begin(meters)
        entry |= {"digests": digests, "baseline": phases}
        self.summary.run, entry = name_run(read_runs(self._output.path), entry)
        entry["digests"] = {**entry["digests"], **digests}
        entry["baseline"] = phases
        self._output.write_run(self.summary.run, entry)
        self._reporter.start(len(jobs), self._estimator.estimate(jobs).seconds)
        self._left = list(jobs)
        try:
            for (site, model), engine_jobs in groupby(jobs, lambda job: (job.option.site, job.option.model)):
                await self._run_model(site, model, list(engine_jobs), entry)
            entry["finished"] = True
        finally:
            entry["throttling"] = self._conditions.summary()
            self._output.write_run(self.summary.run, entry)
            self._reporter.close()
        return self.summary

    def regrade(self, items: Sequence[Item], present: Present) -> None:
        """Grade again what an earlier run could not (a missing package, no sandbox); nothing is generated."""
        for item, _, outcome in regraded(items, present.measurements, self._grade, ungraded_only=True):
            self._append(item, outcome)
            self.summary.regraded += 1

    async def _run_model(self, site: str, model: str, jobs: list[Job], entry: dict[str, Any]) -> None:
        try:
            try:
                await self._warm_up(site, model, entry)
            except RequestError as error:  # an engine that refuses the plainest request would refuse every row
                raise ModelMissingError(f"its engine refuses to chat with it: {error}") from error
            for concurrency, same in groupby(jobs, lambda job: job.concurrency):
                await self._run_waves(list(same), concurrency)
        except ModelMissingError as error:
            self.summary.missing_models.append(model)
            self._left = [job for job in self._left if (job.option.site, job.option.model) != (site, model)]
            self._reporter.say(f"{model} is left out: {error}")

    async def _warm_up(self, site: str, model: str, entry: dict[str, Any]) -> None:
        """Load the model with one token, which is no row; its joules are the run's loading energy."""
        generation = request(self._rig.tag(model, site), WARM_UP_PROMPT, "", 1)
        generated = await generate_patiently(
            self._rig.backends[site],
            self._meters[site],
            generation,
            self._bounds,
            self._reporter.say,
            may_load=True,
        )
        name = f"{site}/{model}"
        # A run that goes on after a break may find the model loaded: the first, cold, figure is the one to keep.
        entry["load_energy_j"].setdefault(name, _rounded(generated.reading.energy_j))
        entry["load_s"].setdefault(name, _rounded(generated.usage.load_s))
        self._output.write_run(self.summary.run, entry)

    async def _run_waves(self, jobs: list[Job], concurrency: int) -> None:
        slots = asyncio.Semaphore(concurrency)
        unsaid: list[str] = []
        # Where others generate meanwhile, a sentence has to wait: a log may be a file, and nothing of ours is written
        # while somebody is metered. A lone generation is over by the time it has something to say.
        say = self._reporter.say if concurrency == 1 else unsaid.append

        async def one(job: Job) -> Generated | BaseException:
            async with slots:
                return await self._generate(job, say)

        size = 1 if concurrency == 1 else WAVE * concurrency
        for start in range(0, len(jobs), size):
            wave = jobs[start : start + size]
            await self._conditions.before_row()
            results = await asyncio.gather(*(one(job) for job in wave), return_exceptions=True)
            disturbed = self._conditions.after_row()
            while unsaid:
                self._reporter.say(unsaid.pop(0))
            failure: BaseException | None = None
            for job, result in zip(wave, results, strict=True):
                if isinstance(result, BaseException) and not isinstance(result, RequestError):
                    failure = failure or result
                    continue
                self._save(job, result, disturbed)
            if failure is not None:
                raise failure

    async def _generate(self, job: Job, say: Callable[[str], None]) -> Generated:
        option = job.option
        generation = request(
            self._rig.tag(option.model, option.site),
            job.item.prompt,
            self._rig.catalogue.directives[option.directive].text,
            self._bounds.cap(job.item.category),
        )
        backend, meter = self._rig.backends[option.site], self._meters[option.site]
        return await generate_patiently(backend, meter, generation, self._bounds, say)

    def _save(self, job: Job, result: Generated | RequestError, disturbed: Mapping[str, Any]) -> None:
        if isinstance(result, RequestError):
            outcome = self._outcome(job, error=str(result))
            self._reporter.say(f"{job.item.id} on {job.option}: the engine refuses it: {result}")
        else:
            outcome = self._measured(job, result)
        if disturbed:
            outcome = replace(outcome, extra={**outcome.extra, **disturbed})
            if not self._warned:
                self._warned = True
                self._reporter.say(
                    f"something disturbs this machine ({_in_words(disturbed)}): seconds and joules come out too high. "
                    "Such rows say so; stop the other work, and `bench run --redo-busy` measures them again."
                )
        self._append(job.item, outcome)
        self.summary.count(job.item, outcome)
        self._left.remove(job)
        quality = "ungraded" if outcome.quality is None else f"quality {outcome.quality:g}"
        text = f"{job.item.id} on {job.option}: {quality}"
        self._reporter.row(text, self._estimator.estimate(self._left).seconds)

    def _measured(self, job: Job, generated: Generated) -> Outcome:
        grade = self._grade(job.item, generated.text)
        extra: dict[str, Any] = {}
        if generated.stopped_by is not None:
            extra["stopped_by"] = generated.stopped_by
        if grade.note is not None and job.item.grader != "judge":
            extra["grader_note"] = grade.note
        reading, usage = generated.reading, generated.usage
        energy_j, idle_j = _from_zero(reading.energy_j, reading.idle_j)
        return replace(
            self._outcome(job),
            quality=grade.quality,
            answer=generated.text,
            finish_reason=generated.reason,
            energy_j=_rounded(energy_j),
            idle_j=_rounded(idle_j),
            duration_s=_rounded(reading.device_s),
            prefill_s=_rounded(usage.prefill_s),
            decode_s=_rounded(usage.decode_s),
            prompt_tokens=usage.prompt_tokens,
            output_tokens=usage.output_tokens,
            mean_logprob=_rounded(usage.mean_logprob),
            method=None if reading.energy_j is None else reading.method,
            extra=extra,
        )

    def _outcome(self, job: Job, error: str | None = None) -> Outcome:
        option = job.option
        return Outcome(
            model=option.model,
            directive=option.directive,
            quality=None,
            site=option.site,
            setting=option.setting,
            grader=job.item.grader,
            concurrency=job.concurrency,
            repeat=job.repeat,
            run=self.summary.run,
            extra={} if error is None else {"error": error},
        )

    def _append(self, item: Item, outcome: Outcome) -> None:
        row = row_of(item, outcome)
        self._output.append(row)
        self._estimator.learn([row])


def _estimator(rig: Rig, bounds: Bounds) -> Estimator:
    return Estimator(rig.catalogue, bounds.caps, bounds.default_cap)


def _from_zero(energy_j: float | None, idle_j: float | None) -> tuple[float | None, float | None]:
    """Joules above idle and idle joules of the same sum, neither under 0.

    A short answer may draw less than the idle average: a coarse counter has not counted it yet.
    """
    if energy_j is None or energy_j >= 0.0:
        return energy_j, idle_j
    return 0.0, None if idle_j is None else max(0.0, idle_j + energy_j)


def _in_words(disturbed: Mapping[str, Any]) -> str:
    words = {
        "busy_share": "other processes use {:.0%} of it",
        "steal_share": "the hypervisor withholds {:.0%} of it",
        "hot_c": "it was at {:.0f} degrees",
    }
    return "; ".join(
        words[key].format(value) if key in words else f"slowed: {', '.join(value)}" for key, value in disturbed.items()
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


__all__ = ["EngineDownError", "Rig", "Runner", "Summary", "digests_of"]
