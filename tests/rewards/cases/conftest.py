"""A case that is open for votes, with its verdict under seal and its pool in escrow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import count
from typing import Any

import pytest
from django.db import transaction

from rewards.activity.counters import IN_ALL
from rewards.activity.models import Counter
from rewards.cases.models import Argument, ArgumentLike, Case, CaseVote, SealedVerdict
from rewards.chain.models import ChainSender, ChainTransaction
from rewards.ledger import services as ledger
from rewards.ledger.models import ISSUANCE, Currency
from rewards.users.models import User

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
REASONING = "A promise that nobody relies on any more binds nobody."
CONFIDENCE = Decimal("0.8")

_numbers = count(1)


@pytest.fixture
def open_case(points: Currency) -> Callable[..., Case]:
    """`open_case(verdict="NO", opens_at=…, hours=24, pool=1000, title=…, payout="chain", created_by=alice)`.

    Made of rows alone, without the services that write, commit and open cases: the commitment is a row that says
    confirmed, and no chain knows of it.
    """
    return make_open_case


def make_open_case(
    verdict: str = "YES", *, opens_at: datetime = NOON, hours: int = 24, pool: int = 1_000, **fields: Any
) -> Case:
    number = next(_numbers)
    nonce = f"{number:064x}"
    digest = sha256(f"{verdict}|{REASONING}|{nonce}".encode()).hexdigest()
    case = Case.objects.create(
        title=fields.pop("title", f"Dilemma {number}"),
        context=fields.pop("context", "Somebody has promised something, and it has become hard."),
        status=Case.Status.ACTIVE,
        verdict_hash=digest,
        commitment=commitment(digest, opens_at),
        opens_at=opens_at,
        closes_at=opens_at + timedelta(hours=hours),
        reward_pool=pool,
        created_at=opens_at,
        **fields,
    )
    SealedVerdict.objects.create(case=case, verdict=verdict, reasoning=REASONING, confidence=CONFIDENCE, nonce=nonce)
    fill_escrow(case)
    return case


def commitment(digest: str, at: datetime) -> ChainTransaction:
    sender, _ = ChainSender.objects.get_or_create(chain="local", address="of-the-tests")
    nonce = sender.next_nonce
    ChainSender.objects.filter(pk=sender.pk).update(next_nonce=nonce + 1)
    return ChainTransaction.objects.create(
        tx_hash=sha256(f"{sender}:{nonce}".encode()).hexdigest(),
        purpose=ChainTransaction.Purpose.VERDICT_COMMITMENT,
        payload_hash=digest,
        sender=sender,
        nonce=nonce,
        status=ChainTransaction.Status.CONFIRMED,
        confirmations=3,
        submitted_at=at,
        checked_at=at,
    )


def fill_escrow(case: Case) -> None:
    """`reward_pool` units of points from issuance into the account of the case, under the key of its opening."""
    if case.reward_pool == 0:
        return
    points = Currency.objects.get(code="points")
    with transaction.atomic():
        escrow = ledger.system_account(case.escrow, points)
        move = ledger.Move(ledger.system_account(ISSUANCE, points), escrow, points.to_minor(case.reward_pool))
        ledger.post(f"case-escrow:{case.pk}", "case_escrow", [move], reason=f"Escrow of case {case.pk}")


def cast(case: Case, user: User, side: str, at: datetime = NOON) -> CaseVote:
    """A vote as the service leaves it in the tables of cases; the counters of the user are not moved."""
    made = CaseVote.objects.create(case=case, user=user, side=side, voted_at=at)
    column = "yes_votes" if side == "YES" else "no_votes"
    Case.objects.filter(pk=case.pk).update(**{column: case.votes.filter(side=side).count()})
    return made


def argument_of(case: Case, user: User, *, likers: Any = (), at: datetime = NOON, side: str = "YES") -> Argument:
    """An argument with the likes of these users, whether or not he has voted."""
    made = Argument.objects.create(
        case=case, user=user, side=side, text=f"{user} thinks so.", likes=len(likers), created_at=at
    )
    ArgumentLike.objects.bulk_create(
        ArgumentLike(argument=made, case=case, user=liker, liked_at=at) for liker in likers
    )
    return made


def counted(user: User) -> dict[str, int]:
    """How often the user did what, over all time, by metric."""
    totals = Counter.objects.filter(user=user, month=IN_ALL)
    return {metric: int(quantity) for metric, quantity in totals.values_list("metric", "quantity")}
