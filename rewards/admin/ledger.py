"""Currencies, accounts with their statements, journals and transfers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import BooleanRadioFilter, RadioFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from rewards.admin.common.confirm import page_context
from rewards.admin.common.display import admin_url, amount, json_block, link_to, signed_units, units
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import BigList, users_found, value_filter
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import CorrectionRights
from rewards.admin.common.tables import Table
from rewards.admin.corrections import can_be_taken_back, correct_url
from rewards.admin.csv_lists import JournalsCsv, TransfersCsv
from rewards.admin.statement_csv import StatementCsv
from rewards.ledger.models import DEBT, Account, BalanceChange, Correction, Currency, Journal, Transfer
from rewards.ledger.services import StatementLine, balance, statement

STATEMENT_LINES = 50
TRANSFERS_SHOWN = 25


@admin.register(Currency)
class CurrencyAdmin(HistoryAdmin):
    empty_hint = "Create the first one here, or by `manage.py create_currency CODE --decimals N`."
    list_display = ["code", "name", "symbol", "decimals", "transferable", "active"]
    list_filter = [("active", BooleanRadioFilter), ("transferable", BooleanRadioFilter)]
    search_fields = ["code", "name"]
    ordering = ["code"]
    actions = None
    fieldsets = [
        (None, {"fields": ["code", "name", "symbol", "decimals"]}),
        ("Use", {"fields": ["transferable", "active"]}),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Currency | None = None) -> list[str]:
        """Code and decimals are fixed once an account exists: stored amounts would change their meaning."""
        return ["code", "decimals"] if obj is not None and obj.accounts.exists() else []

    def has_delete_permission(self, request: HttpRequest, obj: Currency | None = None) -> bool:
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not obj.accounts.exists())


class OwnerFilter(RadioFilter):
    title = "owner"
    parameter_name = "owner"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("system", "The system"), ("user", "Users"), ("debt", "Users, what they owe")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "debt":
            return queryset.filter(code=DEBT, user__isnull=False, whole_balance__lt=0)
        wanted = {"system": True, "user": False}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(user__isnull=wanted)


@admin.register(Account)
class AccountAdmin(StatementCsv, CorrectionRights, BigList, ReadOnlyAdmin):
    empty_hint = "Accounts are created by the first transfer that needs them."
    list_display = ["owner", "code", "currency", "balance_now", "floor", "statement_link"]
    list_filter = [OwnerFilter, ("currency", RelatedDropdownFilter)]
    list_select_related = ["user", "currency"]
    search_fields = ["code"]
    search_help_text = "Start of a username, or a code such as pool:daily"
    actions_detail = ["show_statement", "statement_csv"]
    fieldsets = [(None, {"fields": ["owner", "code", "currency", "balance_now", "floor", "parts", "created_at"]})]
    readonly_fields = ["owner", "balance_now", "floor", "parts"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        return with_whole_balance(super().get_queryset(request))

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        return ["pk"]  # the system's own accounts come first

    def find(self, queryset: QuerySet[Account], term: str) -> QuerySet[Account]:
        # An account is in one list or the other, and each list is found by an index of its own.
        users = users_found(term)
        by_code = Account.objects.filter(user__isnull=True, code__startswith=term).values_list("pk", flat=True)
        by_user = Account.objects.filter(user__in=users).values_list("pk", flat=True)
        return queryset.filter(pk__in=[*by_code[:500], *by_user[:500]])

    @display(description="Owner")
    def owner(self, account: Account) -> str:
        return account.user.get_username() if account.user else "the system"

    @display(description="Balance")
    def balance_now(self, account: Account) -> str:
        return amount(account.whole_balance, account.currency)  # type: ignore[attr-defined]

    @display(description="Kept in")
    def parts(self, account: Account) -> str:
        return f"{account.slots + 1} parts, drawn from at once" if account.slots else "one part"

    @display(description="Floor")
    def floor(self, account: Account) -> str:
        return "none" if account.min_balance is None else units(account.min_balance, account.currency)

    @display(description="Statement")
    def statement_link(self, account: Account) -> SafeString:
        return format_html('<a class="rewards-link" href="{}">Statement</a>', statement_url(account))

    @action(description="Statement", url_path="statement", icon="receipt_long", permissions=["view"])
    def show_statement(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        account = get_object_or_404(Account.objects.select_related("currency", "user"), pk=object_id)
        lines = self._lines(account, request.GET.get("before"))
        context = page_context(request, self, account) | {
            "title": f"Statement of {account}",
            "balance": amount(balance(account), account.currency),
            "table": statement_table(account, lines),
            "first_page": "before" not in request.GET,
            "older": lines[-1].cursor if len(lines) == STATEMENT_LINES else None,
            "correct_url": self._correct_url(request, account),
        }
        return TemplateResponse(request, "admin/statement.html", context)

    def _correct_url(self, request: HttpRequest, account: Account) -> str:
        """Where a user's own account is corrected, for who may; empty for any other account and person."""
        if account.user is None or account.code or account.user_id == request.user.pk:
            return ""
        return correct_url(account.user.pk, account.currency) if self.has_correct_permission(request) else ""

    def _lines(self, account: Account, before: str | None) -> list[StatementLine]:
        try:
            lines = statement(account, before, STATEMENT_LINES)
        except ValueError:  # a cursor that was tampered with
            lines = statement(account, None, STATEMENT_LINES)
        # An account is called by its user and currency: read together, not one by one.
        names = ["debit_account__user", "debit_account__currency", "credit_account__user", "credit_account__currency"]
        prefetch_related_objects([line.transfer for line in lines], *names)
        return lines


