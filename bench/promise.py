"""Does the router keep its promise? Fits on made-up prompts whose truth is known: ``python -m bench.promise``.

Each fit draws known prompts from a world of categories and options with given probabilities of success, fits the
whole decision on them, and asks how good the plan truly is: the expectation over fresh prompts of the *true*
success probability, so the only error left is the fit's own. Counted is how often that falls under the floor (a
share of the true accuracy of the reference it chose), beside the saving, with and without the margin. A promise
kept by always taking the reference would show as no saving.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import typer

from router.domain.catalogue import Floor, Option
from router.domain.estimates import FloatArray, Known, Terms
from router.estimate.estimator import fit_estimator
from router.policy.registry import POLICY_NAMES, make_policy

app = typer.Typer(add_completion=False, rich_markup_mode=None)

WORDS = ("sum", "story", "query", "verb", "atom", "river")


@dataclass(frozen=True, slots=True)
class World:
    """Truth.

    Attributes:
        w: (C,) shares of the categories.
        q: (C, O) probability that an option's answer is right.
        energy_j: (C, O) mean joules.
        noise: Spread of joules from prompt to prompt, in logarithms.
        blur: Spread of the embeddings around their category's place.
    """

    w: FloatArray
    q: FloatArray
    energy_j: FloatArray
    noise: float = 0.5
    blur: float = 0.35

    @classmethod
    def drawn(cls, seed: int) -> World:
        """A world of 4 categories and 6 options: larger ones better and dearer, with exceptions."""
        rng = np.random.default_rng(seed)
        size = np.array([1.0, 0.55, 0.35, 0.2, 0.12, 0.06])
        skill = 1.2 + 0.9 * np.log(size)[None, :] * rng.uniform(0.2, 1.0, (4, 1)) + 0.3 * rng.normal(size=(4, 6))
        return cls(
            w=rng.dirichlet(np.full(4, 5.0)),
            q=1.0 / (1.0 + np.exp(-skill)),
            energy_j=1000.0 * size * rng.uniform(0.5, 2.0, (4, 1)) * np.exp(0.2 * rng.normal(size=(4, 6))),
        )

    def sample(self, n: int, seed: int) -> tuple[Known, FloatArray]:
        """Prompts with drawn outcomes, and their true success probabilities (n, O)."""
        rng = np.random.default_rng(seed)
        category = rng.choice(self.w.size, size=n, p=self.w)
        truth = self.q[category]
        quality = (rng.random(truth.shape) < truth).astype(np.float64)
        length = self.noise * rng.normal(size=(n, 1))  # a long answer is long for every option
        spread = 0.5 * self.noise
        energy = self.energy_j[category] * np.exp(length + spread * rng.normal(size=truth.shape))
        vectors = np.eye(16)[category] + self.blur * rng.normal(size=(n, 16)) / 4.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        nothing = np.full(truth.shape, np.nan)
        known = Known(
            options=tuple(Option(f"model{o}") for o in range(truth.shape[1])),
            ids=tuple(f"p{seed}-{i}" for i in range(n)),
            texts=tuple(
                f"{WORDS[c]} of item {i} {'more ' * int(3 + 3 * x)}"
                for i, (c, x) in enumerate(zip(category, length[:, 0] + 1.5, strict=True))
            ),
            categories=tuple(f"c{c}" for c in category),
            embeddings=vectors,
            quality=quality,
            energy_j=energy,
            duration_s=nothing,
            prompt_tokens=nothing,
            output_tokens=nothing,
            prefill_s=nothing,
            decode_s=nothing,
            mean_logprob=nothing,
        )
        return known, truth


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of many fits.

    Attributes:
        policy: Which.
        confidence: With which the floor was to hold.
        floor: Share of the reference.
        fits: How many.
        missed: Share of fits whose true accuracy lies under the floor.
        saving: Mean true saving.
        saving_without_margin: The same at confidence .5.
        missed_without_margin: Likewise.
    """

    policy: str
    confidence: float
    floor: float
    fits: int
    missed: float
    saving: float
    saving_without_margin: float
    missed_without_margin: float


def simulate(
    fits: int, *, n: int = 400, floor: float = 0.95, confidence: float = 0.9, seed: int = 0, policy: str = "joint"
) -> Kept:
    """Fit so often, each time in another world, on other prompts."""
    missed, saved = np.zeros((2, fits)), np.zeros((2, fits))
    for f in range(fits):
        world = World.drawn(seed + f)
        known, _ = world.sample(n, seed + 10_000 + f)
        fresh, truth = world.sample(1500, seed + 20_000_000 + f)
        estimator = fit_estimator(known, seed=f)
        r = estimator.estimates.reference
        view = estimator.view(fresh.texts, fresh.embeddings)
        for margin, sure in enumerate((0.5, confidence)):
            terms = Terms(
                floor=Floor(floor),
                g_per_j=np.full(truth.shape[1], 1e-4),
                g_per_s=np.full(truth.shape[1], np.nan),
                slack=None,
                confidence=sure,
            )
            weights = make_policy(policy).fit(known, estimator.estimates, terms).weights(view)
            accuracy = (weights * truth).sum(axis=1).mean()
            missed[margin, f] = accuracy < floor * truth[:, r].mean() - 1e-9
            saved[margin, f] = 1.0 - (weights * fresh.energy_j).sum() / fresh.energy_j[:, r].sum()
    return Kept(
        policy, confidence, floor, fits, float(missed[1].mean()), float(saved[1].mean()), float(saved[0].mean()),
        float(missed[0].mean()),
    )  # fmt: skip


@app.command()
def promise(
    fits: Annotated[int, typer.Option("--fits", min=1, help="How many.")] = 1000,
    prompts: Annotated[int, typer.Option("--prompts", min=20, help="Known prompts of each fit.")] = 400,
    floor: Annotated[float, typer.Option("--floor", min=0.0, max=1.0, help="Share of the reference.")] = 0.95,
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.999, help="That it holds.")] = 0.9,
    policy: Annotated[str, typer.Option("--policy", help="joint or category-lp.")] = "joint",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the first world.")] = 0,
) -> None:
    """How often the true accuracy falls under its floor, and what the certainty costs."""
    if policy not in POLICY_NAMES:
        raise typer.BadParameter(f"no policy {policy}; choose from {', '.join(POLICY_NAMES)}", param_hint="--policy")
    kept = simulate(fits, n=prompts, floor=floor, confidence=confidence, seed=seed, policy=policy)
    typer.echo(json.dumps(asdict(kept), indent=1))


if __name__ == "__main__":
    app()
