"""Several generations at a time on llama.cpp in the process: real batching, joules shared by device time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.datasets.own import load_items
from bench.report_levels import levels
from bench.run_levels import STEP_TOKENS, window_tokens
from router.config.settings import load_settings
from router.domain.errors import RouterError
from router.service.wiring import read_federation
from router.store.codec import read_measurements

FEDERATION = Path(__file__).parents[2] / "models.yaml"


def has_weights() -> bool:
    from router.backends.weights import locate

    settings = load_settings(models_file=FEDERATION)
    weights = read_federation(FEDERATION).models["smollm2:135m"].weights
    try:
        return weights is not None and locate("smollm2:135m", weights, settings.cache_dir) is not None
    except RouterError:
        return False


@pytest.mark.smollm2
def test_levels_are_measured_with_slots_of_their_own_and_their_joules_sum_to_the_devices(tmp_path: Path) -> None:
    if not has_weights():
        pytest.skip("the weights of SmolLM2-135M are not here: carbon-router models pull smollm2:135m")
    text = FEDERATION.read_text(encoding="utf-8").replace("engine: auto", "engine: embedded")
    (tmp_path / "models.yaml").write_text(text, encoding="utf-8")
    output = tmp_path / "rows.jsonl"
    arguments = ["run", "--remeasure", "--models", "smollm2:135m", "--directives", "L2", "--categories", "questions"]
    arguments += ["--limit", "4", "--sample", "4", "--concurrency", "1,4", "--cool-down-c", "0", "--json"]
    arguments += ["--models-file", str(tmp_path / "models.yaml"), "--output", str(output)]
    done = CliRunner().invoke(app, arguments, env={"ROUTER_DATA_DIR": str(tmp_path)})
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["measured"] == 8

    rows = read_measurements(output)
    outcomes = [o for m in rows for o in m.outcomes]
    runs = json.loads((tmp_path / "rows.jsonl.runs.json").read_text(encoding="utf-8"))
    slots = {o.concurrency: runs[o.run or ""]["engines"]["local"]["slots"] for o in outcomes}
    assert slots == {1: 1, 4: 4}
    assert all((o.energy_j or 0) > 0 and (o.duration_s or 0) > 0 for o in outcomes)
    # Four at a time on the same device: their shares of its time are shorter than what the engine saw them take.
    together = [o for o in outcomes if o.concurrency == 4]
    assert sum(o.duration_s or 0 for o in together) < 0.8 * sum(
        (o.prefill_s or 0) + (o.decode_s or 0) for o in together
    )
    (by_level,) = levels(rows).values()
    assert [level.concurrency for level in by_level] == [1, 4]


def test_windows_hold_the_longest_prompt_and_answer_and_are_no_longer_than_that() -> None:
    items = load_items()
    window = window_tokens(items, [512, 1024])
    longest = max(len(item.prompt) for item in items)
    assert window >= longest / 2 + 1024
    assert window < longest / 2 + 1024 + 2 * STEP_TOKENS
    assert window_tokens([replace(items[0], prompt="")], [10]) == STEP_TOKENS
