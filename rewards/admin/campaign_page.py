"""What the page of one campaign shows beside its form, and the page on which its payout is previewed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from rewards.admin.campaign_form import ASKS, as_sentence
from rewards.admin.common.confirm import sentence_of
from rewards.admin.common.display import admin_url, ago, amount, badge, grouped, link_to, pretty_json
from rewards.admin.common.preview import context_of
from rewards.admin.common.rule_form import OtherRule
from rewards.admin.common.rule_words import rule_in_words
from rewards.admin.common.tables import Table
from rewards.allocation.errors import AllocationError
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.campaigns.queries import distributions_of, next_run_at, runs_due
from rewards.campaigns.schedule import ONCE
from rewards.campaigns.services import explained
from rewards.campaigns.sources import UPLOAD, source_of
from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.distributions.preview import Preview, compare, preview, with_rule
from rewards.distributions.queries import waits_for_approval

RUNS_SHOWN = 20
LARGEST_PREVIEWED = 200_000
STATES = {"draft": "", "active": "info", "done": "success", "cancelled": ""}

RunStatus = Distribution.Status


# ------------------------------------------------------------------------------------------------------------- in words


def state_of(campaign: Campaign, newest: Distribution | None) -> SafeString:
    """Its status; what its newest run waits for, or failed with, where that says more."""
    says_more = newest is not None and newest.status not in (RunStatus.PAID, RunStatus.CANCELLED)
    if newest is not None and says_more and campaign.status != Campaign.Status.CANCELLED:
        return badge(newest.status)
    if campaign.status == Campaign.Status.DONE:
        return badge("paid")
    return badge(campaign.status, kind=STATES[campaign.status])


def participants_in_words(campaign: Campaign) -> str:
    if campaign.participants.get("source") == UPLOAD:
        return f"{grouped(campaign.rows)} on the list" if campaign.rows else "no list yet"
    try:
        return source_of(campaign.participants).words(campaign.participants)
    except (RewardsError, KeyError):
        return "a source that is not installed any more"


def amount_in_words(campaign: Campaign) -> str:
    return "what the list says" if campaign.amount is None else amount(campaign.amount, campaign.currency)


def next_run_in_words(campaign: Campaign, newest: Distribution | None, at: datetime) -> str:
    if campaign.status in (Campaign.Status.DONE, Campaign.Status.CANCELLED):
        return "–"
    if newest is not None and not campaign.schedule:
        return "–"
    due = runs_due(campaign, at) if campaign.status == Campaign.Status.ACTIVE else []
    if due:
        return f"due {ago(due[0].due_at, at)}"
    comes = next_run_at(campaign, at)
    if comes is not None:
        return f"{comes:%Y-%m-%d %H:%M} UTC"
    starts = f", from {campaign.starts_at:%Y-%m-%d %H:%M} UTC on" if campaign.starts_at else ""
    return f"when somebody runs it{starts}"


def what_next(campaign: Campaign, newest: Distribution | None, at: datetime) -> SafeString | str:
    """What there is to do, in a sentence."""
    if newest is not None and waits_for_approval(newest):
        return format_html("{} is allocated and waits for an approver.", link_to(newest))
    if newest is not None and newest.status == RunStatus.FAILED:
        return format_html("{} failed: {}", link_to(newest), newest.error)
    if campaign.status == Campaign.Status.CANCELLED:
        return "It was cancelled and does not run again."
    if newest is not None and not campaign.schedule:
        return format_html("It was run: {}. Nothing of it can be changed any more.", link_to(newest))
    if campaign.participants.get("source") == UPLOAD and not campaign.rows:
        return "Nobody takes part yet: upload the list."
    if campaign.status == Campaign.Status.ACTIVE and campaign.starts_at is not None:
        return f"It runs by itself: {next_run_in_words(campaign, newest, at)}."
    return "Preview the payout, then run it."


# ------------------------------------------------------------------------------------------------------------- its page


def page_of(campaign: Campaign, at: datetime) -> dict[str, Any]:
    newest = distributions_of(campaign).select_related("currency").first()
    paid = sum(distributions_of(campaign).values_list("paid_amount", flat=True))
    limit = campaign.approval_limit
    return {
        "campaign": campaign,
        "state": state_of(campaign, newest),
        "next_step": what_next(campaign, newest, at),
        "figures": [
            ("Amount", amount_in_words(campaign), f"from {campaign.source}"),
            ("Participants", participants_in_words(campaign), ""),
            ("Next run", next_run_in_words(campaign, newest, at), campaign.get_schedule_display().lower()),
            ("Paid", amount(paid, campaign.currency), ""),
        ],
        "facts": [
            ("Programme", campaign.programme),
            ("Ties", campaign.tie_policy),
            ("Approval", "never needed" if limit is None else f"from {amount(limit, campaign.currency)}"),
            ("Last prepared by", link_to(campaign.prepared_by) if campaign.prepared_by else "the system"),
            *([("Corrects", link_to(campaign.corrects))] if campaign.corrects else []),
            *([("List", campaign.rows_digest)] if campaign.rows_digest else []),
        ],
        "rule_words": rule_in_words(campaign.rule),
        "rule_json": pretty_json(campaign.rule),
        "runs": runs_table(campaign),
        "runs_url": f"{admin_url(Distribution)}?programme={campaign.programme}",
        "lines_url": f"{admin_url(CampaignParticipant)}?campaign__id__exact={campaign.pk}" if campaign.rows else "",
    }


def runs_table(campaign: Campaign) -> Table:
    export = reverse("admin:rewards_campaign_export", args=[campaign.pk])
    rows = [
        (
            link_to(each, each.period_key if campaign.schedule else "the run"),
            badge(each.status),
            each.opened_at,
            grouped(each.recipients),
            amount(each.paid_amount, each.currency),
            format_html('<a class="rewards-link" href="{}?run={}">CSV</a>', export, each.pk) if each.paid_at else "–",
        )
        for each in distributions_of(campaign).select_related("currency")[:RUNS_SHOWN]
    ]
    columns = ["Run", "Status", "Opened", "Recipients", "Paid", "Export"]
    return Table(columns, rows, frozenset({"Recipients", "Paid"}), "It has not been run yet.")


# ------------------------------------------------------------------------------------------------------------ previewed


def preview_page(request: HttpRequest, campaign: Campaign, context: dict[str, Any], at: datetime) -> HttpResponse:
    """What the next run would pay, or what the newest one did; after another rule is sent, who gains and who loses."""
    own = {"rule": campaign.rule, "tie_policy": campaign.tie_policy}
    form = OtherRule(request.POST or None, initial=own, asks=ASKS, currency=campaign.currency)
    too_large = campaign.rows > LARGEST_PREVIEWED
    key = run_in_view(campaign, at)
    page = context | {
        "title": f"Preview of {campaign}",
        "form": form,
        "too_large": grouped(campaign.rows) if too_large else "",
        "command": f"manage.py preview {campaign.programme} {key}",
        "back": admin_url(campaign),
    }
    if not too_large:
        page |= _previewed(campaign, key, form, at)
    return TemplateResponse(request, "admin/campaign_preview.html", page)


def run_in_view(campaign: Campaign, at: datetime) -> str:
    """The period key of the run that a preview is of: the next one; where none comes, the newest."""
    if not campaign.schedule:
        return ONCE
    due = runs_due(campaign, at)
    comes = due[0].due_at if due else next_run_at(campaign, at) or campaign.starts_at or at
    return due[0].key if due else comes.astimezone(settings.REWARDS_TIME_ZONE).date().isoformat()


def preview_of_run(campaign: Campaign, key: str, at: datetime) -> Preview:
    """Raises `RewardsError` for whatever stands in the way."""
    try:
        return preview(campaign.programme, key, at=at)
    except AllocationError as error:
        raise explained(error, campaign.currency) from error


def _previewed(campaign: Campaign, key: str, form: OtherRule, at: datetime) -> dict[str, Any]:
    """The result, or why there is none."""
    try:
        own = preview_of_run(campaign, key, at)
    except RewardsError as error:
        return {"problem": as_sentence(sentence_of(error))}
    if not (form.is_bound and form.is_valid()):
        return context_of(own)
    try:
        other = with_rule(own, form.cleaned_data["rule"], form.cleaned_data["tie_policy"])
        return context_of(other, compare(own, other))
    except AllocationError as error:
        form.refuse(error)
    return context_of(own)
