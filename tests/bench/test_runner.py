import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.item import Item
from bench.graders.grade import Grade
from bench.graders.registry import grade_answer
from bench.run_conditions import DISTURBED
from bench.run_generate import Bounds, EngineDownError
from bench.run_jobs import Job, Present, Selection, check_prompts, interleaved, missing_jobs
from bench.run_output import Output, OutputLockedError, read_present, read_runs, runs_file
from bench.run_progress import PlainReporter, SilentReporter
from bench.run_summary import Summary
from bench.runner import Rig, Runner, digests_of
from router.backends.scripted import Fault, Pace, ScriptedBackend
from router.domain.catalogue import Catalogue, Directive, Model, Option, Site
from router.domain.chat import Message
from router.domain.errors import ConfigError, MeasurementError
from router.domain.ports import Meter
from router.domain.reading import Reading
from router.domain.record import Measurement, Outcome
from router.meters.none import NoMeter
from tests.bench.scripted_run import CATALOGUE, ITEMS, reply

ALL, NOTHING, AT_ONCE = Selection(), Present(), Pace()
QUICK = Bounds(deadline_s=5.0, backoff_s=(0.0, 0.0))
TIMES = ("duration_s", "prefill_s", "decode_s", "energy_j", "idle_j", *DISTURBED)


class FiveJoules:
    """A meter that reads 5 J above idle and 1 J idle for every window."""

    source = "five joules"

    def start(self) -> "FiveJoules":
        return self

    def stop(self) -> Reading:
        return Reading(5.0, 1.0, 2.0, "measured", self.source)


def scripted(answer: Any = None, *, pace: Pace = AT_ONCE, faults: Mapping[str, Fault] | None = None) -> ScriptedBackend:
    def say(model: str, messages: Sequence[Message]) -> str:
        return "hello" if "hello" in messages[-1].content else reply(model, messages)

    return ScriptedBackend(answer or say, models=CATALOGUE.models, pace=pace, faults=faults)


def rig(backend: ScriptedBackend, meter: Meter | None = None, catalogue: Catalogue = CATALOGUE) -> Rig:
    return Rig(catalogue, {"local": backend}, {"local": meter or NoMeter()})


def jobs_for(
    items: Sequence[Item] = ITEMS[:2],
    selection: Selection = ALL,
    present: Present = NOTHING,
    catalogue: Catalogue = CATALOGUE,
) -> list[Job]:
    return missing_jobs(items, selection.options(catalogue), selection, [present], catalogue, {})


