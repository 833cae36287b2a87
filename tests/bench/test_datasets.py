import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.hub import Hub, rows
from bench.datasets.item import GRADER_NAMES, item_from_json
from bench.datasets.own import PROMPTS, load_items, own_categories
from bench.datasets.public import SETS, load_folder, load_hub
from bench.graders.registry import grade_answer
from router.domain.errors import ConfigError, MeasurementError
from router.store.codec import measurement_from_json

SHARED = Path(os.environ.get("SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "prompts"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no public sets at {SHARED}")

GOOD = {"id": "m1", "category": "math", "split": "known", "prompt": "1 + 1?", "grader": "number", "answer": "2"}


def folder_with(tmp_path: Path, *lines: object) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (tmp_path / "math.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_projects_prompts_are_valid_and_their_ids_unique() -> None:
    items = load_items()

    assert {item.category for item in items} == set(own_categories())
    assert max(Counter(item.id for item in items).values()) == 1
    assert max(Counter(item.prompt for item in items).values()) == 1


def test_a_limit_takes_the_first_of_each_category() -> None:
    items = load_items(["math", "questions"], 2)

    assert [item.id for item in items] == ["math-001", "math-002", "questions-001", "questions-002"]


def test_an_unknown_category_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"poetry.*choose from .*math"):
        load_items(["poetry"])


def test_a_databases_name_becomes_the_path_of_its_script() -> None:
    if "sql" not in own_categories():
        pytest.skip("no prompts of the category sql")
    for item in load_items(["sql"]):
        assert Path(item.expected["database"]).parent == PROMPTS / "databases"
        assert Path(item.expected["database"]).is_file()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ({**GOOD, "id": ""}, "`id` must be a text"),
        ({**GOOD, "prompt": None}, "`prompt` must be a text"),
        ({**GOOD, "grader": "oracle"}, "`grader` must be one of"),
        ({**GOOD, "split": "test"}, "`split` must be one of"),
        ({**GOOD, "answr": "2"}, "`answr` is not a key"),
        ({**GOOD, "answer": True}, "`answer` must be a number or text"),
        ({**GOOD, "tolerance": -1}, "`tolerance` must be"),
        ({**GOOD, "gold": 2}, "`gold` must be a text or null"),
        ({**GOOD, "grader": "aliases"}, "`answer` is not a key"),
        ({key: value for key, value in GOOD.items() if key != "answer"}, "`answer` is missing"),
        (GOOD, "was used on line 1 already"),
    ],
)
def test_a_broken_line_is_refused_with_file_and_line(tmp_path: Path, line: object, message: str) -> None:
    folder = folder_with(tmp_path, GOOD, "", line)

    with pytest.raises(MeasurementError, match=message) as caught:
        load_items(["math"], folder=folder)
    assert caught.value.message.startswith(f"{folder / 'math.jsonl'}:3: ")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "math.jsonl").write_bytes(b"\xff\xfe")

    with pytest.raises(MeasurementError, match="cannot be read"):
        load_items(["math"], folder=tmp_path)


@needs_shared
def test_every_public_set_loads_from_a_folder_under_its_name() -> None:
    counts = {name: len(load_folder(SHARED, [name])) for name in SETS}

    assert counts == {"mbpp": 374, "gsm8k": 300, "webquestions": 300, "spider": 104, "wmt": 300}


@needs_shared
@pytest.mark.parametrize("name", list(SETS))
def test_the_references_of_a_public_set_pass_its_grader(name: str) -> None:
    items = load_folder(SHARED, [name], 8)

    assert {item.id: grade_answer(item, item.gold or "").quality for item in items} == {item.id: 1.0 for item in items}


@needs_shared
def test_the_models_see_what_they_are_graded_by() -> None:
    (task,) = load_folder(SHARED, ["mbpp"], 1)
    assert task.prompt.endswith("\n".join(task.expected["tests"]))
    assert "Your code should pass these tests" in task.prompt

    (question,) = load_folder(SHARED, ["spider"], 1)
    assert question.prompt.count("CREATE TABLE") >= 2
    assert "INSERT" not in question.prompt


