"""Which prompts a run measures, and what will keep their answers from being graded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from router.domain.errors import ConfigError


def load(
    categories: Sequence[str] | None,
    limit: int | None,
    *,
    datasets: Sequence[str] | None = None,
    data: Path | None = None,
    revision: str | None = None,
    prompts: Path | None = None,
) -> list[Any]:
    """The prompts to measure: ours, the user's own, or public sets from a folder or the hub.

    Args:
        categories: Which, or None for all.
        limit: How many of each category, or None for all.
        datasets: Public sets by name.
        data: Folder of the public sets.
        revision: Commit of a set at the hub.
        prompts: Folder of the user's own prompts: a file a category, SQL's databases beneath it.

    Raises:
        ConfigError: If a name is unknown or nothing is left.
        MeasurementError: With file and line, where a line is broken.
    """
    from bench.datasets.own import load_items, own_categories
    from bench.datasets.public import load_folder, load_hub

    if prompts is not None:
        if datasets is not None or data is not None:
            raise ConfigError("--prompts are your own; --dataset and --data are public sets", hint="give one of them")
        if not own_categories(prompts):
            raise ConfigError(
                f"there are no prompts in {prompts}", hint="put CATEGORY.jsonl there; docs/measuring.md shows the lines"
            )
        return load_items(categories, limit, folder=prompts)
    if datasets is None and data is None:
        return load_items(categories, limit)
    items = load_folder(data, datasets, limit) if data is not None else load_hub(datasets, limit, revision=revision)
    kept = [item for item in items if categories is None or item.category in categories]
    if not kept:
        raise ConfigError("no prompts are left", hint="check --dataset and --categories")
    return kept


def grading_trouble(items: Sequence[Any]) -> list[str]:
    """What will keep answers from being graded, said before hours are spent on them."""
    graders = {item.grader for item in items}
    trouble = []
    if "code" in graders:
        from bench.sandbox import why_unavailable

        if (why := why_unavailable()) is not None:
            trouble.append(f"programs will not be graded: {why}")
    if "chrf" in graders:
        from importlib.util import find_spec

        if find_spec("sacrebleu") is None:
            trouble.append(
                "translations will not be graded: sacrebleu is not installed "
                "(run: .venv/bin/pip install -e '.[bench]'; the next run grades what is saved)"
            )
    return trouble
