from __future__ import annotations

import numpy as np
import pytest

from router.estimate.ridge import LeaveOneOutRidge

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
BETA = np.array([[1.0], [0.5], [0.0], [-1.0], [0.2]])
Y = X @ BETA + 0.3 * RNG.normal(size=(60, 1)) + 2.0


def closed_form(x: np.ndarray, y: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    beta = np.linalg.solve(xc.T @ xc + alpha * np.eye(x.shape[1]), xc.T @ yc)
    return beta, y.mean(axis=0) - x.mean(axis=0) @ beta


def test_it_is_ridge_regression() -> None:
    fitted = LeaveOneOutRidge((2.0,)).fit(X, Y)
    beta, intercept = closed_form(X, Y, 2.0)
    assert fitted.coefficients_ == pytest.approx(beta)
    assert fitted.predict(X[:3]) == pytest.approx(X[:3] @ beta + intercept)


def test_left_out_predictions_are_those_of_refits_without_the_row() -> None:
    fitted = LeaveOneOutRidge((1e-6,)).fit(X, Y)
    assert fitted.left_out_ is not None
    for i in (0, 17, 59):
        rest = np.arange(60) != i
        beta, intercept = closed_form(X[rest], Y[rest], 1e-6)
        assert fitted.left_out_[i] == pytest.approx(X[i] @ beta + intercept, rel=1e-6)


def test_a_row_of_weight_two_is_two_rows_that_are_left_out_together() -> None:
    weight = np.ones(60)
    weight[7] = 2.0
    fitted = LeaveOneOutRidge((3.0,)).fit(X, Y, weight)
    twice = np.append(np.arange(60), 7)
    beta, intercept = closed_form(X[twice], Y[twice], 3.0)
    assert fitted.predict(X[:5]) == pytest.approx(X[:5] @ beta + intercept)
    almost = LeaveOneOutRidge((1e-6,)).fit(X, Y, weight)
    beta, intercept = closed_form(X[twice[twice != 7]], Y[twice[twice != 7]], 1e-6)
    assert almost.left_out_ is not None
    assert almost.left_out_[7] == pytest.approx(X[7] @ beta + intercept, rel=1e-6)
    rest = twice[twice != 11]
    beta, intercept = closed_form(X[rest], Y[rest], 1e-6)
    assert almost.left_out_[11] == pytest.approx(X[11] @ beta + intercept, rel=1e-6)


def test_each_output_gets_its_own_penalty_and_noise_gets_no_say() -> None:
    noise = np.random.default_rng(1).normal(size=(60, 1))
    fitted = LeaveOneOutRidge((0.1, 10.0, 1000.0)).fit(X, np.hstack([Y, noise]))
    assert fitted.penalty_ is not None
    assert fitted.coefficients_ is not None
    assert fitted.r2_ is not None
    assert fitted.penalty_[0] == 0.1
    assert np.isinf(fitted.penalty_[1])
    assert not fitted.coefficients_[:, 1].any()
    assert fitted.r2_[0] > 0.8
    assert fitted.predict(X)[:, 1] == pytest.approx(np.full(60, noise.mean()))


def test_noise_is_rarely_mistaken_for_signal() -> None:
    rng = np.random.default_rng(2)
    fooled = 0
    for _ in range(200):
        fitted = LeaveOneOutRidge((1.0, 10.0, 100.0)).fit(rng.normal(size=(80, 10)), rng.normal(size=(80, 1)))
        assert fitted.coefficients_ is not None
        fooled += bool(fitted.coefficients_.any())
    assert fooled < 50
