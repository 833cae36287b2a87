"""Arguments of ``bench replay`` that need more than a type."""

from __future__ import annotations

from router.domain.cascade import CASCADE_MODES, CascadeMode
from router.domain.catalogue import Floor
from router.domain.errors import ConfigError
from router.policy.registry import POLICY_NAMES

ORACLE = "oracle"


def policies_of(text: str) -> tuple[str, ...]:
    """Names of policies, each once.

    Raises:
        ConfigError: If it is not that.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in (*POLICY_NAMES, ORACLE)]
    if unknown or not names:
        raise ConfigError(
            f"no policy {', '.join(unknown) or 'named'}", hint=f"choose from {', '.join((*POLICY_NAMES, ORACLE))}"
        )
    return names


def cascades_of(text: str) -> CascadeMode:
    """Whether cascades take part.

    Raises:
        ConfigError: If it is not that.
    """
    for mode in CASCADE_MODES:
        if text == mode:
            return mode
    raise ConfigError(f"--cascades takes auto, on or off, not {text!r}")


def floor_of(text: str) -> Floor:
    """A floor as people write it.

    Raises:
        ConfigError: If it is not that.
    """
    try:
        return Floor.parse(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def levels_of(text: str) -> tuple[float, ...]:
    """Accuracies relative to the reference.

    Raises:
        ConfigError: If it is not that.
    """
    try:
        levels = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError:
        levels = ()
    if not levels or not all(0.0 < level <= 1.5 for level in levels):
        raise ConfigError(f"--at takes shares of the reference's accuracy such as 1.00,.95, not {text!r}")
    return levels
