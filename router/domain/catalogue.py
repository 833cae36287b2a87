"""The federation: which models, directives and settings can answer, and where they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from router.domain.reading import IntensityKind
from router.domain.sci import embodied_g_per_s

EngineKind = Literal["auto", "ollama", "openai", "embedded", "scripted"]

DEFAULT_SETTING = "default"
NO_DIRECTIVE = "L0"


@dataclass(frozen=True, slots=True, order=True)
class Option:
    """One column of every array: a model at a site, with a directive and a setting."""

    model: str
    directive: str = NO_DIRECTIVE
    site: str = "local"
    setting: str = DEFAULT_SETTING

    @property
    def is_plain(self) -> bool:
        """Whether the prompt is answered as it came, without being told to be brief."""
        return self.directive == NO_DIRECTIVE

    @property
    def parts(self) -> tuple[Option, ...]:
        """The options that may run: itself."""
        return (self,)

    def __str__(self) -> str:
        """Short form for people: what differs from the usual is shown."""
        text = f"{self.model}@{self.directive}"
        if self.setting != DEFAULT_SETTING:
            text += f"+{self.setting}"
        return text if self.site == "local" else f"{self.site}/{text}"


@dataclass(frozen=True, slots=True)
class Directive:
    """A level and the system instruction that stands for it; ``L0`` is empty and adds nothing."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Embodied:
    """Embodied carbon of a site's hardware as a range, since sources differ several-fold.

    Attributes:
        low_g: Lowest estimate, grams CO2e.
        mid_g: The one scores use.
        high_g: Highest estimate.
        source: Where the figures come from.
    """

    low_g: float
    mid_g: float
    high_g: float
    source: str


