"""Real payouts that others made: the engine pays their budgets exactly and their rows within a cent."""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from rewards.allocation.rules import Measure, Participants, allocate

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
DIGITS = 30

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real tables in ../shared/data")


@needs_data
@pytest.mark.parametrize(("month", "budget"), [("2025-03", 133_333_333), ("2025-05", 130_000_000)])
def test_monthly_rounds_pay_the_budget_and_every_row_within_a_cent(month, budget):
    with (DATA / "monthly_rounds" / f"{month}.csv").open() as file:
        rows = list(csv.DictReader(file))
    weights = [int(Decimal(row["weight"] or 0).scaleb(DIGITS)) for row in rows]
    rule = {"rule": "proportional", "max_share": "0.05", "min_amount": "200"}
    allocation = allocate(rule, budget, Participants(Measure(weights, DIGITS)), decimals=2)
    assert allocation.unpaid == 0
    assert int(allocation.amounts.sum()) == budget
    for row, amount in zip(rows, allocation.amounts.tolist(), strict=True):
        published = int(Decimal(row["published_op"] or 0) * 100)
        assert abs(amount - published) <= 1, row["project"]


@needs_data
def test_the_airdrop_pays_each_of_its_recipients_to_the_last_unit():
    with gzip.open(DATA / "airdrop" / "airdrop.csv.gz", "rt") as file:
        wei = [int(row["amount_wei"]) for row in csv.DictReader(file)]
    assert all(amount % 10**12 == 0 for amount in wei)
    amounts = [amount // 10**12 for amount in wei]
    participants = Participants(Measure(wei, 18), amounts=amounts)
    allocation = allocate({"rule": "fixed"}, 150_000_000_000_000, participants, decimals=6)
    assert allocation.amounts.tolist() == amounts
    assert len(amounts) == 252_803
    assert 150_000_000_000_000 - allocation.unpaid == 149_999_999_975_656
