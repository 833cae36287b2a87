"""Everything one decision rests on, as the planner published it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from router.domain.catalogue import Catalogue, Option
from router.domain.reading import Intensity
from router.domain.record import Measurement
from router.learn.decider import Decider
from router.service.conditions import Conditions, Sliding
from router.service.grid import Grid
from router.service.load import SiteLoad
from router.service.memory import Resident

_NOTHING_YET = Conditions(Sliding(False, 1.0, None, None, None, "nothing is planned yet"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one decision rests on.

    Attributes:
        catalogue: The federation.
        decider: The fitted policy, or None where nothing can be decided from measurements.
        reference: Who answers where the policy cannot tell; None if no engine has any model.
        intensities: Per site; a site whose intensity is unknown is missing.
        prompts: By id, those the decider was fitted on.
        measured_models: Names of models of which any answer was graded, available or not.
        available: Options an engine can run now.
        lacking: By ability (``tools``, ``vision``), those of them that do not have it, as far as engines say.
        notes: What a reader has to know, in sentences.
        solved_s: How long fitting and solving took.
        planned_at: Unix seconds.
        trouble: Why a change of models.yaml or of the measured prompts is not used, or None.
        grid: Intensities with how their sources do, and forecasts.
        conditions: Where the floor stands, the traffic's shares and rate it was solved for.
        residents: Who stays in memory, where the models of a site do not all fit.
        loads: For which load of each site the rows were read.
    """

    catalogue: Catalogue
    decider: Decider | None = None
    reference: Option | None = None
    intensities: Mapping[str, Intensity] = field(default_factory=dict)
    prompts: Mapping[str, Measurement] = field(default_factory=dict)
    measured_models: frozenset[str] = frozenset()
    available: tuple[Option, ...] = ()
    lacking: Mapping[str, frozenset[Option]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    solved_s: float = 0.0
    planned_at: float = 0.0
    trouble: str | None = None
    grid: Grid = field(default_factory=Grid)
    conditions: Conditions = _NOTHING_YET
    residents: tuple[Resident, ...] = ()
    loads: tuple[SiteLoad, ...] = ()
