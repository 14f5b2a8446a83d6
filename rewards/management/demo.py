"""Demo data: people, votes, rates and funds, made up but the same on every machine. For development alone."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Max

from rewards.activity.services import NewEvent, record_events
from rewards.campaigns.models import Campaign
from rewards.campaigns.services import create_campaign, run, store_rows
from rewards.cases.closing import close_cases
from rewards.cases.commitments import check_verdicts
from rewards.cases.generating import generate_case
from rewards.cases.models import Case
from rewards.cases.services import argue, like, submit_case, vote
from rewards.common.periods import ONE_HOUR, Hour, hours_between
from rewards.deployments.models import Deployment
from rewards.deployments.services import create_deployment, stake
from rewards.distributions.services import advance
from rewards.ledger.models import ISSUANCE, TREASURY, Currency
from rewards.ledger.services import Move, post, system_account
from rewards.monthly import services as monthly
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import previous_month
from rewards.pending.drain import drain
from rewards.pending.models import PendingReward
from rewards.pending.services import note_failure, queue_reward
from rewards.pools.models import Accrual, CcRate, VoteWeight
from rewards.pools.queries import CC_VOTE, both_pools
from rewards.users.models import NO_PASSWORD, User

# For a database on the developer's own machine.
PASSWORD = "demo"

# Login and the role it shows; the administrator is a superuser.
LOGINS = {"admin": "administrator", "operator": "operator", "approver": "approver", "viewer": "viewer"}

# Those who sign in to the pages for recipients, and what there is to see.
RECIPIENTS = {"ada.byron": "partner with a deployment", "alan.mathison": "student who plays cases"}

NAMES = (
    "Ada Byron", "Alan Mathison", "Amina Sow", "Anton Weber", "Beatriz Luz", "Bo Lindqvist", "Carla Rossi", "Chen Wei",
    "Dana Novak", "Diego Soto", "Edith Clarke", "Emeka Obi", "Farid Aziz", "Grace Murray", "Hana Sato", "Hugo Brandt",
    "Ines Duarte", "Ivan Petrov", "Jana Kovac", "Jonas Berg", "Kaito Mori", "Karin Vogel", "Lamia Haddad", "Leo Marin",
    "Lena Fischer", "Malik Diallo", "Mara Klein", "Milan Horak", "Nadia Omar", "Nils Holm", "Olga Iwanowa", "Omar Said",
    "Paula Reyes", "Priya Nair", "Rosa Blanc", "Samir Khan", "Sofia Greco", "Tariq Aslam", "Vera Lang", "Yara Costa",
)  # fmt: skip
SPECIAL_PARTNERS = ("ada.byron", "chen.wei")
EVERY_NTH_IN_MARKET = 4
EVERY_NTH_WITH_WALLET = 5
EVERY_NTH_TEACHES = 5

VOTE_TYPES = ("like", "like", "like", "share", "review")
VOTE_WEIGHTS = {"share": "1.25", "review": "2"}
LIVE_METRICS = (*[CC_VOTE] * 6, "tests_completed", "correct_answers", "student_attempts", "participations", "votes")
PAST = timedelta(hours=36)
TREASURY_UNITS = 1_000_000
RATE_SINCE = datetime(2020, 1, 1, tzinfo=UTC)

SHOP, SHOP_OWNER, SHOP_REPLICAS = "web-shop", "ada.byron", 3
STAKER, STAKED_UNITS = "chen.wei", 20_000
TASKS = {
    "hana.sato": (40, "Translated the guide"),
    "omar.said": (25, "Answered in the forum"),
    "vera.lang": (60, "Found a bug"),
}
SWITCHED_OFF = "gems"  # a reward in it cannot be paid: it is dead until somebody switches the currency on
PRIZES = [{"to": 1, "each": "500"}, {"to": 3, "each": "250"}, {"to": 10, "each": "50", "name": "runners-up"}]
GRANT_UNITS, GRANT_LIMIT_UNITS = 25_000, 10_000

CASES_WRITTEN = (timedelta(hours=30), timedelta(hours=18), timedelta(hours=6))  # so long ago; the first one is over
VOTERS, AUTHORS = 18, 5
ARGUMENTS = (
    "Whoever trusted in it should not pay for it.",
    "A rule that gives way whenever it hurts is no rule.",
    "Nobody is harmed, and somebody is helped: that should be enough.",
    "Ask what you would want if you were the other one.",
    "What can be undone later weighs less than what cannot.",
)
SUBMITTED_TITLE = "May a neighbour read a letter that was put into his box by mistake?"
SUBMITTED_CONTEXT = (
    "The letter has no sender, and on its back it says: urgent. The one it is for is away for a month and cannot be "
    "reached. The neighbour thinks that he could help if he knew what it is about."
)


def create_logins() -> None:
    """The users of `LOGINS` that are missing, with the demo password and the group of their role."""
    missing = [name for name in LOGINS if not User.objects.filter(username=name).exists()]
    if not missing:
        return
    hashed = make_password(PASSWORD)  # slow by design: once for all of them
    groups = {group.name.lower(): group for group in Group.objects.all()}
    for name in missing:
        is_administrator = LOGINS[name] == "administrator"
        user = User.objects.create(username=name, password=hashed, is_staff=True, is_superuser=is_administrator)
        if LOGINS[name] in groups:
            user.groups.add(groups[LOGINS[name]])


def login_lines() -> list[str]:
    """What a developer has to know to sign in."""
    logins = [f"Login      {name} / {PASSWORD}   ({role})" for name, role in LOGINS.items()]
    recipients = User.objects.filter(username__in=RECIPIENTS).order_by("username").values_list("username", flat=True)
    return [*logins, *(f"Login      {name} / {PASSWORD}   (recipient: {RECIPIENTS[name]})" for name in recipients)]


def create_partners() -> None:
    User.objects.bulk_create(
        [
            User(
                username=_username(name),
                name=name,
                password=NO_PASSWORD,
                is_special_partner=_username(name) in SPECIAL_PARTNERS,
                has_cc_market=number % EVERY_NTH_IN_MARKET == 0,
                wallet_address=f"0x{number:040x}" if number % EVERY_NTH_WITH_WALLET == 1 else "",
            )
            for number, name in enumerate(NAMES)
        ],
        ignore_conflicts=True,
    )
    # Slow by design: hashed once for both, and not again.
    without = User.objects.filter(username__in=RECIPIENTS, password=NO_PASSWORD)
    if without.exists():
        without.update(password=make_password(PASSWORD))


def create_rate_and_funds() -> None:
    """A CC rate and vote weights where there are none, and units in the treasury for market bonuses, once."""
    currency = both_pools()[0].currency
    if not CcRate.objects.exists():
        CcRate.objects.create(starts_at=RATE_SINCE, units_per_cc=Decimal(20), bonus_rate=Decimal("0.05"))
    for vote_type, weight in VOTE_WEIGHTS.items():
        VoteWeight.objects.get_or_create(vote_type=vote_type, defaults={"weight": Decimal(weight)})
    _fund_treasury(currency)


def record_past_votes(at: datetime) -> int:
    """Votes of the last 36 hours, without hours that are accrued already; returns how many were new."""
    last_accrued = Accrual.objects.aggregate(last=Max("hour"))["last"]
    first = Hour.containing(max(at - PAST, last_accrued + ONE_HOUR) if last_accrued else at - PAST)
    events = [
        event for hour in hours_between(first, at + ONE_HOUR) for event in _votes_of(hour) if event.occurred_at <= at
    ]
    return record_events(events, at=at).accepted


def create_deployments(at: datetime) -> None:
    """A shop that earns on three replicas and has a reward in the queue, and a staking position, once."""
    owner, currency = User.objects.get(username=SHOP_OWNER), both_pools()[0].currency
    shop = Deployment.objects.filter(user=owner, name=SHOP).first()
    shop = shop or create_deployment(owner, SHOP, SHOP_REPLICAS, at - PAST)
    queue_reward(
        owner, currency, currency.to_minor(100), "demo-uptime", deployment=shop, reward_type="task",
        reason="A month without an outage", not_before=at + timedelta(days=1), at=at,
    )  # fmt: skip
    stake(User.objects.get(username=STAKER), currency, currency.to_minor(STAKED_UNITS), "demo", at - PAST)


def queue_rewards(at: datetime) -> None:
    """Rewards for small tasks, paid by the drainer, and one that nobody can pay: it ends up dead. Once."""
    currency = both_pools()[0].currency
    for number, (name, (units, reason)) in enumerate(TASKS.items(), start=1):
        user = User.objects.get(username=name)
        queue_reward(
            user, currency, currency.to_minor(units), f"demo-task-{number}", reward_type="task", reason=reason, at=at
        )
    gems, _ = Currency.objects.get_or_create(code=SWITCHED_OFF, defaults={"name": "Gems", "active": False})
    dead = queue_reward(
        User.objects.get(username="lena.fischer"), gems, 3, "demo-gems", reward_type="task", max_retries=0,
        priority=PendingReward.Priority.HIGH, reason="Prize in a currency that is switched off", at=at,
    )  # fmt: skip
    # What the drainer would find, without its line in the log: the first thing a developer sees is no error.
    with transaction.atomic():
        note_failure(PendingReward.objects.filter(pk=dead.pk), f"The currency {gems} is not active.", at)
    drain(at)


def create_campaigns(at: datetime) -> None:
    """Prizes by votes, paid; grants by a list that the administrator made, which wait for an approver. Once."""
    currency = both_pools()[0].currency
    if not Campaign.objects.filter(slug="voters-prizes").exists():
        prizes = create_campaign(
            slug="voters-prizes", title="Prizes for the most voted", currency=currency, amount=currency.to_minor(1_350),
            participants={"source": "counter", "metric": CC_VOTE, "month": ""},
            rule={"rule": "tiers", "tiers": PRIZES}, at=at,
        )  # fmt: skip
        advance(run(prizes.pk, None, at).pk)
    administrator = User.objects.filter(username="admin").first()
    if administrator is None or Campaign.objects.filter(slug="community-grants").exists():
        return
    grants = create_campaign(
        slug="community-grants", title="Community grants", currency=currency, amount=currency.to_minor(GRANT_UNITS),
        source=TREASURY, rule={"rule": "proportional", "max_share": "0.1", "min_amount": "100"},
        approval_limit=currency.to_minor(GRANT_LIMIT_UNITS), actor=administrator, at=at,
    )  # fmt: skip
    lines = ((user.pk, str(100 - 2 * place), None, "") for place, user in enumerate(_partners()))
    store_rows(grants.pk, lines, actor=administrator, at=at)
    advance(run(grants.pk, administrator, at).pk)


def create_cases(at: datetime) -> int:
    """A case that is closed and paid, two that are open, and one that waits for a moderator; how many, and all once."""
    if Case.objects.exists():
        return 0
    for ago in CASES_WRITTEN:
        _open_case(at - ago)
    close_cases(at)
    submit_case(_partners()[-1], SUBMITTED_TITLE, SUBMITTED_CONTEXT, at)
    return len(CASES_WRITTEN) + 1


def create_groups() -> None:
    """Everybody is a student or a teacher, as the shipped ranking categories have them."""
    partners = _partners()
    for name, members in (("students", _students(partners)), ("teachers", _teachers(partners))):
        group, _ = Group.objects.get_or_create(name=name)
        group.user_set.add(*members)  # type: ignore[attr-defined]  # the reverse of the user's groups


def record_lessons(at: datetime) -> int:
    """Tests and cases since the start of last month, of this one once that is paid; how many events were new."""
    partners, month = _partners(), previous_month(at)
    is_paid = MonthlyRewardJob.objects.filter(year=month.year, month=month.month).exists()
    since = month.end if is_paid else month.start
    days = [since.date() + timedelta(days=number) for number in range((at - since).days + 2)]
    events = [event for day in days for event in _lessons_of(day, partners) if since <= event.occurred_at <= at]
    return record_events(events, at=at).accepted


def pay_last_month(at: datetime) -> list[str]:
    """The month's ranking rewards, once; keys of the months that were completed by this call."""
    if not RankingCategory.objects.filter(active=True).exists():
        return []
    month = previous_month(at)
    monthly.start_job(month.year, month.month, by="demo data", at=at)
    return monthly.run_due(at).completed


