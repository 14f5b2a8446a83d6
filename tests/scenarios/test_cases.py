"""Three cases from their writing to the last claim on the chain: 150 people vote, argue and like through the API, every
job runs as its schedule pokes it, and a second calculation that shares no code says what each of them gets.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from math import floor
from typing import Any

import pytest
import time_machine
from celery import current_app
from django.core.management import call_command
from django.test import Client

from badges.models import BadgeAward
from rewards.access.models import Right
from rewards.access.services import create_api_key
from rewards.activity.models import ActivityEvent
from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.cases.models import Argument, Case, SealedVerdict
from rewards.cases.moderation import approve_case
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.chain_claims.models import RewardClaim
from rewards.distributions.models import Distribution, Reward
from rewards.jobs.models import JobRun
from rewards.jobs.registry import task_name
from rewards.ledger.models import TREASURY, Account, Journal, Transfer
from rewards.parameters.services import forget, set_parameter
from rewards.users.models import User
from tests.concurrency.conftest import broken_promises

pytestmark = [pytest.mark.django_db(transaction=True)]

MORNING = datetime(2026, 11, 20, 8, tzinfo=UTC)
POOL = 997  # a prime: no part of it comes out even
EVERY_MINUTES = ("check_verdicts", "close_cases", "monitor_transactions", "sweep", "seal_audit")
EVERY_HOUR = ("check_badges", "refresh_leaderboards", "check_ledger")
PEOPLE = 150
CLAIMED = 202


# ------------------------------------------------------------------------------------------------ the other calculation


@dataclass
class Told:
    """What was sent of a case, in the order in which it was sent, and what is known of it."""

    case: int
    verdict: str
    creator: str | None = None
    votes: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    likes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # of who argued: by whom

    @property
    def winners(self) -> list[str]:
        return [user for user in self.participants if self.votes[user] == self.verdict]

    @property
    def ranked(self) -> list[str]:
        """Who argued: by likes, then the earlier first."""
        return sorted(self.arguments, key=lambda author: (-len(self.likes[author]), self.arguments.index(author)))

    @property
    def best(self) -> list[str]:
        return self.ranked[:3]

    @property
    def participants(self) -> list[str]:
        """As they are ranked: who argued, the best first, then who has only voted, the earliest first. Nobody argues
        without a vote."""
        return self.ranked + [user for user in self.votes if user not in self.arguments]


def whole(exact: list[Fraction]) -> list[int]:
    """Floors that together miss some units of the sum; those go to the largest remainders, of equals to the first."""
    units = [floor(share) for share in exact]
    missing = int(sum(exact)) - sum(units)
    for place in sorted(range(len(exact)), key=lambda place: (units[place] - exact[place], place))[:missing]:
        units[place] += 1
    return units


def equally(amount: int, people: list[str]) -> dict[str, int]:
    return dict(zip(people, whole([Fraction(amount, len(people))] * len(people)), strict=True)) if people else {}


def expected(told: Told) -> tuple[dict[str, dict[str, int]], int]:
    """(user → part → units, units that find nobody). The odd units of equal parts go to the better places."""
    winning, top, taking_part, creating = whole([Fraction(POOL * percent, 100) for percent in (40, 30, 20, 10)])
    prizes = whole([Fraction(top * percent, 100) for percent in (50, 30, 20)])
    parts = {
        "winning_voter": equally(winning, told.winners),
        "top_argument": dict(zip(told.best, prizes, strict=False)),
        "participant": equally(taking_part, told.participants),
        "creator": {told.creator: creating} if told.creator and len(told.participants) >= 100 else {},
    }
    of_users: dict[str, dict[str, int]] = defaultdict(dict)
    for part, amounts in parts.items():
        for user, amount in amounts.items():
            of_users[user][part] = amount
    paid = sum(sum(amounts.values()) for amounts in parts.values())
    return dict(of_users), POOL - paid


def earnings(*cases: Told) -> Counter[str]:
    earned: Counter[str] = Counter()
    for told in cases:
        for user, parts in expected(told)[0].items():
            earned[user] += sum(parts.values())
    return earned


# The nine of the product that go by activity: metric, how much of it, points.
BADGES = {
    "first_win": ("cases_won", 1, 50),
    "five_wins": ("cases_won", 5, 200),
    "ten_wins": ("cases_won", 10, 500),
    "top_argument": ("top_arguments", 1, 100),
    "top_argument_3x": ("top_arguments", 3, 300),
    "active_participant": ("participations", 20, 150),
    "dedicated_voter": ("votes", 50, 250),
}


def deeds(cases: list[Told]) -> dict[str, Counter[str]]:
    """Metric → user → how much, with what was before."""
    done: dict[str, Counter[str]] = defaultdict(Counter)
    for user, metric, quantity in BEFORE:
        done[metric][user] += quantity
    for told in cases:
        for user in told.votes:
            done["votes"][user] += 1
            done["participations"][user] += 1
            done["cases_decided"][user] += 1
        for user in told.winners:
            done["cases_won"][user] += 1
        for user in told.best:
            done["top_arguments"][user] += 1
    return done


def badges_earned(cases: list[Told]) -> set[tuple[str, str]]:
    done = deeds(cases)
    return {
        (badge, user)
        for badge, (metric, threshold, _) in BADGES.items()
        for user, quantity in done[metric].items()
        if quantity >= threshold
    }


# ------------------------------------------------------------------------------------------------------------ the world


class World:
    """Who takes part, each with a session of his own, and a clock that pokes the jobs."""

    def __init__(self) -> None:
        self.now = MORNING
        self._clients: dict[str, Client] = {}

    def moves_on(self, *, to: datetime, jobs: tuple[str, ...] = EVERY_MINUTES) -> None:
        self.now = to
        self.runs(*jobs)

    def runs(self, *jobs: str) -> None:
        """Each job's task, as a worker runs it when the schedule has poked it."""
        with time_machine.travel(self.now, tick=False):
            for job in jobs:
                current_app.tasks[task_name(job)]()
                newest = JobRun.objects.filter(job=job).latest("id")
                assert (newest.status, newest.failures) == ("succeeded", 0), f"{job}: {newest.error}"

    def client(self, username: str) -> Client:
        if username not in self._clients:
            self._clients[username] = Client()
            self._clients[username].force_login(User.objects.get(username=username))
        return self._clients[username]

    def sends(self, username: str, path: str, status: int = 201, **body: Any) -> Any:
        with time_machine.travel(self.now, tick=False):
            answer = self.client(username).post(path, data=body, content_type="application/json")
        assert answer.status_code == status, (path, body, answer.content)
        self.now += timedelta(milliseconds=250)
        return answer.json()

    def reads(self, path: str, username: str | None = None) -> Any:
        with time_machine.travel(self.now, tick=False):
            answer = (self.client(username) if username else Client()).get(path)
        assert answer.status_code == 200, (path, answer.content)
        return answer.json()

    # ------------------------------------------------------------------------------------------------ what people do

    def votes(self, told: Told, username: str, side: str) -> None:
        self.sends(username, f"/api/cases/{told.case}/vote", side=side)
        told.votes[username] = side

    def argues(self, told: Told, username: str) -> None:
        """Likes three of those who argued before, or all: never the same three, so that the likes differ."""
        others = [author for author in told.arguments if author != username]
        start = len(told.arguments) // 2
        for author in (others[start:] + others[:start])[:3]:
            self.likes(told, username, author)
        text = f"{username} has thought about it."
        self.sends(username, f"/api/cases/{told.case}/arguments", side=told.votes[username], text=text)
        told.arguments.append(username)

    def likes(self, told: Told, username: str, author: str) -> None:
        argument = Argument.objects.get(case=told.case, user__username=author).pk
        self.sends(username, f"/api/cases/{told.case}/arguments/{argument}/like")
        told.likes[author].add(username)


