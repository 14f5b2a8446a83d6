"""The month's rewards: the job of each month with what it came to, started and retried by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from rewards.admin.common.confirm import Question, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, ago, amount, badge, duration, grouped, link_to, pretty_json
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import MonthRights
from rewards.admin.common.tables import Table
from rewards.admin.running import run_now
from rewards.common.errors import RewardsError
from rewards.distributions.models import Distribution
from rewards.distributions.queries import waits_for_approval
from rewards.monthly.models import PROGRAMME, MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import previous_month
from rewards.monthly.services import retry_job, start_job
from rewards.parameters.services import param
from rewards.users.models import User

JOB = "monthly_rewards"
DONE_WITH: set[str] = {Distribution.Status.CANCELLED, Distribution.Status.REVERSED}
OVER = (Distribution.Status.PAID, *DONE_WITH)
NOT_PAID: dict[str, str] = {
    Distribution.Status.REVERSED: "What was paid for {} was taken back.",
    Distribution.Status.CANCELLED: "Nothing is paid for {}: an approver rejected it.",
    Distribution.Status.FAILED: "Not everybody is paid for {}: the payout failed. Open it and retry it there.",
}
MONTHS = [(number, f"{date(2000, number, 1):%B}") for number in range(1, 13)]

Status = MonthlyRewardJob.Status


class StartForm(forms.Form):
    """Which month to pay."""

    month = forms.TypedChoiceField(choices=MONTHS, coerce=int, widget=UnfoldAdminSelectWidget())
    year = forms.IntegerField(min_value=1970, max_value=9998, widget=UnfoldAdminIntegerFieldWidget())


@admin.register(MonthlyRewardJob)
class MonthlyRewardJobAdmin(MonthRights, ReadOnlyAdmin):
    change_form_template = "admin/monthly_job.html"
    empty_hint = "On the first day of a month the schedule pays the month before; *Start a month* does it by hand."
    list_display = ["name", "state", "progress", "rewards_shown", "coins_shown", "took", "started_at"]
    list_filter = [("status", ChoicesDropdownFilter)]
    ordering = ["-year", "-month"]
    actions_list = ["start"]
    actions_detail = ["retry"]
    fieldsets: Any = []

    # ----------------------------------------------------------------------------------------------------- the list

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With the payouts of each, by two queries instead of two a line."""
        changes = super().get_changelist_instance(request)
        attach_payouts(changes.result_list)
        return changes

    @display(description="Month", ordering="year")
    def name(self, job: MonthlyRewardJob) -> str:
        return month_in_words(job)

    @display(description="Status")
    def state(self, job: MonthlyRewardJob) -> SafeString:
        return state_of(job, timezone.now())

    @display(description="Progress")
    def progress(self, job: MonthlyRewardJob) -> str:
        return progress_of(job, payouts(job), timezone.now())

    @display(description="Rewards")
    def rewards_shown(self, job: MonthlyRewardJob) -> str:
        return grouped(rewards_awarded(job))

    @display(description="Coins")
    def coins_shown(self, job: MonthlyRewardJob) -> str:
        return coins_in_words(payouts(job))

    @display(description="Took")
    def took(self, job: MonthlyRewardJob) -> str:
        return duration(job.duration)

    # ----------------------------------------------------------------------------------------------------- one of them

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        job = MonthlyRewardJob.objects.select_related("actor").filter(pk=object_id).first()
        if job is not None and self.has_view_permission(request, job):
            attach_payouts([job])
            extra_context = (extra_context or {}) | page_of(job, timezone.now())
        return super().change_view(request, object_id, form_url, extra_context)

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Only a failed one is retried."""
        failed = MonthlyRewardJob.objects.filter(pk=object_id, status=Status.FAILED).exists()
        return super().get_actions_detail(request, object_id) if failed else []

    @action(
        description="Retry", url_path="retry", icon="replay", variant=ActionVariant.PRIMARY, permissions=["run_month"]
    )  # fmt: skip
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = get_object_or_404(MonthlyRewardJob, pk=object_id)
        if not self.has_view_permission(request):
            raise PermissionDenied
        attach_payouts([job])
        question = Question(
            title=f"Retry the rewards of {month_in_words(job)}",
            explanation="It continues where it stopped: what is paid stays, what failed is tried again. See to it "
            "first that what stood in the way is gone.",
            button="Retry",
            figures=[
                ("Status", state_of(job, timezone.now())),
                ("Paid so far", coins_in_words(payouts(job))),
                ("What failed", job.error_message or "–"),
            ],
        )

        def do(reason: str) -> str:
            retry_job(job.pk, cast(User, request.user), timezone.now())
            return told_worker(request, f"The rewards of {month_in_words(job)} are processed again")

        return ask_then_do(request, question, do, back=admin_url(job), context=page_context(request, self, job))

    @action(description="Start a month", url_path="start", icon="play_arrow", permissions=["run_month"])
    def start(self, request: HttpRequest) -> HttpResponse:
        """A month is started once: who asks again is led to the job that there is."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = timezone.now()
        before = previous_month(now)
        form = StartForm(request.POST or None, initial={"month": before.month, "year": before.year})
        if request.method == "POST" and form.is_valid():
            job = started(request, form, now)
            if job is not None:
                return HttpResponseRedirect(admin_url(job))
        context = page_context(request, self) | {
            "title": "Start a month's rewards",
            "form": form,
            "explanation": "Every active category is ranked and paid for that month, once: a month that was started "
            "already is not started again. What needs an approval waits for it.",
            "table": categories_table(),
            "button": "Start",
            "back": admin_url(MonthlyRewardJob),
        }
        return TemplateResponse(request, "admin/form_page.html", context)


