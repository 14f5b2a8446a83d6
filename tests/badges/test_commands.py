"""What an operator types."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from badges.models import BadgeAward
from rewards.parameters.services import set_parameter
from tests.badges.conftest import NOON, badges_of, did
from tests.rewards.reading import reading_only

AT = f"--at={NOON.isoformat()}"


@pytest.fixture
def winners(nine, alice, bob):
    did(alice, "cases_won", 5)
    did(bob, "cases_won", 1)


def test_check_badges_says_what_it_gave_in_its_last_lines(winners, alice, capsys):
    call_command("check_badges", AT)

    first, *badges = capsys.readouterr().out.splitlines()
    assert first.startswith("check_badges: 3 items, 3 succeeded, 0 failed")
    assert "awarded 3, bonus 300" in first
    assert badges == ["  first_win: 2", "  five_wins: 1"]
    assert badges_of(alice) == {"first_win", "five_wins"}


def test_a_dry_run_says_who_would_get_what_and_writes_nothing(winners, capsys):
    with reading_only():
        call_command("check_badges", AT, "--dry-run")

    assert capsys.readouterr().out.splitlines() == [
        "first_win: 2 (alice, bob), 100 points",
        "five_wins: 1 (alice), 200 points",
        "check_badges --dry-run: 3 badges would be given; nothing was written",
    ]


def test_it_says_when_payouts_are_paused(winners, capsys):
    set_parameter("payouts_paused", True, actor=None, reason="a test")

    call_command("check_badges", AT)

    assert "Payouts are paused" in capsys.readouterr().out
    assert not BadgeAward.objects.exists()


def test_it_says_which_badges_could_not_be_given_and_why(winners, capsys):
    set_parameter("badges.currency", "gold", actor=None, reason="a slip of the pen")

    call_command("check_badges", AT)

    assert "  first_win: There is no currency 'gold'." in capsys.readouterr().out


def test_rebuild_badges_says_when_all_were_right(winners, capsys):
    call_command("check_badges", AT)
    capsys.readouterr()

    call_command("rebuild_badges")

    assert capsys.readouterr().out == "All were right.\n"
