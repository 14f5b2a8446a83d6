"""What operators ask of distributions in a terminal."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from rewards.distributions import services
from rewards.distributions.models import Distribution
from rewards.ledger.models import Journal

from .conftest import NOON

pytestmark = pytest.mark.django_db

MUCH_LATER = (NOON + timedelta(days=400)).isoformat()


def test_sweep_pays_what_a_process_left_behind(prize, open_prize, alice, capsys):
    prize.scores, prize.prize = {"alice": 1}, 1000
    left = open_prize()

    call_command("sweep", "--dry-run", at=MUCH_LATER)
    assert f"{left} is open" in capsys.readouterr().out
    assert not Journal.objects.filter(kind="distribution").exists()

    call_command("sweep", at=MUCH_LATER)
    assert "continued 1" in capsys.readouterr().out
    assert Distribution.objects.get().status == "paid"


def test_a_failed_payout_is_retried_once_its_cause_is_gone(prize, open_prize, alice, capsys):
    prize.scores, prize.prize, prize.broken = {"alice": 1}, 1000, True
    failed = services.advance(open_prize().pk)

    call_command("retry", failed.pk, "--dry-run")
    assert "would continue from open, after: the snapshot is broken" in capsys.readouterr().out
    with pytest.raises(CommandError, match="failed again: the snapshot is broken"):
        call_command("retry", failed.pk)

    prize.broken = False
    call_command("retry", failed.pk)
    assert "is paid: 10.00 coins paid" in capsys.readouterr().out
    with pytest.raises(CommandError, match="only a failed one can be retried"):
        call_command("retry", failed.pk)
    with pytest.raises(CommandError, match="no distribution 999"):
        call_command("retry", 999)


def test_periods_of_a_programme_that_is_not_there_are_refused(capsys):
    with pytest.raises(CommandError, match=r"no programme 'pool_weekly'; there are .*pool_daily"):
        call_command("periods", programme="pool_weekly")

    call_command("periods", programme="pool_daily")
    assert "0 periods" in capsys.readouterr().out