def started(request: HttpRequest, form: StartForm, at: datetime) -> MonthlyRewardJob | None:
    """The job of the month, now or already started; None and a mistake in the form when it cannot be."""
    user = cast(User, request.user)
    try:
        job, created = start_job(
            form.cleaned_data["year"], form.cleaned_data["month"], by=user.get_username(), at=at, actor=user
        )
    except RewardsError as error:
        form.add_error(None, sentence_of(error))
        return None
    if created:
        messages.success(request, told_worker(request, f"The rewards of {month_in_words(job)} are started"))
    else:
        messages.info(request, f"The rewards of {month_in_words(job)} were started already: they are {job.status}.")
    return job


def told_worker(request: HttpRequest, sentence: str) -> str:
    """Ask a worker to do what is due; what to say. Without a broker the schedule does it."""
    try:
        run_now(JOB, request.user)
    except RewardsError as error:
        return f"{sentence}. {error.message}"
    return f"{sentence}: a worker was asked to do it."


# ------------------------------------------------------------------------------------------------------------- in words


def month_in_words(job: MonthlyRewardJob) -> str:
    """`October 2026`."""
    return f"{date(job.year, job.month, 1):%B %Y}"


def is_lost(job: MonthlyRewardJob, at: datetime) -> bool:
    """Whether whoever worked at it has not been heard of for too long; the schedule has another one take over."""
    silent_for = at - (job.heartbeat_at or job.started_at)
    return job.status == Status.PROCESSING and silent_for > timedelta(seconds=param("monthly.lost_after_seconds"))


def state_of(job: MonthlyRewardJob, at: datetime) -> SafeString:
    """Its status; `waits` where an approver is all that it lacks, `lost` where nobody is at it."""
    if job.status == Status.PROCESSING and any(map(waits_for_approval, payouts(job))):
        return badge("allocated", "waits for approval")
    return badge("lost", "nobody is at it") if is_lost(job, at) else badge(job.status)


def progress_of(job: MonthlyRewardJob, distributions: Iterable[Distribution], at: datetime) -> str:
    """`1 of 2 categories, heard of 12 s ago`."""
    found = list(distributions)
    done = sum(each.status in OVER for each in found)
    every = len({each.programme for each in found} | failed_programmes(job) | expected_programmes(job))
    shown = f"{done} of {every} categories" if every else "no category"
    if job.status != Status.PROCESSING:
        return shown
    heard = f"heard of {ago(job.heartbeat_at, at)}" if job.heartbeat_at else "waits for a worker"
    return f"{shown}, {heard}"


def failed_programmes(job: MonthlyRewardJob) -> set[str]:
    """Those that errors are known of, also where no payout was opened."""
    return {f"{PROGRAMME}:{each['category']}" for each in errors_of(job) if each["category"]}


def expected_programmes(job: MonthlyRewardJob) -> set[str]:
    """While it runs, those that come; what a job that is over had, its payouts and errors say."""
    if job.status != Status.PROCESSING:
        return set()
    return {category.programme for category in job.categories}  # type: ignore[attr-defined]


def errors_of(job: MonthlyRewardJob) -> list[dict[str, str]]:
    """As (`category`, `error`); the category is empty for what stopped the job as a whole."""
    return [
        {"category": str(each.get("category", "")), "error": str(each.get("error", ""))}
        for each in job.results.get("errors", [])
        if isinstance(each, dict)
    ]


def coins_in_words(distributions: Iterable[Distribution]) -> str:
    """What was paid and not taken back, in each currency: `18,400 coins`."""
    paid: dict[Any, int] = defaultdict(int)
    for each in distributions:
        if each.status != Distribution.Status.REVERSED:
            paid[each.currency] += each.paid_amount
    return ", ".join(amount(minor, currency) for currency, minor in paid.items() if minor) or "–"


def paid_in_words(distribution: Distribution) -> str:
    paid = amount(distribution.paid_amount, distribution.currency)
    return f"{paid}, taken back" if distribution.status == Distribution.Status.REVERSED else paid


def rewards_awarded(job: MonthlyRewardJob) -> int:
    """How many rewards were paid and not taken back."""
    taken_back = {slug_of(each) for each in payouts(job) if each.status == Distribution.Status.REVERSED}
    categories = job.results.get("categories", {}).items()
    return sum(each.get("rewardsAwarded", 0) for slug, each in categories if slug not in taken_back)


