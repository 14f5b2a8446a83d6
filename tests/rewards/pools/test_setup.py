"""Making the pools and pointing them at a currency."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from rewards.ledger.models import Currency
from rewards.pools.intake import PoolShares, intake_minor, split
from rewards.pools.models import CcRate, Pool
from rewards.pools.services import PoolCurrencies, accrue, create_default_pools, run_daily, run_hourly
from tests.rewards.pools.conftest import instant, rewards_of


def setup_pools(capsys, currency="credits", decimals=2, cc_rate="0.25", **options) -> str:
    call_command("setup_pools", currency=currency, decimals=decimals, cc_rate=cc_rate, **options)
    return capsys.readouterr().out


@pytest.mark.django_db
def test_from_nothing_to_the_first_payout(vote, capsys):
    said = setup_pools(capsys)
    assert "Currency credits created with 2 decimals." in said

    vote("alice", "10", "2026-03-10T07:10")
    run_hourly(instant("2026-03-10T08:30"))

    assert rewards_of("pool_hourly", "2026-03-10T07") == {"alice": 62}  # 10 x 0.25 = 2.50, a quarter rounded down
    rate = CcRate.objects.get()
    assert (rate.starts_at, rate.units_per_cc, rate.bonus_rate) == (instant("1970-01-01"), Decimal("0.25"), 0)


@pytest.mark.django_db
def test_a_second_time_changes_nothing(capsys):
    setup_pools(capsys)
    before = list(Pool.objects.order_by("pk").values())

    said = setup_pools(capsys)

    assert "Currency credits exists." in said
    assert "Hourly pool is in credits already." in said
    assert "0.25 credits for one CC, exists." in said
    assert list(Pool.objects.order_by("pk").values()) == before
    assert "exists and is kept" in setup_pools(capsys, cc_rate="0.5")
    assert "created" in setup_pools(capsys, cc_rate="0.5", since="2026-01-01")


def test_pools_move_to_another_currency_and_what_is_left_is_said(pools, vote, capsys):
    vote("alice", "1", "2026-03-10T07:10")
    run_hourly(instant("2026-03-10T08:30"))

    said = setup_pools(capsys, currency="credits", decimals=2, cc_rate="1", since="2026-03-11")

    assert "Daily pool now pays in credits (before: points)." in said
    assert "Attention: Daily pool still holds 75 points that nobody has been paid." in said
    assert "Attention: Hourly pool" not in said
    assert {pool.currency.code for pool in Pool.objects.all()} == {"credits"}
    vote("alice", "1", "2026-03-11T07:10")
    run_daily(instant("2026-03-12T00:00:35"))
    assert rewards_of("pool_daily", "2026-03-10") == {"alice": 0}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"decimals": 9}, "decimals: Ensure this value is less than or equal to 8"),
        ({"decimals": -1}, "decimals"),
        ({"currency": "two words"}, "code: Enter a valid"),
        ({"cc_rate": "0"}, "The CC rate must be above zero."),
        ({"cc_rate": "-1"}, "The CC rate must be above zero."),
        ({"cc_rate": "NaN"}, "is not a plain decimal number"),
        ({"cc_rate": "1e3"}, "is not a plain decimal number"),
        ({"since": "once"}, "--since 'once' is not an instant"),
        ({"currency": "points", "decimals": 2}, "The currency points has 0 decimals, not 2"),
        ({"currency": "retired", "decimals": 0}, "The currency retired is not active"),
    ],
)
def test_bad_values_are_named_and_write_nothing(points, capsys, values, sentence):
    Currency.objects.create(code="retired", active=False)
    with pytest.raises(CommandError, match=sentence):
        setup_pools(capsys, **values)
    assert not Pool.objects.exists()
    assert not CcRate.objects.exists()


def test_default_pools_keep_what_an_operator_changed(points, coins):
    assert len(create_default_pools(points)) == 2
    Pool.objects.filter(slug="hourly").update(share="0.4", title="Every hour")

    assert create_default_pools(coins) == []
    assert Pool.objects.get(slug="hourly").share == Decimal("0.4")
    assert Pool.objects.get(slug="daily").currency == points


def test_pools_of_two_currencies_cannot_accrue(pools, coins, vote):
    Pool.objects.filter(slug="daily").update(currency=coins)
    vote("alice", "1", "2026-03-10T07:10")
    with pytest.raises(PoolCurrencies):
        accrue(instant("2026-03-10T07:00"), instant("2026-03-10T08:00"), instant("2026-03-10T08:00"))


@pytest.mark.parametrize(
    ("hourly", "daily", "amounts"),
    [
        ("0.25", None, (25, 76)),
        (None, "0.25", (76, 25)),
        ("0.25", "0.75", (25, 76)),
        ("0", None, (0, 101)),
        ("1", None, (101, 0)),
    ],
)
def test_a_share_is_rounded_down_and_the_other_pool_gets_the_rest(hourly, daily, amounts):
    shares = [None if share is None else Decimal(share) for share in (hourly, daily)]
    assert split(101, *shares) == amounts


@pytest.mark.parametrize("shares", [(None, None), ("0.5", "0.6"), ("0.5", "0.4"), ("1.1", None), ("-0.1", None)])
def test_shares_that_are_not_the_whole_are_refused(shares):
    with pytest.raises(PoolShares):
        split(100, *(None if share is None else Decimal(share) for share in shares))


def test_the_intake_is_exact():
    """Floats would make 0.1 x 3 x 10 = 3.0000000000000004 or 2.9999999999999996 of some of these."""
    assert intake_minor(Decimal("0.3"), Decimal("0.1"), 2) == 3
    assert intake_minor(Decimal("0.299999"), Decimal("0.1"), 2) == 2
    assert intake_minor(Decimal("9007199254740993"), Decimal("1"), 0) == 9007199254740993


def test_the_admin_form_checks_share_and_rule(pools):
    hourly, daily = pools
    hourly.share = Decimal("1.5")
    with pytest.raises(ValidationError, match="fraction from 0 to 1"):
        hourly.full_clean()
    daily.share = Decimal("0.5")
    with pytest.raises(ValidationError, match="not the whole"):
        daily.full_clean()
    daily.share, daily.rule = None, {"rule": "equal", "extra": 1}
    with pytest.raises(ValidationError, match="extra: not known here"):
        daily.full_clean()
