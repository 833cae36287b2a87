"""What a turn saved: an answer that was not given saved nothing, wherever it is counted."""

from __future__ import annotations

import pytest

from router.service.metrics import Metrics
from router.service.stats import totals
from router.service.tally import Tally, saved_g_of
from tests.service.ledgers import turn


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_an_unanswered_turn_costs_what_it_took(status: str) -> None:
    answered, stopped = turn(1), turn(2, status=status)
    own_g = (stopped.carbon.operational_g or 0.0) + (stopped.carbon.embodied_g or 0.0)
    assert saved_g_of(answered) == answered.carbon.saved_g
    assert saved_g_of(stopped) == pytest.approx(-own_g)
    assert saved_g_of(turn(3, status=status, operational_g=None)) is None
    assert saved_g_of(turn(3, status=status, attempts=0, saved_g=None, reference_g=None)) is None

    metrics, tally = Metrics(), Tally()
    for one in (answered, stopped):
        metrics.turn(one)
        tally.add(one)
    expected = (answered.carbon.saved_g or 0.0) - own_g
    assert metrics.saved_g == pytest.approx(expected)
    assert totals([answered, stopped]).sums["saved_g"] == pytest.approx(expected)
    assert tally.saved_g.value == pytest.approx(expected)

    unmeasured = turn(4, status=status, reference_operational_g=None, reference_g=None, saved_g=None)
    tally.add(unmeasured)
    assert saved_g_of(unmeasured) == pytest.approx(-own_g)  # nobody knows the reference's, but what it took is known
    assert totals([answered, stopped, unmeasured]).sums["saved_g"] == pytest.approx(expected - own_g)
    assert tally.saved_g.value == pytest.approx(expected - own_g)
