"""Processor joules, on a powercap tree laid out from a synthetic recording."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from router.domain.errors import MeterError
from router.meters.rapl import RaplCounter
from router.meters.recording import RecordedTree, Recording, ReplayClock
from router.meters.window import SharedMeter

WRAP = Path(__file__).parents[2] / "bench" / "recordings" / "synthetic-rapl-wrap.jsonl"


class Machine:
    """A tree played back, read as often as the thread would."""

    def __init__(self, root: Path) -> None:
        self.clock = ReplayClock()
        self.tree = RecordedTree(Recording.load(WRAP), root, self.clock)
        self.counter = RaplCounter(root, clock=self.clock, keep_up=False)

    def at(self, now_s: float) -> None:
        self.clock.now_s = now_s
        self.tree.update()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_packages_and_memory_are_counted_and_nothing_twice(machine: Machine) -> None:
    assert machine.counter.source == "rapl: package-0, dram of package-0"
    before = machine.counter.read_j()
    machine.at(10.0)
    after = machine.counter.read_j()
    assert before is not None
    assert after is not None
    assert after - before == pytest.approx(10 * (100 + 8))
    assert machine.counter.read_parts_j() == pytest.approx({"package-0": 1000.0, "dram of package-0": 80.0})


def test_a_counter_that_wraps_counts_on(machine: Machine) -> None:
    window = SharedMeter(machine.counter, clock=machine.clock).start()
    machine.at(30.0)  # the package wrapped at 15
    reading = window.stop()
    assert reading.energy_j == pytest.approx(30 * 108)
    assert reading.method == "measured"


def test_looks_in_between_change_nothing(machine: Machine) -> None:
    machine.counter.read_j()
    for second in range(0, 31, 5):
        machine.at(float(second))
        machine.counter.update()
    assert machine.counter.read_j() == pytest.approx(30 * 108)


def test_a_look_so_late_that_it_may_have_wrapped_twice_is_unknown_once(machine: Machine) -> None:
    machine.counter.read_j()
    machine.at(300.0)  # 262 kJ wrap after 262 s at 1 kW
    assert machine.counter.read_j() is None
    assert "may have wrapped" in (machine.counter.problem or "")
    machine.at(301.0)
    assert machine.counter.read_j() is not None
    assert machine.counter.problem is None


def test_a_domain_that_vanishes_makes_the_sum_unknown_until_it_is_back(machine: Machine, tmp_path: Path) -> None:
    energy = tmp_path / "intel-rapl:0:1" / "energy_uj"
    energy.unlink()
    assert machine.counter.read_j() is None
    assert machine.counter.read_parts_j()["package-0"] is not None
    machine.at(1.0)
    machine.counter.read_j()  # tells that something was missed
    assert machine.counter.read_j() is not None


@pytest.mark.parametrize("content", ["", "nonsense", "-5", "999999999999999"])
def test_nonsense_in_a_counter_is_unknown_and_not_zero(machine: Machine, tmp_path: Path, content: str) -> None:
    machine.counter.read_j()
    machine.clock.sleep(1.0)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text(content, encoding="ascii")
    assert machine.counter.read_j() is None


def test_two_packages_of_the_same_name_pattern_are_both_counted(tmp_path: Path) -> None:
    for index in (0, 1):
        folder = tmp_path / f"intel-rapl:{index}"
        folder.mkdir()
        for name, content in (
            ("name", f"package-{index}"),
            ("energy_uj", "1000000"),
            ("max_energy_range_uj", "262143328850"),
        ):
            (folder / name).write_text(content, encoding="ascii")
    assert RaplCounter(tmp_path, keep_up=False).source == "rapl: package-0, package-1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_names_the_command_that_allows_it(machine: Machine, tmp_path: Path) -> None:
    energy = tmp_path / "intel-rapl:0" / "energy_uj"
    energy.chmod(0)
    with pytest.raises(MeterError, match=r"sudo chmod a\+r"):
        RaplCounter(tmp_path, keep_up=False)


class Refusing(type(Path())):  # type: ignore[misc]
    """A folder whose counters only root may read, also where the tests run as root."""

    def read_text(self, *arguments: object, **named: object) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return str(super().read_text(*arguments, **named))


def test_denied_permission_names_every_file_and_the_command(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(MeterError) as refused:
        RaplCounter(Refusing(tmp_path), keep_up=False)
    hint = refused.value.hint or ""
    assert "sudo chmod a+r" in hint
    assert str(tmp_path / "intel-rapl:0" / "energy_uj") in hint
    assert str(tmp_path / "intel-rapl:0:1" / "energy_uj") in hint


def test_without_counters_the_way_out_is_modelling(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="watts_per_core"):
        RaplCounter(tmp_path)
    with pytest.raises(MeterError, match="watts_per_core"):
        RaplCounter(tmp_path / "absent")


def test_the_thread_that_keeps_up_ends_when_closed(machine: Machine, tmp_path: Path) -> None:
    counter = RaplCounter(tmp_path)
    assert counter.read_j() is not None
    counter.close()


def test_a_counter_that_begins_anew_is_unknown_once_and_no_wrap(machine: Machine, tmp_path: Path) -> None:
    machine.counter.read_j()
    machine.at(10.0)
    counted = machine.counter.read_j()
    for file in tmp_path.rglob("energy_uj"):  # it slept and counted anew: a wrap would be 261 kJ at once
        if (file.parent / "name").read_text() == "package-0\n":
            file.write_text(f"{int(file.read_text()) - 10**6}\n")
    machine.clock.now_s = 10.5
    assert counted is not None
    assert machine.counter.read_j() is None
    assert "began anew" in (machine.counter.problem or "")
