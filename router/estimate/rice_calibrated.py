"""Joules and seconds of a model that was never run, calibrated on the models that were.

For a site's measured models m of P_m parameters, with v the joules (or the seconds) of one answer::

    v = B_m (rho p + o)            rho: one prompt token in units of output tokens, shared by the site
    log B_m = b + h log P_m + e    e of scale sigma between models, heavy-tailed

``b, h`` have a wide normal prior around the public law, ``sigma`` a weak one around what public families differ by;
the posterior is found in a few rounds of a closed form. One measured model sets the level, three or more set the
slope as well. What it predicts for a new size is a Student t on the logarithm: the interval widens with the distance
from the sizes seen and narrows as models are measured. Without any row of the site the public law of
:mod:`router.estimate.rice_public` answers, and says that it is not about this hardware.

Joules are the device's; PUE belongs to the SCI formula and is not in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from router.domain.estimates import FloatArray, Known
from router.estimate.rice import Estimate, check
from router.estimate.rice_law import BILLION
from router.estimate.rice_public import LLM_PERF, PublicLaw, Quantity

PRIOR_EXPONENT = 0.6
PRIOR_EXPONENT_SD = 0.25
"""Public rows: .35 (one request at a time, small models) to 1 (large, well batched)."""
PRIOR_LEVEL_SD = 2.0
"""A site may be e**2 times cheaper or dearer than a public server: no more than a start."""
PRIOR_MODEL_SD = 0.2
PRIOR_MODEL_WEIGHT = 3.0
"""Models of one size differ by about 20 % (LLM-Perf rows, publishers left out); worth three models."""
PRIOR_RHO_LOG_SD = 2.0
_OUTSIDE_EXPONENT_SD = 0.15
"""How far the exponent may be off outside the sizes of a public law: what its sources differ by."""
_RHO_STEPS = 81
_ROUNDS = 30
_TAIL = 4.0
"""Degrees of freedom of the models' scatter: heavy-tailed, since a mixture of experts or a bad kernel is far off."""


@dataclass(frozen=True, slots=True)
class SizedRow:
    """One measured answer with the size of its model.

    Attributes:
        model: Its name.
        parameters: Its size.
        prompt_tokens: Tokens read.
        output_tokens: Tokens written.
        energy_j: Joules, or None.
        duration_s: Device seconds, or None.
    """

    model: str
    parameters: float
    prompt_tokens: float
    output_tokens: float
    energy_j: float | None
    duration_s: float | None


def rows_of(known: Known, parameters: Mapping[str, float | None], *, site: str = "local") -> list[SizedRow]:
    """The store's rows of one site as :class:`SizedRow`; models of unknown size and unknown lengths are left out.

    Args:
        known: The measured prompts.
        parameters: Sizes by model name.
        site: Whose rows.
    """
    rows = []
    for column, option in enumerate(known.options):
        size = parameters.get(option.model)
        if option.site != site or size is None:
            continue
        lengths = known.prompt_tokens[:, column] + known.output_tokens[:, column]
        for row in np.flatnonzero(~np.isnan(lengths)):
            rows.append(
                SizedRow(
                    option.model,
                    size,
                    float(known.prompt_tokens[row, column]),
                    float(known.output_tokens[row, column]),
                    _known(known.energy_j[row, column]),
                    _known(known.duration_s[row, column]),
                )
            )
    return rows


@dataclass(frozen=True, slots=True)
class _Posterior:
    """What the site's rows say of one quantity; letters as in the module's text."""

    rho: float
    mean: FloatArray  # (2,) b, h
    covariance: FloatArray  # (2, 2)
    sigma2: float
    within2: float
    degrees: float
    models: int
    rows: int
    sizes: tuple[float, float]

    def predict(self, parameters: float, prompt_tokens: float, output_tokens: float) -> tuple[float, float, float]:
        """Median, standard deviation of its logarithm, degrees of freedom."""
        x = np.array([1.0, math.log(parameters / BILLION)])
        variance = float(x @ self.covariance @ x) + self.sigma2 + self.within2
        tokens = self.rho * prompt_tokens + output_tokens
        return float(np.exp(x @ self.mean)) * tokens, math.sqrt(variance), self.degrees


