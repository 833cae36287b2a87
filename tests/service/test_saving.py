"""Savings of the requests and of the site, each by hand, and the site's at another utilisation."""

from __future__ import annotations

import pytest

from router.domain.errors import RequestError
from router.domain.record import Turn
from router.service.saving import SiteSaving, request_saving, site_saving
from router.service.tally import tally
from tests.service.federation import catalogue
from tests.service.ledgers import K1_G_PER_S, turn

G_PER_J = 360.0 * 1.5 / 3.6e6
SITES = catalogue().sites


def test_the_requests_saving_is_against_the_reference_by_the_same_method() -> None:
    found = request_saving(tally([turn(1), turn(2)]).all)
    assert found.saved_g == pytest.approx(2 * (200 * G_PER_J + 8 * K1_G_PER_S))
    assert found.share == pytest.approx((200 * G_PER_J + 8 * K1_G_PER_S) / (300 * G_PER_J + 12 * K1_G_PER_S), rel=1e-9)
    assert (found.known, found.unknown) == (2, 0)


def test_a_failed_request_saved_nothing_and_what_it_took_is_charged() -> None:
    answered = request_saving(tally([turn(1)]).all)
    found = request_saving(tally([turn(1), turn(2, status="error", energy_j=50.0, device_s=1.0)]).all)
    assert found.saved_g == pytest.approx((answered.saved_g or 0.0) - 50.0 * G_PER_J - K1_G_PER_S)
    assert found.baseline_g == pytest.approx(answered.baseline_g)


def test_without_a_baseline_nothing_is_claimed() -> None:
    found = request_saving(tally([turn(1, reference_g=None, saved_g=None, reference_operational_g=None)]).all)
    assert (found.saved_g, found.share) == (None, None)


def test_the_sites_saving_counts_idle_manufacture_and_the_router_itself() -> None:
    found = site_saving(tally([turn(1)]), SITES, period_s=40.0, idle_w={"local": 10.0}, router_g=1.0 * G_PER_J)
    assert found.saved_g == pytest.approx((300 - 100 - 1) * G_PER_J)
    assert found.baseline_g == pytest.approx((300 + 400) * G_PER_J + 40 * K1_G_PER_S)
    assert found.share == pytest.approx((found.saved_g or 0) / (found.baseline_g or 1))
    assert found.utilisation == pytest.approx(4.0 / 40.0)
    assert found.baseline_utilisation == pytest.approx(12.0 / 40.0)
    assert not found.is_stated


def test_at_a_higher_utilisation_the_site_saves_a_larger_share() -> None:
    def share(utilisation: float) -> float:
        found = site_saving(
            tally([turn(1)]), SITES, period_s=40.0, idle_w={"local": 10.0}, router_g=0.0, utilisation=utilisation
        )
        assert found.is_stated
        assert found.utilisation == utilisation
        return found.share or 0.0

    assert share(0.05) < share(0.1) < share(0.3)
    of_own = site_saving(tally([turn(1)]), SITES, period_s=40.0, idle_w={"local": 10.0}, router_g=0.0)
    assert share(0.1) == pytest.approx(of_own.share)


def test_idle_that_is_not_known_leaves_the_share_unknown_but_the_grams_known() -> None:
    found = site_saving(tally([turn(1)]), SITES, period_s=40.0, idle_w={"local": None}, router_g=0.0)
    assert found.saved_g == pytest.approx(200 * G_PER_J)
    assert found.share is None
    assert "idle watts of local" in found.unknown


def test_a_router_that_nothing_meters_leaves_the_sites_saving_unknown() -> None:
    found = site_saving(tally([turn(1)]), SITES, period_s=40.0, idle_w={"local": 1.0}, router_g=None)
    assert found.saved_g is None
    assert found.share is None
    assert "the router's own joules" in found.unknown


@pytest.mark.parametrize("utilisation", [0.0, -0.1, 1.1, float("nan")])
def test_a_utilisation_that_is_no_share_is_refused(utilisation: float) -> None:
    with pytest.raises(RequestError, match="utilisation"):
        site_saving(
            tally([turn(1)]), SITES, period_s=40.0, idle_w={"local": 1.0}, router_g=0.0, utilisation=utilisation
        )


def test_a_request_whose_joules_or_whose_references_are_unknown_is_on_neither_side() -> None:
    without = turn(2, energy_j=70.0, reference_energy_j=None, reference_device_s=None, reference_operational_g=None)
    unknown = turn(3, energy_j=None, operational_g=None, saved_g=None)

    def saving(*turns: Turn) -> SiteSaving:
        return site_saving(tally(turns), SITES, period_s=40.0, idle_w={"local": 10.0}, router_g=0.0)

    alone, found = saving(turn(1)), saving(turn(1), without, unknown)
    assert found.saved_g == pytest.approx(alone.saved_g)
    assert found.share == pytest.approx(alone.share)
    assert (found.unknown, found.left_out, alone.left_out) == ((), 2, 0)
    nothing = saving(without)
    assert nothing.saved_g is None
    assert nothing.unknown == ("joules of the reference for 1 answers",)