def outcomes(path: Path) -> dict[tuple[object, ...], dict[str, Any]]:
    """Every row of a file by what identifies it, without its times; a row that occurs twice is an error."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        (outcome,) = row.pop("outcomes")
        key = (row["id"], outcome["model"], outcome["directive"], outcome["concurrency"], outcome["repeat"])
        assert key not in found, f"measured twice: {key}"
        found[key] = {**row, **{name: value for name, value in outcome.items() if name not in TIMES}}
    return found


async def run(path: Path, jobs: Sequence[Job], backend: ScriptedBackend, **more: Any) -> Runner:
    with Output(path) as output:
        runner = Runner(rig(backend, more.pop("meter", None)), output, bounds=more.pop("bounds", QUICK), **more)
        await runner.run(jobs)
    return runner


async def test_a_row_holds_everything_the_interchange_format_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    await run(path, jobs_for(ITEMS[:1]), scripted(), meter=FiveJoules())

    row = json.loads(path.read_text().splitlines()[1])
    assert row["id"] == "math-0"
    assert row["split"] == "known"
    (outcome,) = row["outcomes"]
    run_name = outcome.pop("run")
    for key in DISTURBED:
        outcome.pop(key, None)
    assert outcome == {
        "model": "small",
        "directive": "L1",
        "site": "local",
        "setting": "default",
        "quality": 1.0,
        "grader": "number",
        "answer": "The answer is 0. Grüße!",
        "finish_reason": "stop",
        "energy_j": 5.0,
        "idle_j": 1.0,
        "duration_s": 2.0,
        "prefill_s": 0.004,
        "decode_s": 0.05,
        "prompt_tokens": 4,
        "output_tokens": 5,
        "mean_logprob": -0.1,
        "concurrency": 1,
        "repeat": 0,
        "method": "measured",
    }
    entry = read_runs(path)[run_name]
    assert entry["finished"] is True
    assert entry["meters"] == {"local": "five joules"}
    assert entry["digests"] == {"local/small": "scripted-small", "local/large": "scripted-large"}
    assert entry["load_energy_j"] == {"local/small": 5.0, "local/large": 5.0}
    assert entry["directives"]["L1"] == "Answer briefly."
    assert entry["caps"]["code"] == 768
    assert entry["hardware"]["cores"] >= 1
    assert "busy_share" in entry["throttling"]


async def test_generations_are_greedy_seeded_uncached_and_capped_by_category(tmp_path: Path) -> None:
    backend = scripted()
    await run(tmp_path / "out.jsonl", jobs_for(), backend)

    warm_up, first, second, *_ = backend.calls
    assert warm_up.sampling.max_tokens == 1
    assert first.sampling.temperature == 0.0
    assert first.sampling.seed == second.sampling.seed is not None
    assert first.sampling.max_tokens == 1024
    assert not first.cache_prompt
    assert first.logprobs
    assert [message.role for message in second.messages] == ["system", "user"]


async def test_an_unmetered_machine_leaves_joules_unknown(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    await run(path, jobs_for(ITEMS[:1]), scripted())

    assert all("energy_j" not in row and "method" not in row for row in outcomes(path).values())
    assert all(json.loads(line)["outcomes"][0].get("energy_j") is None for line in path.read_text().splitlines())


def test_models_come_one_after_the_other_and_categories_in_turn() -> None:
    jobs = jobs_for(ITEMS)

    assert [job.option.model for job in jobs] == ["small"] * 46 + ["large"] * 46
    assert [(job.item.id, job.option.directive) for job in jobs[:6]] == [
        ("math-0", "L0"),
        ("math-0", "L1"),
        ("questions-0", "L0"),
        ("questions-0", "L1"),
        ("math-1", "L0"),
        ("math-1", "L1"),
    ]
    assert len(interleaved(ITEMS)) == len(ITEMS)


def test_unknown_models_and_directives_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'huge'.*small, large"):
        Selection(models=["huge"]).options(CATALOGUE)
    with pytest.raises(ConfigError, match=r"'L9'.*L0, L1"):
        Selection(directives=["L9"]).options(CATALOGUE)


async def test_a_second_run_measures_nothing_and_a_new_directive_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    await run(path, jobs_for(), scripted())
    present = read_present(path)

    assert jobs_for(present=present) == []

    more = replace(CATALOGUE, directives={**CATALOGUE.directives, "L3": Directive("L3", "Final answer only.")})
    assert {job.option.directive for job in jobs_for(present=present, catalogue=more)} == {"L3"}

    models = {**CATALOGUE.models, "new": Model("new")}
    assert {job.option.model for job in jobs_for(present=present, catalogue=replace(CATALOGUE, models=models))} == {
        "new"
    }


async def test_rows_of_other_weights_or_another_directive_text_are_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    await run(path, jobs_for(), scripted())
    present, options = read_present(path), Selection().options(CATALOGUE)

    same = await digests_of(rig(scripted()))
    assert missing_jobs(ITEMS[:2], options, Selection(), [present], CATALOGUE, same) == []
    other = {**same, ("local", "small"): "sha256:other"}
    again = missing_jobs(ITEMS[:2], options, Selection(), [present], CATALOGUE, other)
    assert {job.option.model for job in again} == {"small"}

    reworded = replace(CATALOGUE, directives={**CATALOGUE.directives, "L1": Directive("L1", "Be brief.")})
    assert {job.option.directive for job in jobs_for(present=present, catalogue=reworded)} == {"L1"}


def test_shipped_rows_count_as_measured_unless_they_are_left_out() -> None:
    shipped = Present([Measurement("math-0", "math 0?", outcomes=(Outcome("small", "L0", 1.0),))])

    assert len(jobs_for(ITEMS[:1], present=shipped)) == 3
    assert len(jobs_for(ITEMS[:1])) == 4


def test_a_prompt_that_changed_under_its_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="'math-0' was changed"):
        check_prompts(ITEMS, Present([Measurement("math-0", "something else")]), "out.jsonl")


async def test_repeats_and_concurrency_are_rows_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    selection = Selection(models=["small"], directives=["L0"], concurrency=(1, 4), repeats=2)
    backend = scripted(pace=Pace(delay_s=0.002))
    seen: list[int] = []

    class Counting(NoMeter):
        def start(self) -> Any:
            seen.append(backend.running + 1)
            return super().start()

    await run(path, jobs_for(ITEMS[:8], selection), backend, meter=Counting())

    keys = outcomes(path).keys()
    assert len(keys) == 8 * 2 * 2
    assert {(key[3], key[4]) for key in keys} == {(1, 0), (1, 1), (4, 0), (4, 1)}
    assert max(seen) <= 4


async def test_under_concurrency_the_engine_really_gets_several_at_once(tmp_path: Path) -> None:
    selection = Selection(models=["small"], directives=["L0"], concurrency=(4,))
    at_once: list[int] = []

    def say(model: str, messages: Sequence[Message]) -> str:
        at_once.append(backend.running)
        return "1"

    backend = scripted(say, pace=Pace(delay_s=0.01))
    await run(tmp_path / "out.jsonl", jobs_for(ITEMS[:12], selection), backend)

    assert max(at_once) == 4


async def test_an_answer_that_hits_its_cap_is_counted(tmp_path: Path) -> None:
    jobs = jobs_for(ITEMS[:1], Selection(models=["small"], directives=["L0"]))
    bounds = replace(QUICK, caps={"math": 3})
    runner = await run(tmp_path / "out.jsonl", jobs, scripted("one two three four five"), bounds=bounds)

    assert runner.summary.capped == {"math": 1}
    (row,) = outcomes(tmp_path / "out.jsonl").values()
    assert row["finish_reason"] == "length"
    assert row["answer"] == "one two three"


class HangsAfterWarmUp(ScriptedBackend):
    """An engine that goes silent in the middle of every answer but the first."""

    async def stream(self, generation: Any) -> Any:
        if self.calls:
            self.faults = {"*": Fault("hang", after=4)}
        async for part in super().stream(generation):
            yield part


async def test_a_model_that_never_stops_is_stopped_by_the_deadline_and_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    jobs = jobs_for(ITEMS[:1], Selection(models=["small"], directives=["L0"]))
    backend = HangsAfterWarmUp("The answer is 0 and", models=["small"])
    runner = await run(path, jobs, backend, bounds=replace(QUICK, deadline_s=0.2))

    (row,) = outcomes(path).values()
    assert row["stopped_by"] == "deadline"
    assert row["finish_reason"] == "length"
    assert row["answer"] == "The answer is 0"
    assert row["quality"] == 1.0
    assert runner.summary.stopped == 1
    assert backend.stopped == 1
    assert jobs_for(ITEMS[:1], Selection(models=["small"], directives=["L0"]), read_present(path)) == []


class Babbler(ScriptedBackend):
    """An engine that knows no cap."""

    async def stream(self, generation: Any) -> Any:
        unbounded = replace(generation, sampling=replace(generation.sampling, max_tokens=None))
        async for part in super().stream(unbounded):
            yield part


async def test_an_engine_that_ignores_the_cap_is_stopped_by_us(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    jobs = jobs_for(ITEMS[:1], Selection(models=["small"], directives=["L0"]))
    backend = Babbler("word " * 5000, models=["small"])
    await run(path, jobs, backend, bounds=replace(QUICK, caps={"math": 10}))

    (row,) = outcomes(path).values()
    assert row["stopped_by"] == "cap"
    assert len(row["answer"].split()) < 100


async def test_a_grader_that_crashes_is_written_into_the_row_and_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    def crashes(item: Item, answer: str) -> Grade:
        def broken(item: Item, answer: str) -> Grade:
            raise RuntimeError("bad day")

        return grade_answer(item, answer, {"number": broken})

    runner = await run(path, jobs_for(), scripted(), grade=crashes)

    rows = outcomes(path)
    assert len(rows) == 8
    assert {row["quality"] for row in rows.values()} == {None}
    assert {row["grader_note"] for row in rows.values()} == {"the grader number crashed: RuntimeError: bad day"}
    assert runner.summary.ungraded == 8

    present = read_present(path)
    assert jobs_for(present=present) == []
    backend = scripted()
    with Output(path) as output:
        mended = Runner(rig(backend), output, bounds=QUICK)
        mended.regrade(ITEMS, present)
    assert mended.summary.regraded == 8
    assert backend.calls == []
    graded = [outcome for m in read_present(path).measurements for outcome in m.outcomes]
    assert len(graded) == 8
    assert all(outcome.quality is not None for outcome in graded)
    assert not any("crashed" in outcome.extra.get("grader_note", "") for outcome in graded)


async def test_an_engine_that_falters_is_given_time(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    backend = scripted(faults={"small": Fault("break", after=1, times=2)})
    await run(path, jobs_for(), backend)

    assert len(outcomes(path)) == 8


async def test_an_engine_that_dies_stops_the_run_with_what_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    backend = scripted(faults={"large": Fault("break", after=1)})
    with pytest.raises(EngineDownError, match=r"failed 3 times.*run the same command"):
        await run(path, jobs_for(), backend)

    assert len(outcomes(path)) == 4
    assert next(iter(read_runs(path).values()))["finished"] is False

    await run(path, jobs_for(present=read_present(path)), scripted())
    assert len(outcomes(path)) == 8
    assert len(read_runs(path)) == 1


async def test_what_other_generations_of_a_wave_gave_is_saved_when_one_dies(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    selection = Selection(models=["small"], directives=["L0"], concurrency=(4,))

    class OneBadPrompt(ScriptedBackend):
        async def stream(self, generation: Any) -> Any:
            bad = generation.messages[-1].content == "math 1?"
            inner = replace(generation, model="missing") if bad else generation
            async for part in super().stream(inner):
                yield part

    backend = OneBadPrompt("1", models=["small", "missing"], faults={"missing": Fault("break")})
    with pytest.raises(EngineDownError):
        await run(path, jobs_for(ITEMS[:4], selection), backend)

    assert {key[0] for key in outcomes(path)} == {"math-0", "math-2", "math-3"}


async def test_a_model_the_engine_lacks_is_left_out_and_the_others_measured(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    runner = await run(path, jobs_for(), scripted(faults={"small": Fault("missing")}))

    assert runner.summary.missing_models == ["small"]
    assert {key[1] for key in outcomes(path)} == {"large"}


async def test_a_refused_request_is_a_row_without_figures(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    class Picky(ScriptedBackend):
        async def stream(self, generation: Any) -> Any:
            if generation.messages[-1].content == "math 0?":
                self.faults = {"*": Fault("reject", times=1)}
            async for part in super().stream(generation):
                yield part

    runner = await run(path, jobs_for(), Picky("1", models=CATALOGUE.models))

    refused = [row for row in outcomes(path).values() if "error" in row]
    assert len(refused) == 4
    assert runner.summary.refused == 4
    assert all(row["quality"] is None and "answer" not in row for row in refused)


async def test_a_row_whose_model_had_to_be_loaded_is_measured_again(tmp_path: Path) -> None:
    backend = scripted(pace=Pace(load_s=3.0))
    jobs = jobs_for(ITEMS[:1], Selection(models=["small"], directives=["L0"]))
    await run(tmp_path / "out.jsonl", jobs, backend)

    assert len(backend.calls) == 3  # the warm-up, which is there to load, and the row twice
    assert len(outcomes(tmp_path / "out.jsonl")) == 1


def test_two_runs_on_one_output_are_refused_with_the_process(tmp_path: Path) -> None:
    with Output(tmp_path / "out.jsonl"):
        with pytest.raises(OutputLockedError, match=rf"process {os.getpid()}\)"), Output(tmp_path / "out.jsonl"):
            pass
        with Output(tmp_path / "other.jsonl"):
            pass
    with Output(tmp_path / "out.jsonl"):
        pass


def test_an_output_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="plain lines"), Output(tmp_path / "out.jsonl.gz"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(MeasurementError, match="cannot be written"), Output(tmp_path / "file" / "out.jsonl"):
        pass


async def test_a_broken_line_in_the_middle_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    await run(path, jobs_for(), scripted())
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], '{"id": \n', *lines[2:]]))

    with Output(path), pytest.raises(MeasurementError, match=r"out\.jsonl:3"):
        read_present(path)


async def test_a_file_torn_at_any_byte_of_its_last_row_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    await run(path, jobs_for(ITEMS[:1]), scripted())
    whole, runs = path.read_bytes(), runs_file(path).read_text()
    expected = outcomes(path)
    last = whole.rstrip(b"\n").rfind(b"\n") + 1

    for cut in range(last, len(whole), 31):
        path.write_bytes(whole[:cut])
        runs_file(path).write_text(runs.replace('"finished": true', '"finished": false'))
        with Output(path) as output:
            present = read_present(path)
            await Runner(rig(scripted()), output, bounds=QUICK).run(jobs_for(ITEMS[:1], present=present))
        assert outcomes(path) == expected, cut


def start_run(path: Path, delay_s: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.bench.scripted_run", str(path), str(delay_s)])


def test_killed_twenty_times_the_finished_file_equals_an_undisturbed_runs(tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed.jsonl", tmp_path / "killed.jsonl"
    assert start_run(undisturbed, 0.0).wait(60) == 0
    moments = random.Random(7)
    kills, rows_at_kill = 0, []
    while kills < 20:
        before = killed.stat().st_size if killed.exists() else 0
        process = start_run(killed, 0.005)
        deadline = time.monotonic() + 30
        # Wait for the first new byte, so that the kill hits the work and not the interpreter's start.
        while process.poll() is None and (not killed.exists() or killed.stat().st_size == before):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.12))
        if process.poll() is None:
            process.kill()
            process.wait()
            kills += 1
            rows_at_kill.append(killed.read_bytes().count(b"\n"))
        elif process.returncode == 0:
            break
    assert start_run(killed, 0.0).wait(60) == 0

    assert kills == 20, f"the run was over after {kills} kills: {rows_at_kill}"
    assert rows_at_kill == sorted(rows_at_kill)
    assert len(outcomes(killed)) == len(ITEMS) * 2 * 2
    assert outcomes(killed) == outcomes(undisturbed)


def test_options_without_a_site_are_those_of_the_catalogue() -> None:
    two = replace(CATALOGUE, sites={"local": Site("local"), "far": Site("far")})
    models = {"small": replace(CATALOGUE.models["small"], sites=("local", "far"))}

    assert Option("small", "L0", "far") in Selection().options(replace(two, models=models))


def test_above_one_at_a_time_a_sample_of_each_category_is_taken() -> None:
    selection = Selection(models=["small"], directives=["L0"], concurrency=(1, 4), sample=2)
    by_level: dict[int, list[str]] = {1: [], 4: []}
    for job in jobs_for(ITEMS, selection):
        by_level[job.concurrency].append(job.item.id)

    assert len(by_level[1]) == len(ITEMS)
    assert by_level[4] == ["math-0", "questions-0", "math-1", "questions-1"]


async def test_parts_of_a_run_count_on_in_one_summary_and_progress_begins_anew(tmp_path: Path) -> None:
    said = io.StringIO()
    progress, summary = PlainReporter(said, every_s=0.0), Summary()
    with Output(tmp_path / "out.jsonl") as output:
        for level in (1, 4):
            jobs = jobs_for(ITEMS[:2], Selection(models=["small"], directives=["L0"], concurrency=(level,)))
            await Runner(rig(scripted()), output, bounds=QUICK, reporter=progress, summary=summary).run(jobs)

    assert summary.measured == 4
    counts = [line.split()[0] for line in said.getvalue().splitlines() if line[:1].isdigit() and "/" in line.split()[0]]
    assert counts == ["1/2", "2/2", "1/2", "2/2"]


async def test_under_concurrency_nothing_is_said_until_the_others_have_ended(tmp_path: Path) -> None:
    said_while: list[int] = []

    class FaltersOnceWarm(ScriptedBackend):
        async def stream(self, generation: Any) -> Any:
            if len(self.calls) == 1:
                self.faults = {"small": Fault("break", after=1, times=2)}
            async for part in super().stream(generation):
                yield part

    backend = FaltersOnceWarm("The answer is 0", models=["small"], pace=Pace(delay_s=0.002))

    class Listening(SilentReporter):
        def say(self, text: str) -> None:
            if "trying again" in text:
                said_while.append(backend.running)

    selection = Selection(models=["small"], directives=["L0"], concurrency=(4,))
    await run(tmp_path / "out.jsonl", jobs_for(ITEMS[:8], selection), backend, reporter=Listening())

    assert said_while
    assert set(said_while) == {0}


async def test_a_row_below_idle_is_zero_and_can_be_read_again(tmp_path: Path) -> None:
    class Coarse(FiveJoules):
        def stop(self) -> Reading:
            return Reading(-3.0, 4.0, 0.05, "measured", self.source)

    path = tmp_path / "out.jsonl"
    await run(path, jobs_for(ITEMS[:1]), scripted(), meter=Coarse())
    rows = [o for m in read_present(path).measurements for o in m.outcomes]
    assert {(row.energy_j, row.idle_j) for row in rows} == {(0.0, 1.0)}


def test_nothing_is_written_that_could_not_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Output(path) as output:
        output.append(Measurement("a", "b", outcomes=(Outcome("m", "L0", 1.0),)))
        with pytest.raises(MeasurementError, match="energy_j"):
            output.append(Measurement("c", "d", outcomes=(Outcome("m", "L0", 1.0, energy_j=-1.0),)))
    assert [m.id for m in read_present(path).measurements] == ["a"]


def test_a_disk_that_fills_in_the_middle_of_a_row_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.jsonl"
    row = Measurement("a", "b", outcomes=(Outcome("m", "L0", 1.0),))
    with Output(path) as output:
        output.append(row)
        whole = path.read_bytes()
        file = output._file

        class Full:
            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

            def write(self, line: bytes) -> int:
                assert file is not None
                return file.write(line[:10])  # what a device takes that has ten bytes left

        monkeypatch.setattr(output, "_file", Full())
        with pytest.raises(MeasurementError, match="make room"):
            output.append(row)
        assert path.read_bytes() == whole
    assert path.read_bytes() == whole


async def test_a_run_does_not_go_on_under_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with pytest.raises(EngineDownError):
        await run(path, jobs_for(), scripted(faults={"large": Fault("break", after=1)}))

    class Other(ScriptedBackend):
        async def models(self) -> Any:
            return tuple(replace(model, digest=f"other-{model.name}") for model in await super().models())

    other = Other("1", models=CATALOGUE.models)
    with Output(path) as output:
        await Runner(rig(other), output, bounds=QUICK).run(jobs_for(present=read_present(path)))
    first, second = read_runs(path).values()
    assert first["digests"]["local/small"] == "scripted-small", "rows of then keep their weights"
    assert second["digests"]["local/small"] == "other-small"


def test_a_stale_row_of_our_own_is_not_covered_by_a_shipped_one() -> None:
    shipped = Present([Measurement("math-0", "math 0?", outcomes=(Outcome("small", "L1", 1.0, run="s"),))])
    reworded = {"l": {"directives": {"L1": "Say it shortly."}}}
    own = Present([Measurement("math-0", "math 0?", outcomes=(Outcome("small", "L1", 1.0, run="l"),))], reworded)
    options = Selection(models=["small"], directives=["L1"]).options(CATALOGUE)
    jobs = missing_jobs(ITEMS[:1], options, Selection(), [own, shipped], CATALOGUE, {})
    assert [job.option.directive for job in jobs] == ["L1"], "the store would go on deciding by the stale row"


async def test_a_model_that_cannot_chat_is_left_out_and_the_others_measured(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    runner = await run(path, jobs_for(), scripted(faults={"small": Fault("reject", times=1)}))
    assert runner.summary.missing_models == ["small"]
    assert {key[1] for key in outcomes(path)} == {"large"}
