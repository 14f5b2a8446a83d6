"""Thirteen months of real purchases as monthly rankings, and every row compared with a second calculation."""

from __future__ import annotations

import csv
import gzip
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db.models import Sum

from badges.models import BadgeAward
from badges.services import check_badges
from rewards.activity.models import ActivityEvent
from rewards.activity.services import NewEvent, Outcome, record_events
from rewards.audit.models import AuditEvent
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.queries import verify
from rewards.ledger.models import Account, Currency, Journal, Transfer
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.services import run_due, start_job
from rewards.monthly.setup import TIERS

DATA = Path(os.environ.get("REWARDS_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
PURCHASES = DATA / "retail_activity" / "events.csv.gz"

# Most of the purchases are made in the afternoon, UTC: here they belong to the next day, and on the last of a month to
# the next month, for summer and winter time at another hour.
ZONE = ZoneInfo("Australia/Sydney")
DECIMALS = 2
EVENTS_AT_ONCE = 20_000
HOME = "United Kingdom"

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not PURCHASES.exists(), reason=f"there is no {PURCHASES}: set REWARDS_DATA to the data"),
]


class Purchase(NamedTuple):
    number: str
    at: datetime
    customer: str
    country: str
    day: str

    @property
    def month(self) -> str:
        return self.day[:7]


def read_purchases() -> list[Purchase]:
    """In the order of time. What was sent back was no purchase."""
    with gzip.open(PURCHASES, "rt") as file:
        lines = [line for line in csv.DictReader(file) if int(line["quantity"]) > 0]
    purchases = []
    for line in lines:
        at = datetime.fromisoformat(line["at"]).replace(tzinfo=UTC)
        day = at.astimezone(ZONE).date().isoformat()
        purchases.append(Purchase(line["event_id"], at, line["customer_id"], line["country"], day))
    return sorted(purchases, key=lambda purchase: purchase.at)


def groups_of(purchases: list[Purchase]) -> dict[str, list[str]]:
    """Group → its customers: at home is who ever bought from there."""
    at_home = {purchase.customer for purchase in purchases if purchase.country == HOME}
    abroad = {purchase.customer for purchase in purchases} - at_home
    return {"home": sorted(at_home), "abroad": sorted(abroad)}


# ------------------------------------------------------------------------------------------------ the other calculation


class Row(NamedTuple):
    user: str
    position: int
    score: Fraction
    amount: int


def expected(purchases: list[Purchase], customers: list[str]) -> list[Row]:
    """What the customers of a group get for the purchases of a month, in minor units."""
    bought, days, last = Counter[str](), defaultdict[str, set[str]](set), dict[str, datetime]()
    for purchase in purchases:
        bought[purchase.customer] += 1
        days[purchase.customer].add(purchase.day)
        last[purchase.customer] = max(last.get(purchase.customer, purchase.at), purchase.at)
    never = datetime.max.replace(tzinfo=UTC)
    score = {customer: Fraction(15 * len(days[customer]) + bought[customer]) for customer in customers}
    order = sorted(customers, key=lambda customer: (-score[customer], last.get(customer, never), customer))
    return [Row(customer, place, score[customer], prize(place)) for place, customer in enumerate(order, start=1)]


PLACES = ((1, "champion", 1000), (10, "elite", 500), (50, "achiever", 200), (100, "performer", 100))


def tier(place: int) -> str:
    return next((name for last, name, _ in PLACES if place <= last), "unplaced")


def prize(place: int) -> int:
    """In minor units."""
    return 10**DECIMALS * next((units for last, _, units in PLACES if place <= last), 10)


# ------------------------------------------------------------------------------------------------------------ the story


@pytest.fixture
def coins() -> Currency:
    return Currency.objects.create(code="coins", decimals=DECIMALS)


def test_thirteen_months_are_ranked_and_paid_once_as_the_other_calculation_says(coins, settings, tmp_path):
    settings.REWARDS_TIME_ZONE = ZONE
    purchases = read_purchases()
    months = by_month(purchases)
    assert (len(purchases), len(months)) == (397_924, 13)
    groups = groups_of(purchases)
    create_categories(groups, tmp_path)

    fed = [live_through(month, months[month]) for month in months]
    assert sum(outcome.accepted for outcome in fed) == ActivityEvent.objects.count() > len(purchases)
    assert [(outcome.duplicates, outcome.rejected, outcome.late) for outcome in fed] == [(0, [], 0)] * 13
    standing = books()

    again = [live_through(month, months[month], again=True) for month in months]
    assert sum(outcome.duplicates for outcome in again) == sum(outcome.accepted for outcome in fed)
    assert sum(outcome.accepted for outcome in again) == 0
    assert books() == standing

    given = [check_badges(end_of("2011-12")).rankings for _ in range(2)]
    total = 0
    for month in months:
        for group, customers in groups.items():
            rows = expected(months[month], customers)
            assert rows_paid(f"monthly:{group}", month) == rows
            assert badges_given(f"{group}:{month}") == {row.user: tier(row.position) for row in rows}
            total += sum(row.amount for row in rows)
    assert given == [BadgeAward.objects.count(), 0] == [13 * sum(map(len, groups.values())), 0]
    check_the_books(total)