def live_event(at: datetime, chance: random.Random) -> NewEvent:
    """A vote, or now and then something of a lesson or a case, that happens now."""
    event_id, place = f"demo-live-{uuid.uuid4()}", _place(chance)
    metric = chance.choice(LIVE_METRICS)
    if metric == CC_VOTE:
        return _vote(event_id, place, at, chance)
    return NewEvent(event_id, _username(NAMES[place]), metric, 1, at)


# --------------------------------------------------------------------------------------------------------------- steps


def _partners() -> list[User]:
    """In the order of `NAMES`."""
    found = {user.username: user for user in User.objects.filter(username__in=map(_username, NAMES))}
    return [found[_username(name)] for name in NAMES]


def _username(name: str) -> str:
    return name.lower().replace(" ", ".")


def _teachers(partners: list[User]) -> list[User]:
    return partners[::EVERY_NTH_TEACHES]


def _students(partners: list[User]) -> list[User]:
    return [user for place, user in enumerate(partners) if place % EVERY_NTH_TEACHES]


def _fund_treasury(currency: Currency) -> None:
    with transaction.atomic():
        issuance, treasury = system_account(ISSUANCE, currency), system_account(TREASURY, currency)
        amount = currency.to_minor(TREASURY_UNITS)
        post(f"demo:treasury:{currency}", "fund", [Move(issuance, treasury, amount)], reason="Demo funds")