@dataclass(frozen=True, slots=True)
class Wall:
    """A meter of the whole machine's power: a plug over HTTP, or a command (IPMI, a serial meter).

    Attributes:
        url: Answers JSON, or None where a command is asked.
        power: Where in the answer the watts are, such as ``meters.0.power``.
        command: Words of a command that prints the watts; there is no shell.
        pattern: Its first group is the watts; None for what ``ipmitool dcmi power reading`` prints.
    """

    url: str | None = None
    power: str = "apower"
    command: tuple[str, ...] = ()
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A place where models run.

    Attributes:
        name: Key in models.yaml.
        engine: Which backend talks to it; ``auto`` takes Ollama if it answers and has the model, else embedded.
        url: Where an Ollama or OpenAI-compatible engine listens, or None.
        zone: Grid zone (Electricity Maps naming), or None.
        intensity_g_per_kwh: Fixed grid intensity, or None where a source is to be asked.
        intensity_trace: A recorded hourly trace (CSV) instead, or None.
        intensity_kind: Whether the fixed figure or the trace is average or marginal.
        intensity_fallback_g_per_kwh: What counts, marked stale, where trace or source have had no value for long.
        pue: Power usage effectiveness, at least 1.
        embodied: Embodied carbon of the machine, or None where unknown.
        resource_share: Share of that machine reserved for the models, the RS of the SCI formula.
        lifetime_s: Over how many seconds the embodied carbon is spread.
        watts_per_core: For the modelled meter: watts of one busy core, or None.
        memory_watts_per_gb: For the modelled meter: watts of a gigabyte in use, or None to leave memory out.
        idle_w: What this machine's meters read with nothing to do, or None to take what ``bench run`` measured.
        wall: What meters the whole machine, or None.
        memory_bytes: Memory that models may take together, or None for no limit.
        slots: Generations at a time.
        api_key_env: Environment variable that holds the engine's key, or None.
    """

    name: str
    engine: EngineKind = "auto"
    url: str | None = None
    zone: str | None = None
    intensity_g_per_kwh: float | None = None
    intensity_trace: str | None = None
    intensity_kind: IntensityKind = "average"
    intensity_fallback_g_per_kwh: float | None = None
    pue: float = 1.0
    embodied: Embodied | None = None
    resource_share: float = 1.0
    lifetime_s: float | None = None
    watts_per_core: float | None = None
    memory_watts_per_gb: float | None = None
    idle_w: float | None = None
    wall: Wall | None = None
    memory_bytes: int | None = None
    slots: int = 1
    api_key_env: str | None = None

    @property
    def runs_here(self) -> bool:
        """Whether its engine runs on this machine: it has no address, or one of this machine's own."""
        host = urlsplit(self.url).hostname if self.url else None
        return host in (None, "localhost", "::1", "::", "0.0.0.0") or host.startswith("127.")

    @property
    def k1_g_per_s(self) -> float | None:
        """Embodied grams per second of this site's hardware; None where it is unknown."""
        if self.embodied is None or self.lifetime_s is None:
            return None
        return embodied_g_per_s(self.embodied.mid_g, self.lifetime_s, self.resource_share)


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the embedded engine finds a model's GGUF file: packages of the registry, or a path.

    Attributes:
        packages: Exact requirements (``name==version``) whose wheels carry the file, in order.
        files: Glob inside the wheels; the matches, in order of their packages and names, are joined.
        bytes: Size of the joined file.
        sha256: Its hash.
        path: A GGUF file already on this machine, instead of packages.
    """

    packages: tuple[str, ...] = ()
    files: str = ""
    bytes: int | None = None
    sha256: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the federation.

    Attributes:
        name: Its tag, e.g. ``qwen2.5-coder:1.5b``.
        parameters: Number of parameters, or None.
        context: Context window in tokens, or None.
        licence: SPDX name, or None.
        sites: Names of the sites that run it.
        weights: For the embedded engine, or None.
        tags: Its name at an engine that calls it otherwise, by site.
    """

    name: str
    parameters: float | None = None
    context: int | None = None
    licence: str | None = None
    sites: tuple[str, ...] = ("local",)
    weights: Weights | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Floor:
    """The accuracy the user states: a share of the reference's, or an absolute one.

    Attributes:
        value: Between 0 and 1.
        absolute: Whether ``value`` is an accuracy rather than a share of the reference's.
    """

    value: float = 0.95
    absolute: bool = False

    def __str__(self) -> str:
        """As it is written in models.yaml and on the command line."""
        return f"{self.value:g}abs" if self.absolute else f"{self.value:g}"

    @classmethod
    def parse(cls, text: str | float) -> Floor:
        """Read ``.95`` (a share of the reference) or ``.72abs`` (an accuracy).

        Raises:
            ValueError: If it is neither, or not in [0, 1].
        """
        raw = str(text).strip()
        absolute = raw.endswith("abs")
        try:
            value = float(raw.removesuffix("abs"))
        except ValueError:
            raise ValueError(f"a floor is a share such as .95 or an accuracy such as .72abs, not {text!r}") from None
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a floor lies between 0 and 1, not {raw}")
        return cls(value, absolute)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything models.yaml says.

    Attributes:
        directives: By name; ``L0`` is always there.
        sites: By name.
        models: By name, in the file's order.
        aliases: Names a client may use, to the names they stand for (``auto`` or a model).
        floor: The accuracy never undercut.
        slack: How far below its share of the reference one category may fall (no task is sold for
            another); None switches the rows per category off.
        reference: The reference's model (at L0), or None to take the most accurate measured one.
        policy: Name of the policy that decides.
        confidence: Probability with which the floor is to hold; .5 is no margin. Who states none means the floor.
        embedding_model: Which embedder, by name.
        sliding_floor: Whether cleaner hours than usual ask for more than the floor.
        max_mean_seconds: Highest mean device seconds of an answer, or None.
        carbon_budget_g_per_hour: Grams that may be emitted in an hour, or None.
        cascades: Whether a cheap answer may be tried first and judged: ``auto`` where that pays on prompts it was not
            chosen on, ``on``, ``off``.
    """

    directives: Mapping[str, Directive]
    sites: Mapping[str, Site]
    models: Mapping[str, Model]
    aliases: Mapping[str, str] = field(default_factory=dict)
    floor: Floor = Floor()
    slack: float | None = 0.05
    reference: str | None = None
    policy: str = "joint"
    confidence: float = 0.9
    embedding_model: str = "all-MiniLM-L6-v2"
    sliding_floor: bool = True
    max_mean_seconds: float | None = None
    carbon_budget_g_per_hour: float | None = None
    cascades: Literal["auto", "on", "off"] = "auto"

    @property
    def home(self) -> str:
        """The site that stands for the router's own machine: the first that runs here, else the first."""
        return next((name for name, site in self.sites.items() if site.runs_here), next(iter(self.sites)))

    def options(self) -> tuple[Option, ...]:
        """Every (site, model, directive) at its default setting, in the file's order."""
        return tuple(
            Option(model.name, directive, site)
            for model in self.models.values()
            for site in model.sites
            for directive in self.directives
        )
