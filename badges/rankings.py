"""The badges of the month: for the tiers of paid monthly rankings, and back when a ranking is reversed."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np
from django.db import transaction
from django.db.models import QuerySet
from django.utils.text import slugify

from badges.giving import deactivated_users, give, in_steps, noted
from badges.models import Badge, BadgeAward, PaidRanking
from rewards.audit.services import record
from rewards.common.columns import Column, read_columns
from rewards.common.database import insert_if_absent, is_postgresql, table_of
from rewards.distributions.models import Distribution, Reward
from rewards.jobs.progress import Steps, Unwatched
from rewards.ledger import services as ledger
from rewards.ledger.debts import LEND, Taken, clawback, cover
from rewards.ledger.errors import AlreadyReversed
from rewards.ledger.models import Currency, Journal, Transfer
from rewards.monthly.models import PROGRAMME

SLUG_PREFIX = "monthly-"
ORDER = 1_000
"""After the others."""

Status = Distribution.Status


class Tally(Protocol):
    """Where it is put down what was given and revoked, and what could not be given and why."""

    rankings: int
    revoked: int
    refused: dict[str, str]


@dataclass
class Rankings:
    rankings: int = 0
    revoked: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def award_paid_rankings(at: datetime, progress: Steps | None = None, tally: Tally | None = None) -> Tally:
    """Give the badges of monthly rankings that are paid, `monthly-<tier>` for each tier that paid somebody, and revoke
    those of rankings that were reversed since.

    A badge of a tier that is not there yet is created; one that an operator has switched off is not given. Each user
    gets one for each category and month, that of the best tier which paid him, however often this runs. Raises
    `PayoutsPaused`.
    """
    progress, tally = progress or Unwatched(), tally or Rankings()
    for ranking in _reversed():
        if not progress.keep_going():
            return tally
        revoked = _revoke_all(ranking, at)
        progress.step(successes=revoked)
        tally.revoked += revoked
    for distribution in _not_done():
        with noted(tally.refused, str(distribution)):
            _award(distribution, at, progress, tally)
    return tally


def period_key_of(distribution: Distribution) -> str:
    """Of its badges: category and month, as in `writers:2026-10`."""
    return f"{distribution.programme.removeprefix(f'{PROGRAMME}:')}:{distribution.period_key}"


# ------------------------------------------------------------------------------------------------------------- giving


def _not_done() -> list[Distribution]:
    paid = Distribution.objects.filter(programme__startswith=f"{PROGRAMME}:", status=Status.PAID)
    done = PaidRanking.objects.exclude(awarded_at=None).values("distribution")
    return list(paid.exclude(pk__in=done).select_related("currency").order_by("pk"))


def _award(distribution: Distribution, at: datetime, progress: Steps, tally: Tally) -> None:
    """Its row comes before the first award, so that what a process that died has given is revoked with the ranking; it
    is done when all are given: the next check goes on, and meets the unique rows of awards."""
    ranking, _ = PaidRanking.objects.get_or_create(distribution=distribution)
    paid = 0
    for tier, members in _by_best_tier(distribution):
        badge = _badge_of(tier)
        for user_ids in in_steps(members) if badge.active else ():
            if not progress.keep_going():
                return
            given = _give(ranking, badge, user_ids, at)
            if given is None:
                return
            progress.step(successes=given)
            tally.rankings += given
            paid += len(user_ids)
    PaidRanking.objects.filter(pk=ranking.pk, awarded_at=None).update(awarded=paid, awarded_at=at)


def _give(ranking: PaidRanking, badge: Badge, user_ids: Column, at: datetime) -> int | None:
    """None when nothing may be given: the badges of the ranking were revoked meanwhile, or the definition changed."""
    with transaction.atomic():
        if not _hold(ranking):
            return None
        return give(badge, period_key_of(ranking.distribution), user_ids, at, remembered=False)


def _hold(ranking: PaidRanking) -> bool:
    """Whether its badges are not revoked; until the transaction ends nobody else gives or revokes any."""
    return PaidRanking.objects.select_for_update(no_key=True).filter(pk=ranking.pk, revoked_at=None).exists()


def _by_best_tier(distribution: Distribution) -> Iterator[tuple[str, Column]]:
    """Each tier that paid, best first, and the ids of those who get its badge, in ascending order.

    Equals that share several tiers get the badge of the best. Whoever is deactivated gets none.
    """
    passed_over = deactivated_users()
    for tier in _tiers_that_paid(distribution):
        members = _members(distribution, tier)
        members = members[~np.isin(members, passed_over)]
        yield tier, members
        passed_over = np.concatenate([passed_over, members])


def _tiers_that_paid(distribution: Distribution) -> list[str]:
    """Their names, best first. A rule without places has none."""
    if distribution.rule.get("rule") not in ("tiers", "slices"):
        return []
    return [part["name"] for part in distribution.results.get("slices", []) if part["paid"]]


def _badge_of(tier: str) -> Badge:
    """The badge of a tier, created when it is missing."""
    slug = (SLUG_PREFIX + (slugify(tier) or hashlib.sha256(tier.encode()).hexdigest()[:12]))[:80]
    badge = Badge(
        slug=slug, name=f"Monthly {tier}"[:120], description=f"{tier} of the month", icon="🏅",
        repeat=Badge.Repeat.PER_PERIOD, active=True, order=ORDER,
    )  # fmt: skip
    with transaction.atomic():
        if insert_if_absent(badge, ["slug"]):
            Badge.history.bulk_history_create([badge], default_change_reason="first paid")
    return Badge.objects.get(slug=slug)


def _members(distribution: Distribution, tier: str) -> Column:
    """The ids of those whom the tier paid, in ascending order."""
    paid = _PAID_BY_TIER if is_postgresql() else _PAID_BY_TIER_ON_SQLITE
    rewards = f"{table_of(Reward)} WHERE distribution_id = %s AND {paid}"
    parameters = [distribution.pk, tier]
    user_ids = read_columns(f"SELECT CAST(user_id AS bigint) FROM {rewards}", parameters, 1)[0]
    user_ids.sort()
    return user_ids


_PAID_BY_TIER = "CAST(breakdown ->> %s AS bigint) > 0"

_PAID_BY_TIER_ON_SQLITE = "EXISTS (SELECT 1 FROM json_each(breakdown) WHERE key = %s AND value > 0)"


# ------------------------------------------------------------------------------------------------------------ revoking


def _reversed() -> list[PaidRanking]:
    given = PaidRanking.objects.filter(distribution__status=Status.REVERSED, revoked_at=None)
    return list(given.select_related("distribution").order_by("pk"))


def _revoke_all(given: PaidRanking, at: datetime) -> int:
    """Revoke what a ranking gave, with the reason of its reversal; bonuses that are spent are owed."""
    distribution = given.distribution
    with transaction.atomic():
        if not _hold(given):
            return 0
        standing = _locked_awards(distribution).filter(revoked_at=None)
        with_bonus = standing.exclude(journal=None).order_by("journal_id")
        _reverse_bonuses(list(with_bonus.values_list("journal_id", flat=True).distinct()), distribution)
        revoked = standing.update(revoked_at=at, reason=distribution.reason[:500])
        PaidRanking.objects.filter(pk=given.pk).update(revoked_at=at)
        record(
            "badges_revoked", distribution=distribution, reason=distribution.reason,
            data={"period": period_key_of(distribution), "awards": revoked},
        )  # fmt: skip
    return revoked


def _locked_awards(distribution: Distribution) -> QuerySet[BadgeAward]:
    """All awards of a ranking, also those that are revoked: one that is reinstated at this moment stands afterwards,
    with another journal. Locked before any account, as when a single one is revoked."""
    badge_ids = [*Badge.objects.filter(slug__startswith=SLUG_PREFIX).values_list("pk", flat=True)]
    awards = BadgeAward.objects.filter(badge__in=badge_ids, period_key=period_key_of(distribution))
    locked = awards.order_by("pk").select_for_update(no_key=True).values_list("pk")
    deque(locked.iterator(), maxlen=0)  # they may be a million
    return awards


def _reverse_bonuses(journal_ids: list[int], distribution: Distribution) -> None:
    """All of a journal's: a journal pays the badge of one tier and month."""
    if not journal_ids:
        return
    ledger.lock_accounts_of(journal_ids)
    journals = Journal.objects.filter(pk__in=journal_ids).order_by("pk")
    currencies = Currency.objects.filter(pk__in=Transfer.objects.filter(journal__in=journals).values("currency"))
    about = f"distribution:{distribution.pk}"
    for currency in currencies.order_by("pk"):
        taken = Taken([journal.pk for journal in journals.filter(transfers__currency=currency).distinct()])
        key = f"cover:badges:{about}:{currency.code}"
        cover(taken, clawback(taken), LEND, currency, key, reason=distribution.reason, actor=None, source=about)
    for journal in journals:
        with suppress(AlreadyReversed):
            ledger.reverse(journal, distribution.reason)
