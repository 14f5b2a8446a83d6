"""Reading campaigns: their runs, and what stands against them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Q, QuerySet, Sum

from rewards.allocation.rules import Allocation
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.campaigns.schedule import ONCE, Run, occurrences, occurrences_until
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import Draft
from rewards.distributions.rows import decimal_texts

Status = Distribution.Status


def distributions_of(campaign: Campaign) -> QuerySet[Distribution]:
    """Its runs that have been opened, newest first."""
    return Distribution.objects.filter(programme=campaign.programme).order_by("-starts_at", "-pk")


def has_begun(campaign: Campaign) -> bool:
    """Whether what it pays cannot be changed: a one-off run is opened, or one of a schedule is being worked out."""
    opened = distributions_of(campaign)
    if campaign.schedule:
        opened = opened.filter(allocated_at=None).exclude(status=Status.CANCELLED)
    return opened.exists()


def runs_due(campaign: Campaign, at: datetime) -> list[Run]:
    """Runs due at `at` that are not opened yet, oldest first. An active campaign without a start waits for somebody.

    A run stands by its key and by its instant: in another time zone the same instant may have another date.
    """
    if campaign.starts_at is None or campaign.starts_at > at:
        return []
    opened = {each for run in distributions_of(campaign).values_list("period_key", "starts_at") for each in run}
    due: Iterable[tuple[str, datetime]] = [(ONCE, campaign.starts_at)]
    if campaign.schedule:
        due = occurrences_until(campaign.schedule, campaign.starts_at, at, settings.REWARDS_TIME_ZONE)
    return [Run(campaign.programme, key, due_at) for key, due_at in due if not {key, due_at} & opened]


def next_run_at(campaign: Campaign, at: datetime) -> datetime | None:
    """When the campaign runs next by itself, after `at`; None where it does not."""
    if campaign.status != Campaign.Status.ACTIVE or campaign.starts_at is None:
        return None
    if not campaign.schedule:
        return campaign.starts_at if campaign.starts_at > at else None
    to_come = occurrences(campaign.schedule, campaign.starts_at, settings.REWARDS_TIME_ZONE)
    return next((instant for _, instant in to_come if instant > at), None)


def campaigns_started(at: datetime) -> QuerySet[Campaign]:
    """Active campaigns whose start has come, the earliest first."""
    active = Campaign.objects.filter(status=Campaign.Status.ACTIVE, starts_at__lte=at)
    return active.select_related("currency", "prepared_by").order_by("starts_at", "pk")


def all_runs_due(at: datetime) -> list[Run]:
    """Every campaign's, oldest first."""
    due = [run for campaign in campaigns_started(at) for run in runs_due(campaign, at)]
    return sorted(due, key=lambda run: run.due_at)


class ListFacts(NamedTuple):
    """What the stored list of a campaign comes to."""

    lines: int
    with_amount: int
    total: int
    with_weight: int
    with_group: int


def list_facts(campaign: Campaign) -> ListFacts:
    """Counts of its lines; `total` of their amounts in minor units."""
    facts = CampaignParticipant.objects.filter(campaign=campaign).aggregate(
        lines=Count("pk"),
        with_amount=Count("amount"),
        total=Sum("amount", default=0),
        with_weight=Count("pk", filter=~Q(weight__in=("", "0"))),
        with_group=Count("pk", filter=~Q(group="")),
    )
    return ListFacts(**{name: int(value) for name, value in facts.items()})


EXPORTED = ("user", "weight", "position", "amount", "breakdown")


def exported_rows(distribution: Distribution) -> Iterator[tuple[Any, ...]]:
    """Values of `EXPORTED` by position: what each got and why, amounts in currency units, the breakdown as JSON."""
    units = distribution.currency.to_units
    rewards = Reward.objects.filter(distribution=distribution).order_by("position")
    columns = rewards.values_list("user__username", "score", "position", "amount", "breakdown")
    for username, score, position, amount, breakdown in columns.iterator(chunk_size=10_000):
        yield _exported_row(username, score, position, amount, breakdown, units)


def previewed_rows(draft: Draft, allocation: Allocation) -> Iterator[tuple[Any, ...]]:
    """The same of what would be paid."""
    columns = zip(
        draft.snapshot.usernames,
        decimal_texts(draft.snapshot.scores),
        allocation.amounts.tolist(),
        allocation.breakdowns(),
        strict=True,
    )
    for position, (username, score, amount, breakdown) in enumerate(columns, start=1):
        yield _exported_row(username, score, position, amount, breakdown, draft.currency.to_units)


def _exported_row(
    username: str, score: str, position: int, amount: int, breakdown: dict[str, int], units: Callable[[int], str]
) -> tuple[Any, ...]:
    parts = json.dumps({name: units(breakdown[name]) for name in sorted(breakdown)}, ensure_ascii=False)
    return username, score, position, units(amount), parts
