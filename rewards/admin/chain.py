"""What was put on the chain, and rewards that are claimed on it: read only; a transaction can be looked at again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from rewards.admin.case_page import code
from rewards.admin.common.confirm import Question, ask_then_do, page_context
from rewards.admin.common.display import admin_url, ago, amount, badge, grouped, link_to, text_block
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import PayoutRights
from rewards.audit.services import record
from rewards.cases.models import Case
from rewards.chain.models import ChainTransaction
from rewards.chain.services import look_at
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.monitor import settle

SHOWN_OF_A_HASH = 16

Status = ChainTransaction.Status


@admin.register(ChainTransaction)
class ChainTransactionAdmin(PayoutRights, BigList, ReadOnlyAdmin):
    empty_hint = "Commitments of verdicts and rewards that are claimed on the chain appear here."
    list_display = ["name", "purpose", "status_badge", "confirmations", "submitted_at", "checked", "error_shown"]
    list_filter = [("status", ChoicesDropdownFilter), ("purpose", ChoicesDropdownFilter)]
    list_select_related = ["sender"]
    search_fields = ["tx_hash"]
    search_help_text = "Start of a transaction hash"
    actions_detail = ["look"]
    fieldsets = [
        (None, {"fields": ["hash_shown", "purpose", "for_what", "status_badge", "confirmations", "error_block"]}),
        ("When", {"fields": ["submitted_at", "checked_at"]}),
        ("What was sent", {"fields": ["payload_shown", "recipient_shown", "sender", "nonce", "tried_before"]}),
    ]
    readonly_fields = [
        "hash_shown", "for_what", "status_badge", "error_block", "payload_shown", "recipient_shown", "tried_before",
    ]  # fmt: skip

    def find(self, queryset: QuerySet[ChainTransaction], term: str) -> QuerySet[ChainTransaction]:
        return queryset.filter(tx_hash__startswith=term.replace("\x00", ""))

    # ----------------------------------------------------------------------------------------------------- in columns

    @display(description="Transaction")
    def name(self, tx: ChainTransaction) -> str:
        return in_short(tx)

    @display(description="Status")
    def status_badge(self, tx: ChainTransaction) -> SafeString:
        return badge(tx.status)

    @display(description="Looked at")
    def checked(self, tx: ChainTransaction) -> str:
        return ago(tx.checked_at)

    @display(description="Error")
    def error_shown(self, tx: ChainTransaction) -> str:
        return tx.error.partition("\n")[0][:90] or "–"

    @display(description="Transaction")
    def hash_shown(self, tx: ChainTransaction) -> SafeString | str:
        return code(tx.tx_hash) if tx.tx_hash else "not signed yet"

    @display(description="For")
    def for_what(self, tx: ChainTransaction) -> SafeString | str:
        """The case, or the claims that it has been the newest transaction of."""
        case = Case.objects.filter(commitment=tx).first()
        if case is not None:
            return link_to(case)
        claims = tx.reward_claims.select_related("user", "reward")[:10]
        return format_html_join(", ", "{}", ((link_to(each, claim_in_words(each)),) for each in claims)) or "–"

    @display(description="Error")
    def error_block(self, tx: ChainTransaction) -> SafeString | str:
        return text_block(tx.error)

    @display(description="Carries")
    def payload_shown(self, tx: ChainTransaction) -> SafeString | str:
        return code(tx.payload_hash)

    @display(description="To")
    def recipient_shown(self, tx: ChainTransaction) -> SafeString | str:
        return code(tx.recipient) if tx.recipient else "the sender itself"

    @display(description="Tries again")
    def tried_before(self, tx: ChainTransaction) -> SafeString | str:
        return link_to(tx.instead_of, in_short(tx.instead_of)) if tx.instead_of else "–"

    # ------------------------------------------------------------------------------------------------ looked at again

    @action(description="Look again now", url_path="look", icon="refresh", permissions=["run"])
    def look(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        tx = get_object_or_404(ChainTransaction, pk=object_id)
        question = Question(
            title=f"Look at {in_short(tx)} again",
            explanation="The chain is asked what it knows of this transaction. One that it does not know is sent "
            "again, which does no harm: the jobs do the same by themselves.",
            button="Look now",
            figures=[
                ("Status", badge(tx.status)), ("Confirmations", grouped(tx.confirmations)),
                ("Looked at", ago(tx.checked_at)),
            ],
        )  # fmt: skip

        def do(reason: str) -> str:
            now = timezone.now()
            found = look_at(tx, now)
            for claim in found.reward_claims.all():
                settle(claim.pk, now)
            record("transaction_looked_at", actor=request.user, data={"transaction": tx.pk, "status": found.status})  # type: ignore[arg-type]
            return said_of(found)

        return ask_then_do(request, question, do, back=admin_url(tx), context=page_context(request, self, tx))


def in_short(tx: ChainTransaction) -> str:
    """The start of its hash, which finds it."""
    return f"{tx.tx_hash[:SHOWN_OF_A_HASH]}…" if tx.tx_hash else f"#{tx.pk}, not signed yet"


def said_of(tx: ChainTransaction) -> str:
    known = f"{grouped(tx.confirmations)} confirmations" if tx.confirmations != 1 else "1 confirmation"
    problem = f" {tx.error}" if tx.error else ""
    return f"{in_short(tx)} is {tx.status}, {known}.{problem}"


# -------------------------------------------------------------------------------------------------------------- claims


@admin.register(RewardClaim)
class RewardClaimAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "Rewards of a payout on the chain are claimed by their users, with the address of a wallet."
    list_display = ["name", "user_name", "amount_shown", "status_badge", "attempts", "claimed_at", "error_shown"]
    list_filter = [("status", ChoicesDropdownFilter)]
    list_select_related = ["user", "reward__distribution__currency"]
    search_fields = ["user"]
    search_help_text = "Start of a username"
    fieldsets = [
        (None, {"fields": ["reward_link", "user_link", "amount_shown", "status_badge", "error_block"]}),
        ("On the chain", {"fields": ["wallet_shown", "transaction_link", "attempts", "failures"]}),
        ("When", {"fields": ["claimed_at", "finished_at", "journal_link"]}),
    ]
    readonly_fields = [
        "reward_link", "user_link", "amount_shown", "status_badge", "error_block", "wallet_shown", "transaction_link",
        "journal_link",
    ]  # fmt: skip

    def find(self, queryset: QuerySet[RewardClaim], term: str) -> QuerySet[RewardClaim]:
        return queryset.filter(user__in=users_found(term))

    @display(description="Claim")
    def name(self, claim: RewardClaim) -> str:
        return f"#{claim.pk}, {claim.reward.distribution}"

    @display(description="User")
    def user_name(self, claim: RewardClaim) -> str:
        return claim.user.get_username()

    @display(description="User")
    def user_link(self, claim: RewardClaim) -> SafeString | str:
        return link_to(claim.user)

    @display(description="Amount")
    def amount_shown(self, claim: RewardClaim) -> str:
        return amount(claim.reward.amount, claim.reward.distribution.currency)

    @display(description="Status")
    def status_badge(self, claim: RewardClaim) -> SafeString:
        return badge(claim.status)

    @display(description="Error")
    def error_shown(self, claim: RewardClaim) -> str:
        return claim.error.partition("\n")[0][:90] or "–"

    @display(description="Error")
    def error_block(self, claim: RewardClaim) -> SafeString | str:
        return text_block(claim.error)

    @display(description="Reward")
    def reward_link(self, claim: RewardClaim) -> SafeString | str:
        return link_to(claim.reward)

    @display(description="Wallet")
    def wallet_shown(self, claim: RewardClaim) -> SafeString | str:
        return code(claim.wallet_address)

    @display(description="Transaction")
    def transaction_link(self, claim: RewardClaim) -> Any:
        return link_to(claim.transaction, in_short(claim.transaction)) if claim.transaction else "–"

    @display(description="Credited by")
    def journal_link(self, claim: RewardClaim) -> SafeString | str:
        return link_to(claim.journal)


def claim_in_words(claim: RewardClaim) -> str:
    return f"claim #{claim.pk} of {claim.user}"