def by_month(purchases: list[Purchase]) -> dict[str, list[Purchase]]:
    months = defaultdict[str, list[Purchase]](list)
    for purchase in purchases:
        months[purchase.month].append(purchase)
    return dict(sorted(months.items()))


def create_categories(groups: dict[str, list[str]], folder: Path) -> None:
    """One for each group, whose members are read from a file."""
    for name, customers in groups.items():
        (folder / name).write_text("\n".join(customers))
        call_command("assign_group", name, str(folder / name), create_users=True)
        RankingCategory.objects.create(
            slug=name,
            group=Group.objects.get(name=name),
            score={"purchase_days": "15", "purchases": "1"},
            tiers=TIERS,
            active_since=datetime(2010, 12, 5, tzinfo=UTC),
        )


def live_through(month: str, purchases: list[Purchase], *, again: bool = False) -> Outcome:
    """The month's purchases, in batches; then its first minutes after midnight of the next, when it is due."""
    ends = end_of(month)
    outcome = Outcome()
    for batch in batches(events_of(purchases)):
        each = record_events(batch, at=ends)
        outcome = Outcome(
            outcome.accepted + each.accepted,
            outcome.duplicates + each.duplicates,
            outcome.rejected + each.rejected,
            outcome.late + each.late,
        )
    assert run_due(ends + timedelta(minutes=5) - timedelta(microseconds=1)).figures() == {}
    due = run_due(ends + timedelta(minutes=5))
    assert due.figures() == ({} if again else {"completed": [month]})
    _, created = start_job(int(month[:4]), int(month[5:]), by="again", at=ends + timedelta(minutes=6))
    assert not created
    return outcome


def end_of(month: str) -> datetime:
    """Midnight in the zone."""
    year, number = int(month[:4]), int(month[5:])
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZONE).astimezone(UTC)


def events_of(purchases: list[Purchase]) -> Iterator[NewEvent]:
    """An event for each purchase, and one for each day on which a customer bought, at the first purchase of the day."""
    seen = set()
    for number, at, customer, _, _ in purchases:
        yield NewEvent(f"purchase-{number}", customer, "purchases", 1, at)
    for purchase in purchases:
        day = (purchase.customer, purchase.day)
        if day not in seen:
            seen.add(day)
            yield NewEvent(
                f"day-{purchase.customer}-{purchase.day}", purchase.customer, "purchase_days", 1, purchase.at
            )


def batches(events: Iterator[NewEvent]) -> Iterator[list[NewEvent]]:
    all_of_them = list(events)
    for first in range(0, len(all_of_them), EVENTS_AT_ONCE):
        yield all_of_them[first : first + EVENTS_AT_ONCE]


def rows_paid(programme: str, month: str) -> list[Row]:
    rewards = Reward.objects.filter(distribution__programme=programme, distribution__period_key=month)
    rows = rewards.order_by("position").values_list("user__username", "position", "score", "amount")
    return [Row(user, position, Fraction(score), amount) for user, position, score, amount in rows]


def badges_given(period_key: str) -> dict[str, str]:
    """User → the tier that his badge of a category and month names."""
    held = BadgeAward.objects.filter(period_key=period_key).values_list("user__username", "badge__slug")
    return {user: slug.removeprefix("monthly-") for user, slug in held}


def books() -> dict[str, object]:
    """What may not change when all of it comes again."""
    return {
        "balances": dict(Account.objects.values_list("pk", "balance")),
        "rows": [
            table.objects.count() for table in (ActivityEvent, Distribution, Reward, Journal, Transfer, AuditEvent)
        ],
        "jobs": list(MonthlyRewardJob.objects.values()),
    }


def check_the_books(total: int) -> None:
    assert set(MonthlyRewardJob.objects.values_list("status", flat=True)) == {"completed"}
    assert Distribution.objects.filter(status="paid").count() == Distribution.objects.count() == 26
    assert [difference for each in Distribution.objects.all() for difference in verify(each)] == []
    of_users = Account.objects.exclude(user=None)
    of_rewards = Reward.objects.order_by().values("user").annotate(paid=Sum("amount")).values_list("user", "paid")
    assert dict(of_users.values_list("user", "balance")) == dict(of_rewards)
    assert of_users.aggregate(total=Sum("balance"))["total"] == total
    coins_said = [job.results["totalCoinsAwarded"] for job in MonthlyRewardJob.objects.all()]
    assert sum(map(Fraction, coins_said)) * 10**DECIMALS == total
    call_command("check_ledger")
