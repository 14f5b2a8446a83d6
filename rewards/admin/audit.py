"""Audit events and their seals: read only, with the check of the chain."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Func, IntegerField, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from rewards.admin.common.confirm import page_context
from rewards.admin.common.display import admin_url, amount, badge, duration, grouped, json_block, link_to
from rewards.admin.common.lists import BigList, value_filter
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.tables import Table
from rewards.admin.csv_lists import AuditEventsCsv
from rewards.audit.models import AuditEvent, AuditSeal
from rewards.audit.queries import Verdict, verify_chain

FINDINGS_SHOWN = 100


class HowMany(Func):
    """The length of a JSON array."""

    function = "jsonb_array_length"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="json_array_length", **context)


@admin.register(AuditEvent)
class AuditEventAdmin(AuditEventsCsv, BigList, ReadOnlyAdmin):
    empty_hint = "Whatever moves value or changes a rule is written here."
    list_display = ["event", "timestamp", "outcome", "distribution_link", "amount_shown", "actor_name", "note"]
    list_filter = [value_filter(AuditEvent, "event_type", "event type")]
    list_select_related = ["distribution", "currency", "actor", "user"]
    search_fields = ["event_id"]
    search_help_text = "An event id, in full"
    fieldsets = [
        (None, {"fields": ["event_type", "event_id", "timestamp", "outcome", "error_message"]}),
        (
            "About",
            {"fields": ["distribution_link", "user_link", "reward_id", "amount_shown", "actor_link", "reason"]},
        ),
        ("Data", {"fields": ["data_shown"]}),
    ]
    readonly_fields = ["outcome", "distribution_link", "user_link", "amount_shown", "actor_link", "data_shown"]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "distribution__id__exact" or super().lookup_allowed(lookup, value, request)

    def find(self, queryset: QuerySet[AuditEvent], term: str) -> QuerySet[AuditEvent]:
        return queryset.filter(event_id=term) if is_uuid(term) else queryset.none()

    @display(description="Event")
    def event(self, event: AuditEvent) -> str:
        return event.event_type

    @display(description="Outcome")
    def outcome(self, event: AuditEvent) -> SafeString:
        return badge("done", "ok") if event.success else badge("failed")

    @display(description="Distribution")
    def distribution_link(self, event: AuditEvent) -> SafeString | str:
        return link_to(event.distribution)

    @display(description="User")
    def user_link(self, event: AuditEvent) -> SafeString | str:
        return link_to(event.user)

    @display(description="By")
    def actor_link(self, event: AuditEvent) -> SafeString | str:
        return link_to(event.actor) if event.actor else "the system"

    @display(description="By")
    def actor_name(self, event: AuditEvent) -> str:
        return event.actor.get_username() if event.actor else "the system"

    @display(description="Amount")
    def amount_shown(self, event: AuditEvent) -> str:
        return amount(event.amount, event.currency) if event.currency else "–"

    @display(description="Note")
    def note(self, event: AuditEvent) -> str:
        note = event.reason or event.error_message
        return note if len(note) <= 80 else f"{note[:79]}…"

    @display(description="Data")
    def data_shown(self, event: AuditEvent) -> SafeString | str:
        return json_block(event.data) if event.data else "none"


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


@admin.register(AuditSeal)
class AuditSealAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "The job seal_audit seals events within a minute of their being written."
    list_display = ["short_hash", "sealed_at", "events", "first_event", "last_event"]
    search_fields = ["hash"]
    search_help_text = "Start of a hash"
    actions_list = ["verify"]
    fieldsets = [
        (None, {"fields": ["hash", "previous_hash", "sealed_at", "first_event", "last_event", "events"]}),
    ]
    readonly_fields = ["events"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditSeal]:
        """Without the entries, up to a thousand of a seal: how many there are is asked of the database."""
        return super().get_queryset(request).defer("entries").annotate(sealed_events=HowMany("entries"))

    def find(self, queryset: QuerySet[AuditSeal], term: str) -> QuerySet[AuditSeal]:
        return queryset.filter(hash__startswith=term.lower())

    @display(description="Hash")
    def short_hash(self, seal: AuditSeal) -> str:
        return f"{seal.hash[:16]}…"

    @display(description="Events")
    def events(self, seal: AuditSeal) -> str:
        return grouped(seal.sealed_events)  # type: ignore[attr-defined]

    @action(description="Verify the chain", url_path="verify", icon="fact_check", permissions=["view"])
    def verify(self, request: HttpRequest) -> HttpResponse:
        expected = request.GET.get("expect", "").strip().lower() or None
        started = time.monotonic()
        verdict = verify_chain(expected)
        context = page_context(request, self) | {
            "title": "Verify the audit chain",
            "verdict": verdict,
            "expected": expected or "",
            "figures": verdict_figures(verdict),
            "findings": findings_table(verdict),
            "seconds": duration(time.monotonic() - started),
            "back": admin_url(AuditSeal),
        }
        return TemplateResponse(request, "admin/verify_audit.html", context)


def verdict_figures(verdict: Verdict) -> list[tuple[str, str, str]]:
    return [
        ("Seals", grouped(verdict.seals), "walked from the first to the last"),
        ("Sealed events", grouped(verdict.sealed_events), "each compared with its hash"),
        ("Not sealed yet", grouped(verdict.unsealed_events), f"oldest {duration(verdict.lag_seconds)} old"),
    ]


def findings_table(verdict: Verdict) -> Table:
    rows = [(each.kind, each.sentence) for each in verdict.findings[:FINDINGS_SHOWN]]
    return Table(["Kind", "What is wrong"], rows, frozenset(), "Nothing was changed, removed or slipped in.")
