"""Three days of real purchases as votes, and every reward compared with a second calculation that shares no code."""

from __future__ import annotations

import csv
import gzip
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db.models import Sum

from rewards.distributions.models import Distribution, Reward
from rewards.ledger.models import Account, Currency, Transfer
from rewards.pools.models import Accrual, CcRate, VoteWeight
from rewards.pools.services import create_default_pools, run_daily, run_hourly

DATA = Path(os.environ.get("REWARDS_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
PURCHASES = DATA / "retail_activity" / "events.csv.gz"

# A Friday, a Saturday on which nobody bought anything, a Sunday, and a Monday.
DAYS = ("2010-12-03", "2010-12-04", "2010-12-05", "2010-12-06")
RATES = {"1970-01-01": Fraction("0.0137"), "2010-12-05T12:30": Fraction("0.0211")}
WEIGHTS = {"France": Fraction("1.5"), "Germany": Fraction("0.75"), "EIRE": Fraction("3.125")}
DECIMALS = 2

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not PURCHASES.exists(), reason=f"there is no {PURCHASES}: set REWARDS_DATA to the data"),
]

Vote = tuple[str, int, str, datetime]  # customer, pence, country, instant


def purchases() -> Iterator[dict[str, str]]:
    with gzip.open(PURCHASES, "rt") as file:
        for line in csv.DictReader(file):
            if line["at"][:10] > DAYS[-1]:
                return
            if line["at"][:10] in DAYS:
                yield line