def with_whole_balance(accounts: QuerySet[Account]) -> QuerySet[Account]:
    """The accounts with `whole_balance` in minor units: their own row's balance and what belongs to it beside."""
    changes = BalanceChange.objects.filter(account=OuterRef("pk")).order_by().values("account")
    beside = Subquery(changes.annotate(total=Sum("amount")).values("total"))
    return accounts.annotate(whole_balance=F("balance") + Coalesce(beside, 0))


def statement_url(account: Account) -> str:
    return reverse("admin:rewards_account_show_statement", args=[account.pk])


def statement_table(account: Account, lines: list[StatementLine]) -> Table:
    rows = [
        (
            line.transfer.created_at,
            link_to(line.transfer.journal, line.transfer.journal.kind),
            line.transfer.journal.reason or line.transfer.journal.key,
            other_side(line),
            signed_units(line.change, account.currency),
            units(line.balance, account.currency),
        )
        for line in lines
    ]
    columns = ["Time", "Kind", "What for", "Other account", "Change", "Balance"]
    return Table(columns, rows, frozenset({"Change", "Balance"}), "No transfer has touched this account yet.")


def other_side(line: StatementLine) -> SafeString | str:
    other = line.transfer.debit_account if line.change > 0 else line.transfer.credit_account
    return link_to(other)


