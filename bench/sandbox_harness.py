"""Second stage: runs a candidate's program and its tests, alone in the sandbox.

Started by its text, with the standard library only. Reads one JSON object from its input: ``nonce, code, setup,
tests``. Prints one line, the nonce and what came of it, only after the last test. The program under test cannot
pass by leaving early (``sys.exit(0)``, ``os._exit``, a crash): then the nonce is missing. The nonce waits in a pipe
while foreign code runs, not in a variable that a look at the frames or the garbage collector would show. Code
written against this very harness could still forge a pass: it shares a process with its tests, as objects cannot be
compared otherwise.
"""

import ast
import builtins
import collections
import datetime
import decimal
import fractions
import json
import os
import sys
from typing import Any

SOLUTION = "solution"
TRUSTED = {type({}.keys()), type({}.items()), type(sys.implementation)} | {
    kind
    for module in (builtins, collections, datetime, decimal, fractions)
    for kind in vars(module).values()
    if isinstance(kind, type)
}
"""Whose ``__eq__`` compares values; ``unittest.mock.ANY``, for one, equals everything."""
ERROR_CHARACTERS = 200
_SEQUENCES = (list, tuple, set, frozenset, collections.deque)


def hide(nonce: str) -> int:
    """Put the nonce into a pipe, and give back the end to read it from."""
    reader, writer = os.pipe()
    os.write(writer, nonce.encode())
    os.close(writer)
    return reader


def silence() -> int:
    """Point input and both outputs at nothing; gives back the real output."""
    output = os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    return output


def claims_equality(value: Any, expected: Any, depth: int = 4) -> bool:
    """Whether a value would compare equal by an ``__eq__`` of its own, against something of another kind."""
    kind = type(value)
    owner = next(base for base in kind.__mro__ if "__eq__" in vars(base))
    if owner not in TRUSTED and type(expected) is not kind and type(expected).__module__ != SOLUTION:
        return True
    if depth and isinstance(value, _SEQUENCES):
        inner = list(expected) if isinstance(expected, _SEQUENCES) else []
        return any(
            claims_equality(entry, inner[i] if i < len(inner) else None, depth - 1) for i, entry in enumerate(value)
        )
    if depth and isinstance(value, dict) and isinstance(expected, dict):
        return any(claims_equality(entry, expected.get(key), depth - 1) for key, entry in value.items())
    return False


class CheckedEquality(ast.NodeTransformer):
    """Turns ``a == b`` of a test into a call that does not trust an ``__eq__`` the program brought along."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Rewrite a single ``==``."""
        self.generic_visit(node)
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            name = ast.Name("__same__", ast.Load())
            return ast.copy_location(ast.Call(name, [node.left, node.comparators[0]], []), node)
        return node


def same(left: Any, right: Any) -> bool:
    """Equality of a test."""
    if claims_equality(left, right) or claims_equality(right, left):
        return False
    return bool(left == right)


def described(error: BaseException) -> str:
    """An exception in one line."""
    try:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
    except BaseException:
        text = type(error).__name__
    return text.replace("\n", " ")[:ERROR_CHARACTERS]


def run(code: str, setup: str, tests: list[str]) -> str | None:
    """None where every test passes, else what went wrong."""
    # All that the verdict rests on is made before foreign code can bend the tools it is made with.
    original = dict(vars(builtins))
    trees = [ast.fix_missing_locations(CheckedEquality().visit(ast.parse(test))) for test in tests]
    compiled = [compile(tree, "<test>", "exec") for tree in trees]
    module = type(sys)(SOLUTION)
    sys.modules[SOLUTION] = module
    names = vars(module)
    try:
        exec(compile(code, "<solution>", "exec"), names)
        if setup:
            exec(compile(setup, "<setup>", "exec"), names)
    except BaseException as error:
        return f"the program fails: {described(error)}"
    vars(builtins).update(original)
    sys.setrecursionlimit(1000)
    for number, (test, check) in enumerate(zip(tests, compiled, strict=True), start=1):
        names["__builtins__"], names["__same__"] = original, same
        try:
            exec(check, names)
        except AssertionError:
            return f"test {number} of {len(tests)} fails: {test[:ERROR_CHARACTERS]}"
        except BaseException as error:
            return f"test {number} of {len(tests)} raises {described(error)}"
    return None


def main() -> None:
    """Read, run, report."""
    payload = json.loads(sys.stdin.buffer.read())
    tests, code, setup = payload["tests"], payload["code"], payload["setup"]
    reader = hide(payload.pop("nonce"))
    del payload
    write, read, leave, dumps, output = os.write, os.read, os._exit, json.dumps, silence()
    failure = run(code, setup, tests)
    report = dumps({"failure": failure}).encode()
    write(output, read(reader, 256) + b" " + report + b"\n")
    leave(0)


main()
