"""From a request to a decision, and the order in which options are tried.

Nothing here fails for a reason the user cannot help: an embedder that is down, an empty store or a prompt unlike
anything measured gets the reference option, and the decision says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from router.domain.cascade import Cascade
from router.domain.catalogue import NO_DIRECTIVE, Option
from router.domain.decision import Candidate, Decision
from router.domain.errors import BackendUnavailableError, EmbedError
from router.domain.ports import Embedder
from router.learn.decider import Assessment
from router.policy.draw import Draw
from router.service.ask import Ask, Target, resolve
from router.service.context import routing_texts
from router.service.conversation import Conversations, Place, earlier_characters
from router.service.following import settle
from router.service.planner import Planner
from router.service.side import cheapest_sane, is_plain, side_of
from router.service.snapshot import Snapshot
from router.service.staying import Turn
from router.service.steps import Steps
from router.service.weighing import (
    known,
    made_plain,
    neighbours_of,
    reason_for,
    restricted,
    scores_of,
    tokens_of,
    too_narrow,
)
from router.service.worker import Worker

logger = logging.getLogger(__name__)
_MOST_LOSS = 0.05  # of quality by staying on a model, where the federation sets no slack
_PATIENCE_S = 10.0  # embedding and deciding take some 10 ms


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision with what was known when it was made.

    Attributes:
        decision: The option, and why.
        order: Options to try, the chosen one first.
        snapshot: What the decision rests on.
        place: Where in a conversation it stands; None for side requests, which are part of none.
    """

    decision: Decision
    order: tuple[Option, ...]
    snapshot: Snapshot
    place: Place | None = None