@dataclass(slots=True)
class SizeEstimator:
    """Estimates for models never run. The constructor stores, ``fit`` learns; fitted, it is only read.

    Attributes:
        public: What is known before anything was measured here.
        confidence: Probability of the intervals.
    """

    public: PublicLaw = LLM_PERF
    confidence: float = 0.9
    _posteriors: dict[Quantity, _Posterior] = field(default_factory=dict, repr=False)

    def fit(self, rows: Iterable[SizedRow]) -> SizeEstimator:
        """Learn from a site's rows (any number, also none); returns itself."""
        kept = [row for row in rows if _usable(row)]
        self._posteriors = {}
        for quantity in _QUANTITIES:
            measured = [row for row in kept if (getattr(row, quantity) or 0.0) > 0.0]
            if measured:
                self._posteriors[quantity] = self._posterior(quantity, measured)
        return self

    def estimate(self, parameters: float, prompt_tokens: float, output_tokens: float) -> Estimate:
        """What one prompt would take on a model of this size.

        Args:
            parameters: Its size, as a count (7e9).
            prompt_tokens: Tokens to read.
            output_tokens: Tokens to write.

        Raises:
            RequestError: If an argument cannot be what it should.
        """
        check(parameters, prompt_tokens, output_tokens)
        energy_j, energy_low_j, energy_high_j = self._interval("energy_j", parameters, prompt_tokens, output_tokens)
        duration = self._interval("duration_s", parameters, prompt_tokens, output_tokens)
        posterior, sizes = self._posteriors.get("energy_j"), self.sizes
        return Estimate(
            energy_j=energy_j,
            duration_s=duration[0],
            method="sourced" if posterior is None else "modelled",
            source=self._source(),
            energy_low_j=energy_low_j,
            energy_high_j=energy_high_j,
            duration_low_s=duration[1],
            duration_high_s=duration[2],
            confidence=self.confidence,
            extrapolated=not sizes[0] <= parameters <= sizes[1],
        )

    @property
    def sizes(self) -> tuple[float, float]:
        """Smallest and largest model that joules are estimated from; beyond them an estimate extrapolates."""
        posterior = self._posteriors.get("energy_j")
        return self.public.sizes if posterior is None else posterior.sizes

    def _source(self) -> str:
        parts = []
        for quantity, word in (("energy_j", "joules"), ("duration_s", "seconds")):
            posterior = self._posteriors.get(quantity)  # type: ignore[call-overload]
            if posterior is None:
                parts.append(f"{word}: {self.public.source}; not this hardware")
            else:
                models = "1 model" if posterior.models == 1 else f"{posterior.models} models"
                parts.append(f"{word}: size law on {posterior.rows} measured answers of {models} of this site")
        return "; ".join(parts)

    def _interval(
        self, quantity: Quantity, parameters: float, prompt_tokens: float, output_tokens: float
    ) -> tuple[float, float, float]:
        """Median, lower and upper end."""
        from scipy.stats import t

        posterior = self._posteriors.get(quantity)
        if posterior is not None:
            median, log_sd, degrees = posterior.predict(parameters, prompt_tokens, output_tokens)
        else:
            prompt, output = self.public.laws(quantity)
            median = float(prompt(parameters) * prompt_tokens + output(parameters) * output_tokens)
            log_sd = math.hypot(output.log_sd, _OUTSIDE_EXPONENT_SD * _log_distance(parameters, self.public.sizes))
            degrees = math.inf
        spread = math.exp(float(t.ppf(0.5 + self.confidence / 2, degrees)) * log_sd)
        return median, median / spread, median * spread

    def _posterior(self, quantity: Quantity, rows: Sequence[SizedRow]) -> _Posterior:
        value = np.array([getattr(row, quantity) for row in rows])  # (n,)
        prompt = np.array([row.prompt_tokens for row in rows])  # (n,)
        output = np.array([row.output_tokens for row in rows])  # (n,)
        names = sorted({row.model for row in rows})
        index = np.array([names.index(row.model) for row in rows])  # (n,)
        size = np.array([next(row.parameters for row in rows if row.model == name) for name in names])  # (m,)
        rho = self._rho(quantity, value, prompt, output, index, float(np.median(size)))
        cost = np.log(value / (rho * prompt + output))  # (n,) log B of each row
        level = np.array([np.median(cost[index == m]) for m in range(len(names))])  # (m,)
        count = np.array([np.count_nonzero(index == m) for m in range(len(names))])
        within = cost - level[index]
        within2 = float(np.median(np.abs(within)) / 0.6745) ** 2
        x = np.column_stack([np.ones(len(names)), np.log(size / BILLION)])  # (m, 2)
        _, public = self.public.laws(quantity)
        prior_mean = np.array([public.log_scale, PRIOR_EXPONENT])
        prior_precision = np.diag([PRIOR_LEVEL_SD**-2, PRIOR_EXPONENT_SD**-2])
        sigma2 = PRIOR_MODEL_SD**2
        trust = np.ones(len(names))  # (m,) of a model to lie on the line; an odd one must not bend it
        for _ in range(_ROUNDS):  # line, sigma and trust are found in turns
            weight = trust / (sigma2 + within2 / count)  # (m,)
            covariance = np.linalg.inv(prior_precision + (x.T * weight) @ x)
            mean = covariance @ (prior_precision @ prior_mean + (x.T * weight) @ level)
            rest2 = (level - x @ mean) ** 2  # (m,)
            trust = (_TAIL + 1.0) / (_TAIL + rest2 / (sigma2 + within2 / count))
            # The line has eaten degrees of freedom: those of the data that the prior left to it.
            eaten = float(np.trace(covariance @ ((x.T * weight) @ x)))
            free = max(len(names) - eaten, 0.0)
            sigma2 = (PRIOR_MODEL_WEIGHT * PRIOR_MODEL_SD**2 + float(trust @ rest2)) / (PRIOR_MODEL_WEIGHT + free)
        return _Posterior(
            rho,
            mean,
            covariance,
            sigma2,
            within2,
            PRIOR_MODEL_WEIGHT + free,
            len(names),
            len(rows),
            (float(size.min()), float(size.max())),
        )

    def _rho(
        self,
        quantity: Quantity,
        value: FloatArray,
        prompt: FloatArray,
        output: FloatArray,
        index: FloatArray,
        parameters: float,
    ) -> float:
        """The cost of a prompt token in output tokens that makes each model's cost per token most alike."""
        of_prompt, of_output = self.public.laws(quantity)
        start = float(of_prompt(parameters) / of_output(parameters))
        steps = np.linspace(-3.0, 3.0, _RHO_STEPS) * PRIOR_RHO_LOG_SD
        best, best_loss = start, math.inf
        for step in steps:
            rho = min(start * math.exp(step), 1.0)  # reading a token never costs more than writing one
            cost = np.log(value / (rho * prompt + output))
            spread = np.concatenate([cost[index == m] - np.mean(cost[index == m]) for m in np.unique(index)])
            variance = max(float(np.mean(spread**2)), 1e-4)
            loss = 0.5 * len(cost) * math.log(variance) + 0.5 * (step / PRIOR_RHO_LOG_SD) ** 2
            if loss < best_loss - 1e-12:
                best, best_loss = rho, loss
        return best


_QUANTITIES: tuple[Quantity, ...] = ("energy_j", "duration_s")


def _usable(row: SizedRow) -> bool:
    return (
        math.isfinite(row.parameters)
        and row.parameters > 0
        and row.output_tokens > 0
        and row.prompt_tokens >= 0
        and (row.energy_j is None or math.isfinite(row.energy_j))
    )


def _log_distance(parameters: float, sizes: tuple[float, float]) -> float:
    """How far outside the sizes, as a logarithm of the ratio; 0 inside."""
    return max(0.0, math.log(sizes[0] / parameters), math.log(parameters / sizes[1]))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