@admin.register(Journal)
class JournalAdmin(JournalsCsv, CorrectionRights, BigList, ReadOnlyAdmin):
    empty_hint = "Nothing was posted yet."
    list_display = ["key", "kind", "created_at", "actor_name", "reason"]
    list_filter = [value_filter(Journal, "kind", "kind")]
    list_select_related = ["actor"]
    search_fields = ["key"]
    search_help_text = "Start of a key, such as pool_hourly:2026-11"
    actions_detail = ["take_back"]
    fieldsets = [
        (None, {"fields": ["key", "kind", "created_at", "actor_name", "reason", "source", "correction_shown"]}),
        ("Transfers", {"fields": ["transfers_shown"]}),
        ("Further", {"fields": ["metadata_shown", "fingerprint"]}),
    ]
    readonly_fields = ["actor_name", "transfers_shown", "metadata_shown", "correction_shown"]

    def find(self, queryset: QuerySet[Journal], term: str) -> QuerySet[Journal]:
        return queryset.filter(key__startswith=term)

    @display(description="By")
    def actor_name(self, journal: Journal) -> SafeString | str:
        return link_to(journal.actor) if journal.actor else "the system"

    def get_fieldsets(self, request: HttpRequest, obj: Journal | None = None) -> Any:
        if obj is not None and hasattr(obj, "correction"):
            return self.fieldsets
        plain = [name for name in self.fieldsets[0][1]["fields"] if name != "correction_shown"]
        return [(None, {"fields": plain}), *self.fieldsets[1:]]

    @display(description="Correction")
    def correction_shown(self, journal: Journal) -> SafeString | str:
        return link_to(journal.correction)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        found = Correction.objects.filter(journal=object_id).select_related("taken_back_by").first()
        stands = found is not None and can_be_taken_back(found)
        return super().get_actions_detail(request, object_id) if stands else []

    @action(
        description="Take back", url_path="take-back", icon="undo", variant=ActionVariant.DANGER,
        permissions=["correct"],
    )  # fmt: skip
    def take_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the page of its correction that asks."""
        correction = get_object_or_404(Correction, journal=object_id)
        return HttpResponseRedirect(reverse("admin:rewards_correction_take_back", args=[correction.pk]))

    @display(description="Metadata")
    def metadata_shown(self, journal: Journal) -> SafeString | str:
        return json_block(journal.metadata) if journal.metadata else "none"

    @display(description="Transfers")
    def transfers_shown(self, journal: Journal) -> SafeString:
        return transfers_of(journal)


def transfers_of(journal: Journal) -> SafeString:
    """The first transfers of a journal, and where all of them are listed."""
    found = journal.transfers.select_related("debit_account__user", "credit_account__user", "currency")
    found = found.select_related("debit_account__currency", "credit_account__currency").order_by("pk")
    transfers = list(found[: TRANSFERS_SHOWN + 1])
    rows = [
        (link_to(t, f"#{t.pk}"), link_to(t.debit_account), link_to(t.credit_account), amount(t.amount, t.currency))
        for t in transfers[:TRANSFERS_SHOWN]
    ]
    more = f"{admin_url(Transfer)}?q={journal.key}" if len(transfers) > TRANSFERS_SHOWN else None
    table = Table(["Transfer", "From", "To", "Amount"], rows, frozenset({"Amount"}))
    return render_to_string("admin/table.html", {"table": table, "more": more, "more_text": "All transfers"})


@admin.register(Transfer)
class TransferAdmin(TransfersCsv, BigList, ReadOnlyAdmin):
    empty_hint = "Nothing was posted yet."
    list_display = [
        "number",
        "created_at",
        "from_account",
        "to_account",
        "amount_shown",
        "journal_link",
        "reverses_link",
    ]
    list_select_related = [
        "journal", "currency", "debit_account__user", "debit_account__currency",
        "credit_account__user", "credit_account__currency", "reverses",
    ]  # fmt: skip
    search_fields = ["journal__key"]
    search_help_text = "A journal's key, in full"
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "created_at", "from_account", "to_account", "amount_shown", "journal_link", "reverses_link",
                    "reversed_by",
                ]
            },
        )
    ]  # fmt: skip
    readonly_fields = ["from_account", "to_account", "amount_shown", "journal_link", "reverses_link", "reversed_by"]

    def find(self, queryset: QuerySet[Transfer], term: str) -> QuerySet[Transfer]:
        journal = Journal.objects.filter(key=term).values_list("pk", flat=True)
        return queryset.filter(journal__in=list(journal))

    @display(description="Transfer")
    def number(self, transfer: Transfer) -> str:
        return f"#{transfer.pk}"

    @display(description="From")
    def from_account(self, transfer: Transfer) -> SafeString | str:
        return link_to(transfer.debit_account)

    @display(description="To")
    def to_account(self, transfer: Transfer) -> SafeString | str:
        return link_to(transfer.credit_account)

    @display(description="Amount")
    def amount_shown(self, transfer: Transfer) -> str:
        return amount(transfer.amount, transfer.currency)

    @display(description="Journal")
    def journal_link(self, transfer: Transfer) -> SafeString | str:
        return link_to(transfer.journal)

    @display(description="Reverses")
    def reverses_link(self, transfer: Transfer) -> SafeString | str:
        return link_to(transfer.reverses) if transfer.reverses else "–"

    @display(description="Reversed by")
    def reversed_by(self, transfer: Transfer) -> SafeString | str:
        mirror = transfer.reversals.first()
        return link_to(mirror) if mirror else "–"
