"""The federation as Ollama lists models: tags, details, and what is in memory."""

from __future__ import annotations

import hashlib
from typing import Any

from router.api.ollama_schema import full_name, iso
from router.domain.catalogue import Catalogue, Model
from router.domain.ports import DescribingBackend, ServedModel
from router.service.ask import ABILITIES, resolve
from router.service.assembly import Service
from router.service.snapshot import Snapshot

ARCHITECTURE = "router"
_SHORTEST_DIGEST = 12  # Ollama's own command line cuts digests to this length and fails on shorter ones
# What else a model can do its engine knows, if anybody; of these the router hands on what they need.
_HANDED_ON = frozenset({"tools", "vision", "thinking"})


def tags_json(service: Service, names: list[str], since_s: float) -> dict[str, Any]:
    """Everything that can be asked for, each name with its tag.

    Args:
        service: The running service.
        names: What a client may ask for.
        since_s: Unix seconds since when it is offered.
    """
    listed = dict.fromkeys(full_name(name) for name in names)
    return {"models": [_entry(service, name) | {"modified_at": iso(since_s)} for name in listed]}


def running_json(service: Service, resident_until_s: dict[str, float]) -> dict[str, Any]:
    """Models that answered lately, with the time until which they count as loaded."""
    entries = []
    for name, until_s in resident_until_s.items():
        model = service.planner.current.catalogue.models.get(name)
        if model is None:
            continue  # it answered, and was taken out of models.yaml since
        entry = _entry(service, full_name(name))
        # Where in memory it lies is the engine's to know; Ollama's clients show size_vram 0 as "CPU".
        entry |= {"expires_at": iso(until_s), "size_vram": None}
        if model.context is not None:
            entry["context_length"] = model.context
        entries.append(entry)
    return {"models": entries}


async def show_json(service: Service, name: str, since_s: float) -> dict[str, Any]:
    """What is known of one model, or of the router behind ``auto``.

    Raises:
        RequestError: If nobody knows it.
    """
    snapshot = service.planner.current
    model = _model(snapshot.catalogue, name)
    context = model.context if model else _smallest_context(snapshot)
    info = {
        "general.architecture": ARCHITECTURE,
        "general.basename": name,
        "general.parameter_count": None if model is None or model.parameters is None else int(model.parameters),
        f"{ARCHITECTURE}.context_length": context,
    }
    return {
        "modelfile": f"# offered by carbon-router\nFROM {full_name(name)}\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "license": model.licence if model and model.licence else "",
        "details": _details(model),
        "model_info": {key: value for key, value in info.items() if value is not None},
        "capabilities": ["completion", *sorted(await _capabilities(service, model))],
        "modified_at": iso(since_s),
    }


async def _capabilities(service: Service, model: Model | None) -> frozenset[str]:
    """What every engine says that could run the model; what one of them does not know is left out.

    Of ``auto`` what all models can, since any may be chosen, and what some can that requests are routed by.
    """
    snapshot, engines = service.planner.current, service.engines
    catalogue = snapshot.catalogue
    running = engines.all  # a site that was taken out stands in the snapshot until there is a new plan
    places = {
        (option.site, engines.tag(option, catalogue))
        for option in snapshot.available
        if option.site in running and (model is None or option.model == model.name)
    }
    found = _HANDED_ON if places else frozenset()
    for site, tag in places:
        backend = running[site].backend
        known = await backend.capabilities(tag) if isinstance(backend, DescribingBackend) else None
        found &= known or frozenset()
    if model is None:
        found |= {what for what in ABILITIES for option in snapshot.available if engines.can(what, option, catalogue)}
    return found


def _entry(service: Service, name: str) -> dict[str, Any]:
    model = _model(service.planner.current.catalogue, name)
    served = None if model is None else _served(service, model)
    size: int | None = 0  # `auto` has no weights of its own
    digest = None
    if model is not None:
        weights = model.weights
        size = served.bytes if served and served.bytes else weights.bytes if weights else None
        digest = served.digest if served and served.digest else weights.sha256 if weights else None
    if digest is None or len(digest) < _SHORTEST_DIGEST:
        # Of what nobody has hashed, the name's hash: clients only use it to tell entries apart.
        digest = hashlib.sha256(name.encode()).hexdigest()
    return {"name": name, "model": name, "size": size, "digest": digest, "details": _details(model)}


def _details(model: Model | None) -> dict[str, Any]:
    parameters = model.parameters if model else None
    return {
        "parent_model": "",
        "format": "gguf" if model and model.weights else "",
        "family": ARCHITECTURE if model is None else "",
        "families": [ARCHITECTURE] if model is None else [],
        "parameter_size": "" if parameters is None else parameter_size(parameters),
        "quantization_level": "",
    }


def parameter_size(parameters: float) -> str:
    """A number of parameters as Ollama writes it, e.g. ``1.5B`` or ``135M``."""
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f}B"
    return f"{parameters / 1e6:.0f}M"


def _model(catalogue: Catalogue, name: str) -> Model | None:
    """The model a name stands for; None for ``auto`` and its aliases."""
    target = resolve(name, catalogue)
    return None if target.model is None else catalogue.models[target.model]


def _served(service: Service, model: Model) -> ServedModel | None:
    snapshot = service.planner.current
    found = (
        service.engines.served(option, snapshot.catalogue)
        for option in snapshot.available
        if option.model == model.name
    )
    return next((served for served in found if served is not None), None)


def _smallest_context(snapshot: Snapshot) -> int | None:
    """What every model that could answer now can read."""
    models = snapshot.catalogue.models
    contexts = {models[option.model].context for option in snapshot.available}
    return min((context for context in contexts if context is not None), default=None)