@pytest.fixture
def world(settings: Any) -> Iterator[World]:
    """A fresh product, its people, and the activity that a few of them have behind them."""
    current_app.loader.import_default_modules()
    with time_machine.travel(MORNING, tick=False):
        call_command("setup_defaults")
        set_parameter("cases.reward_pool", POOL, actor=None, reason="A prime")
        User.objects.bulk_create(User(username=name, password="!", date_joined=MORNING) for name in people())
        _, key = create_api_key("history", [Right.ACTIVITY_WRITE], by=None)
        earlier = [
            {"event_id": f"before-{metric}-{user}", "user": user, "metric": metric, "quantity": quantity,
             "occurred_at": MORNING.isoformat()}
            for user, metric, quantity in BEFORE
        ]  # fmt: skip
        answer = Client(headers={"x-api-key": key}).post(
            "/api/activity", data={"events": earlier}, content_type="application/json"
        )
        assert answer.json()["accepted"] == len(BEFORE), answer.content
    yield World()
    forget()


def people() -> list[str]:
    return [f"user-{number:03}" for number in range(PEOPLE)]


# One vote, one case or one victory more, and these have their badge.
BEFORE = (
    ("user-001", "votes", 49),
    ("user-001", "participations", 19),
    ("user-002", "votes", 48),
    ("user-002", "participations", 18),
    ("user-004", "cases_won", 4),
    ("user-007", "cases_won", 9),
    ("user-008", "cases_won", 3),
)


