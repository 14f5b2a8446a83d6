"""Campaigns: prepared, given their list, previewed, run, cancelled, exported; the lines of their lists, read only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from rewards.admin.campaign_form import CONDITIONAL, CampaignForm, as_sentence
from rewards.admin.campaign_page import (
    LARGEST_PREVIEWED,
    amount_in_words,
    next_run_in_words,
    page_of,
    participants_in_words,
    preview_of_run,
    preview_page,
    run_in_view,
    state_of,
)
from rewards.admin.campaign_upload import upload_pages
from rewards.admin.common.confirm import Question, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, amount, grouped, link_to
from rewards.admin.common.downloads import Exported, csv_download
from rewards.admin.common.history import HistoryAdmin
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import PayoutRights
from rewards.admin.common.rule_form import RuleAdmin
from rewards.admin.distributions import said_after
from rewards.campaigns import services
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.campaigns.queries import EXPORTED, distributions_of, exported_rows, has_begun, list_facts, runs_due
from rewards.campaigns.sources import UPLOAD
from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.distributions.preview import Preview
from rewards.distributions.services import pay_along
from rewards.users.models import User

OVER = (Campaign.Status.DONE, Campaign.Status.CANCELLED)


class RunFailed(RewardsError):
    """The payout failed. What is said of it stands with the distribution, from where it is retried."""

    code = "distribution_failed"
    http_status = 409


@admin.register(Campaign)
class CampaignAdmin(PayoutRights, RuleAdmin, HistoryAdmin):
    form = CampaignForm
    change_form_template = "admin/campaign.html"
    conditional_fields = CONDITIONAL
    empty_hint = "A campaign pays a list of users by a rule: grants, prizes, an airdrop, a correction."
    list_display = ["name", "state", "participants_shown", "amount_shown", "recipients_shown", "next_run"]
    list_filter = [("status", ChoicesDropdownFilter), ("currency", RelatedDropdownFilter)]
    list_select_related = ["currency"]
    list_per_page = 50
    ordering = ["-pk"]
    search_fields = ["slug", "title"]
    actions = None
    actions_detail = ["upload", "preview", "run", "cancel", "export"]
    fieldsets = [
        (None, {"fields": ["slug", "title", "status"]}),
        ("How much", {"fields": ["currency", "amount_units", "source", "approval_units"]}),
        ("To whom", {"fields": ["participants_source", "metric", "period", "month", "held", "source_options"]}),
        ("By which rule", {"fields": ["rule", "tie_policy"]}),
        ("When", {"fields": ["starts_at", "schedule"]}),
    ]

    # --------------------------------------------------------------------------------------------------------- rights

    def has_delete_permission(self, request: HttpRequest, obj: Campaign | None = None) -> bool:
        return False  # cancelled instead

    def has_edit_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing changes once it is over, has been run once, or while a run is being worked out; corrections never."""
        may = super().has_change_permission(request)
        fixed = isinstance(obj, Campaign) and (obj.corrects_id is not None or obj.status in OVER or has_begun(obj))
        return may and not fixed

    def get_readonly_fields(self, request: HttpRequest, obj: Campaign | None = None) -> Any:
        """The name stays; so do what a schedule's periods are named by, and the currency that a list is written in."""
        if obj is None:
            return []
        ran = bool(obj.schedule) and distributions_of(obj).exists()
        return ["slug", *(services.ANCHORS if ran else ["currency"] if obj.rows else [])]

    def get_fieldsets(self, request: HttpRequest, obj: Campaign | None = None) -> Any:
        """Whoever cannot change it reads what the page says of it instead of a form."""
        editable = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        return self.fieldsets if editable else []

    def history_value(self, name: str, value: Any) -> str:
        shown = super().history_value(name, value)
        return f"{shown} minor units" if name in ("amount", "approval_limit") and value is not None else shown

    # ------------------------------------------------------------------------------------------------------- the list

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the newest run of each, by two queries instead of one a line."""
        changes = super().get_changelist_instance(request)
        attach_newest_runs(changes.result_list)
        return changes

    @display(description="Campaign", ordering="slug")
    def name(self, campaign: Campaign) -> str:
        return campaign.title or campaign.slug

    @display(description="State")
    def state(self, campaign: Campaign) -> SafeString:
        return state_of(campaign, newest_run(campaign))

    @display(description="Participants")
    def participants_shown(self, campaign: Campaign) -> str:
        return participants_in_words(campaign)

    @display(description="Amount")
    def amount_shown(self, campaign: Campaign) -> str:
        return amount_in_words(campaign)

    @display(description="Recipients")
    def recipients_shown(self, campaign: Campaign) -> str:
        newest = newest_run(campaign)
        return grouped(newest.recipients) if newest else "–"

    @display(description="Next run")
    def next_run(self, campaign: Campaign) -> str:
        return next_run_in_words(campaign, newest_run(campaign), timezone.now())

    # ------------------------------------------------------------------------------------------------- one, and saved

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        related = Campaign.objects.select_related("currency", "prepared_by", "corrects")
        campaign = related.filter(pk=object_id).first()
        if campaign is not None and self.has_view_permission(request, campaign):
            editable = self.has_change_permission(request, campaign)
            extra_context = (extra_context or {}) | page_of(campaign, timezone.now()) | {"editable": editable}
        return super().change_view(request, object_id, form_url, extra_context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """What somebody else did in between is said as a message."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except RewardsError as error:
            messages.error(request, as_sentence(sentence_of(error)))
            return HttpResponseRedirect(request.path if object_id else admin_url(Campaign))

    def save_model(self, request: HttpRequest, obj: Campaign, form: Any, change: bool) -> None:
        actor, now = cast(User, request.user), timezone.now()
        settings = {name: getattr(obj, name) for name in services.SETTINGS}
        if not change:
            created = services.create_campaign(slug=obj.slug, title=obj.title, actor=actor, at=now, **settings)
            obj.pk = created.pk
        services.change_campaign(obj.pk, actor, now, title=obj.title, status=obj.status, **settings)

    def response_post_save_add(self, request: HttpRequest, obj: Campaign) -> HttpResponse:
        """To its page: there it is given its list, previewed and run."""
        return HttpResponseRedirect(admin_url(obj))

    # ----------------------------------------------------------------------------------------------------- what to do

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Only what can be done now, to whoever may do it."""
        campaign = Campaign.objects.filter(pk=object_id).first()
        possible = possible_actions(campaign, timezone.now()) if campaign else set()
        allowed = super().get_actions_detail(request, object_id)
        return [each for each in allowed if each.action_name.rpartition("_")[2] in possible]

    @action(description="Upload a list", url_path="upload", icon="upload_file", permissions=["edit"])
    def upload(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign = self._campaign(request, object_id)
        return upload_pages(request, campaign, page_context(request, self, campaign), timezone.now())

    @action(description="Preview payout", url_path="preview", icon="tune", permissions=["view"])
    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign = self._campaign(request, object_id)
        return preview_page(request, campaign, page_context(request, self, campaign), timezone.now())

    @action(
        description="Run", url_path="run", icon="play_arrow", variant=ActionVariant.PRIMARY, permissions=["run"]
    )  # fmt: skip
    def run(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign, now = self._campaign(request, object_id), timezone.now()

        def do(reason: str) -> str:
            return ran(campaign, cast(User, request.user), now)

        context = page_context(request, self, campaign)
        return ask_then_do(request, run_question(campaign, now), do, back=admin_url(campaign), context=context)

    @action(
        description="Cancel", url_path="cancel", icon="cancel", variant=ActionVariant.DANGER, permissions=["run"]
    )  # fmt: skip
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign = self._campaign(request, object_id)
        question = Question(
            title=f"Cancel {campaign}",
            explanation="It never runs again. What it has paid stays paid; what waits for approval is rejected on the "
            "page of that run. This cannot be taken back.",
            button="Cancel the campaign",
            figures=[("Amount", amount_in_words(campaign)), ("Participants", participants_in_words(campaign))],
            needs_reason=True,
            dangerous=True,
        )

        def do(reason: str) -> str:
            services.cancel(campaign.pk, cast(User, request.user), reason)
            return f"{campaign} is cancelled."

        return ask_then_do(
            request, question, do, back=admin_url(campaign), context=page_context(request, self, campaign)
        )  # fmt: skip

    @action(description="Export CSV", url_path="export", icon="download", permissions=["view"])
    def export(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        """The rows of a paid run, of the newest one unless `?run=` names another."""
        campaign, run = self._campaign(request, object_id), request.GET.get("run", "")
        paid = distributions_of(campaign).exclude(paid_at=None).select_related("currency")
        distribution = (paid.filter(pk=run) if run.isdecimal() else paid).first()
        if distribution is None:
            raise Http404
        name = f"{campaign.slug}-{distribution.period_key}.csv"
        about = Exported(cast(User, request.user), "rewards of a campaign", {"distribution": str(distribution)})
        return csv_download(name, EXPORTED, exported_rows(distribution), exported=about)

    def _campaign(self, request: HttpRequest, object_id: str) -> Campaign:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Campaign.objects.select_related("currency"), pk=object_id)


def possible_actions(campaign: Campaign, at: datetime) -> set[str]:
    """The actions that make sense as it stands."""
    runs = distributions_of(campaign)
    possible = {"preview"}
    if runs.exclude(paid_at=None).exists():
        possible.add("export")
    if campaign.status in OVER:
        return possible
    opened, begun = runs.exclude(status=Distribution.Status.CANCELLED).exists(), has_begun(campaign)
    if campaign.participants.get("source") == UPLOAD and not begun and campaign.corrects_id is None:
        possible.add("upload")
    if not begun and (campaign.schedule or not opened):
        possible.add("cancel")
    started = campaign.starts_at is None or campaign.starts_at <= at
    if started and (bool(runs_due(campaign, at)) if campaign.schedule else not runs.exists()):
        possible.add("run")
    return possible


def run_question(campaign: Campaign, at: datetime) -> Question:
    """What a run would do, in numbers; of a long list only what the list comes to."""
    figures: list[tuple[str, Any]]
    try:
        shown = None if campaign.rows > LARGEST_PREVIEWED else preview_of_run(campaign, run_in_view(campaign, at), at)
        figures = figures_of(shown) if shown else figures_of_list(campaign)
        explanation = what_a_run_does(campaign, shown)
    except RewardsError as error:
        figures, explanation = [("Amount", amount_in_words(campaign))], as_sentence(sentence_of(error))
    limit = campaign.approval_limit
    approval = "not needed" if limit is None else f"from {amount(limit, campaign.currency)}"
    return Question(
        title=f"Run {campaign}",
        explanation=explanation,
        button="Run it",
        figures=[*figures, ("Paid from", campaign.source), ("Approval", approval)],
    )


def what_a_run_does(campaign: Campaign, shown: Preview | None) -> str:
    limit = campaign.approval_limit
    fixed = "Who takes part and what each gets is fixed now."
    if shown is None:
        return f"{fixed} Below the approval limit it is paid at once, else it waits for an approver."
    what = f"{amount(shown.figures.total, shown.currency)} for {grouped(shown.figures.recipients)} recipients"
    if limit is not None and shown.amount >= limit:
        return f"{fixed} {what} then wait for an approver, who is neither you nor whoever prepared the campaign."
    return f"{fixed} {what} are paid from {campaign.source} at once."


def figures_of(shown: Preview) -> list[tuple[str, Any]]:
    return [
        ("Amount", amount(shown.amount, shown.currency)),
        ("Would pay", amount(shown.figures.total, shown.currency)),
        ("Left over", amount(shown.unpaid, shown.currency)),
        ("Recipients", f"{grouped(shown.figures.recipients)} of {grouped(shown.participants)} participants"),
    ]


def figures_of_list(campaign: Campaign) -> list[tuple[str, Any]]:
    facts = list_facts(campaign)
    return [
        ("Lines", grouped(facts.lines)),
        ("Their amounts together", amount(facts.total, campaign.currency)),
        ("Amount", amount_in_words(campaign)),
    ]


def ran(campaign: Campaign, actor: User, at: datetime) -> str:
    """Run it and pay along; what to say, with a link to the run. Raises `RunFailed`, and like `services.run`."""
    distribution = pay_along(services.run(campaign.pk, actor, at).pk)
    if distribution.status == Distribution.Status.FAILED:
        raise RunFailed(f"{distribution} failed: {distribution.error}")
    return format_html("{} {}", said_after(distribution), link_to(distribution, "See the run"))


def attach_newest_runs(campaigns: Any) -> None:
    names = {campaign.programme for campaign in campaigns}
    by_programme = Distribution.objects.filter(programme__in=names).order_by().values("programme")
    newest = by_programme.annotate(newest=Max("pk")).values_list("newest", flat=True)
    found = Distribution.objects.filter(pk__in=list(newest)).select_related("currency")
    runs = {distribution.programme: distribution for distribution in found}
    for campaign in campaigns:
        campaign.newest_run = runs.get(campaign.programme)


def newest_run(campaign: Campaign) -> Distribution | None:
    """As attached to the campaigns of a list."""
    return campaign.newest_run  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------------------ the lists


@admin.register(CampaignParticipant)
class CampaignParticipantAdmin(BigList, ReadOnlyAdmin):
    empty_hint = "The lines of uploaded lists stand here."
    list_display = ["user_name", "campaign_name", "weight_shown", "amount_shown", "group"]
    list_filter = [("campaign", RelatedDropdownFilter)]
    list_select_related = ["user", "campaign__currency"]
    search_fields = ["user"]
    search_help_text = "Start of a username"
    fieldsets = [(None, {"fields": ["campaign_link", "user_link", "weight_shown", "amount_shown", "group"]})]
    readonly_fields = ["campaign_link", "user_link", "weight_shown", "amount_shown"]

    def cursor_fields(self, request: HttpRequest) -> list[str]:
        """Within one campaign by user, which is what its unique index gives; else newest first."""
        return ["user_id"] if "campaign__id__exact" in request.GET else ["-pk"]

    def find(self, queryset: QuerySet[CampaignParticipant], term: str) -> QuerySet[CampaignParticipant]:
        # The index begins with the campaign: name all of them, they are few.
        campaigns = list(Campaign.objects.values_list("pk", flat=True))
        return queryset.filter(campaign__in=campaigns, user__in=users_found(term))

    @display(description="User")
    def user_name(self, line: CampaignParticipant) -> str:
        return line.user.get_username()

    @display(description="User")
    def user_link(self, line: CampaignParticipant) -> SafeString | str:
        return link_to(line.user)

    @display(description="Campaign")
    def campaign_name(self, line: CampaignParticipant) -> str:
        return line.campaign.slug

    @display(description="Campaign")
    def campaign_link(self, line: CampaignParticipant) -> SafeString | str:
        return link_to(line.campaign)

    @display(description="Weight")
    def weight_shown(self, line: CampaignParticipant) -> str:
        return line.weight or "–"

    @display(description="Amount")
    def amount_shown(self, line: CampaignParticipant) -> str:
        return amount(line.amount, line.campaign.currency)
