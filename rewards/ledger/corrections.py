"""A person gives to a user or takes from him, with a reason: what no programme has paid, and what is no reversal.

Units come from the treasury or are issued; they go to the treasury or are burnt. Each person has a limit per day (of
`REWARDS_TIME_ZONE`) and currency. Amounts are whole minor units, signed: below zero they are taken.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Abs

from rewards.audit.services import record
from rewards.common.amounts import MAX_MINOR, InvalidAmount
from rewards.common.errors import ReasonMissing, ensure
from rewards.common.periods import Day
from rewards.ledger.errors import (
    AlreadyReversed,
    CorrectionLimit,
    IdempotencyConflict,
    InactiveActor,
    OwnCorrection,
)
from rewards.ledger.models import BURN, ISSUANCE, TREASURY, Correction, Currency, Journal
from rewards.ledger.posting import Move
from rewards.ledger.services import post, reverse, system_account, user_account
from rewards.parameters.services import param
from rewards.users.models import User

KIND = "correction"
GIVEN_FROM = (TREASURY, ISSUANCE)
TAKEN_TO = (TREASURY, BURN)


def daily_limit(currency: Currency) -> int:
    """How much one person may correct in a day in this currency: given and taken together, in minor units."""
    units = param("corrections.daily_limit_by_currency").get(currency.code, param("corrections.daily_limit"))
    return min(units * 10**currency.decimals, MAX_MINOR)


def left_today(actor: User, currency: Currency, at: datetime) -> int:
    """What is left of the limit of `actor` on the day of `at`, in minor units; never below zero."""
    return max(0, daily_limit(currency) - done_today(actor, at, currency).get(currency.pk, 0))


def done_today(actor: User, at: datetime, *currencies: Currency) -> dict[int, int]:
    """Currency id → what `actor` has given and taken together on the day of `at`, in minor units."""
    today = Day.containing(at, settings.REWARDS_TIME_ZONE)
    done = Correction.objects.filter(actor=actor, created_at__gte=today.start, created_at__lt=today.end)
    if currencies:
        done = done.filter(currency__in=currencies)
    totals = done.order_by().values_list("currency").annotate(total=Sum(Abs("amount")))
    return {currency_id: int(total) for currency_id, total in totals}


def correct(
    user: User,
    currency: Currency,
    amount: int,
    *,
    against: str,
    key: str,
    reason: str,
    actor: User,
    at: datetime,
) -> Correction:
    """Give `amount` from the system account `against` to the user's own account, or take it there if below zero.

    `key` is the form's: sent twice, it is posted once, and the first correction is returned. Raises
    `IdempotencyConflict` when it stands for something else, `OwnCorrection`, `InactiveActor`, `ReasonMissing`,
    `CorrectionLimit`, `InvalidAmount`, `InsufficientFunds` and `InactiveCurrency`.
    """
    ensure(against in (GIVEN_FROM if amount > 0 else TAKEN_TO), f"No correction is made against {against!r}.")
    if amount == 0 or abs(amount) > MAX_MINOR:
        raise InvalidAmount("A correction is above zero and fits 64 bits of minor units.")
    reason = _reason(reason)
    journal_key = f"{KIND}:{actor.pk}:{key}"
    with transaction.atomic():
        _hold(actor)
        first = Correction.objects.filter(journal__key=journal_key).select_related("journal").first()
        if first is not None:
            return _same(first, user, currency, amount, against)
        require_allowed(user, currency, amount, actor, at)
        own, other = user_account(user, currency), system_account(against, currency)
        debit, credit = (other, own) if amount > 0 else (own, other)
        journal = post(
            journal_key, KIND, [Move(debit, credit, abs(amount))], reason=reason, actor=actor, source=f"user:{user.pk}"
        )
        return _note(journal, user=user, currency=currency, amount=amount, against=against, actor=actor, at=at)


def take_back(correction: Correction, *, reason: str, actor: User, at: datetime) -> Correction:
    """Mirror a correction exactly, once. It counts like any other: for the limit of who does it, and in the list.

    Done twice by the same person it is done once. Raises `AlreadyReversed` where another one did, or where it takes
    something back itself; else like `correct`.
    """
    reason = _reason(reason)
    with transaction.atomic():
        _hold(actor)
        journal = Journal.objects.select_for_update(no_key=True).get(pk=correction.journal_id)
        done = Correction.objects.filter(takes_back=correction).select_related("journal").first()
        if done is not None and done.actor_id == actor.pk:
            return done
        if done is not None or correction.takes_back_id is not None:
            raise AlreadyReversed("It was taken back already, or takes something back itself. Post a new correction.")
        user, currency, amount = correction.user, correction.currency, -correction.amount
        require_allowed(user, currency, amount, actor, at)
        return _note(
            reverse(journal, reason, actor), user=user, currency=currency, amount=amount,
            against=correction.against, actor=actor, at=at, takes_back=correction,
        )  # fmt: skip


def _reason(reason: str) -> str:
    if not reason.strip():
        raise ReasonMissing
    return reason.strip()


def _hold(actor: User) -> None:
    """Whoever corrects twice at once does it one after the other: no two look at the same rest of his limit."""
    standing = User.objects.select_for_update(no_key=True).get(pk=actor.pk)
    if not standing.is_active:
        raise InactiveActor


def _same(first: Correction, user: User, currency: Currency, amount: int, against: str) -> Correction:
    wanted = (user.pk, currency.pk, amount, against)
    if (first.user_id, first.currency_id, first.amount, first.against) != wanted:
        raise IdempotencyConflict("This form has posted another correction already. Open it again.")
    return first


def require_allowed(user: User, currency: Currency, amount: int, actor: User, at: datetime) -> None:
    """Raise `OwnCorrection` or `CorrectionLimit` where `actor` may not correct it; who posts holds `actor`'s row."""
    if user.pk == actor.pk:
        raise OwnCorrection
    left = left_today(actor, currency, at)
    if abs(amount) > left:
        raise CorrectionLimit(
            f"Of today's limit of {currency.to_units(daily_limit(currency))} {currency.code} you have "
            f"{currency.to_units(left)} left, and this needs {currency.to_units(abs(amount))}. Somebody else corrects "
            "it, or an administrator raises corrections.daily_limit.",
            left=left,
        )


def _note(
    journal: Journal,
    *,
    user: User,
    currency: Currency,
    amount: int,
    against: str,
    actor: User,
    at: datetime,
    takes_back: Correction | None = None,
) -> Correction:
    """The row and the audit event of what `journal` has moved."""
    correction = Correction.objects.create(
        journal=journal, user=user, currency=currency, amount=amount, against=against, actor=actor,
        takes_back=takes_back, created_at=at,
    )  # fmt: skip
    record(
        "correction_taken_back" if takes_back else "correction_posted",
        user=user, actor=actor, amount=amount, currency=currency, reason=journal.reason,
        data={"correction": correction.pk, "journal": journal.pk, "against": against},
    )  # fmt: skip
    return correction
