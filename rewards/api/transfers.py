"""POST /api/transfers: a user sends units of a currency to another user."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.api.currencies import currency_named, minor_units
from rewards.api.permissions import USER
from rewards.api.serializers import AmountField, StrictSerializer, TextField, UsernameField
from rewards.api.views import ApiView
from rewards.audit.services import record
from rewards.claims.charges import regenerate_before
from rewards.common.errors import RewardsError, ensure
from rewards.ledger import services as ledger
from rewards.ledger.models import Currency, Journal
from rewards.users.models import User


class UnknownRecipient(RewardsError):
    """There is no such user to send anything to."""

    code = "unknown_user"


class TransferRequest(StrictSerializer):
    to = UsernameField(help_text="The recipient's username")
    currency = TextField(max_length=40, help_text="Code of a transferable currency")
    amount = AmountField()
    note = TextField(required=False, allow_blank=True, default="", max_length=500)


class TransferAnswer(serializers.Serializer[Any]):
    transfer_id = serializers.IntegerField()
    to = serializers.CharField()
    currency = serializers.CharField()
    amount = serializers.CharField(help_text="Decimal text in currency units")
    note = serializers.CharField()
    balance = serializers.CharField(help_text="What the sender has left")
    created_at = serializers.DateTimeField()


class Transfers(ApiView):
    access = {"POST": [USER]}
    idempotency_key = "required"

    @extend_schema(
        operation_id="transfer",
        summary="Send an amount to another user",
        request=TransferRequest,
        responses={201: TransferAnswer},
        examples=[
            OpenApiExample(
                "Lunch",
                request_only=True,
                value={"to": "bob", "currency": "coins", "amount": "12.50", "note": "Lunch"},
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """A pause of payouts does not stop it: it moves what users own already."""
        wanted = self.body(TransferRequest)
        return self.once(request, lambda: self.send(request.user, **wanted))  # type: ignore[arg-type]

    def send(self, sender: User, to: str, currency: str, amount: Any, note: str) -> Response:
        ensure(self.kept_answer is not None, "A transfer is keyed by its request.")
        recipient, sent = _recipient(to), currency_named(currency)
        minor = minor_units(sent, amount)
        regenerate_before((sender, recipient), sent.code, timezone.now())
        # The caller's own key is never a journal's: nobody can block another one's.
        key = f"transfer:{self.kept_answer.pk}"  # type: ignore[union-attr]
        journal = ledger.transfer(sender, recipient, sent, minor, key, note, actor=sender)
        transfer_id = _record(journal, sender, recipient, sent, minor, note)
        left = ledger.balance(ledger.user_account(sender, sent))
        answer = {
            "transfer_id": transfer_id,
            "to": recipient.username,
            "currency": sent.code,
            "amount": sent.to_units(minor),
            "note": note,
            "balance": sent.to_units(left),
            "created_at": journal.created_at,
        }
        return Response(answer, status=201)


def _recipient(username: str) -> User:
    """Who was deactivated could not use it either."""
    found = User.objects.filter(username=username, is_active=True).first()
    if found is None:
        sentence = f"There is no user {username!r}."
        raise UnknownRecipient(sentence, errors={"to": sentence})
    return found


def _record(journal: Journal, sender: User, recipient: User, currency: Currency, minor: int, note: str) -> int:
    """The audit event; the id of the transfer."""
    transfer_id = journal.transfers.values_list("pk", flat=True).get()
    record(
        "transferred",
        user=recipient,
        actor=sender,
        amount=minor,
        currency=currency,
        reason=note,
        data={"transfer_id": transfer_id, "from": sender.username, "to": recipient.username},
    )
    return transfer_id
