"""Demo data: people, votes, rates and funds, made up but the same on every machine. For development alone."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Max

from rewards.activity.services import NewEvent, record_events
from rewards.common.periods import ONE_HOUR, Hour, hours_between
from rewards.ledger.models import ISSUANCE, TREASURY, Currency
from rewards.ledger.services import Move, post, system_account
from rewards.pools.models import Accrual, CcRate, VoteWeight
from rewards.pools.queries import CC_VOTE, both_pools
from rewards.users.models import NO_PASSWORD, User

# For a database on the developer's own machine.
PASSWORD = "demo"

# Login and the role it shows; the administrator is a superuser.
LOGINS = {"admin": "administrator", "operator": "operator", "approver": "approver", "viewer": "viewer"}

NAMES = (
    "Ada Byron", "Alan Mathison", "Amina Sow", "Anton Weber", "Beatriz Luz", "Bo Lindqvist", "Carla Rossi", "Chen Wei",
    "Dana Novak", "Diego Soto", "Edith Clarke", "Emeka Obi", "Farid Aziz", "Grace Murray", "Hana Sato", "Hugo Brandt",
    "Ines Duarte", "Ivan Petrov", "Jana Kovac", "Jonas Berg", "Kaito Mori", "Karin Vogel", "Lamia Haddad", "Leo Marin",
    "Lena Fischer", "Malik Diallo", "Mara Klein", "Milan Horak", "Nadia Omar", "Nils Holm", "Olga Iwanowa", "Omar Said",
    "Paula Reyes", "Priya Nair", "Rosa Blanc", "Samir Khan", "Sofia Greco", "Tariq Aslam", "Vera Lang", "Yara Costa",
)  # fmt: skip
SPECIAL_PARTNERS = ("ada.byron", "chen.wei")
EVERY_NTH_IN_MARKET = 4

VOTE_TYPES = ("like", "like", "like", "share", "review")
VOTE_WEIGHTS = {"share": "1.25", "review": "2"}
PAST = timedelta(hours=36)
TREASURY_UNITS = 1_000_000
RATE_SINCE = datetime(2020, 1, 1, tzinfo=UTC)


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
    return [f"Login      {name} / {PASSWORD}   ({role})" for name, role in LOGINS.items()]


def create_partners() -> None:
    User.objects.bulk_create(
        [
            User(
                username=_username(name),
                name=name,
                password=NO_PASSWORD,
                is_special_partner=_username(name) in SPECIAL_PARTNERS,
                has_cc_market=number % EVERY_NTH_IN_MARKET == 0,
            )
            for number, name in enumerate(NAMES)
        ],
        ignore_conflicts=True,
    )


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


def live_vote(at: datetime, chance: random.Random) -> NewEvent:
    """A vote that happens now."""
    place = _place(chance)
    return _vote(f"demo-live-{uuid.uuid4()}", place, at, chance)


# --------------------------------------------------------------------------------------------------------------- steps


def _username(name: str) -> str:
    return name.lower().replace(" ", ".")


def _fund_treasury(currency: Currency) -> None:
    with transaction.atomic():
        issuance, treasury = system_account(ISSUANCE, currency), system_account(TREASURY, currency)
        amount = currency.to_minor(TREASURY_UNITS)
        post(f"demo:treasury:{currency}", "fund", [Move(issuance, treasury, amount)], reason="Demo funds")


def _votes_of(hour: Hour) -> Iterator[NewEvent]:
    """The same votes on every machine: fewer at night, most of them by the first partners in the list."""
    chance = random.Random(hour.key)
    busy = 6 + 18 * (8 <= hour.start.hour < 22)
    for number in range(chance.randint(busy, 2 * busy)):
        at = hour.start + timedelta(seconds=chance.randrange(3600))
        yield _vote(f"demo-{hour.key}-{number}", _place(chance), at, chance)


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
