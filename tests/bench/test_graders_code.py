from collections.abc import Sequence

import pytest

from bench.datasets.item import Item
from bench.graders.code import grade
from bench.graders.code_blocks import definitions_of, extract_program
from bench.sandbox import SandboxError, Verdict

TESTS = ["assert double(2) == 4", "assert double('a') == 'aa'"]
ITEM = Item("c", "Write double.", "code", "code", {"tests": TESTS})
GOOD = "def double(x):\n    return x + x"


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        f"```python\n{GOOD}\n```",
        f"Here it is:\n\n```py\n{GOOD}\n```\nIt adds x to itself.",
        f"Here it is:\n\n{GOOD}\n\nIt adds x to itself.",
        f"```python\n{GOOD}",
        f"1. Write it:\n   ```python\n   {GOOD.replace(chr(10), chr(10) + '   ')}\n   ```",
        f"```python\n{GOOD}\n```\nUse it so:\n```python\nprint(double(undefined))\n```",
        f"```bash\npip install x\n```\n```python\n{GOOD}\n```",
        "```python\ndef plus(a, b):\n    return a + b\n```\n```python\ndef double(x):\n    return plus(x, x)\n```",
        f"```python\n{GOOD}\nif __name__ == '__main__':\n    raise SystemExit(1)\n```",
        f"```python\nprint('shown')\n{GOOD}\n```",
        "```python\ndouble = lambda x: 2 * x\n```",
        "```python\nfrom dataclasses import dataclass\n@dataclass\nclass D:\n    x: int\n" + GOOD + "\n```",
    ],
)
def test_a_program_that_passes_its_tests_is_right(answer: str) -> None:
    assert grade(ITEM, answer).quality == 1.0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("```python\ndef double(x):\n    return 2\n```", "test 1 of 2 fails"),
        ("```python\ndef double(x):\n    return x + 2\n```", "test 2 of 2 raises TypeError"),
        ("```python\ndef twice(x):\n    return x + x\n```", "NameError"),
        ("```python\ndef double(x)\n    return x + x\n```", "SyntaxError"),
        ("```python\nimport numpy_that_is_not_there\n```", "ModuleNotFoundError"),
        ("I cannot do that.", "no code found"),
        ("", "no code found"),
        ("```\n```", "NameError"),
        ("```python\n\x00\n```", "program fails"),
    ],
)
def test_a_program_that_does_not_is_wrong_and_the_note_says_why(answer: str, why: str) -> None:
    grade_ = grade(ITEM, answer)

    assert grade_.quality == 0.0
    assert why in (grade_.note or "")


def test_without_a_sandbox_the_quality_is_unknown_and_the_note_says_what_to_do() -> None:
    def refuses(code: str, tests: Sequence[str], *, setup: str) -> Verdict:
        raise SandboxError("no namespaces here", hint="run as root")

    grade_ = grade(ITEM, GOOD, check=refuses)

    assert grade_.quality is None
    assert grade_.note == "no namespaces here (run as root)"


def test_setup_runs_between_the_program_and_its_tests() -> None:
    item = Item("c", "?", "code", "code", {"tests": ["assert double(given) == 4"], "setup": "given = double(1)"})

    assert grade(item, GOOD).quality == 1.0


def test_of_two_solutions_the_first_counts() -> None:
    answer = f"```python\n{GOOD}\n```\nor\n```python\ndef double(x):\n    return x * 3\n```"

    assert (extract_program(answer, TESTS) or "").endswith(GOOD)


@pytest.mark.parametrize("tail", ["assert double(2) == 5", "print(double(input()))", "raise SystemExit(1)"])
def test_an_example_or_check_of_the_models_own_that_fails_does_not_make_the_function_wrong(tail: str) -> None:
    assert grade(ITEM, f"```python\n{GOOD}\n\n{tail}\n```").quality == 1.0
    assert grade(ITEM, f"```python\ndef double(x):\n    return x\n\n{tail}\n```").quality == 0.0


def test_the_code_that_was_to_be_mended_is_not_the_answer_when_it_is_quoted() -> None:
    broken = "def double(x):\n    return x * 3"
    asked = Item("c", f"Mend this:\n\n```python\n{broken}\n```", "code", "code", {"tests": TESTS})
    quoted = f"The code was:\n```python\n{broken}\n```\nThis is right:\n```python\n{GOOD}\n```"
    assert grade(asked, quoted).quality == 1.0
    assert grade(asked, f"```python\n{broken}\n```").quality == 0.0


def test_a_wrong_program_that_is_too_deep_to_be_written_out_is_wrong_and_not_ungraded() -> None:
    program = "def f(x):\n    return 0\nx = " + "-" * 400 + "1\nprint()\n"
    assert definitions_of(program) is None