# ----------------------------------------------------------------------------------------------------------- the story


def test_three_cases_from_their_writing_to_the_last_claim(world: World) -> None:
    cases = few, many, chained = open_three_cases(world)
    take_part(world, few, many, chained)
    nothing_is_revealed(world, cases)

    world.moves_on(to=MORNING + timedelta(hours=23, minutes=59))
    assert Case.objects.filter(status="active").count() == 3
    world.moves_on(to=MORNING + timedelta(hours=25))
    for told in cases:
        all_is_revealed(world, told)
        rewards_are_as_calculated(told)
    claimed = claim_on_the_chain(world, chained)
    world.moves_on(to=MORNING + timedelta(hours=26), jobs=EVERY_HOUR)

    earned = earnings(few, many)
    earned.update(claimed)
    badges_are_as_calculated(cases, earned)
    boards_are_as_calculated(world, cases, earned)
    the_books_are_right(cases, earned, claimed)
    once_more_changes_nothing(world, cases)


def open_three_cases(world: World) -> tuple[Told, Told, Told]:
    """One that is generated, one that a user has submitted, and one that pays on the chain."""
    world.runs("generate_case")
    few = Case.objects.get()
    world.sends("user-000", "/api/cases", title="The last seat", context="One seat is left, and two are waiting.")
    with time_machine.travel(world.now, tick=False):
        many = Case.objects.get(created_by__username="user-000")
        moderator = User.objects.create(username="moderator", password="!", is_superuser=True, is_staff=True)
        approve_case(many.pk, moderator, "NO", "Who was there first was there first.", Decimal("0.7"), world.now)
        set_parameter("cases.payout", "chain", actor=None, reason="From now on")
    assert world.reads("/api/cases")["results"] == []  # no chain has taken a commitment yet
    world.moves_on(to=MORNING + timedelta(minutes=2))
    world.runs("generate_case")
    world.moves_on(to=MORNING + timedelta(minutes=4))
    assert [case["status"] for case in world.reads("/api/cases")["results"]] == ["active"] * 3
    chained = Case.objects.get(payout="chain")
    assert Case.objects.filter(payout="ledger").count() == 2
    return told(few), told(many, "user-000"), told(chained)


def told(case: Case, creator: str | None = None) -> Told:
    return Told(case.pk, SealedVerdict.objects.get(case=case).verdict, creator)


