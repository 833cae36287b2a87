"""The section ``sites`` of ``models.yaml``: where models run, what meters them there, and on which grid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast, get_args
from urllib.parse import urlsplit

from router.config.values import check_name, path_of, stated
from router.config.yaml_nodes import Located, did_you_mean
from router.domain.catalogue import Embodied, EngineKind, Site, Wall
from router.domain.reading import IntensityKind

_SITE_KEYS = (
    *("engine", "url", "zone", "intensity_g_per_kwh", "pue", "embodied_g", "resource_share", "lifetime_s"),
    *("watts_per_core", "memory_watts_per_gb", "idle_w", "wall", "memory_bytes", "slots", "api_key_env"),
    *("intensity_trace", "intensity_kind", "intensity_fallback_g_per_kwh"),
)
_EMBODIED_KEYS = ("low", "mid", "high", "source")
_WALL_KEYS = ("url", "power", "command", "pattern")

_ENGINES: tuple[str, ...] = get_args(EngineKind)
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def sites_of(at: Located | None) -> dict[str, Site]:
    """The sites by name; one called ``local`` where the file has none."""
    entries = {} if at is None else at.mapping()
    if not entries:
        return {"local": Site("local")}
    return {name: _site(name, entry) for name, entry in entries.items()}


def _site(name: str, at: Located) -> Site:
    check_name(name, at, "a site")
    given = {key: entry for key, entry in at.mapping(_SITE_KEYS).items() if not entry.is_null}
    plain = Site(name)
    site = Site(
        name=name,
        engine=_engine(given["engine"]) if "engine" in given else plain.engine,
        url=_url(given["url"]) if "url" in given else None,
        zone=stated(given["zone"]) if "zone" in given else None,
        intensity_g_per_kwh=_grams_per_kwh(given, "intensity_g_per_kwh"),
        intensity_trace=path_of(given["intensity_trace"]) if "intensity_trace" in given else None,
        intensity_kind=_kind(given["intensity_kind"]) if "intensity_kind" in given else plain.intensity_kind,
        intensity_fallback_g_per_kwh=_grams_per_kwh(given, "intensity_fallback_g_per_kwh"),
        pue=given["pue"].number(low=1) if "pue" in given else plain.pue,
        embodied=_embodied(given["embodied_g"]) if "embodied_g" in given else None,
        resource_share=given["resource_share"].number(above=0, high=1)
        if "resource_share" in given
        else plain.resource_share,
        lifetime_s=given["lifetime_s"].number(above=0, unit="seconds") if "lifetime_s" in given else None,
        watts_per_core=_watts(given, "watts_per_core"),
        memory_watts_per_gb=_watts(given, "memory_watts_per_gb"),
        idle_w=_watts(given, "idle_w"),
        wall=_wall(given["wall"]) if "wall" in given else None,
        memory_bytes=given["memory_bytes"].whole_number(unit="bytes") if "memory_bytes" in given else None,
        slots=given["slots"].whole_number() if "slots" in given else plain.slots,
        api_key_env=_environment_name(given["api_key_env"]) if "api_key_env" in given else None,
    )
    if site.engine in ("ollama", "openai") and site.url is None:
        raise at.error(f"engine {site.engine} needs a url", hint='for instance url: "http://127.0.0.1:11434"')
    _check_intensity(site, given)
    return site


def _grams_per_kwh(given: Mapping[str, Located], key: str) -> float | None:
    return given[key].number(low=0, unit="g/kWh") if key in given else None


def _watts(given: Mapping[str, Located], key: str) -> float | None:
    return given[key].number(above=0, unit="watts") if key in given else None


def _wall(at: Located) -> Wall:
    given = {key: entry for key, entry in at.mapping(_WALL_KEYS).items() if not entry.is_null}
    if ("url" in given) == ("command" in given):
        raise at.error(
            "expected either `url` or `command`",
            hint='write {url: "http://plug/...", power: apower}, or {command: [ipmitool, dcmi, power, reading]}',
        )
    for key, goes_with in (("power", "url"), ("pattern", "command")):
        if key in given and goes_with not in given:
            raise given[key].error(f"belongs to `{goes_with}`")
    if "url" in given:
        return Wall(url=_url(given["url"]), power=stated(given["power"]) if "power" in given else Wall().power)
    words = tuple(stated(word) for word in given["command"].items())
    if not words:
        raise given["command"].error("no command", hint="write its words: [ipmitool, dcmi, power, reading]")
    return Wall(command=words, pattern=_pattern(given["pattern"]) if "pattern" in given else None)


def _pattern(at: Located) -> str:
    text = stated(at)
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise at.error(f"not a pattern: {error}") from None
    if groups < 1:
        raise at.error("the pattern has no group", hint="put ( ) around the watts")
    return text


def _kind(at: Located) -> IntensityKind:
    kind, kinds = at.text(), get_args(IntensityKind)
    if kind not in kinds:
        raise at.error(
            f"unknown kind of intensity {kind!r}" + did_you_mean(kind, kinds), hint=f"write {' or '.join(kinds)}"
        )
    return cast(IntensityKind, kind)


def _check_intensity(site: Site, given: Mapping[str, Located]) -> None:
    """What is said of the intensity must go together."""
    fixed, trace = "intensity_g_per_kwh" in given, given.get("intensity_trace")
    if trace is not None and fixed:
        raise trace.error(
            "a fixed figure is given too", hint="keep one; intensity_fallback_g_per_kwh stands in for the trace's gaps"
        )
    if trace is not None and site.zone is None:
        raise trace.error("which column of the trace?", hint="set `zone` to the name of one")
    if fixed and "intensity_fallback_g_per_kwh" in given:
        raise given["intensity_fallback_g_per_kwh"].error(
            "a fixed figure never fails", hint="remove this line, or intensity_g_per_kwh to ask a source"
        )
    if "intensity_kind" in given and not fixed and trace is None:
        raise given["intensity_kind"].error(
            "sources say themselves what they give", hint="it belongs to intensity_g_per_kwh or intensity_trace"
        )


def _engine(at: Located) -> EngineKind:
    kind = at.text()
    if kind not in _ENGINES:
        raise at.error(
            f"unknown engine {kind!r}" + did_you_mean(kind, _ENGINES), hint=f"engines: {', '.join(_ENGINES)}"
        )
    return cast(EngineKind, kind)


def _url(at: Located) -> str:
    url = at.text()
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port  # reading the port checks that it is one
    except ValueError as error:
        raise at.error(f"not a url: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise at.error(f"not a url with a scheme: {url!r}", hint='write it whole: "http://127.0.0.1:11434"')
    if parts.username or parts.password:
        raise at.error("a url here must not carry a password", hint="name its environment variable in api_key_env")
    return url.rstrip("/")


def _environment_name(at: Located) -> str:
    name = at.text()
    if not _ENVIRONMENT_NAME.fullmatch(name):
        # The value is not repeated: it may be the key itself.
        raise at.error(
            "expected the name of an environment variable, not a key", hint="write api_key_env: MY_KEY, and export it"
        )
    return name


def _embodied(at: Located) -> Embodied:
    given = {key: entry for key, entry in at.mapping(_EMBODIED_KEYS).items() if not entry.is_null}
    if "mid" not in given:
        raise at.error("`mid` is missing", hint="write {low: .., mid: .., high: .., source: ..} in grams CO2e")
    mid = given["mid"].number(low=0, unit="grams")
    low = given["low"].number(low=0, unit="grams") if "low" in given else mid
    high = given["high"].number(low=0, unit="grams") if "high" in given else mid
    if not low <= mid <= high:
        raise at.error(f"expected low <= mid <= high, found {low:g}, {mid:g}, {high:g}")
    return Embodied(low, mid, high, stated(given["source"]) if "source" in given else f"stated in {at.file}")
