from __future__ import annotations

import numpy as np
import pytest

from router.domain.estimates import FloatArray
from router.estimate import radial
from router.estimate.radial import RadialMap
from router.estimate.ridge import LeaveOneOutRidge

PENALTIES = tuple(float(a) for a in np.geomspace(1e-3, 1e3, 13))


def cloud(n: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(n, 4))


def test_products_of_features_are_the_kernel() -> None:
    x, fresh = cloud(60, 1), cloud(7, 2)
    mapped = RadialMap.fit(x)
    distance2 = ((fresh[:, None] - x[None]) ** 2).sum(axis=-1)
    between = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    width2 = np.median(between[~np.eye(60, dtype=bool)]) / 2
    assert mapped.transform(fresh) @ mapped.transform(x).T == pytest.approx(np.exp(-distance2 / width2), abs=1e-4)


def test_ridge_on_them_is_kernel_ridge() -> None:
    x, fresh = cloud(80, 3), cloud(20, 4)
    y = np.sin(2 * x[:, [0]]) * x[:, [1]]
    mapped = RadialMap.fit(x)
    found = LeaveOneOutRidge((0.1,)).fit(mapped.transform(x), y).predict(mapped.transform(fresh))
    distance2 = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    k = np.exp(-distance2 / mapped.width2)
    k_fresh = np.exp(-((fresh[:, None] - x[None]) ** 2).sum(axis=-1) / mapped.width2)
    middle = np.eye(80) - 1 / 80
    alpha = np.linalg.solve(middle @ k @ middle + 0.1 * np.eye(80), y - y.mean())
    expected = (k_fresh - k.mean(axis=0)) @ middle @ alpha + y.mean()
    assert found == pytest.approx(expected, abs=1e-3)


def test_a_bend_is_learned_that_a_line_cannot() -> None:
    x, fresh = cloud(400, 5), cloud(200, 6)

    def truth(points: FloatArray) -> FloatArray:
        return np.asarray(points[:, [0]] ** 2 + points[:, [1]] ** 2)

    mapped = RadialMap.fit(x)
    line = LeaveOneOutRidge(PENALTIES).fit(x, truth(x))
    bend = LeaveOneOutRidge(PENALTIES).fit(mapped.transform(x), truth(x))
    error = np.mean((bend.predict(mapped.transform(fresh)) - truth(fresh)) ** 2) / truth(fresh).var()
    assert error < 0.2
    assert line.r2_ is not None
    assert line.r2_[0] < 0.1


def test_many_prompts_are_reduced_to_landmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(radial, "LANDMARKS", 50)
    x = cloud(300, 7)
    mapped = RadialMap.fit(x, seed=1)
    assert mapped.landmarks.shape == (50, 4)
    assert np.array_equal(mapped.landmarks, RadialMap.fit(x, seed=1).landmarks)
    assert mapped.transform(cloud(5, 8)).shape[0] == 5


@pytest.mark.parametrize("n", [1, 2])
def test_a_prompt_or_two_and_prompts_that_are_all_the_same(n: int) -> None:
    assert np.isfinite(RadialMap.fit(cloud(n, 9)).transform(cloud(3, 10))).all()
    same = np.ones((5, 4))
    found = RadialMap.fit(same).transform(same)
    assert np.isfinite(found).all()
    assert found.shape[1] == 1
