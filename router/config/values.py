"""Values that several sections of ``models.yaml`` share."""

from __future__ import annotations

import re
from pathlib import Path

from router.config.yaml_nodes import Located

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def path_of(at: Located) -> str:
    """As written, with ``~`` expanded; a relative one is meant from the folder of the file that names it."""
    return str(Path(at.file).parent / Path(stated(at)).expanduser())


def stated(at: Located) -> str:
    """Text that is not empty."""
    text = at.text().strip()
    if not text:
        raise at.error("must not be empty")
    return text


def check_name(name: str, at: Located, what: str) -> None:
    """Refuse a name of a site or a directive that could not stand in ``site/model@directive``."""
    if not _NAME.fullmatch(name):
        raise at.error(f"{what}'s name is made of letters, digits, `.`, `_` and `-`, not {name!r}")
