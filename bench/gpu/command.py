"""``python -m bench gpu``: meters a real NVIDIA GPU and keeps the recording.

Written for a bare machine: argparse instead of the project's command line, and no other package than torch,
transformers, nvidia-ml-py and numpy.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.gpu.networks import SHAPES, Shape, fits, free_bytes, gpu_for_torch, versions
from bench.gpu.session import BATCHES, Bounds, Session, as_json, thermometer
from bench.gpu.trace import Trace
from router.domain.errors import MeterError
from router.meters.nvml import Gpu, open_gpus

NO_GPU = 2
"""Exit status where there is nothing to record."""
TOLERANCE = 0.05
LONG_SHAPE = SHAPES[2]


def main(arguments: Sequence[str]) -> int:
    """Run the command; the exit status: 0, 1 if counter and integral disagree, 2 without a GPU."""
    parser = argparse.ArgumentParser(
        prog="python -m bench gpu",
        description="Meter a real NVIDIA GPU: its energy counter against sampled power over a long generation, joules "
        "per token by size and batch with random weights, an embedder. Takes under 15 minutes. Leaves two files: "
        "a recording (nvml-NAME.jsonl) and the results (nvml-NAME.json).",
    )
    parser.add_argument("--output", type=Path, default=Path("bench/recordings"), help="folder for both files")
    parser.add_argument("--gpu", type=int, default=0, help="which, as nvidia-smi counts them")
    parser.add_argument("--long-s", type=float, default=60.0, help="seconds of the long generation")
    parser.add_argument("--cell-s", type=float, default=5.0, help="seconds of each size and batch")
    parser.add_argument("--idle-s", type=float, default=15.0, help="seconds of the idle phase")
    parser.add_argument("--budget-s", type=float, default=780.0, help="after so many seconds no new cell begins")
    parser.add_argument("--json", action="store_true", help="print the results for programs")
    options = parser.parse_args(arguments)
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # so that CUDA counts GPUs as the driver does
    try:
        (gpu,) = open_gpus([options.gpu])
    except MeterError as error:
        print(f"nothing to record: {error}", file=sys.stderr)
        return NO_GPU
    why = gpu_for_torch()
    if why is not None:
        print(f"nothing to record: {why}", file=sys.stderr)
        return NO_GPU
    device = f"cuda:{options.gpu}"
    bounds = Bounds(idle_s=options.idle_s, long_s=options.long_s, cell_s=options.cell_s, budget_s=options.budget_s)
    say = (lambda text: None) if options.json else (lambda text: print(text, flush=True))
    results = record(gpu, device, bounds, options.output, say=say, free=lambda: free_bytes(device))
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        print(conclusion(results))
    return 0 if results["agree"] is not False else 1


def record(
    gpu: Gpu,
    device: str,
    bounds: Bounds,
    folder: Path,
    *,
    say: Any,
    free: Any,
    shapes: Sequence[Shape] = SHAPES,
    long_shape: Shape = LONG_SHAPE,
    batches: Sequence[int] = BATCHES,
    encoder_layers: int = 6,
) -> dict[str, Any]:
    """Everything on one GPU, written to the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    trace = Trace(gpu)
    session = Session(trace, thermometer(gpu.temperature_c), device, bounds, free_bytes=free, say=say)
    with trace.running():
        idle_w = session.baseline()
        chosen = long_shape if fits(long_shape, free()) else shapes[0]
        long = session.long_generation(chosen)
        cells = session.cells(shapes, batches)
        embedder = session.embedder(batches, layers=encoder_layers)
    hardware = gpu.name.rsplit(" #", 1)[0]
    header: dict[str, Any] = {
        "device": "gpu",
        "hardware": hardware,
        "synthetic": False,
        "note": f"{long['network']}, random weights, {long['batch']} at a time; idle before and after",
        "mig": gpu.mig,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    name = slug(hardware)
    trace.write(folder / f"nvml-{name}.jsonl", header, from_s=long["from_s"], until_s=long["until_s"])
    difference = long["difference"]
    results = {
        **header,
        "weights": "random: for joules and seconds, never for quality",
        "idle_w": idle_w,
        "long_generation": long,
        "tolerance": TOLERANCE,
        "agree": None if difference is None else abs(difference) <= TOLERANCE,
        "cells": as_json(cells),
        "embedder": as_json(embedder),
        "left_out": session.left_out,
        "took_s": trace.now_s(),
    }
    (folder / f"nvml-{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def slug(hardware: str) -> str:
    """A name for files."""
    return re.sub(r"[^a-z0-9]+", "-", hardware.lower()).strip("-")


def conclusion(results: dict[str, Any]) -> str:
    """What it says, in sentences."""
    long = results["long_generation"]
    if results["agree"] is None:
        first = "counter and sampled power cannot be compared: one of them was not readable throughout"
    else:
        first = (
            f"energy counter {long['counter_j']:.0f} J, integral of sampled power {long['integral_j']:.0f} J over the "
            f"same {long['window_s']:.0f} s: {long['difference']:+.2%}, "
            f"{'within' if results['agree'] else 'OUTSIDE of'} {TOLERANCE:.0%}"
        )
    left_out = [f"left out: {text}" for text in results["left_out"]]
    return "\n".join([f"{results['hardware']}: {first}", *left_out, f"took {results['took_s']:.0f} s"])
