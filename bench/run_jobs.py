"""What is to be measured: which outcomes are missing, and in which order they are taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from bench.datasets.item import Item
from router.domain.catalogue import Catalogue, Option
from router.domain.errors import ConfigError
from router.domain.record import Measurement, Outcome, OutcomeKey


@dataclass(frozen=True, slots=True)
class Job:
    """One outcome to measure."""

    item: Item
    option: Option
    concurrency: int = 1
    repeat: int = 0

    @property
    def key(self) -> OutcomeKey:
        """As :attr:`router.domain.record.Outcome.key`."""
        option = self.option
        return (option.model, option.directive, option.site, option.setting, self.concurrency, self.repeat)


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user wants measured; None stands for all.

    Attributes:
        models: Names in the catalogue.
        directives: Names in the catalogue.
        concurrency: Generations at a time; each is measured on its own.
        repeats: How often each outcome is measured.
        sample: Above one generation at a time, only so many prompts of each category; None for all.
    """

    models: Sequence[str] | None = None
    directives: Sequence[str] | None = None
    concurrency: Sequence[int] = (1,)
    repeats: int = 1
    sample: int | None = None

    def items(self, items: Sequence[Item], concurrency: int) -> list[Item]:
        """The prompts to measure at a level, from the categories in turn."""
        if concurrency == 1 or self.sample is None:
            return interleaved(items)
        taken: dict[str, int] = defaultdict(int)
        chosen = []
        for item in items:
            taken[item.category] += 1
            if taken[item.category] <= self.sample:
                chosen.append(item)
        return interleaved(chosen)

    def options(self, catalogue: Catalogue) -> list[Option]:
        """The chosen options of a catalogue, in its order.

        Raises:
            ConfigError: If a name is not in the catalogue.
        """
        for kind, chosen, known in (
            ("model", self.models, catalogue.models),
            ("directive", self.directives, catalogue.directives),
        ):
            for name in chosen or ():
                if name not in known:
                    raise ConfigError(f"there is no {kind} {name!r}", hint=f"models.yaml has {', '.join(known)}")
        return [
            option
            for option in catalogue.options()
            if (self.models is None or option.model in self.models)
            and (self.directives is None or option.directive in self.directives)
        ]


@dataclass(frozen=True, slots=True)
class Present:
    """What has been measured already, and how far it can still be trusted.

    Attributes:
        measurements: With their outcomes.
        runs: Entries of the ``.runs.json`` beside them.
        disqualified: Keys of a row that make it count as missing (rows that were disturbed).
    """

    measurements: Sequence[Measurement] = ()
    runs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    disqualified: Sequence[str] = ()

    def disqualifies(self, outcome: Outcome) -> bool:
        """Whether the outcome is to be measured again, whoever else has measured it."""
        return any(key in outcome.extra for key in self.disqualified)

    def still_valid(self, outcome: Outcome, catalogue: Catalogue, digests: Mapping[tuple[str, str], str]) -> bool:
        """Whether neither the weights nor the directive's text changed since; what is unknown counts as unchanged.

        Args:
            outcome: Measured earlier.
            catalogue: As it is now.
            digests: Of the weights as they are now, by site and model.
        """
        run = self.runs.get(outcome.run or "", {})
        before, texts = run.get("digests"), run.get("directives")
        now = digests.get((outcome.site, outcome.model))
        if isinstance(before, Mapping) and now is not None:
            digest = before.get(f"{outcome.site}/{outcome.model}")
            if digest is not None and digest != now:
                return False
        directive = catalogue.directives.get(outcome.directive)
        if isinstance(texts, Mapping) and directive is not None:
            return bool(texts.get(outcome.directive, directive.text) == directive.text)
        return True


def check_prompts(items: Iterable[Item], present: Present, file: str) -> None:
    """Refuse to add to a file that holds another prompt under the same id.

    Raises:
        ConfigError: Naming the id and what to do.
    """
    prompts = {measurement.id: measurement.prompt for measurement in present.measurements}
    for item in items:
        if prompts.get(item.id, item.prompt) != item.prompt:
            raise ConfigError(
                f"the prompt {item.id!r} was changed since it was measured",
                file=file,
                hint="move the file away, or give --output another name",
            )


def missing_jobs(
    items: Sequence[Item],
    options: Sequence[Option],
    selection: Selection,
    present: Sequence[Present],
    catalogue: Catalogue,
    digests: Mapping[tuple[str, str], str],
) -> list[Job]:
    """The outcomes that nobody measured yet, in the order in which they are to be measured.

    Site by site and model by model, so that loading is paid once; in a model by concurrency, then prompt by prompt
    with all its directives, prompts taken from the categories in turn: a run cut short is balanced.

    Args:
        items: Prompts.
        options: Sites, models and directives wanted.
        selection: Concurrency and repeats.
        present: What is measured already, the strongest source first.
        catalogue: The federation as it is now.
        digests: Of the weights as they are now, by site and model.
    """
    done: set[tuple[str, OutcomeKey]] = set()
    decided: set[tuple[str, OutcomeKey]] = set()
    for source in present:  # a row of a stronger source hides the others in the store too, valid or not
        rows = [(m.id, o.key, o) for m in source.measurements for o in m.outcomes if (m.id, o.key) not in decided]
        done |= {(id_, key) for id_, key, o in rows if source.still_valid(o, catalogue, digests)}
        decided |= {(id_, key) for id_, key, _ in rows}
    done -= {
        (measurement.id, outcome.key)
        for source in present
        for measurement in source.measurements
        for outcome in measurement.outcomes
        if source.disqualifies(outcome)
    }
    by_engine: dict[tuple[str, str], list[Option]] = defaultdict(list)
    for option in options:
        by_engine[option.site, option.model].append(option)
    jobs = [
        Job(item, option, concurrency, repeat)
        for engine_options in by_engine.values()
        for concurrency in selection.concurrency
        for repeat in range(selection.repeats)
        for item in selection.items(items, concurrency)
        for option in engine_options
    ]
    return [job for job in jobs if (job.item.id, job.key) not in done]


def interleaved(items: Sequence[Item]) -> list[Item]:
    """Items in turn from each category, each category in its own order."""
    by_category: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_category[item.category].append(item)
    return [item for row in zip_longest(*by_category.values()) for item in row if item is not None]
