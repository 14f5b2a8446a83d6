"""What late events would have changed about a payout, paid as a campaign of its own. History itself never moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Sum

from rewards.audit.services import record
from rewards.campaigns.errors import NothingToCorrect
from rewards.campaigns.models import CORRECTION, Campaign
from rewards.campaigns.services import correction_limit, create_campaign, require_paid, store_rows
from rewards.common.database import in_batches
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.programmes import LateChange, programme_of
from rewards.distributions.queries import taken_back_from
from rewards.distributions.stages import lock_row
from rewards.users.models import User

NAMES_AT_ONCE = 500


class Differences(NamedTuple):
    """What late events would have changed: whom more is due, and who was given more than that; minor units.

    What earlier corrections have paid counts as given. Those from whom the reward was taken back are in neither.
    """

    missing: list[LateChange]
    given_too_much: list[LateChange]

    @property
    def to_pay(self) -> int:
        return sum(each.with_late_events - each.amount for each in self.missing)

    @property
    def too_much(self) -> int:
        """What nobody is asked to give back."""
        return sum(each.amount - each.with_late_events for each in self.given_too_much)


def differences(distribution: Distribution) -> Differences:
    """A pure read. Raises `UnknownProgramme`, and what working the period out again fails with."""
    corrected, taken_back = _paid_by_corrections(distribution), taken_back_from(distribution)
    changes = [
        replace(each, amount=each.amount + corrected.get(each.username, 0))
        for each in programme_of(distribution).late_changes(distribution)
        if each.username not in taken_back
    ]
    missing = [each for each in changes if each.with_late_events > each.amount]
    return Differences(missing, [each for each in changes if each.with_late_events < each.amount])


def correction_of(distribution: Distribution) -> Campaign | None:
    """The campaign that is to pay what is missing, if there is one: neither cancelled nor paid yet."""
    over = (Campaign.Status.CANCELLED, Campaign.Status.DONE)
    return Campaign.objects.filter(corrects=distribution).exclude(status__in=over).first()


def correction_for(distribution: Distribution, actor: User | None, at: datetime) -> Campaign:
    """A campaign that pays those whom more is due what is missing, from issuance; it is a draft, for somebody to run.

    While it stands, a second call returns it, also when more events have come since; once it is paid or cancelled, a
    new one pays what is still missing. It waits for the approval of another person than `actor` from the parameter
    `corrections.approval_limit` on. Nothing is ever taken back from who was given too much. Raises `NothingToCorrect`,
    and like `differences`.
    """
    with transaction.atomic():
        lock_row(distribution)  # so that of two who want a correction one finds the other's
        standing = correction_of(distribution)
        if standing is not None:
            return standing
        require_paid(distribution)
        found = differences(distribution)
        if not found.missing:
            raise NothingToCorrect
        return _create(distribution, found, actor, at)


# --------------------------------------------------------------------------------------------------------------- steps


def _create(distribution: Distribution, found: Differences, actor: User | None, at: datetime) -> Campaign:
    currency = distribution.currency
    campaign = create_campaign(
        slug=_slug(distribution),
        title=f"Late events of {distribution}",
        currency=currency,
        rule={"rule": "fixed"},
        approval_limit=correction_limit(currency),
        corrects=distribution,
        actor=actor,
        at=at,
    )
    store_rows(campaign.pk, _rows(found.missing), actor=actor, at=at)
    record(
        "correction_prepared", distribution=distribution, actor=actor, amount=found.to_pay, currency=currency,
        data={"campaign": campaign.slug, "recipients": len(found.missing)},
    )  # fmt: skip
    campaign.refresh_from_db()
    return campaign


def _rows(missing: Sequence[LateChange]) -> list[tuple[int, str, int, str]]:
    """The lines of the list, each its own amount; whole, because nothing can be asked while they are written."""
    ids: dict[str, int] = {}
    for some in in_batches((each.username for each in missing), NAMES_AT_ONCE):
        ids.update(User.objects.filter(username__in=some).values_list("username", "pk"))
    return [(ids[each.username], "", each.with_late_events - each.amount, "") for each in missing]


def _paid_by_corrections(distribution: Distribution) -> dict[str, int]:
    """Username → minor units that corrections of it have paid."""
    programmes = [campaign.programme for campaign in Campaign.objects.filter(corrects=distribution)]
    paid = Reward.objects.filter(
        distribution__programme__in=programmes, distribution__status=Distribution.Status.PAID, amount__gt=0
    )
    return dict(paid.order_by().values_list("user__username").annotate(Sum("amount")))


def _slug(distribution: Distribution) -> str:
    """`correction-7`, the next ones of the same payout `correction-7-2` and so on."""
    earlier = Campaign.objects.filter(corrects=distribution).count()
    return f"{CORRECTION}{distribution.pk}" + (f"-{earlier + 1}" if earlier else "")
