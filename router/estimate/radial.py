"""Radial features: ridge regression on them is kernel ridge regression with a Gaussian kernel.

    k(x, z) = exp(-|x - z|^2 / (2 s^2))        s half the median distance between known prompts
    f(x)    = k(x, Z) U L^-1/2                 k(Z, Z) = U L U'

Z are the known prompts, or ``LANDMARKS`` of them drawn at random (Nystrom's approximation). Prompts that look alike
share what they teach, which a straight line through the features cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from router.domain.estimates import FloatArray

LANDMARKS = 1500
_ASKED = 300  # prompts whose distances give the width
_LEAST = 1e-6  # smaller eigenvalues are rounding


@dataclass(frozen=True, slots=True)
class RadialMap:
    """Fitted without looking at any outcome, then only read.

    Attributes:
        landmarks: (L, d) Z.
        width2: 2 s^2.
        turn: (L, r) U L^-1/2.
    """

    landmarks: FloatArray
    width2: float
    turn: FloatArray

    @classmethod
    def fit(cls, x: FloatArray, seed: int = 0) -> RadialMap:
        """Learn from features x (n, d), n at least 1."""
        chosen = np.random.default_rng(seed).permutation(len(x))[:LANDMARKS]
        landmarks = x[np.sort(chosen)]
        near = _distance2(x[chosen[:_ASKED]], x[chosen[:_ASKED]])
        typical = float(np.median(near[~np.eye(len(near), dtype=np.bool_)])) if len(near) > 1 else 0.0
        width2 = typical / 2 if typical > 0 else 1.0
        eigen, vectors = np.linalg.eigh(np.exp(-_distance2(landmarks, landmarks) / width2))
        kept = eigen > _LEAST
        return cls(landmarks, width2, vectors[:, kept] / np.sqrt(eigen[kept]))

    def transform(self, x: FloatArray) -> FloatArray:
        """(k, r) for x (k, d)."""
        return np.asarray(np.exp(-_distance2(x, self.landmarks) / self.width2) @ self.turn)


def _distance2(x: FloatArray, z: FloatArray) -> FloatArray:
    """(n, m) squared distances; rounding can take them a little under 0."""
    return np.asarray(np.maximum((x**2).sum(axis=1)[:, None] + (z**2).sum(axis=1) - 2.0 * x @ z.T, 0.0))
