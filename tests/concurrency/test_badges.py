"""Checks at the same moment, beside events, and killed: everybody gets each badge and its bonus exactly once."""

from __future__ import annotations

import random
import time
from collections import Counter
from functools import partial
from threading import Event

import numpy as np
import pytest
from django.db import transaction
from django.db.models import QuerySet

from badges import giving, services
from badges.bitmaps import Bitmap, remember
from badges.errors import AlreadyRevoked, BadgeLocked, NotRevoked
from badges.models import Badge, BadgeAward, PaidRanking
from badges.setup import create_default_badges
from rewards.activity.services import NewEvent, record_events
from rewards.audit.models import AuditEvent
from rewards.distributions import corrections
from rewards.ledger.models import Account, Currency, Journal, Transfer
from rewards.users.models import NO_PASSWORD, User
from tests.badges.conftest import NOON, points_of
from tests.badges.test_rankings import AFTER, TIERS, category, did, join, run, students
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import (
    PATIENCE_SECONDS,
    at_once,
    die_at_commit,
    in_process,
    kill,
    threads,
    wait_until_somebody_waits,
    was_killed,
)

__all__ = ["category", "students"]

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def crowd(points: Currency, monkeypatch) -> dict[str, int]:
    """Username → wins: two hundred who have won nothing to ten times, nine badges, and steps of 16."""
    monkeypatch.setattr(giving, "AT_ONCE", 16)
    wins = {f"user-{number:03}": number % 11 for number in range(200)}
    User.objects.bulk_create([User(username=name, password=NO_PASSWORD) for name in wins])
    record(wins)
    create_default_badges()
    return wins


def record(wins: dict[str, int], key: str = "") -> None:
    events = [NewEvent(f"{key}{name}", name, "cases_won", count, NOON) for name, count in wins.items() if count]
    record_events(events, at=NOON)


def check() -> int:
    return services.check_badges(NOON).awarded


def assert_everybody_has_each_once(wins: dict[str, int]) -> None:
    earned = {"first_win": 1, "five_wins": 5, "ten_wins": 10}
    right = {(name, slug) for name, count in wins.items() for slug, needed in earned.items() if count >= needed}
    awards = Counter(BadgeAward.objects.values_list("user__username", "badge__slug"))
    assert awards == Counter(right)
    bonuses = dict(Badge.objects.values_list("slug", "bonus"))
    expected: Counter[str] = Counter()
    for name, slug in right:
        expected[name] += bonuses[slug]
    assert dict(
        Account.objects.filter(user__isnull=False, balance__gt=0).values_list("user__username", "balance")
    ) == dict(expected)
    assert Transfer.objects.count() == len(right)
    # Nobody's journal is empty, and each award names the one that paid it.
    assert set(BadgeAward.objects.values_list("journal", flat=True)) == set(
        Journal.objects.values_list("pk", flat=True)
    )
    assert AuditEvent.objects.filter(event_type="badges_awarded").count() == Journal.objects.count()
    assert broken_promises() == []


def assert_bits_are_right() -> None:
    """After a check that nobody disturbed."""
    check()
    assert services.rebuild() == 0


def test_checks_at_the_same_moment_give_everything_once(crowd):
    given = at_once(check, check, check)

    assert sum(given) == BadgeAward.objects.count()
    assert_everybody_has_each_once(crowd)
    assert_bits_are_right()


def test_events_that_complete_badges_beside_a_check_give_them_once(crowd):
    """Four record wins, whose badges are given at their commits, while two check everybody."""
    names = list(crowd)

    def more_wins(first: int) -> None:
        for name in names[first::4]:
            record({name: 1}, key=f"more-{first}:")
            crowd[name] += 1

    def checks() -> int:
        return sum(check() for _ in range(3))

    outcomes = at_once(*[lambda first=first: more_wins(first) for first in range(4)], checks, checks)

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    check()
    assert_everybody_has_each_once(crowd)
    assert_bits_are_right()


def give_and_hold(user: User, given: Event, go_on: Event, *, fails: bool) -> None:
    """Give at once, and commit, or fail, only when told to go on."""
    with transaction.atomic():
        assert services.award_at_once([user.pk], NOON)
        given.set()
        assert go_on.wait(PATIENCE_SECONDS)
        if fails:
            raise ZeroDivisionError


def hold(rows: QuerySet, held: Event, go_on: Event) -> None:
    with transaction.atomic():
        list(rows.select_for_update())
        held.set()
        assert go_on.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("fails", [False, True], ids=["that are committed", "that fail"])
def test_a_check_waits_for_awards_under_way(crowd, fails):
    given, go_on = Event(), Event()
    with threads(2) as start:
        giving = start(partial(give_and_hold, fails=fails), User.objects.get(username="user-010"), given, go_on)
        assert given.wait(PATIENCE_SECONDS)
        checking = start(check)
        wait_until_somebody_waits()
        go_on.set()
        assert isinstance(giving.exception(PATIENCE_SECONDS), ZeroDivisionError if fails else type(None))
        checking.result(PATIENCE_SECONDS)

    assert_everybody_has_each_once(crowd)


def test_processes_that_are_killed_in_the_middle_are_continued_by_the_next(crowd, monkeypatch):
    monkeypatch.setattr(giving, "AT_ONCE", 4)
    chance, deaths = random.Random(20_261_121), 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while BadgeAward.objects.count() < 181 + 108 + 18 and time.monotonic() < deadline:
        process = in_process(check)
        process.join(chance.uniform(0.02, 0.2) * (1 + deaths / 20))
        if process.is_alive():
            kill(process)
        deaths += was_killed(process)

    assert deaths >= 2
    assert_everybody_has_each_once(crowd)
    assert_bits_are_right()