def test_a_broken_line_of_a_public_set_is_refused_with_file_and_line(tmp_path: Path) -> None:
    good = {"id": "a", "prompt": "?", "answer": "1", "solution": "#### 1"}
    file = tmp_path / "gsm8k_train.jsonl"
    file.write_text(f"{json.dumps(good)}\n" + json.dumps({**good, "id": "b", "prompt": None}))
    with pytest.raises(MeasurementError, match=r"gsm8k_train\.jsonl:2: `prompt` must be"):
        load_folder(tmp_path)

    file.write_text(f"{json.dumps(good)}\n" + json.dumps({"id": "b", "prompt": "?"}))
    with pytest.raises(MeasurementError, match=r"gsm8k_train\.jsonl:2: `answer` is missing"):
        load_folder(tmp_path)


def test_a_question_without_its_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text2sql").mkdir()
    row = {"id": "a", "db_id": "bank", "question": "?", "gold_sql": ["SELECT 1"]}
    (tmp_path / "text2sql" / "questions.jsonl").write_text(json.dumps(row))

    with pytest.raises(MeasurementError, match=r"questions\.jsonl:1: the database 'bank' has no script"):
        load_folder(tmp_path)


def test_a_folder_without_the_sets_says_what_their_files_are_called(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of the public sets.*gsm8k\*\.jsonl"):
        load_folder(tmp_path)
    with pytest.raises(ConfigError, match="no folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no file for wmt"):
        load_folder(tmp_path, ["wmt"])
    with pytest.raises(ConfigError, match=r"'glue'.*choose from"):
        load_folder(tmp_path, ["glue"])


HUB_ROWS: Mapping[str, Mapping[str, Any]] = {
    "openai/gsm8k": {"question": "1 + 1?", "answer": "It is 2.\n#### 2"},
    "google-research-datasets/mbpp": {
        "task_id": 7,
        "text": "Double.",
        "code": "def f(x):\n    return 2 * x",
        "test_list": ["assert f(1) == 2"],
        "test_setup_code": "",
    },
    "stanfordnlp/web_questions": {"question": "Where?", "answers": ["Here"]},
    "wmt/wmt18": {"translation": {"en": "Good morning", "de": "Guten Morgen"}},
}


def test_rows_of_the_hub_become_the_same_items_pinned_by_revision() -> None:
    asked: list[tuple[str, str | None]] = []

    def source(hub: Hub, revision: str | None) -> Iterable[Mapping[str, Any]]:
        asked.append((hub.path, revision or hub.revision))
        return [HUB_ROWS[hub.path]] * 3

    items = load_hub(limit=1, source=source)

    assert [item.category for item in items] == ["code", "math", "questions", "translation"]
    assert all(grade_answer(item, item.gold or "").quality == 1.0 for item in items)
    assert {path for path, _ in asked} == set(HUB_ROWS)
    assert all(len(revision) == 40 for path, revision in asked if revision is not None)


def test_the_hub_is_refused_where_it_cannot_serve() -> None:
    with pytest.raises(ConfigError, match="does not hold spider"):
        load_hub(["spider"])
    with pytest.raises(ConfigError, match="exactly one set"):
        load_hub(["gsm8k", "wmt"], revision="abc")
    with pytest.raises(ConfigError, match="pinned to no revision"):
        list(rows(Hub("wmt/wmt18", None, split="test")))


def test_the_lines_that_the_documentation_shows_are_read() -> None:
    text = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text("utf-8")
    prompts, rows = (block.split("```")[0] for block in text.split("```json")[1:])
    items = [item_from_json(json.loads(line)) for line in prompts.strip().splitlines()]
    assert {item.grader for item in items} == set(GRADER_NAMES)
    (outcome,) = measurement_from_json(json.loads(rows)).outcomes
    assert (outcome.quality, outcome.energy_j, outcome.method) == (1.0, 31.5, "measured")
