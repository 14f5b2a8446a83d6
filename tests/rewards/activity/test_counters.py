"""Counters kept live are the counters that events rebuild."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import F

from rewards.activity.models import Counter
from rewards.activity.services import MONTHS, close_stretch, rebuild_counters, record_events
from rewards.users.models import User
from tests.rewards.activity.conftest import NOON, counters, event, instant

pytestmark = pytest.mark.django_db


@pytest.fixture
def some_months_of_activity(people) -> None:
    for month in range(1, 4):
        for number, user in enumerate(["alice", "bob", "carol", "alice"]):
            metric = "cc_vote" if number < 3 else "logins"
            record_events([event(user, f"{number + 1}.000001", f"2026-0{month}-11T07:10", metric=metric)], at=NOON)
    close_stretch(MONTHS, instant("2026-01-01T00:00"), instant("2026-02-01T00:00"))
    record_events([event("bob", "5", "2026-01-31T23:00"), event("bob", "7", "2026-02-01T00:00")], at=NOON)


def test_rebuilding_gives_what_was_kept_live(some_months_of_activity):
    live = counters()
    Counter.objects.all().delete()

    assert rebuild_counters() == len(live) == 16
    assert counters() == live


def test_rebuilding_what_is_right_changes_nothing(some_months_of_activity):
    assert rebuild_counters() == 0


def test_rebuilding_puts_wrong_missing_and_stray_counters_right(some_months_of_activity):
    alice = User.objects.get(username="alice")
    live = counters()
    Counter.objects.filter(user=alice, metric="cc_vote", month="").update(quantity=F("quantity") + 1)
    Counter.objects.filter(user=alice, metric="cc_vote", month="2026-02").delete()
    Counter.objects.create(user=alice, metric="cc_vote", month="2020-01", quantity=5)
    Counter.objects.create(user=alice, metric="never", month="", quantity=5)

    assert rebuild_counters() == 4
    assert counters() == live


def test_the_command_says_how_many_it_put_right(some_months_of_activity):
    Counter.objects.filter(month="2026-03").delete()
    first, second = StringIO(), StringIO()

    call_command("rebuild_counters", stdout=first)
    call_command("rebuild_counters", stdout=second)

    assert first.getvalue() == "4 counters put right.\n"
    assert second.getvalue() == "All counters were right.\n"
