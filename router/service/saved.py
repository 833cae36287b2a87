"""Numbers the router remembers across restarts, as small JSON files in the data folder.

A file that cannot be read is set aside, never fatal: what it held is learned again. A new file replaces the old one
whole, so that a router that is killed leaves one or the other.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def read_saved(file: Path | None, version: int) -> dict[str, Any]:
    """What was saved; empty where there is nothing, or nothing this version understands."""
    if file is None:
        return {}
    try:
        data = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read and is begun anew: %s", file, error)
        return {}
    if not isinstance(data, dict) or data.get("version") != version:
        logger.warning("%s is of another version and is begun anew", file)
        return {}
    return data


def write_saved(file: Path | None, data: dict[str, Any]) -> None:
    """Replace the file; a disk that cannot be written is told and changes nothing else."""
    if file is None:
        return
    beside = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(data, separators=(",", ":")), "utf-8")
        os.replace(beside, file)
    except OSError as error:
        logger.warning("%s cannot be written: %s", file, error)