def _open_case(at: datetime) -> None:
    """A case that was written then, and opened when the chain had its verdict; people vote and argue at once.

    Those who argue like each other's arguments as far as they have to, and the other voters one of them.
    """
    generate_case(at)
    at += timedelta(minutes=2)
    check_verdicts(at)
    case = Case.objects.latest("pk")
    arguments: list[int] = []
    chance = random.Random(case.pk)
    voters = chance.sample(_partners(), VOTERS)
    for number, user in enumerate(voters):
        at += timedelta(minutes=chance.randint(1, 5))
        side = chance.choice(("YES", "NO"))
        vote(case.pk, user, side, at)
        if number < AUTHORS:
            for liked in chance.sample(arguments, min(3, len(arguments))):
                like(liked, user, at)
            arguments.append(argue(case.pk, user, side, ARGUMENTS[number], at).pk)
        else:
            like(chance.choice(arguments), user, at)


def _votes_of(hour: Hour) -> Iterator[NewEvent]:
    """The same votes on every machine: fewer at night, most of them by the first partners in the list."""
    chance = random.Random(hour.key)
    busy = 6 + 18 * (8 <= hour.start.hour < 22)
    for number in range(chance.randint(busy, 2 * busy)):
        at = hour.start + timedelta(seconds=chance.randrange(3600))
        yield _vote(f"demo-{hour.key}-{number}", _place(chance), at, chance)


