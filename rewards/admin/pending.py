"""The queue of single rewards: what waits, what was paid by what, and what is dead until somebody queues it again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from rewards.admin.common.confirm import Question, ask_then_do, page_context, sentence_of
from rewards.admin.common.display import admin_url, ago, amount, badge, grouped, json_block, link_to
from rewards.admin.common.lists import BigList, users_found
from rewards.admin.common.readonly import ReadOnlyAdmin
from rewards.admin.common.rights import QueueRights
from rewards.common.errors import RewardsError
from rewards.pending.models import PendingReward
from rewards.pending.queries import dead_rewards
from rewards.pending.services import requeue
from rewards.users.models import User

Status = PendingReward.Status

MOST_DEAD_SHOWN = 200
MOST_FOUND = 500
DEAD = "dead"
STATES = {
    "queued": ("info", "queued"),
    "processing": ("info", "processing"),
    "distributed": ("success", "paid"),
    "failed": ("danger", DEAD),
    "expired": ("", "expired"),
}


class StateFilter(RadioFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status, text.capitalize()) for status, (_, text) in STATES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[PendingReward]) -> QuerySet[PendingReward]:
        return queryset.filter(status=self.value()) if self.value() in STATES else queryset


@admin.register(PendingReward)
class PendingRewardAdmin(QueueRights, BigList, ReadOnlyAdmin):
    empty_hint = "Rewards of single users are queued by the product and its API; staking and deployments add theirs."
    list_display = [
        "reward_id",
        "state",
        "priority",
        "user_name",
        "amount_shown",
        "reward_type",
        "tries",
        "due",
        "note",
    ]
    list_filter = [StateFilter]
    list_select_related = ["user", "currency"]
    search_fields = ["reward_id"]
    search_help_text = "Start of a reward's id, or of a username"
    actions_list = ["dead"]
    actions_detail = ["queue_again"]
    fieldsets = [
        (None, {"fields": ["reward_id", "state", "user_link", "amount_shown", "reward_type", "reason"]}),
        ("How it is paid", {"fields": ["priority", "tries", "last_error", "not_before", "expires_at"]}),
        ("What became of it", {"fields": ["queued_at", "processed_at", "distribution_link", "deployment_link"]}),
        ("Further", {"fields": ["metadata_shown"]}),
    ]
    readonly_fields = [
        "state", "user_link", "amount_shown", "tries", "distribution_link", "deployment_link", "metadata_shown",
    ]  # fmt: skip

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        ours = ("deployment__id__exact", "user__id__exact")
        return lookup in ours or super().lookup_allowed(lookup, value, request)

    def find(self, queryset: QuerySet[PendingReward], term: str) -> QuerySet[PendingReward]:
        by_id = PendingReward.objects.filter(reward_id__startswith=term).values_list("pk", flat=True)
        found = list(by_id[:MOST_FOUND])
        return queryset.filter(pk__in=found) if found else queryset.filter(user__in=users_found(term))

    # -------------------------------------------------------------------------------------------------- in columns

    @display(description="State")
    def state(self, reward: PendingReward) -> SafeString:
        return state_badge(reward)

    @display(description="User")
    def user_name(self, reward: PendingReward) -> str:
        return reward.user.get_username()

    @display(description="User")
    def user_link(self, reward: PendingReward) -> SafeString | str:
        return link_to(reward.user)

    @display(description="Amount")
    def amount_shown(self, reward: PendingReward) -> str:
        return amount(reward.amount, reward.currency)

    @display(description="Failed tries")
    def tries(self, reward: PendingReward) -> str:
        return f"{reward.retry_count} of {reward.max_retries + 1}" if reward.retry_count else "none"

    @display(description="Due")
    def due(self, reward: PendingReward) -> str:
        return due_shown(reward, timezone.now())

    @display(description="Last error")
    def note(self, reward: PendingReward) -> str:
        return in_a_line(reward.last_error)

    @display(description="Paid by")
    def distribution_link(self, reward: PendingReward) -> SafeString | str:
        return link_to(reward.distribution)

    @display(description="Deployment")
    def deployment_link(self, reward: PendingReward) -> SafeString | str:
        return link_to(reward.deployment)

    @display(description="Metadata")
    def metadata_shown(self, reward: PendingReward) -> SafeString | str:
        return json_block(reward.metadata) if reward.metadata else "none"

    # ------------------------------------------------------------------------------------------------- queued again

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        given_up = PendingReward.objects.filter(pk=object_id, status__in=[Status.FAILED, Status.EXPIRED]).exists()
        return super().get_actions_detail(request, object_id) if given_up else []

    @action(
        description="Queue again", url_path="queue-again", icon="replay", variant=ActionVariant.PRIMARY,
        permissions=["requeue"],
    )  # fmt: skip
    def queue_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        reward = get_object_or_404(PendingReward.objects.select_related("user", "currency"), pk=object_id)
        if not self.has_view_permission(request):
            raise PermissionDenied
        question = Question(
            title=f"Queue {reward} again",
            explanation=f"{amount(reward.amount, reward.currency)} for {reward.user} go back into the queue and are "
            f"tried {reward.max_retries + 1} times more. See to it first that what stood in the way is gone.",
            button="Queue again",
            figures=[
                ("State", state_badge(reward)),
                ("Failed tries", self.tries(reward)),
                ("Last error", reward.last_error or "–"),
                ("Given up", reward.processed_at or "–"),
            ],
        )

        def do(reason: str) -> str:
            requeue(reward.pk, cast(User, request.user), timezone.now())
            return f"{reward} is queued again: the next run of drain_pending pays it."

        return ask_then_do(
            request, question, do, back=admin_url(reward), context=page_context(request, self, reward)
        )  # fmt: skip

    @action(description="Dead rewards", url_path="dead", icon="heart_broken", permissions=["view"])
    def dead(self, request: HttpRequest) -> HttpResponse:
        """Those that are dead, to be queued again by choice."""
        if request.method == "POST":
            if not self.has_requeue_permission(request):
                raise PermissionDenied
            self._queue_chosen_again(request)
            return HttpResponseRedirect(dead_url())
        rewards = PendingReward.objects.filter(status=Status.FAILED).select_related("user", "currency").order_by("-pk")
        shown, count = list(rewards[:MOST_DEAD_SHOWN]), dead_rewards()
        context = page_context(request, self) | {
            "title": "Dead rewards",
            "rewards": [dead_line(reward) for reward in shown],
            "count": grouped(count),
            "more": grouped(count - len(shown)) if count > len(shown) else "",
            "may_queue": self.has_requeue_permission(request),
            "back": admin_url(PendingReward),
        }
        return TemplateResponse(request, "admin/dead_rewards.html", context)

    def _queue_chosen_again(self, request: HttpRequest) -> None:
        chosen = [int(text) for text in request.POST.getlist("reward") if text.isdecimal()][:MOST_DEAD_SHOWN]
        if not chosen:
            messages.warning(request, "Nothing was chosen, so nothing was queued again.")
            return
        done, refused = queue_all_again(chosen, cast(User, request.user), timezone.now())
        if done:
            noun = "reward is" if done == 1 else "rewards are"
            messages.success(request, f"{done} {noun} queued again: the next run of drain_pending pays them.")
        for sentence in refused:
            messages.error(request, sentence)


def queue_all_again(reward_ids: Iterable[int], actor: User, at: datetime) -> tuple[int, list[str]]:
    """Each by itself: how many are queued again, and why the others are not."""
    done, refused = 0, []
    for reward_id in reward_ids:
        try:
            requeue(reward_id, actor, at)
            done += 1
        except PendingReward.DoesNotExist:
            refused.append(f"There is no reward {reward_id} any more.")
        except RewardsError as error:
            refused.append(sentence_of(error))
    return done, refused


def dead_line(reward: PendingReward) -> dict[str, Any]:
    return {
        "pk": reward.pk,
        "link": link_to(reward),
        "user": link_to(reward.user),
        "amount": amount(reward.amount, reward.currency),
        "type": reward.reward_type,
        "tries": reward.retry_count,
        "since": ago(reward.processed_at),
        "error": reward.last_error or "–",
    }


def dead_url() -> str:
    return reverse("admin:rewards_pendingreward_dead")


def state_badge(reward: PendingReward) -> SafeString:
    kind, text = STATES[reward.status]
    return badge(reward.status, text, kind)


def due_shown(reward: PendingReward, at: datetime) -> str:
    """When the drainer takes it; of what is done, when that was."""
    if reward.status != Status.QUEUED:
        return ago(reward.processed_at, at) if reward.processed_at else "–"
    return ago(reward.not_before, at) if reward.not_before and reward.not_before > at else "now"


def in_a_line(text: str, longest: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