class Chooser:
    """Decides under the planner's current snapshot."""

    def __init__(
        self, planner: Planner, embedder: Embedder, draw: Draw, conversations: Conversations | None = None
    ) -> None:
        """Take the planner, the embedder the store was built with, the draw, and the memory of conversations."""
        self._planner = planner
        self._embedder = embedder
        self._draw = draw
        self._conversations = conversations or Conversations()
        self._worker = Worker("decide")

    def close(self) -> None:
        """Decide nothing more."""
        self._worker.close()

    async def choose(
        self, ask: Ask, *, dry_run: bool = False, within_s: float = _PATIENCE_S, steps: Steps | None = None
    ) -> Choice:
        """Decide one request.

        Args:
            ask: The request.
            dry_run: Do not advance the draw: the most probable option is shown instead.
            within_s: Seconds after which the reference answers, whatever the embedder does.
            steps: Where to note how long embedding took.

        Raises:
            RequestError: If the model or directive asked for is unknown.
            BackendUnavailableError: If no engine can run anything that was asked for.
        """
        snapshot = self._planner.current
        target = resolve(ask.model, snapshot.catalogue, ask.directive)
        if ask.fixes_form and target.directive is None:
            # Tool calls and prescribed formats are answered in full; which model does it stays open.
            target = replace(target, directive=NO_DIRECTIVE, is_plain_for_form=True)
        allowed = tuple(option for option in snapshot.available if target.allows(option))
        unable = frozenset(option for ability in ask.needs for option in snapshot.lacking.get(ability, ()))
        if not unable.issuperset(allowed):  # where none of them can, the engine's own refusal says more than ours
            target = replace(target, unable=unable)
            allowed = tuple(option for option in allowed if target.allows(option))
        tokens = tokens_of(ask, None if snapshot.decider is None else snapshot.decider.lengths)
        if narrow := too_narrow(ask, [snapshot.catalogue.models[option.model] for option in allowed], tokens):
            target = replace(target, unable=target.unable | {o for o in snapshot.available if o.model in narrow})
            allowed = tuple(option for option in allowed if target.allows(option))
        if not allowed:
            raise BackendUnavailableError(
                f"no engine can run {ask.model!r} now", hint="run `carbon-router doctor` to see what is missing"
            )
        if not dry_run:
            self._planner.traffic.arrived()
        kind = side_of(ask, is_side_model=target.is_side)
        if kind is not None:
            return self._aside(snapshot, ask, target, allowed, kind, tokens)
        place = self._conversations.find(ask)
        if snapshot.decider is None:
            why = "no measured prompts to decide on"
            return replace(self._without_plan(snapshot, target, allowed, why), place=place)
        texts = routing_texts(ask.messages) or (ask.messages[-1].content,)
        try:
            assessment = await self._worker.run(
                lambda: self._assess(snapshot, ask, target, place, texts, tokens, steps or Steps()), within_s=within_s
            )
        except EmbedError as error:
            # Not its words: a library may have put the prompt into them, and this goes to log and journal.
            why = f"the embedder failed: {type(error.__cause__ or error).__name__}"
            logger.warning("the reference answers, since %s", why)
            return replace(self._without_plan(snapshot, target, allowed, why), place=place)
        except TimeoutError:
            why = f"the embedder did not answer within {within_s:.3g} s"
            logger.warning("the reference answers, since %s", why)
            return replace(self._without_plan(snapshot, target, allowed, why), place=place)
        may_cascade = _may_cascade(ask, target, place)
        earlier_tokens = earlier_characters(ask.messages) * snapshot.decider.lengths.tokens_per_character
        choice = self._decide(
            snapshot, assessment, target, allowed, place, earlier_tokens, dry_run=dry_run, may_cascade=may_cascade
        )
        if not dry_run and target.is_free and not assessment.unfamiliar:
            self._planner.traffic.saw(choice.decision.probabilities)
        return replace(choice, place=place)

    def answered(self, choice: Choice, option: Option) -> None:
        """An option has answered, to the end or until its reader left: the conversation goes on with its model."""
        if choice.place is not None:
            self._conversations.note(choice.place, option)

    def _assess(
        self,
        snapshot: Snapshot,
        ask: Ask,
        target: Target,
        place: Place,
        texts: tuple[str, ...],
        tokens: float,
        steps: Steps,
    ) -> Assessment:
        decider = snapshot.decider
        assert decider is not None
        with steps.step("embed") as noted:
            noted["embedder"] = self._embedder.name
            embeddings = self._embedder.embed(texts)
        # Of two readings the one that the probe is surer of.
        best = 0 if len(texts) == 1 else int(decider.probabilities(texts, embeddings).max(axis=1).argmax())
        assessment = decider.assess(texts[best], embeddings[best], tokens, ask.sampling.max_tokens)
        may_cascade = _may_cascade(ask, target, place)
        # What a form prescribes is the directive alone, which is settled once the plan has chosen the model.
        may = [
            (target.allows(option) or (target.is_free and target.enables(option)))
            and (may_cascade or not isinstance(option, Cascade))
            for option in decider.options
        ]
        if all(may):
            return assessment
        pinned = decider.among(may, assessment)
        return assessment if pinned is None else replace(assessment, weights=pinned)

    def _decide(
        self,
        snapshot: Snapshot,
        assessment: Assessment,
        target: Target,
        allowed: tuple[Option, ...],
        place: Place,
        earlier_tokens: float,
        *,
        dry_run: bool,
        may_cascade: bool,
    ) -> Choice:
        decider = snapshot.decider
        assert decider is not None
        columns = decider.options
        scores = scores_of(assessment, decider.price_of_quality_g, decider.typical_quality())  # (O,)
        planned = made_plain(assessment.weights, columns) if target.is_plain_for_form else assessment.weights
        briefly = target.directive is not None or not assessment.no_brevity
        may = [
            target.allows(option) and (briefly or option.is_plain) and (may_cascade or not isinstance(option, Cascade))
            for option in columns
        ]
        weights = restricted(planned, may, scores)  # (O,)
        if weights is None:
            # The model asked for has not been measured: it answers plainly.
            return self._without_plan(snapshot, target, allowed, None)
        slack = snapshot.catalogue.slack
        settled = settle(
            place,
            columns,
            Turn(weights, assessment.g, assessment.q, decider.reading_g(earlier_tokens), np.array(may)),
            price_g=decider.price_of_quality_g,
            most_loss=_MOST_LOSS if slack is None else slack,
            is_model_pinned=target.model is not None,
            is_unfamiliar=assessment.unfamiliar and target.is_free,
        )
        weights = settled.weights
        category_index = int(np.argmax(assessment.p))
        category = decider.categories[category_index]
        best = int(np.argmax(weights))
        index = best if dry_run else self._draw.draw(category, weights)
        order = [index, *sorted((o for o in range(len(columns)) if o != index), key=lambda o: (-weights[o], scores[o]))]
        ranked = tuple(columns[o] for o in order if may[o])
        reference = decider.options.index(decider.reference)
        decision = Decision(
            option=columns[index],
            policy=decider.policy,
            category=category,
            category_probability=float(assessment.p[category_index]),
            probabilities=tuple(
                sorted(zip(decider.categories, map(float, assessment.p), strict=True), key=lambda item: -item[1])
            ),
            neighbours=tuple(neighbours_of(snapshot, assessment)),
            candidates=tuple(
                Candidate(
                    columns[o],
                    float(weights[o]),
                    known(assessment.g[o]),
                    None if assessment.ungraded else known(assessment.q[o]),
                )
                for o in order
            ),
            reference=decider.reference,
            reference_g=known(assessment.g[reference]),
            reference_energy_j=known(assessment.energy_j[reference]),
            reference_device_s=known(assessment.duration_s[reference]),
            is_embodied_priced=decider.is_embodied_priced,
            reason=reason_for(columns[index], category, assessment, float(weights[index]), target, settled),
            fallback="unlike anything measured" if assessment.unfamiliar and target.is_free else None,
            conversation=settled.outcome,
        )
        spare = tuple(option for option in allowed if option not in ranked and option.directive == NO_DIRECTIVE)
        return Choice(decision, (*ranked, *spare), snapshot)

    def _aside(
        self, snapshot: Snapshot, ask: Ask, target: Target, allowed: tuple[Option, ...], kind: str, tokens: float
    ) -> Choice:
        """What a client asks for its own sake: the cheapest option that is not hopeless; nothing is embedded."""
        decider = snapshot.decider
        plain = target.directive is None and is_plain(ask, kind)
        may = [] if decider is None else [_may_aside(target, option) for option in decider.options]
        found = None if decider is None else cheapest_sane(decider, may, tokens, plain=plain)
        if decider is None or found is None:
            choice = self._without_plan(snapshot, target, allowed, None, least=True)
            reason = f"a side request ({kind}): the smallest model answers, nothing being measured"
            return replace(choice, decision=replace(choice.decision, reason=reason, side=kind))
        index, g = found
        q = decider.typical_quality()
        reference_j, reference_s = decider.typical_reference(tokens)
        columns = decider.options
        order = [
            index,
            *sorted((o for o in range(len(columns)) if o != index), key=lambda o: np.nan_to_num(g[o], nan=np.inf)),
        ]
        decision = Decision(
            option=columns[index],
            policy=decider.policy,
            category=None,
            category_probability=None,
            probabilities=(),
            neighbours=(),
            candidates=tuple(Candidate(columns[o], float(o == index), known(g[o]), known(q[o])) for o in order),
            reference=decider.reference,
            reference_g=known(g[columns.index(decider.reference)]),
            reference_energy_j=known(reference_j),
            reference_device_s=known(reference_s),
            is_embodied_priced=decider.is_embodied_priced,
            reason=f"a side request ({kind}): {columns[index]} is the cheapest that is not hopeless",
            side=kind,
        )
        ranked = tuple(columns[o] for o in order if may[o] and not (plain and columns[o].directive != NO_DIRECTIVE))
        spare = tuple(option for option in allowed if option not in ranked and option.directive == NO_DIRECTIVE)
        return Choice(decision, (*ranked, *spare), snapshot)

    def _without_plan(
        self, snapshot: Snapshot, target: Target, allowed: tuple[Option, ...], why: str | None, *, least: bool = False
    ) -> Choice:
        """The reference where it may answer, else what was asked for, plainly; or the least model there is."""
        reference = snapshot.reference
        models = snapshot.catalogue.models

        def rank(option: Option) -> tuple[bool, bool, float]:
            if least:
                return (False, option.directive != NO_DIRECTIVE, models[option.model].parameters or float("inf"))
            return (option != reference, option.directive != NO_DIRECTIVE, -(models[option.model].parameters or 0.0))

        order = tuple(sorted(allowed, key=rank))
        decision = Decision(
            option=order[0],
            policy=snapshot.catalogue.policy,
            category=None,
            category_probability=None,
            probabilities=(),
            neighbours=(),
            candidates=tuple(Candidate(option, float(i == 0), None, None) for i, option in enumerate(order)),
            reference=reference or order[0],
            reference_g=None,
            reason=why or "asked for by name and not measured yet",
            fallback=why,
        )
        return Choice(decision, order, snapshot)


def _may_cascade(ask: Ask, target: Target, place: Place) -> bool:
    """Whether a cheap answer may be tried first: for a first question that pins nothing and prescribes no form.

    That is what cascades were measured on; in a conversation the second model would read all of it once more.
    """
    is_first = place.seat is None and all(message.role in ("system", "user") for message in ask.messages)
    return target.model is None and target.directive is None and not ask.fixes_form and is_first


def _may_aside(target: Target, option: Option) -> bool:
    """Whether an option may answer a side request: one generation has to do."""
    return target.allows(option) and not isinstance(option, Cascade)