def _lessons_of(day: date, partners: list[User]) -> Iterator[NewEvent]:
    """The same on every machine: whoever has a seat in front comes more often and knows more."""
    chance = random.Random(day.isoformat())
    morning = datetime.combine(day, time(8), tzinfo=UTC)

    def moment() -> datetime:
        return morning + timedelta(seconds=chance.randrange(36_000))

    def event(user: User, metric: str, quantity: int, at: datetime | None = None) -> NewEvent:
        return NewEvent(f"demo-{day}-{metric}-{user.username}", user.username, metric, quantity, at or moment())

    for place, user in enumerate(_students(partners)):
        if chance.random() < 0.5 - place / 100:
            yield event(user, "tests_completed", 1)
            yield event(user, "correct_answers", chance.randint(3, 10))
    for user in _teachers(partners):
        if day.weekday() < 5:
            yield event(user, "student_attempts", chance.randint(5, 60))
    for user in chance.sample(partners, 12):
        yield event(user, "participations", chance.randint(1, 3))
        decided_at = moment()  # all of it at once: nobody has won more than was decided
        yield event(user, "votes", chance.randint(1, 9), decided_at)
        yield event(user, "cases_decided", 1, decided_at)
        if chance.random() < 0.6 - partners.index(user) / 100:
            yield event(user, "cases_won", 1, decided_at)
    yield event(partners[_place(chance)], "top_arguments", 1)


def _place(chance: random.Random) -> int:
    return min(int(chance.expovariate(0.09)), len(NAMES) - 1)


def _vote(event_id: str, place: int, at: datetime, chance: random.Random) -> NewEvent:
    cc_amount = Decimal(chance.randint(50, 500) * (len(NAMES) - place)).scaleb(-2)
    return NewEvent(
        event_id=event_id,
        user=_username(NAMES[place]),
        metric=CC_VOTE,
        quantity=cc_amount,
        occurred_at=at,
        attributes={"vote_type": chance.choice(VOTE_TYPES)},
    )
