"""What a run tells people, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.run_progress import in_words


def forecast_text(report: Mapping[str, Any]) -> str:
    """What would be measured, a model a line, with what the estimate rests on."""
    if not report["jobs"]:
        return "nothing is missing; --remeasure measures everything on this machine"
    lines = []
    for name, estimate in [*report["models"].items(), ("all", report)]:
        joules = "joules unknown" if estimate["energy_j"] is None else f"{estimate['energy_j']:.0f} J"
        basis = f"{estimate['from_rows']} from measured rows, {estimate['jobs'] - estimate['from_rows']} from a prior"
        lines.append(f"{name}: {estimate['jobs']} rows, about {in_words(estimate['seconds'])}, {joules} ({basis})")
    return "\n".join([*lines, f"to be appended to {report['output']}"])


def summary_text(summary: Mapping[str, Any]) -> str:
    """What was measured, and everything about it that a reader has to know."""
    lines = []
    if summary["measured"]:
        joules = "joules unknown" if summary["energy_j"] is None else f"{summary['energy_j']:.1f} J above idle"
        lines.append(f"{summary['measured']} rows measured ({joules}), run {summary['run']}, in {summary['output']}")
    else:
        lines.append("nothing was missing; --remeasure measures everything on this machine")
    if summary["regraded"]:
        lines.append(f"{summary['regraded']} earlier answers could be graded now")
    for category, count in summary["capped"].items():
        lines.append(f"{count} answers in {category} were cut off at the cap")
    for key, words in (
        ("stopped", "answers had to be stopped, as the engine kept on"),
        ("refused", "requests were refused by the engine"),
        ("ungraded", "answers could not be graded; their rows say why under `grader_note`"),
        ("busy", "rows were taken while others used the machine (`busy_share`, `steal_share`; redo: --redo-busy)"),
        ("throttled", "rows were taken on a chip that was slowed or hot (`throttled`, `hot_c`; redo: --redo-busy)"),
    ):
        if summary[key]:
            lines.append(f"{summary[key]} {words}")
    for model in summary["missing_models"]:
        lines.append(f"{model} was left out: no engine has it (try `carbon-router models pull {model}`)")
    if summary["measured"] or summary["regraded"]:
        lines.append(
            f"a router decides by them once its store has them: `make bench` does that, "
            f"or `carbon-router store import --origin local {summary['output']}`"
        )
    if summary["error"]:
        lines.append(f"stopped early, {summary['left']} rows to go: {summary['error']}")
    return "\n".join(lines)
