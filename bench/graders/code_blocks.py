"""Finding the program in a model's answer."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[ \t]*(?P<language>[\w+.-]*)[^\n]*\n(?P<body>.*?)(?:^[ \t]*(?:```|~~~)|\Z)",
    re.DOTALL | re.MULTILINE,
)
_CODE_LINE = re.compile(r"(?:def|class|import|from|async def) |@\w")
_PYTHON = {"", "python", "py", "python3"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name))
    return names


def _used(tests: Sequence[str]) -> set[str]:
    trees = [tree for test in tests if (tree := _tree(test)) is not None]
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _dedent(body: str) -> str:
    lines = body.splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


def _unfenced(answer: str) -> str | None:
    """The longest stretch of lines that parses, beginning with a line that looks like code."""
    lines = answer.splitlines()
    for start, line in enumerate(lines):
        if not _CODE_LINE.match(line):
            continue
        for end in range(len(lines), start, -1):
            source = "\n".join(lines[start:end])
            if _tree(source) is not None:
                return source
    return None


def definitions_of(program: str) -> str | None:
    """A program without what it does when it is loaded; None where that leaves nothing, or all of it."""
    tree = _tree(program)
    if tree is None:
        return None
    kept = [node for node in tree.body if isinstance(node, (*_DEFINITIONS, ast.Assign, ast.AnnAssign))]
    if not kept or len(kept) == len(tree.body):
        return None
    try:
        return ast.unparse(ast.Module([*kept], []))
    except RecursionError:  # it parses deeper than it can be written
        return None


def _without_quotes(blocks: list[str], prompt: str) -> list[str]:
    """Blocks that do not stand in the prompt: an answer may quote the code it was asked to mend."""
    asked = " ".join(prompt.split())
    return [block for block in blocks if " ".join(block.split()) not in asked] or blocks


def extract_program(answer: str, tests: Sequence[str], prompt: str = "") -> str | None:
    """The program an answer gives for these tests, or None where there is no Python in it.

    The first code block that is not quoted from the prompt and defines what the tests use is the solution; definitions
    of other blocks (helpers) come before it, and blocks that only show how to call it are left out. Where no block
    parses, the first one is returned as it is, so that the grade can name the syntax error.
    """
    blocks = [_dedent(match["body"]) for match in _FENCE.finditer(answer) if match["language"].lower() in _PYTHON]
    blocks = _without_quotes([block for block in blocks if block.strip()] or blocks, prompt)
    if not blocks:
        return answer if _tree(answer) is not None and _defined(ast.parse(answer)) else _unfenced(answer)
    parsed = [(block, tree) for block in blocks if (tree := _tree(block)) is not None]
    if not parsed:
        return blocks[0]
    available: set[str] = set().union(*(_defined(tree) for _, tree in parsed))
    needed = _used(tests) & available
    main = next((block for block, tree in parsed if needed and needed <= _defined(tree)), None)
    if main is None:
        return "\n\n".join(block for block, _ in parsed)
    helpers = [
        block
        for block, tree in parsed
        if block is not main and all(isinstance(node, _DEFINITIONS) for node in tree.body)
    ]
    return "\n\n".join([*helpers, main])
