"""Taking a badge back and giving it back; its bonus goes along."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from badges.errors import AlreadyRevoked, NoSuchAward, NotRevoked
from badges.models import BadgeAward
from rewards.audit.services import record
from rewards.common.errors import ReasonMissing
from rewards.distributions.errors import NotAllowed
from rewards.ledger import services as ledger
from rewards.ledger.debts import REFUSE, Clawback, Taken, clawback, cover
from rewards.ledger.models import WRITE_OFF, Journal, Transfer
from rewards.users.models import User


def revoke(award_id: int, actor: User, reason: str, *, missing: str = REFUSE) -> BadgeAward:
    """Take a badge back: the award stays, marked, and stands in the way of another; its bonus is reversed.

    `missing` says what happens when the user has spent the bonus: refuse, lend or write_off, as in
    `rewards.distributions.corrections.take_back`. Needs the right `badges.revoke_badgeaward`. Raises `NotAllowed`,
    `ReasonMissing`, `NoSuchAward`, `AlreadyRevoked`, `InsufficientFunds`; nothing is changed then.
    """
    _require_right_and_reason(actor, reason)
    with transaction.atomic():
        award = _locked(award_id)
        if award.revoked_at is not None:
            raise AlreadyRevoked(f"{award.badge.slug} of {award.user} is revoked already.")
        bonus = bonus_of(award)
        taken = _take_bonus_back(bonus, actor, reason, missing) if bonus else None
        award.revoked_at, award.revoked_by, award.reason = timezone.now(), actor, reason
        award.save(update_fields=["revoked_at", "revoked_by", "reason"])
        _record("badge_revoked", award, actor, reason, bonus, _told(taken, missing), taken.total if taken else 0)
    return award


def reinstate(award_id: int, actor: User, reason: str) -> BadgeAward:
    """Give a revoked badge back, and pay again what came back of its bonus, once; what was written off stays given up.

    Needs the right `badges.revoke_badgeaward`. Raises `NotAllowed`, `ReasonMissing`, `NoSuchAward`, `NotRevoked`,
    `PayoutsPaused`, `InactiveCurrency`; nothing is changed then.
    """
    _require_right_and_reason(actor, reason)
    ledger.require_payouts_running()
    with transaction.atomic():
        award = _locked(award_id)
        if award.revoked_at is None:
            raise NotRevoked(f"{award.badge.slug} of {award.user} is not revoked.")
        bonus, paid = bonus_of(award), 0
        if bonus and bonus.reversals.exists() and (paid := bonus.amount - _written_off(bonus)):
            award.journal = _pay_again(award, bonus, paid, actor, reason)
        award.revoked_at, award.revoked_by, award.reason = None, None, ""
        award.save(update_fields=["journal", "revoked_at", "revoked_by", "reason"])
        _record("badge_reinstated", award, actor, reason, bonus, {}, paid)
    return award


def bonus_of(award: BadgeAward) -> Transfer | None:
    """The transfer that paid the bonus, among those of its journal; None where the badge came without one."""
    paid = Transfer.objects.select_related("journal", "currency", "debit_account", "credit_account")
    return paid.filter(journal=award.journal_id, credit_account__user=award.user_id, reverses=None).first()


# --------------------------------------------------------------------------------------------------------------- steps


def _require_right_and_reason(actor: User, reason: str) -> None:
    if not actor.has_perm("badges.revoke_badgeaward"):
        raise NotAllowed(f"{actor} may not do this: it takes the right 'revoke_badgeaward'.")
    if not reason.strip():
        raise ReasonMissing()


def _locked(award_id: int) -> BadgeAward:
    """The award, its row locked: two who revoke it come one after the other."""
    awards = BadgeAward.objects.select_related("badge", "user").select_for_update(no_key=True, of=("self",))
    award = awards.filter(pk=award_id).first()
    if award is None:
        raise NoSuchAward(f"There is no award {award_id}.")
    return award


def _take_bonus_back(bonus: Transfer, actor: User, reason: str, missing: str) -> Clawback | None:
    """None where it was reversed before, with its journal."""
    if missing == WRITE_OFF:  # created before anything is locked
        ledger.system_account(WRITE_OFF, bonus.currency)
    ledger.lock_accounts_of([bonus.journal_id], only=[bonus.pk])
    taken = Taken([bonus.journal_id], bonus.pk)
    found = clawback(taken)
    if not found.recipients:
        return None
    about = f"transfer:{bonus.pk}"
    cover(taken, found, missing, bonus.currency, _cover_key(bonus), reason=reason, actor=actor, source=about)
    ledger.reverse(bonus.journal, reason, actor, only=[bonus.pk])
    return found


def _cover_key(bonus: Transfer) -> str:
    return f"cover:transfer:{bonus.pk}"


def _written_off(bonus: Transfer) -> int:
    """What of a reversed bonus the user did not give back, and does not owe: what he had spent is his already."""
    moved = Transfer.objects.filter(journal__key=_cover_key(bonus), journal__kind=WRITE_OFF)
    return moved.aggregate(total=Sum("amount"))["total"] or 0


def _pay_again(award: BadgeAward, bonus: Transfer, amount: int, actor: User, reason: str) -> Journal:
    """What was paid and came back: under a key of that transfer, so once."""
    move = ledger.Move(bonus.debit_account, bonus.credit_account, amount)
    return ledger.post(
        f"badge:{award.badge.slug}:again:{bonus.pk}", "badge", [move],
        reason=reason, actor=actor, source=f"badge:{award.badge_id}",
    )  # fmt: skip


def _record(
    event_type: str,
    award: BadgeAward,
    actor: User,
    reason: str,
    bonus: Transfer | None,
    more: dict[str, Any],
    amount: int,
) -> None:
    record(
        event_type, user=award.user, actor=actor, reason=reason,
        amount=amount if bonus else None, currency=bonus.currency if bonus else None,
        data={"badge": award.badge.slug, "award": award.pk, "period": award.period_key, **more},
    )  # fmt: skip


def _told(taken: Clawback | None, missing: str) -> dict[str, Any]:
    """What the audit keeps about a bonus that was spent; minor units."""
    return {"missing": missing, "missing_total": taken.missing_total} if taken and taken.short else {}