def slug_of(distribution: Distribution) -> str:
    """Of the category that it pays."""
    return distribution.programme.partition(":")[2]


# ---------------------------------------------------------------------------------------------------------- its payouts


def attach_payouts(jobs: Iterable[MonthlyRewardJob]) -> None:
    """The distributions of each job, and the categories that there are."""
    found = list(jobs)
    keys = [job.period_key for job in found]
    by_month: dict[str, list[Distribution]] = defaultdict(list)
    under = Distribution.objects.filter(programme__startswith=f"{PROGRAMME}:", period_key__in=keys)
    for distribution in under.select_related("currency").order_by("programme"):
        by_month[distribution.period_key].append(distribution)
    categories = list(RankingCategory.objects.filter(active=True))
    for job in found:
        job.payouts, job.categories = by_month[job.period_key], categories  # type: ignore[attr-defined]


def payouts(job: MonthlyRewardJob) -> list[Distribution]:
    """As attached."""
    return job.payouts  # type: ignore[attr-defined]


def page_of(job: MonthlyRewardJob, at: datetime) -> dict[str, Any]:
    errors = errors_of(job)
    return {
        "job": job,
        "month": month_in_words(job),
        "state": state_of(job, at),
        "next_step": what_next(job, at),
        "figures": [
            ("Progress", progress_of(job, payouts(job), at).partition(",")[0], ""),
            ("Rewards", grouped(rewards_awarded(job)), "paid to recipients"),
            ("Paid", coins_in_words(payouts(job)), ""),
            ("Took", duration(job.duration), "from start to end"),
        ],
        "payouts_table": payouts_table(job, {each["category"]: each["error"] for each in errors}),
        "failures": [(each["category"] or "the job", each["error"]) for each in errors],
        "facts": facts_of(job, at),
        "results_json": pretty_json(job.results),
    }


def what_next(job: MonthlyRewardJob, at: datetime) -> str:
    """What there is to do, in a sentence."""
    if job.status == Status.COMPLETED:
        return said_when_over(payouts(job))
    if job.status == Status.FAILED:
        return "What is paid stays paid. Mend what is said below, then retry it: it continues where it stopped."
    waiting = [each for each in payouts(job) if waits_for_approval(each)]
    if waiting:
        return f"{' and '.join(map(str, waiting))} wait for an approver. The rest follows by itself."
    if is_lost(job, at):
        return "Nobody is at it: the schedule has another worker take it over and finish it. Nobody is paid twice."
    return "It is being worked at; look again in a moment."


def said_when_over(distributions: Iterable[Distribution]) -> str:
    """Of a month that is completed: whether everybody is paid, and if not, for which categories nobody is."""
    by_status: dict[str, list[str]] = defaultdict(list)
    for each in distributions:
        by_status[each.status].append(slug_of(each))
    rest = "Everybody else is paid. " if by_status.pop(Distribution.Status.PAID, []) else ""
    if not by_status:
        return "Everybody is paid for this month. There is nothing to do."
    sentences = [NOT_PAID.get(status, f"{{}}: {status}.").format(" and ".join(of)) for status, of in by_status.items()]
    nothing = "" if by_status.keys() - DONE_WITH else "There is nothing to do."
    return f"{' '.join(sentences)} {rest}{nothing}".strip()


def facts_of(job: MonthlyRewardJob, at: datetime) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("Started", f"{job.started_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("By", link_to(job.actor) if job.actor else job.started_by or "the schedule"),
    ]
    if job.completed_at:
        facts.append(("Ended", f"{job.completed_at:%Y-%m-%d %H:%M:%S} UTC"))
    if job.heartbeat_at:
        facts += [("Heard of", ago(job.heartbeat_at, at)), ("Worker", job.worker or "–")]
    return facts


def payouts_table(job: MonthlyRewardJob, errors: dict[str, str]) -> Table:
    """A line for each category: its payout, or why there is none."""
    columns = ["Category", "Payout", "Status", "Took part", "Recipients", "Paid"]
    rows: list[tuple[Any, ...]] = [
        (
            slug_of(each),
            link_to(each),
            badge(each.status),
            grouped(each.participants),
            grouped(each.recipients),
            paid_in_words(each),
        )
        for each in payouts(job)
    ]
    opened = {row[0] for row in rows}
    rows += [(slug, "not opened", badge("failed"), "–", "–", "–") for slug in errors if slug and slug not in opened]
    return Table(columns, rows, frozenset(columns[3:]), "No category has been worked at yet.")


def categories_table() -> Table:
    """What a month would be paid by."""
    rows = [
        (link_to(category, category.title or category.slug), category.group.name if category.group else "everybody")
        for category in RankingCategory.objects.filter(active=True).select_related("group")
    ]
    return Table(["Category", "Who"], rows, empty="No category is active: nobody would be paid.")