def take_part(world: World, few: Told, many: Told, chained: Told) -> None:
    """In the first nobody is right, and two argue; in the second two thirds of 120 are; in the third half of 50."""
    everyone = people()
    wrong = "NO" if few.verdict == "YES" else "YES"
    for user in everyone[:9]:
        world.votes(few, user, wrong)
    for number, user in enumerate(everyone[:120]):
        world.votes(many, user, "NO" if number % 3 else "YES")
    for number, user in enumerate([everyone[1], *everyone[100:]]):
        world.votes(chained, user, chained.verdict if number % 2 else "YES")
    for case, authors in (
        (few, everyone[1:3]),
        (many, everyone[1:120:10]),
        (chained, [everyone[1], *everyone[101:106]]),
    ):
        for author in authors:
            world.argues(case, author)
    for number, user in enumerate(everyone[60:100]):
        if user not in many.arguments:  # who argued has given his three likes
            world.likes(many, user, many.arguments[number % 5])
    for case in (many, chained):  # user-001 argues so well that all three of his are among the best
        for user in everyone[112:119]:
            world.likes(case, user, everyone[1])


def nothing_is_revealed(world: World, cases: tuple[Told, ...]) -> None:
    for told in cases:
        shown = world.reads(f"/api/cases/{told.case}", "user-001")
        assert shown["yes_votes"] + shown["no_votes"] == len(told.votes)
        assert shown["own_vote"]["side"] == told.votes["user-001"]
        assert shown.keys().isdisjoint({"verdict", "reasoning", "confidence", "nonce"})


def all_is_revealed(world: World, told: Told) -> None:
    """The verdict is the one that was committed before anyone voted: everybody can work it out."""
    shown = world.reads(f"/api/cases/{told.case}")
    assert (shown["status"], shown["verdict"]) == ("closed", told.verdict)
    committed = sha256(f"{shown['verdict']}|{shown['reasoning']}|{shown['nonce']}".encode()).hexdigest()
    entry = LocalEntry.objects.get(tx_hash=shown["commitment"]["tx_hash"])
    assert committed == shown["verdict_hash"] == entry.payload_hash
    assert entry.recorded_at < Case.objects.get(pk=told.case).opens_at
    placed = Argument.objects.filter(case=told.case).exclude(top_place=None).order_by("top_place")
    assert list(placed.values_list("user__username", flat=True)) == told.best


def rewards_are_as_calculated(told: Told) -> None:
    amounts, left = expected(told)
    payout = Distribution.objects.get(programme="case", period_key=f"case:{told.case}")
    assert (payout.status, payout.amount, payout.carried_over) == ("paid", POOL, left)
    rows = Reward.objects.filter(distribution=payout).order_by("position")
    assert list(rows.values_list("user__username", flat=True)) == told.participants
    assert {row.user.username: row.breakdown for row in rows.select_related("user")} == amounts
    assert all(row.amount == sum(row.breakdown.values()) for row in rows)
    moved = Transfer.objects.filter(journal__key=f"case-remainder:{told.case}", credit_account__code=TREASURY)
    assert list(moved.values_list("amount", flat=True)) == ([left] if left else [])
    case = Case.objects.get(pk=told.case)
    assert Account.objects.get(user=None, code=case.escrow).balance == 0
    assert case.settled_at is not None


def claim_on_the_chain(world: World, chained: Told) -> Counter[str]:
    """Every other one claims; nobody has anything before the chain has taken it. Who got how much."""
    amounts = earnings(chained)
    before = balances()
    claiming = chained.participants[::2]
    for number, user in enumerate(claiming):
        (own,) = world.reads("/profile/rewards?status=claimable", user)["results"]
        assert own["amount"] == str(amounts[user])
        wallet = f"0x{number:040x}"
        world.sends(user, "/profile/rewards/claim", CLAIMED, reward_ids=[own["id"]], wallet_address=wallet)
        world.sends(user, "/profile/rewards/claim", CLAIMED, reward_ids=[own["id"]], wallet_address=wallet)
    assert balances() == before
    assert set(RewardClaim.objects.values_list("status", flat=True)) == {"processing"}
    world.moves_on(to=world.now + timedelta(minutes=2))
    assert set(RewardClaim.objects.values_list("status", flat=True)) == {"completed"}
    assert RewardClaim.objects.count() == ChainTransaction.objects.filter(purpose="reward").count() == len(claiming)
    for user in chained.participants:
        status = "paid" if user in claiming else "claimable"
        own = world.reads(f"/profile/rewards?status={status}", user)["results"]
        assert f"case:{chained.case}" in [each["distribution"]["period_key"] for each in own]
    claimed = Counter({user: amounts[user] for user in claiming})
    assert balances() == before + claimed
    return claimed


