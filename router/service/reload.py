"""models.yaml watched: a valid change is handed on whole, an invalid one is named and changes nothing.

The file is looked at, not subscribed to: its size and time are compared each time the planner refreshes. That
works on every file system, and editors that write a new file and rename it are seen too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from router.domain.catalogue import Catalogue, Model, Site
from router.domain.errors import ConfigError
from router.domain.ports import IntensitySource
from router.service.engines import Engine

logger = logging.getLogger(__name__)

Load = Callable[[Path], Catalogue]
BuildEngine = Callable[[Site, Catalogue], Engine]
BuildSource = Callable[[Site], IntensitySource]
OnChange = Callable[[Catalogue], None]
_Signature = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A federation that is ready to take over: everything it needs has been built."""

    catalogue: Catalogue
    engines: Mapping[str, Engine]
    sources: Mapping[str, IntensitySource]


class Reloader:
    """Looks at the file and builds what a change needs; what has not changed is kept, loaded models included."""

    def __init__(
        self,
        file: Path,
        load: Load,
        build_engine: BuildEngine,
        build_source: BuildSource,
        *,
        on_change: OnChange | None = None,
    ) -> None:
        """Take the file and how to build; it is read at the first poll, since it may change while a server starts.

        Args:
            file: models.yaml.
            load: Reads it.
            build_engine: Makes the engine of a site.
            build_source: Makes the intensity source of a site.
            on_change: Told of every federation that is taken over, such as to fetch what it lacks.
        """
        self._file = file
        self._on_change = on_change
        self._load = load
        self._build_engine = build_engine
        self._build_source = build_source
        self._seen: _Signature | str = "not yet"
        self._metered: dict[str, tuple[object, ...]] = {}
        self.trouble: str | None = None

    def poll(
        self, current: Catalogue, engines: Mapping[str, Engine], sources: Mapping[str, IntensitySource]
    ) -> Reloaded | None:
        """The new federation if the file says another one, a good one; else None, with the reason in ``trouble``."""
        signature = _signature(self._file)
        if signature == self._seen:
            return None
        self._seen = signature
        self._metered = {name: _metering_of(site) for name, site in current.sites.items()} | self._metered
        try:
            reloaded = self._build(current, engines, sources)
        except ConfigError as error:
            self.trouble = f"the change of models.yaml is not used, the last good one stays: {error}"
            logger.error("%s", self.trouble)
            return None
        self.trouble = None
        if reloaded is None:
            return None
        logger.info("%s has been read again", self._file)
        if stale := self._metered_as_before(reloaded, engines):
            self.trouble = f"how {', '.join(stale)} is metered has changed: that is used when the server starts again"
            logger.warning("%s", self.trouble)
        if self._on_change is not None:
            self._on_change(reloaded.catalogue)
        return reloaded

    def _build(
        self, current: Catalogue, engines: Mapping[str, Engine], sources: Mapping[str, IntensitySource]
    ) -> Reloaded | None:
        catalogue = self._load(self._file)
        if catalogue == current:
            return None
        if catalogue.embedding_model != current.embedding_model:
            raise ConfigError(
                "cannot change while serving, since all measured prompts have to be embedded anew",
                file=str(self._file),
                key="embedding_model",
                hint="restart the server",
            )
        kept = {
            name
            for name, site in catalogue.sites.items()
            if current.sites.get(name) == site and _models_at(name, catalogue) == _models_at(name, current)
        }
        new_sources = self._sources(catalogue, current, sources)
        built: dict[str, Engine] = {}
        try:
            for name, site in catalogue.sites.items():
                if name not in kept:
                    built[name] = self._build_engine(site, catalogue)
        except ConfigError:
            for engine in built.values():
                engine.close_meter()
            raise
        new_engines = {name: built.get(name) or engines[name] for name in catalogue.sites}
        return Reloaded(catalogue, new_engines, new_sources)

    def _metered_as_before(self, reloaded: Reloaded, engines: Mapping[str, Engine]) -> list[str]:
        """Sites whose meter is another one by the file: this machine's is kept, since its windows share one device."""
        return [
            name
            for name, site in reloaded.catalogue.sites.items()
            if name in engines
            and reloaded.engines[name].meter is engines[name].meter
            and self._metered[name] != _metering_of(site)
        ]

    def _sources(
        self, catalogue: Catalogue, current: Catalogue, sources: Mapping[str, IntensitySource]
    ) -> dict[str, IntensitySource]:
        """Those there are, with what they remember, wherever the grid is the same; sites of one grid share one.

        A trace is a file, which is read again where its site's entry has changed.
        """
        known = {_grid_of(site): sources[name] for name, site in current.sites.items()}
        found: dict[str, IntensitySource] = {}
        for name, site in catalogue.sites.items():
            is_read_again = site.intensity_trace is not None and current.sites.get(name) != site
            if is_read_again or _grid_of(site) not in known:
                known[_grid_of(site)] = self._build_source(site)
            found[name] = known[_grid_of(site)]
        return found


def _grid_of(site: Site) -> tuple[object, ...]:
    """What a site's intensity source is made from."""
    return (
        site.zone,
        site.intensity_g_per_kwh,
        site.intensity_trace,
        site.intensity_kind,
        site.intensity_fallback_g_per_kwh,
    )


def _metering_of(site: Site) -> tuple[object, ...]:
    """What a site's meter is made from."""
    return (site.watts_per_core, site.memory_watts_per_gb, site.idle_w, site.wall)


def _models_at(site: str, catalogue: Catalogue) -> dict[str, Model]:
    return {name: model for name, model in catalogue.models.items() if site in model.sites}


def _signature(file: Path) -> _Signature:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