def parse(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# ------------------------------------------------------------------------------------------------ the other calculation


def cut(amount: int, weights: list[Fraction]) -> list[int]:
    """Largest remainder, ties to the earlier one."""
    total = sum(weights)
    exact = [amount * weight / total for weight in weights]
    units = [floor(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda index: (units[index] - exact[index], index))
    for index in by_remainder[: amount - sum(units)]:
        units[index] += 1
    return units


def places(votes: list[Vote]) -> list[str]:
    """Customers by pence, first vote, name."""
    pence: dict[str, int] = defaultdict(int)
    first: dict[str, datetime] = {}
    for customer, amount, _, at in votes:
        pence[customer] += amount
        first[customer] = min(first.get(customer, at), at)
    return sorted(pence, key=lambda customer: (-pence[customer], first[customer], customer))


class Payout:
    def __init__(self) -> None:
        self.paid: dict[str, int] = defaultdict(int)
        self.left = 0

    def share(self, amount: int, members: list[str], weigh: Callable[[str], Fraction] = lambda _: Fraction(1)) -> None:
        if not members:
            self.left += amount
            return
        for member, units in zip(members, cut(amount, [weigh(member) for member in members]), strict=True):
            self.paid[member] += units


def hour_payout(amount: int, votes: list[Vote]) -> Payout:
    payout, order = Payout(), places(votes)
    sizes = [ceil(Fraction(len(order), 10)), 10, 100, 1000, len(order)]
    for part, size in zip(cut(amount, [Fraction(1)] * 5), sizes, strict=True):
        payout.share(part, order[:size])
    return payout


def day_payout(amount: int, votes: list[Vote]) -> Payout:
    payout, order = Payout(), places(votes)
    count: dict[str, int] = defaultdict(int)
    ecc: dict[str, Fraction] = defaultdict(Fraction)
    for customer, pence, country, _ in votes:
        count[customer] += 1
        ecc[customer] += pence * WEIGHTS.get(country, Fraction(1))
    best = order[: ceil(Fraction(len(order), 10))]
    cap = 5 * sum(ecc[customer] for customer in best) / len(best) if best else Fraction(0)
    fixed, by_ecc, half = cut(amount, [Fraction(1)] * 3)
    tiers = [(10, 10), (100, 5), (1000, 3), (10000, 2), (len(order), 1)]
    for part, (size, least) in zip(cut(fixed, [Fraction(1)] * 5), tiers, strict=True):
        payout.share(part, [customer for customer in order[:size] if count[customer] >= least])
    payout.share(by_ecc, best, lambda customer: min(ecc[customer], cap))
    payout.share(half, order[: ceil(Fraction(len(order), 2))])
    return payout


def expected() -> dict[str, Payout]:
    """By programme and period. What an hour or a day cannot pay goes on to the next one."""
    votes = [
        (line["customer_id"], int(line["amount_pence"]), line["country"], parse(line["at"]))
        for line in purchases()
        if int(line["amount_pence"]) > 0
    ]
    by_hour: dict[datetime, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_hour[vote[3].replace(minute=0, second=0)].append(vote)
    payouts: dict[str, Payout] = {}
    hour, of_days, left = min(by_hour), defaultdict(int), 0
    while hour < parse(DAYS[-1]) + timedelta(days=1):
        rate = [rate for since, rate in RATES.items() if parse(since) < hour + timedelta(hours=1)][-1]
        intake = floor(sum(vote[1] for vote in by_hour[hour]) * rate * 10**DECIMALS)
        of_days[f"{hour:%Y-%m-%d}"] += intake - floor(Fraction(intake, 4))
        payout = hour_payout(floor(Fraction(intake, 4)) + left, by_hour[hour]) if by_hour[hour] else Payout()
        payouts[f"pool_hourly {hour:%Y-%m-%dT%H}"], left = payout, payout.left
        hour += timedelta(hours=1)
    left = 0
    for day in DAYS:
        payout = day_payout(of_days[day] + left, [vote for vote in votes if f"{vote[3]:%Y-%m-%d}" == day])
        payouts[f"pool_daily {day}"], left = payout, payout.left
    return payouts


# ------------------------------------------------------------------------------------------------------------ the story


def test_every_reward_is_what_the_other_calculation_says(tmp_path):
    currency = Currency.objects.create(code="credits", decimals=DECIMALS)
    create_default_pools(currency)
    for since, rate in RATES.items():
        CcRate.objects.create(starts_at=parse(since), units_per_cc=Decimal(rate.numerator) / rate.denominator)
    for country, weight in WEIGHTS.items():
        VoteWeight.objects.create(vote_type=country, weight=Decimal(weight.numerator) / weight.denominator)
    import_purchases(tmp_path / "votes.csv")

    at = parse(DAYS[-1]) + timedelta(days=1, minutes=30)
    assert run_daily(at).failures == []
    assert run_hourly(at).failures == []

    payouts = expected()
    assert {str(distribution) for distribution in Distribution.objects.all()} == set(payouts)
    for distribution in Distribution.objects.all():
        rows = Reward.objects.filter(distribution=distribution).values_list("user__username", "amount")
        paid = {customer: amount for customer, amount in rows if amount}
        assert paid == {name: units for name, units in payouts[str(distribution)].paid.items() if units}
        assert distribution.carried_over == payouts[str(distribution)].left
    check_the_books(payouts)


def import_purchases(path: Path) -> None:
    lines = list(purchases())
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    names = {"partner": "customer_id", "cc_amount": "amount_pence", "vote_type": "country", "occurred_at": "at"}
    call_command("import_votes", str(path), map=[f"{ours}={theirs}" for ours, theirs in names.items()])


def check_the_books(payouts: dict[str, Payout]) -> None:
    """Each partner holds the sum of his rewards, and the pools what the last periods could not pay."""
    of_partners: dict[str, int] = defaultdict(int)
    for payout in payouts.values():
        for partner, units in payout.paid.items():
            of_partners[partner] += units
    balances = Account.objects.exclude(user=None).values_list("user__username", "balance")
    assert dict(balances) == {partner: units for partner, units in of_partners.items() if units}
    pools = dict(Account.objects.filter(code__startswith="pool:").values_list("code", "balance"))
    assert pools == {"pool:hourly": 0, "pool:daily": payouts[f"pool_daily {DAYS[-1]}"].left}
    issued = Transfer.objects.filter(debit_account__code="issuance").aggregate(total=Sum("amount"))["total"]
    assert issued == Accrual.objects.aggregate(total=Sum("intake"))["total"]
