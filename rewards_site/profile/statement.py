"""GET /profile/statement: the user's own ledger lines in a currency."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.signing import BadSignature, Signer
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from rewards.api.currencies import currency_named
from rewards.api.permissions import USER
from rewards.api.serializers import PageQuery, TextField
from rewards.api.views import ApiView
from rewards.ledger.models import Account, Currency, Transfer
from rewards.ledger.services import StatementLine, statement
from rewards.users.models import User

cursors = Signer(salt="rewards.statement")


class StatementQuery(PageQuery):
    currency = TextField(max_length=40, help_text="Its code")


class StatementLineSerializer(serializers.Serializer[Any]):
    transfer_id = serializers.IntegerField()
    journal_id = serializers.IntegerField(help_text="Transfers that happened together share it")
    kind = serializers.CharField()
    reason = serializers.CharField()
    counterparty = serializers.CharField(help_text="A username, or the code of a system account such as issuance")
    change = serializers.CharField(help_text="Decimal text, signed")
    balance = serializers.CharField(help_text="What the transfer left")
    created_at = serializers.DateTimeField()


class StatementSerializer(serializers.Serializer[Any]):
    results = StatementLineSerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="The page of older lines")
    previous = serializers.URLField(
        allow_null=True, help_text="Always null: a statement is read from the newest line on"
    )


class Statement(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="statement",
        summary="The user's own ledger lines in a currency, newest first",
        parameters=[StatementQuery],
        responses=StatementSerializer,
        examples=[
            OpenApiExample(
                "The newest line",
                response_only=True,
                value={
                    "results": [
                        {
                            "transfer_id": 815,
                            "journal_id": 512,
                            "kind": "transfer",
                            "reason": "Thank you",
                            "counterparty": "bob",
                            "change": "-25.50",
                            "balance": "100.00",
                            "created_at": "2026-11-21T07:30:00Z",
                        }
                    ],
                    "next": "https://rewards.example.org/profile/statement?currency=coins&limit=1&cursor=WzcsIjgx…",
                    "previous": None,
                },
            )
        ],
    )
    def get(self, request: Request) -> Response:
        asked = self.query(StatementQuery)
        lines, older = statement_page(
            request.user,  # type: ignore[arg-type]
            asked["currency"],
            asked["limit"],
            asked.get("cursor"),
        )
        following = older and replace_query_param(request.build_absolute_uri(), "cursor", older)
        return Response({"results": lines, "next": following, "previous": None})


def statement_page(user: User, currency_code: str, limit: int, cursor: str | None) -> tuple[list[dict], str | None]:
    """Up to `limit` lines of the user's account, newest first, and the cursor of the older ones (None: there are none).

    Raises `UnknownCurrency`, `ValidationError` for a cursor of another statement or of nobody's.
    """
    currency = currency_named(currency_code)
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
    ids = {other.user_id for other in others if other.user_id not in (None, account.user_id)}
    names: dict[int | None, str] = dict(User.objects.filter(pk__in=ids).values_list("pk", "username")) if ids else {}
    return [names.get(other.user_id, other.code) for other in others]


def _sealed(account: Account, last: StatementLine) -> str:
    """A cursor holds a balance, so it is signed: nobody else can make one."""
    return cursors.sign_object([account.pk, last.cursor])


def _opened(cursor: str, account: Account | None) -> str:
    try:
        account_id, before = cursors.unsign_object(cursor)
    except BadSignature:
        account_id = before = None
    if account is None or account_id != account.pk:
        raise serializers.ValidationError({"cursor": ["This is no cursor of this statement: take it from `next`."]})
    return before
