"""What a user sees and changes of himself: GET and PATCH /profile, GET /profile/statement.

It stands here because a profile is put together from every part of the product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.core.signing import BadSignature, Signer
from django.core.validators import RegexValidator
from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from rewards.activity.models import Counter
from rewards.api.permissions import USER
from rewards.api.serializers import PageQuery, StrictSerializer, TextField
from rewards.api.views import ApiView
from rewards.audit.services import record
from rewards.claims.charges import regenerate
from rewards.common.amounts import canonical_decimal
from rewards.ledger.errors import UnknownCurrency
from rewards.ledger.models import Account, Currency, Transfer
from rewards.ledger.queries import earned
from rewards.ledger.services import StatementLine, statement
from rewards.users.models import User, valid_time_zone

POINTS = "points"
VOTES, DECIDED, WINS, ARGUMENTS = METRICS = ("votes", "cases_decided", "cases_won", "arguments")
ACCURACY_STEP = Decimal("0.0001")

cursors = Signer(salt="rewards.statement")

without_control_characters = RegexValidator(r"\A[^\x00-\x1f\x7f]+\Z", "This is one line of printable characters.")
visible_ascii = RegexValidator(r"\A[\x21-\x7e]+\Z", "A wallet address is visible ASCII characters without spaces.")


class StatisticsSerializer(serializers.Serializer[Any]):
    votes = serializers.IntegerField()
    wins = serializers.IntegerField()
    arguments = serializers.IntegerField()
    accuracy = serializers.CharField(help_text="Wins per decided vote, 0 to 1, as decimal text")


class ProfileSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="The product's id for the user")
    username = serializers.CharField()
    name = serializers.CharField()
    balances = serializers.DictField(child=serializers.CharField(), help_text="Decimal text by code of the currency")
    total_points = serializers.CharField(help_text="Points ever earned, spent or not")
    statistics = StatisticsSerializer()
    badges = serializers.ListField(child=serializers.DictField())
    ranks = serializers.DictField()
    wallet_address = serializers.CharField()
    time_zone = serializers.CharField()


@extend_schema_field({"type": "string", "format": "time-zone", "example": "Europe/Berlin"})
class TimeZoneField(TextField):
    """The name of a time zone, or nothing: the product's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, max_length=64, validators=[valid_time_zone], **options)


class ProfileChanges(StrictSerializer):
    name = TextField(required=False, allow_blank=True, max_length=150, validators=[without_control_characters])
    wallet_address = TextField(required=False, allow_blank=True, max_length=128, validators=[visible_ascii])
    time_zone = TimeZoneField(required=False, help_text="A name of the IANA time zone database")


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


PROFILE_EXAMPLE = OpenApiExample(
    "A player",
    response_only=True,
    value={
        "id": "alice",
        "username": "alice",
        "name": "Alice",
        "balances": {"coins": "125.50", "points": "40"},
        "total_points": "90",
        "statistics": {"votes": 9, "wins": 4, "arguments": 2, "accuracy": "0.6667"},
        "badges": [],
        "ranks": {},
        "wallet_address": "0x52908400098527886E0F7030069857D2E4169EE7",
        "time_zone": "Europe/Berlin",
    },
)


class Profile(ApiView):
    access = {"GET": [USER], "PATCH": [USER]}

    @extend_schema(
        operation_id="profile",
        summary="The user's own profile",
        responses=ProfileSerializer,
        examples=[PROFILE_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        return Response(profile_of(request.user, timezone.now()))  # type: ignore[arg-type]

    @extend_schema(
        operation_id="change_profile",
        summary="Change name, wallet address or time zone",
        description="Fields that are left out stay as they are; an empty text takes a value away.",
        request=ProfileChanges,
        responses=ProfileSerializer,
        examples=[
            OpenApiExample(
                "A wallet", request_only=True, value={"wallet_address": "0x52908400098527886E0F7030069857D2E4169EE7"}
            ),
            PROFILE_EXAMPLE,
        ],
    )
    def patch(self, request: Request) -> Response:
        user = change_profile(request.user, self.body(ProfileChanges))  # type: ignore[arg-type]
        return Response(profile_of(user, timezone.now()))


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

    Raises `UnknownCurrency`, `ValidationError` for a cursor of another statement or of nobody's.
    """
    currency = Currency.objects.filter(code=currency_code).first()
    if currency is None:
        sentence = f"There is no currency {currency_code!r}."
        raise UnknownCurrency(sentence, errors={"currency": sentence})
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
