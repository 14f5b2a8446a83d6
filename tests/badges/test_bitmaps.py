"""The bits say of whom an award is known, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from django.core.management import call_command
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st

from badges import bitmaps, services
from badges.bitmaps import BLOCK, Bitmap, unknown_users
from badges.criteria import Condition, condition
from badges.models import AwardedUsers, BadgeAward
from tests.badges.conftest import NOON, did

user_ids = st.sets(st.integers(1, 5 * BLOCK) | st.sampled_from([1, BLOCK - 1, BLOCK, BLOCK + 1, 10**12]))


def column(ids) -> np.ndarray:
    return np.array(sorted(ids), dtype=np.int64)


@pytest.mark.once
@given(known=user_ids, asked=user_ids)
def test_who_is_known_is_passed_over_and_nobody_else(known, asked):
    assert Bitmap.of(column(known)).without_known(column(asked)).tolist() == sorted(asked - known)


@pytest.mark.once
@given(first=user_ids, second=user_ids)
def test_two_bitmaps_differ_in_whom_only_one_knows(first, second):
    assert Bitmap.of(column(first)).differing(Bitmap.of(column(second))) == len(first ^ second)


def test_what_is_remembered_is_added_to_what_is_stored(make_badge):
    badge = make_badge("thanks")
    with transaction.atomic():
        bitmaps.remember(badge.pk, "", column({7, BLOCK}))
        bitmaps.remember(badge.pk, "", column({7, 8, 3 * BLOCK}))
        bitmaps.remember(badge.pk, "2026-10", column({9}))

    stored = Bitmap.stored(badge.pk, "")
    assert stored.without_known(column({6, 7, 8, 9, BLOCK, BLOCK + 1, 3 * BLOCK})).tolist() == [6, 9, BLOCK + 1]
    assert sorted(stored.blocks) == [0, 1, 3]


@pytest.mark.parametrize("known", [set(), {2}, {65536}, {2, 65535, 65536, 327680}, {1, 10**10}, {10**10}, {3}])
def test_the_database_passes_over_who_is_known(db, known):
    """Close together the bits go along with the statement; far apart the rows are looked at afterwards."""
    everybody = {2, 65535, 65536, 327680, 10**10}
    who = Condition(
        "(SELECT 1 AS id UNION ALL SELECT 2 UNION ALL SELECT 65535 UNION ALL SELECT 65536 UNION ALL SELECT 327680 "
        "UNION ALL SELECT 10000000000) AS number", "id", "id > %s", (1,),
    )  # fmt: skip

    assert unknown_users(who, Bitmap.of(column(known))).tolist() == sorted(everybody - known)


# ------------------------------------------------------------------------------------------------------------- rebuild


def test_a_rebuild_finds_nothing_wrong_after_checks(nine, alice, bob):
    did(alice, "cases_won", 5)
    services.check_badges(NOON)
    did(bob, "cases_won", 1)
    services.check_badges(NOON)

    assert services.rebuild() == 0


def test_a_rebuild_puts_right_what_is_missing_and_what_is_too_much(nine, alice, bob, capsys):
    did(alice, "cases_won", 5)
    services.check_badges(NOON)
    AwardedUsers.objects.filter(badge=nine["first_win"]).delete()
    with transaction.atomic():
        bitmaps.remember(nine["ten_wins"].pk, "", column({bob.pk, 10**9}))

    call_command("rebuild_badges")

    assert capsys.readouterr().out == "3 put right.\n"
    assert services.rebuild() == 0
    assert not any(map(any, Bitmap.stored(nine["ten_wins"].pk, "").blocks.values()))
    did(bob, "cases_won", 10)
    assert services.check_badges(NOON).awards == {"first_win": 1, "five_wins": 1, "ten_wins": 1}


def test_a_bit_without_an_award_is_all_that_could_keep_a_badge_from_somebody(nine, alice):
    """Why bits are set with the award or after it, and can be made anew."""
    did(alice, "cases_won", 1)
    with transaction.atomic():
        bitmaps.remember(nine["first_win"].pk, "", column({alice.pk}))

    assert services.check_badges(NOON).awarded == 0
    assert services.rebuild() == 1
    assert services.check_badges(NOON).awarded == 1


def test_what_was_given_at_once_is_remembered_by_the_next_check(nine, alice):
    did(alice, "cases_won", 1)
    services.award_at_once([alice.pk], NOON)
    assert not AwardedUsers.objects.exists()

    services.check_badges(NOON)

    known = Bitmap.stored(nine["first_win"].pk, "")
    assert unknown_users(condition(nine["first_win"], ""), known).tolist() == []
    assert BadgeAward.objects.count() == 1
