"""Programming tasks: right if the program in the answer passes every test, run in the sandbox.

What is asked for is the function. Where the program fails as a whole (an example call that waits for input, a check of
the model's own with a wrong expectation), its definitions are judged alone.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.datasets.item import Item
from bench.graders.code_blocks import definitions_of, extract_program
from bench.graders.grade import RIGHT, WRONG, Grade
from bench.sandbox import SandboxError, Verdict, check_program


def grade(item: Item, answer: str, *, check: Callable[..., Verdict] = check_program) -> Grade:
    """Right if all tests pass; unknown, with a hint, where the sandbox cannot be had.

    Args:
        item: The task.
        answer: The model's, code among prose.
        check: Runs the program against the tests; the sandbox, unless handed in.
    """
    tests = item.expected["tests"]
    program = extract_program(answer, tests, item.prompt)
    if program is None:
        return Grade(WRONG, "no code found")
    setup = item.expected.get("setup", "")
    try:
        verdict = check(program, tests, setup=setup)
        if not verdict.passed and (definitions := definitions_of(program)) is not None:
            alone = check(definitions, tests, setup=setup)
            verdict = alone if alone.passed else verdict
    except SandboxError as error:
        return Grade(None, str(error))
    return Grade(RIGHT if verdict.passed else WRONG, verdict.reason)