def balances() -> Counter[str]:
    """What users have of their own."""
    own = Account.objects.exclude(user=None).filter(code="", balance__gt=0)
    return Counter(dict(own.values_list("user__username", "balance")))


def badges_are_as_calculated(cases: tuple[Told, ...], earned: Counter[str]) -> None:
    """Their bonuses are earned as well."""
    badges = badges_earned(list(cases))
    assert {badge for badge, _ in badges} == set(BADGES)
    held = BadgeAward.objects.values_list("badge__slug", "user__username")
    assert sorted(held) == sorted(badges)
    for badge, user in badges:
        earned[user] += BADGES[badge][2]


def boards_are_as_calculated(world: World, cases: tuple[Told, ...], earned: Counter[str]) -> None:
    done = deeds(list(cases))
    ids = dict(User.objects.values_list("username", "pk"))
    order = sorted(earned, key=lambda user: (-earned[user], ids[user]))
    shown = world.reads("/api/leaderboards/points-all-time")
    assert [(line["user"], line["points"]) for line in shown["entries"]] == [
        (user, str(earned[user])) for user in order[:100]
    ]
    for line in shown["entries"]:
        user = line["user"]
        assert (line["wins"], line["participations"]) == (done["cases_won"][user], done["participations"][user])


def the_books_are_right(cases: tuple[Told, ...], earned: Counter[str], claimed: Counter[str]) -> None:
    assert balances() == +earned
    left = sum(expected(told)[1] for told in cases)
    assert Account.objects.get(user=None, code=TREASURY, currency__code="points").balance == left
    waiting = Account.objects.filter(code="claimable").values_list("user__username", "balance")
    unclaimed = earnings(cases[-1]) - claimed
    assert Counter({user: balance for user, balance in waiting if balance}) == unclaimed
    assert broken_promises() == []
    for command, *arguments in (["check_ledger"], ["verify_distribution", "--all"], ["verify_audit"], ["verify_chain"]):
        call_command(command, *arguments)
    assert not Alert.objects.exists()


def once_more_changes_nothing(world: World, cases: tuple[Told, ...]) -> None:
    """Neither the jobs, nor the commands, nor what people send again."""
    before = books()
    for told in cases:
        for user in told.participants[:5]:
            world.sends(user, f"/api/cases/{told.case}/vote", 409, side=told.votes[user])
            world.sends(user, f"/api/cases/{told.case}/arguments", 409, side=told.votes[user], text="Once more.")
    for hours in (0, 1, 24):
        world.moves_on(to=world.now + timedelta(hours=hours), jobs=(*EVERY_MINUTES, "check_badges", "check_ledger"))
    for command in ("close_cases", "check_verdicts", "monitor_transactions"):
        call_command(command, at=world.now.isoformat())
    assert books() == before


def books() -> dict[str, Any]:
    tables = (ActivityEvent, AuditEvent, BadgeAward, Distribution, Journal, LocalEntry, Reward, RewardClaim, Transfer)
    return {
        "balances": dict(Account.objects.values_list("pk", "balance")),
        "cases": list(Case.objects.order_by("pk").values()),
        "rows": {table.__name__: table.objects.count() for table in tables},
        "transactions": list(ChainTransaction.objects.order_by("pk").values_list("tx_hash", "status", "nonce")),
    }
