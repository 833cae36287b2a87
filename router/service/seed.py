"""Whether a store has the shipped measurements already, so that a fresh machine, or a fresh store, routes at once.

They are put in once for each store, and again where the file, the embedder or the options of models.yaml changed:
`store prune` takes out what models.yaml does not name, and a model that comes back is to be routed to.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

logger = logging.getLogger(__name__)

_MARKER = "shipped.sha256"


def shipped_file() -> Path | None:
    """The measurements of the default federation that come with the package; None where they were left out."""
    path = Path(str(files("router"))) / "data" / "measurements" / "default.jsonl.gz"
    return path if path.is_file() else None


@dataclass(frozen=True, slots=True)
class Seeding:
    """What was put where.

    Attributes:
        source: The shipped file.
        embedder_name: Whose vectors the store holds.
        store: Its folder or address.
        options: Of models.yaml, in words.
    """

    source: Path
    embedder_name: str
    store: str
    options: tuple[str, ...]

    @classmethod
    def of(cls, source: Path, embedder_name: str, store: object, options: Iterable[object]) -> Seeding:
        """Of a catalogue's options, in any order."""
        return cls(source, embedder_name, str(store), tuple(sorted(str(option) for option in options)))

    def is_done(self, folder: Path) -> bool:
        """Whether the marker in the data folder says that this was done."""
        try:
            return (folder / _MARKER).read_text() == self._digest()
        except (OSError, ValueError):  # not there, or damaged
            return False

    def mark(self, folder: Path) -> None:
        """Remember that it was; where that cannot be written it is done again at the next start, and no more."""
        try:
            folder.mkdir(parents=True, exist_ok=True)  # nobody has made it yet where the store is a server
            (folder / _MARKER).write_text(self._digest())
        except OSError as error:
            logger.warning("the shipped measurements will be put in again at the next start: %s", error)

    def _digest(self) -> str:
        words = "\n".join([self.embedder_name, self.store, *self.options])
        return hashlib.sha256(self.source.read_bytes() + words.encode()).hexdigest()
