"""Rounds and an airdrop that others have paid, by the command: budgets to the last unit, rows as published."""

from __future__ import annotations

import csv
import gzip
import os
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command

from rewards.distributions.models import Distribution, Reward
from rewards.distributions.queries import verify
from rewards.ledger.models import Account, Currency

DATA = Path(os.environ.get("REWARDS_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
ROUNDS = DATA / "monthly_rounds"
AIRDROP = DATA / "airdrop" / "airdrop.csv.gz"

pytestmark = pytest.mark.django_db

CENT = Decimal("0.01")
CAPPED = '{"rule": "proportional", "max_share": "0.05", "min_amount": "200"}'
UNI = ["--user-column", "account", "--amount-column", "amount_wei", "--amount-scale", "1e-18"]


@pytest.mark.skipif(not ROUNDS.is_dir(), reason=f"there is no {ROUNDS}: set REWARDS_DATA to the data")
@pytest.mark.parametrize(("month", "budget"), [("2025-03", "1333333.33"), ("2025-05", "1300000")])
def test_a_monthly_round_pays_its_budget_and_each_row_within_a_cent(month, budget, capsys):
    Currency.objects.create(code="op", decimals=2)
    path = ROUNDS / f"{month}.csv"
    words = ["--campaign", month, "--currency", "op", "--user-column", "project", "--weight-column", "weight"]
    call_command("distribute_file", str(path), *words, "--rule", CAPPED, "--amount", budget, "--create-users")

    assert capsys.readouterr().out.startswith(f"campaign:{month}: paid")
    distribution = Distribution.objects.get()
    assert distribution.paid_amount == int(Decimal(budget) * 100)
    assert distribution.carried_over == 0
    assert verify(distribution) == []
    with path.open() as file:
        published = {row["project"]: Decimal(row["published_op"] or 0) for row in csv.DictReader(file)}
    rewards = Reward.objects.values_list("user__username", "amount")
    paid = {project: Decimal(amount) / 100 for project, amount in rewards}
    assert paid.keys() == published.keys()
    assert [project for project in paid if abs(paid[project] - published[project]) > CENT] == []


@pytest.mark.skipif(not AIRDROP.exists(), reason=f"there is no {AIRDROP}: set REWARDS_DATA to the data")
@pytest.mark.postgresql
def test_the_airdrop_pays_each_recipient_to_the_last_unit(capsys):
    Currency.objects.create(code="uni", decimals=6)
    words = ["--campaign", "uni", "--currency", "uni", *UNI, "--rule", '{"rule":"fixed"}', "--amount", "150000000"]
    call_command("distribute_file", str(AIRDROP), *words, "--create-users")

    assert "252,803 rows, 252,803 recipients, 149999999.975656 uni, left over 0.000000 uni" in capsys.readouterr().out
    with gzip.open(AIRDROP, "rt") as file:
        wanted = {row["account"]: int(row["amount_wei"]) // 10**12 for row in csv.DictReader(file)}
    held = Account.objects.exclude(user=None).values_list("user__username", "balance")
    assert dict(held.iterator(chunk_size=50_000)) == wanted
