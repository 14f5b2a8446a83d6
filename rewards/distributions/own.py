"""A user's own rewards: his rows of all payouts, with the status of each worked out by the database.

`queries.statuses_of` says the same of the rows of one distribution.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Case, CharField, Exists, OuterRef, Q, QuerySet, Value, When

from rewards.distributions.models import CHAIN, Distribution, DistributionChunk, Reward
from rewards.ledger.models import CLAIMABLE, Transfer
from rewards.users.models import User

Status = Reward.Status


def own_rewards(user: User) -> QuerySet[Reward]:
    """The user's rows of all payouts that were approved, with `seen_as`: the status of each, as `status_of` has it.

    A user has one row of a distribution, so their order by distribution is without equals, and an index has it.
    """
    return Reward.objects.filter(user=user, distribution__approved_at__isnull=False).annotate(seen_as=_status(user))


def _status(user: User) -> Case:
    told_apart = (Status.NONE, Status.REVERSED, Status.PAID, Status.CLAIMABLE, Status.PROCESSING, Status.FAILED)
    return Case(
        *[When(status_is(each, user), then=Value(each.value)) for each in told_apart],
        default=Value(Status.ALLOCATED.value),
        output_field=CharField(),
    )


def status_is(status: str, user: User) -> Q:
    """The user's rows that have this status. What is rare is looked for among the few payouts where it can be."""
    failed, paid_whole = Distribution.Status.FAILED, Distribution.Status.PAID
    paid = Q(distribution__status=paid_whole) | Q(Exists(_paid_chunk()))
    unpaid = ~Q(distribution__status=paid_whole) & ~Q(Exists(_paid_chunk()))
    taken_back = Q(distribution__in=_taken_back(user))
    had = Q(amount__gt=0) & paid & ~taken_back
    on_chain = Q(distribution__payout=CHAIN)
    match status:
        case Status.NONE:
            return Q(amount=0)
        case Status.REVERSED:
            return Q(amount__gt=0) & taken_back
        case Status.PAID:
            return had & (~on_chain | Q(chain_claim__status="completed"))
        case Status.CLAIMABLE:
            return had & on_chain & Q(chain_claim__isnull=True)
        case Status.PROCESSING:
            return had & on_chain & Q(chain_claim__status="processing")
        case Status.FAILED:
            of_the_payout = Q(amount__gt=0, distribution__status=failed) & unpaid
            return of_the_payout | had & on_chain & Q(chain_claim__status="failed")
        case Status.ALLOCATED:
            return Q(amount__gt=0) & ~Q(distribution__status=failed) & unpaid
        case _:
            return Q(pk__in=())


def _paid_chunk() -> QuerySet[DistributionChunk]:
    return DistributionChunk.objects.filter(
        distribution=OuterRef("distribution"),
        first_position__lte=OuterRef("position"),
        last_position__gte=OuterRef("position"),
        journal__isnull=False,
    )


def _taken_back(user: User) -> QuerySet[Any, Any]:
    """The distributions whose reward the user had and gave back, found by the transfers that took it from him."""
    paid_into = ("", CLAIMABLE)
    mirrors = Transfer.objects.filter(
        debit_account__user=user, debit_account__code__in=paid_into, reverses__isnull=False
    )
    chunks = mirrors.filter(reverses__journal__chunk__isnull=False)
    return chunks.values("reverses__journal__chunk__distribution")
