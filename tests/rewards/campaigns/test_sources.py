"""Where participants come from, and in which order they stand."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import transaction

from rewards.activity.models import Counter
from rewards.allocation.rules import Measure
from rewards.campaigns import services, sources
from rewards.campaigns.models import CampaignParticipant
from rewards.campaigns.sources import ParticipantSource, participants_of, ranked, register_source, source_of
from rewards.common.errors import InvariantBroken
from rewards.distributions.programmes import Snapshot
from rewards.distributions.queries import verify
from rewards.ledger.models import Currency
from rewards.ledger.services import credit, system_account
from rewards.users.models import User
from tests.rewards.campaigns.conftest import NOON, paid, run, upload

pytestmark = pytest.mark.django_db


def table(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(username, score as text)."""
    scale = Decimal(1).scaleb(-snapshot.scores.decimals)
    return [
        (name, f"{(int(score) * scale).normalize():f}")
        for name, score in zip(snapshot.usernames, snapshot.scores.values, strict=True)
    ]


def listed(currency: Currency, *lines: tuple) -> Snapshot:
    return ranked([(number, *line) for number, line in enumerate(lines, start=1)], currency)


def test_places_go_by_weight_then_by_username_in_code_point_order(campaign):
    grants = campaign()
    upload(grants, "user,weight", "b,1", "Z,1", "é,1", "a,1", "top,1.000000000000000001", "none,", "😀,1", "ﬀ,1")

    snapshot = participants_of(grants, NOON)

    assert snapshot.usernames == ["top", "Z", "a", "b", "é", "ﬀ", "😀", "none"]
    assert table(snapshot)[0] == ("top", "1.000000000000000001")


def test_weights_of_thirty_digits_are_exact(coins):
    wide, narrow = "9" * 30, "0." + "0" * 29 + "1"
    snapshot = listed(coins, ("a", narrow, None, ""), ("b", wide, None, ""), ("c", wide[:-1] + "8", None, ""))

    assert snapshot.usernames == ["b", "c", "a"]
    assert snapshot.scores.values.dtype == object
    assert [int(value) for value in snapshot.scores.values] == [int(wide) * 10**30, (int(wide) - 1) * 10**30, 1]
    assert listed(coins, ("a", "12.5", None, ""), ("b", "3", None, "")).scores.values.dtype == np.int64


def test_a_list_of_amounts_is_ranked_by_them(coins):
    snapshot = listed(coins, ("a", "", 5, ""), ("b", "", 700, "x"), ("c", "", 700, ""))

    assert table(snapshot) == [("b", "7"), ("c", "7"), ("a", "0.05")]
    assert list(snapshot.amounts) == [700, 700, 5]
    assert snapshot.groups == ["x", "", ""]


def test_with_weights_and_amounts_the_weights_decide(coins):
    snapshot = listed(coins, ("a", "2", 5, ""), ("b", "1", 700, ""), ("c", "0", None, ""))

    assert table(snapshot) == [("a", "2"), ("b", "1"), ("c", "0")]
    assert (snapshot.amounts, snapshot.groups) == (None, None)


def test_holders_of_a_currency(campaign, points, alice, bob, carol):
    with transaction.atomic():
        credit(alice, points, 3, "a", "test")
        credit(bob, points, 5, "b", "test")
        system_account("treasury", points)
    grants = campaign(participants={"source": "holders", "currency": "points"})

    distribution = run(grants)

    assert paid(distribution) == {"bob": 62_50, "alice": 37_50}
    assert verify(distribution) == []
    assert source_of(grants.participants).words(grants.participants) == "whoever has points"


def count(user, metric: str, month: str, quantity: str) -> None:
    Counter.objects.create(user=user, metric=metric, month=month, quantity=Decimal(quantity))


def test_a_counter_of_a_month_of_all_time_or_of_the_month_before_the_run(campaign, alice, bob, carol, settings):
    for month, quantities in {
        "": ("9", "1", "4"),
        "2026-10": ("1", "1", "2.5"),
        "2026-11": ("8", "0.000001", "1"),
    }.items():
        for user, quantity in zip((alice, bob, carol), quantities, strict=True):
            count(user, "tests", month, quantity)
    count(bob, "other", "2026-10", "100")

    def of(month: str) -> list[tuple[str, str]]:
        participants = {"source": "counter", "metric": "tests", "month": month}
        return table(participants_of(campaign(f"m{month or 'all'}", participants=participants), NOON))

    assert of("") == [("alice", "9"), ("carol", "4"), ("bob", "1")]
    assert of("2026-11") == [("alice", "8"), ("carol", "1"), ("bob", "0.000001")]
    assert of("previous") == [("carol", "2.5"), ("alice", "1"), ("bob", "1")]
    assert of("2025-01") == []


def test_the_month_before_is_a_local_one(campaign, alice, settings):
    settings.REWARDS_TIME_ZONE = ZoneInfo("Asia/Tokyo")
    count(alice, "tests", "2026-11", "1")
    grants = campaign(participants={"source": "counter", "metric": "tests", "month": "previous"})

    assert len(participants_of(grants, NOON.replace(day=30, hour=14))) == 0  # 23:00 in Tokyo, still November
    assert len(participants_of(grants, NOON.replace(day=30, hour=15))) == 1


class Board(ParticipantSource):
    """What an upper app would register."""

    def check(self, options):
        return {"source": "board", "board": str(options["board"])}

    def words(self, options):
        return f"the board {options['board']}"

    def snapshot(self, options, currency, at):
        user = User.objects.get(username=options["board"])
        return Snapshot(np.array([user.pk]), [user.username], Measure([7], 0))


def test_an_upper_app_registers_a_source(campaign, alice):
    register_source("board", Board())
    grants = campaign(participants={"source": "board", "board": "alice"})
    assert grants.participants == {"source": "board", "board": "alice"}

    assert paid(run(grants)) == {"alice": 100_00}

    del sources._sources["board"]
    with pytest.raises(sources.CampaignInvalid, match="no source 'board' is installed"):
        participants_of(grants, NOON)


def test_a_line_whose_user_is_gone_is_not_passed_over(campaign, alice):
    grants = campaign()
    services.store_rows(grants.pk, [(alice.pk, "1", None, "")], actor=None, at=NOON)
    CampaignParticipant.objects.update(user_id=alice.pk + 1)

    with pytest.raises(InvariantBroken, match="is gone"):
        participants_of(grants, NOON)
