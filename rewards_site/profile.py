"""What a user sees and changes of himself: GET and PATCH /profile, GET /profile/statement.

It stands here because a profile is put together from every part of the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.core.signing import BadSignature, Signer
from django.db import transaction

from rewards.activity.models import Counter
from rewards.audit.services import record
from rewards.claims.charges import regenerate
from rewards.common.amounts import canonical_decimal
from rewards.common.errors import RewardsError
from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.models import Account, Currency, Transfer
from rewards.ledger.queries import earned
from rewards.ledger.services import StatementLine, statement
from rewards.users.models import User

POINTS = "points"
VOTES, DECIDED, WINS, ARGUMENTS = METRICS = ("votes", "cases_decided", "cases_won", "arguments")
ACCURACY_STEP = Decimal("0.0001")

cursors = Signer(salt="rewards.statement")


class InvalidCursor(RewardsError):
    """The cursor belongs to no page of this statement: take it from `next`, or leave it out."""

    code = "invalid_cursor"
    http_status = 400


# ------------------------------------------------------------------------------------------------------------- profile


def profile_of(user: User, at: datetime) -> dict[str, Any]:
    """The user's profile at `at`. Charges that are due by then are posted first, so it writes."""
    with transaction.atomic():
        regenerate(user, at)
    return {
        "id": user.username,
        "username": user.username,
        "name": user.name,
        "balances": balances(user),
        "total_points": total_points(user),
        "statistics": statistics(user),
        "badges": [],
        "ranks": {},
        "wallet_address": user.wallet_address,
        "time_zone": user.time_zone,
    }


def balances(user: User) -> dict[str, str]:
    """Code → decimal text, of every currency the user has an account in. Such an account's row is its balance."""
    own = Account.objects.filter(user=user, code="").select_related("currency").order_by("currency__code")
    return {account.currency.code: account.currency.to_units(account.balance) for account in own}


def total_points(user: User) -> str:
    """The points he has ever earned, spent or not, as decimal text."""
    currency = Currency.objects.filter(code=POINTS).first()
    return currency.to_units(earned(user, currency)) if currency else "0"


def statistics(user: User) -> dict[str, Any]:
    """Counts of what he did, and the share of his decided votes that won, as decimal text.

    A product that does not report `cases_decided` decides at once: its `votes` stand in.
    """
    counters = Counter.objects.filter(user=user, metric__in=METRICS, month="")
    counts = dict.fromkeys(METRICS, Decimal(0)) | dict(counters.values_list("metric", "quantity"))
    decided = counts[DECIDED] or counts[VOTES]
    accuracy = (counts[WINS] / decided).quantize(ACCURACY_STEP, ROUND_HALF_UP) if decided else Decimal(0)
    return {
        "votes": int(counts[VOTES]),
        "wins": int(counts[WINS]),
        "arguments": int(counts[ARGUMENTS]),
        "accuracy": canonical_decimal(accuracy),
    }


def change_profile(user: User, changes: Mapping[str, str]) -> User:
    """Write the fields that differ, and an audit event that names them; the user as he is then."""
    with transaction.atomic():
        stored = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        changed = [field for field, value in changes.items() if getattr(stored, field) != value]
        for field in changed:
            setattr(stored, field, changes[field])
        if changed:
            stored.save(update_fields=changed)
            record("profile_changed", user=stored, actor=stored, data={"fields": sorted(changed)})
    return stored


# ----------------------------------------------------------------------------------------------------------- statement


def statement_page(user: User, currency_code: str, limit: int, cursor: str | None) -> tuple[list[dict], str | None]:
    """Up to `limit` lines of the user's account, newest first, and the cursor of the older ones (None: there are none).

    Raises `UnknownCurrency`, `InvalidCursor`.
    """
    currency = Currency.objects.filter(code=currency_code).first()
    if currency is None:
        raise UnknownCurrency(f"There is no currency {currency_code!r}.", currency=currency_code)
    account = Account.objects.filter(user=user, currency=currency, code="").first()
    before = None if cursor is None else _opened(cursor, account)
    if account is None:
        return [], None
    lines = statement(account, before, limit + 1)
    shown = lines[:limit]
    counterparties = _counterparties(account, [line.transfer for line in shown])
    results = [_shown(line, counterparty, currency) for line, counterparty in zip(shown, counterparties, strict=True)]
    return results, _sealed(account, shown[-1]) if len(lines) > limit else None


def _shown(line: StatementLine, counterparty: str, currency: Currency) -> dict[str, Any]:
    journal = line.transfer.journal
    return {
        "transfer_id": line.transfer.pk,
        "journal_id": journal.pk,
        "kind": journal.kind,
        "reason": journal.reason,
        "counterparty": counterparty,
        "change": currency.to_units(line.change),
        "balance": currency.to_units(line.balance),
        "created_at": line.transfer.created_at,
    }


def _counterparties(account: Account, transfers: Iterable[Transfer]) -> list[str]:
    """Who stands on the other side of each: another user's name, else the code of a system account or of one's own."""
    others = [each.debit_account if each.credit_account_id == account.pk else each.credit_account for each in transfers]
    ids = {other.user_id for other in others} - {None, account.user_id}
    names = dict(User.objects.filter(pk__in=ids).values_list("pk", "username")) if ids else {}
    return [names.get(other.user_id, other.code) for other in others]


def _sealed(account: Account, last: StatementLine) -> str:
    """A cursor holds a balance, so it is signed: nobody else can make one."""
    return cursors.sign_object([account.pk, last.cursor])


def _opened(cursor: str, account: Account | None) -> str:
    try:
        account_id, before = cursors.unsign_object(cursor)
    except BadSignature as error:
        raise InvalidCursor from error
    if account is None or account_id != account.pk:
        raise InvalidCursor
    return before