@pytest.mark.parametrize("after", [False, True], ids=["before its commit", "after its commit"])
def test_a_step_is_given_whole_or_not_at_all(crowd, after):
    def check_and_die_at_commit(number: int) -> None:
        die_at_commit(number, after=after)
        check()

    process = in_process(check_and_die_at_commit, 3)
    process.join(PATIENCE_SECONDS)

    assert was_killed(process)
    steps = 3 if after else 2
    assert (Journal.objects.count(), BadgeAward.objects.count()) == (steps, 16 * steps)
    badge = Badge.objects.get(slug="first_win")
    bits = sum(bin(byte).count("1") for block in Bitmap.stored(badge.pk, "").blocks.values() for byte in block)
    assert bits == 16 * steps
    assert broken_promises() == []
    check()
    assert_everybody_has_each_once(crowd)


def test_whoever_is_given_a_badge_while_the_bits_are_made_anew_waits_for_them(points, alice):
    badge = Badge.objects.create(slug="one", name="One", metric="tests_completed", active=True)
    with transaction.atomic():
        remember(badge.pk, "", np.array([alice.pk + 1]))  # nobody has it
    made, go_on = Event(), Event()

    def make_anew() -> None:
        with transaction.atomic():
            assert services.rebuild() == 1
            made.set()
            assert go_on.wait(PATIENCE_SECONDS)

    with threads(2) as start:
        start(make_anew)
        assert made.wait(PATIENCE_SECONDS)
        giving_it = start(partial(giving.give, remembered=True), badge, "", np.array([alice.pk]), NOON)
        wait_until_somebody_waits()
        go_on.set()
        assert giving_it.result(PATIENCE_SECONDS) == 1

    assert services.rebuild() == 0


def test_whoever_changes_what_earns_a_badge_waits_for_who_is_given_it(points, alice):
    record({"alice": 1})
    create_default_badges()
    badge = Badge.objects.get(slug="first_win")
    badge.threshold = 2
    given, go_on = Event(), Event()

    with threads(2) as start:
        giving = start(partial(give_and_hold, fails=False), alice, given, go_on)
        assert given.wait(PATIENCE_SECONDS)
        saving = start(badge.save)
        wait_until_somebody_waits()
        go_on.set()
        giving.result(PATIENCE_SECONDS)
        assert isinstance(saving.exception(PATIENCE_SECONDS), BadgeLocked)


def test_of_those_who_revoke_at_once_one_does_and_of_those_who_reinstate_too(points, alice, staff):
    create_default_badges()
    record({"alice": 1})
    award = alice.badge_awards.get()
    support = staff("support", "revoke_badgeaward")

    outcomes = at_once(*[lambda: services.revoke(award.pk, support, "a test account")] * 4)
    assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [AlreadyRevoked] * 3
    assert points_of(alice) == 0

    outcomes = at_once(*[lambda: services.reinstate(award.pk, support, "none")] * 4)
    assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [NotRevoked] * 3
    assert points_of(alice) == 50
    assert broken_promises() == []


def test_checks_at_the_same_moment_give_and_revoke_the_badges_of_a_month_once(
    points, category, students, make_user, staff
):
    users = [make_user(f"user-{number}") for number in range(8)]
    for user in users:
        join(students, user)
        did(user, "tests_completed", str(user.pk))
    category(tiers=TIERS)
    run()

    results = at_once(*[lambda: services.check_badges(AFTER)] * 3)

    assert sum(result.rankings for result in results) == BadgeAward.objects.count() == 8
    assert PaidRanking.objects.get().awarded == 8

    reversed_by = staff("reverser", "reverse_distribution")
    corrections.reverse(PaidRanking.objects.get().distribution_id, reversed_by, "counted the wrong month")
    results = at_once(*[lambda: services.check_badges(AFTER)] * 3)

    assert sum(result.revoked for result in results) == 8
    assert AuditEvent.objects.filter(event_type="badges_revoked").count() == 1


def test_whoever_reinstates_a_badge_beside_the_reversal_of_its_ranking_waits_for_it(
    points, category, students, alice, bob, staff
):
    """Else the badge could be revoked while the bonus that was paid again stays."""
    for place, user in enumerate((alice, bob)):
        join(students, user)
        did(user, "tests_completed", str(9 - place))
    for slug in ("monthly-champion", "monthly-elite"):
        Badge.objects.create(slug=slug, name=slug, repeat="per_period", active=True, bonus=100)
    category(tiers=TIERS)
    run()
    services.check_badges(AFTER)
    award, support = alice.badge_awards.get(), staff("support", "revoke_badgeaward")
    services.revoke(award.pk, support, "a mix-up of names")
    reverser = staff("reverser", "reverse_distribution")
    corrections.reverse(PaidRanking.objects.get().distribution_id, reverser, "counted the wrong month")

    held, go_on = Event(), Event()
    with threads(3) as start:
        start(hold, Account.objects.filter(user=bob, currency=points), held, go_on)
        assert held.wait(PATIENCE_SECONDS)
        checking = start(services.check_badges, AFTER)
        wait_until_somebody_waits()  # for what Bob is to give back
        reinstating = start(services.reinstate, award.pk, support, "it was her")
        try:
            wait_until_somebody_waits(2)
        finally:
            go_on.set()
        assert checking.result(PATIENCE_SECONDS).revoked == 1
        reinstating.result(PATIENCE_SECONDS)

    award.refresh_from_db()
    assert (award.revoked_at, points_of(alice), points_of(bob)) == (None, 100, 0)
    assert broken_promises() == []
