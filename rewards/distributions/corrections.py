"""Taking back what was paid: a whole distribution or one reward, also from those who have spent it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from rewards.audit.services import record
from rewards.common.database import expect_many_rows
from rewards.distributions.errors import ClaimUnderWay, NoSuchRow, NothingToReverse
from rewards.distributions.models import CHAIN, Distribution, DistributionChunk, Reward
from rewards.distributions.queries import completed_claims, credit_of, transfer_of
from rewards.distributions.stages import lock_row, require_reason, require_right, update_row
from rewards.ledger import services as ledger
from rewards.ledger.debts import REFUSE, Clawback, Taken, clawback, cover
from rewards.ledger.errors import AlreadyReversed
from rewards.ledger.models import WRITE_OFF, Journal, Transfer
from rewards.users.models import User

Status = Distribution.Status


def clawback_preview(distribution: Distribution, reward: Reward | None = None) -> Clawback:
    """What `take_back` would do, and who has spent what he would give back. A pure read."""
    if reward is None:
        return _Payment.whole(distribution).clawback()
    paid = transfer_of(reward)
    return _Payment.single(reward, paid).clawback() if paid else clawback(Taken([]))


def reverse(distribution_id: int, actor: User, reason: str, *, missing: str = REFUSE) -> Distribution:
    """Mirror every transfer not reversed yet, in one transaction; what is not paid yet never will be. Final.

    Raises `NotAllowed`, `ReasonMissing`, `NothingToReverse`, and `InsufficientFunds` naming the recipients who have
    spent what they would give back; nothing is changed then. What `missing` means, `take_back` says.
    """
    take_back(distribution_id, actor, reason, missing=missing)
    return Distribution.objects.select_related("currency").get(pk=distribution_id)


def take_back(
    distribution_id: int, actor: User, reason: str, *, missing: str = REFUSE, reward_id: int | None = None
) -> Clawback:
    """Reverse a distribution, or one reward of it and leave the distribution as it is. Returns what was taken back.

    A payout on the chain is taken back from the accounts `claimable`, and where a claim was completed, from the user's
    own one. `missing` says what happens about those who have spent it: `refuse` changes nothing and names them; `lend`
    has them owe the rest (it comes from their own account `debt`); `write_off` gives it up (it comes from the system
    account `write_off`). Either way the source gets everything. Raises like `reverse`, `NoSuchRow`, and
    `ClaimUnderWay` while the chain may still complete a claim of it.
    """
    require_right(actor, "reverse_distribution")
    require_reason(reason)
    with transaction.atomic():
        distribution = Distribution.objects.select_related("currency").get(pk=distribution_id)
        if missing == WRITE_OFF:  # created before anything is locked
            ledger.system_account(WRITE_OFF, distribution.currency)
        if reward_id is None:
            return _take_back_all(distribution, actor, reason, missing)
        return _take_back_one(distribution, reward_id, actor, reason, missing)


# --------------------------------------------------------------------------------------------------------------- steps


@dataclass(frozen=True)
class _Payment:
    """What is to be taken back: the transfers that paid these rewards, and what has gone on from there."""

    distribution: Distribution
    taken: Taken
    rewards: QuerySet[Reward]
    about: str

    @classmethod
    def whole(cls, distribution: Distribution) -> _Payment:
        journals = distribution.chunks.exclude(journal=None).values_list("journal_id", flat=True)
        about = f"distribution:{distribution.pk}"
        return cls(distribution, Taken(list(journals)), distribution.rewards.all(), about)

    @classmethod
    def single(cls, reward: Reward, paid: Transfer) -> _Payment:
        taken = Taken([paid.journal_id], paid.pk)
        return cls(reward.distribution, taken, Reward.objects.filter(pk=reward.pk), f"reward:{reward.pk}")

    @property
    def completions(self) -> Taken | None:
        """What brought claimed rewards into their owners' own accounts; None where the ledger paid them at once."""
        return Taken(completed_claims(self.rewards)) if self.distribution.payout == CHAIN else None

    def clawback(self) -> Clawback:
        """What taking it back comes to. With a payout on the chain, only who has claimed it can have spent it."""
        found = clawback(self.taken)
        if self.completions is None:
            return found
        claimed = clawback(self.completions)
        return replace(found, short=claimed.short, missing_total=claimed.missing_total, rows=claimed.rows)

    def cover(self, found: Clawback, missing: str, reason: str, actor: User) -> None:
        """Give those who lack something the rest, and put what was claimed back where it was claimed from: now each
        account holds what it is to give. Raises `InsufficientFunds`."""
        cover(
            self.completions or self.taken, found, missing, self.distribution.currency, f"cover:{self.about}",
            reason=reason, actor=actor, source=self.about,
        )  # fmt: skip
        if self.completions and clawback(self.completions).recipients:
            claims = completed_claims(self.rewards)
            ledger.reverse_together(claims, f"unclaim:{self.about}", reason, actor, source=self.about)


def _take_back_all(distribution: Distribution, actor: User, reason: str, missing: str) -> Clawback:
    expect_many_rows()
    _lock_what_was_paid(distribution)
    if not lock_row(distribution, Status.PAYING, Status.PAID, Status.FAILED):
        raise NothingToReverse(f"{distribution} is {distribution.status}: there is nothing to reverse.")
    payment = _Payment.whole(distribution)
    found = payment.clawback()
    if not found.recipients:
        raise NothingToReverse()
    payment.cover(found, missing, reason, actor)
    for chunk in distribution.chunks.filter(journal__isnull=False).select_related("journal").order_by("number"):
        _mirror(chunk, reason, actor)
    update_row(distribution, status=Status.REVERSED, reversed_at=timezone.now(), reason=reason)
    record(
        "reversed", distribution=distribution, actor=actor, amount=found.total, currency=distribution.currency,
        reason=reason, data=_told(found, missing),
    )  # fmt: skip
    return found


def _take_back_one(distribution: Distribution, reward_id: int, actor: User, reason: str, missing: str) -> Clawback:
    reward = Reward.objects.filter(distribution=distribution, pk=reward_id).select_related("user").first()
    if reward is None:
        raise NoSuchRow(f"{distribution} has no reward {reward_id}.")
    reward.distribution = distribution
    paid = _lock_payment(distribution, reward)
    payment = _Payment.single(reward, paid)
    found = payment.clawback()
    if not found.recipients:
        raise NothingToReverse(f"The reward of {reward.user} is reversed already.")
    payment.cover(found, missing, reason, actor)
    ledger.reverse(paid.journal, reason, actor, only=[paid.pk])
    record(
        "reversed", distribution=distribution, user=reward.user, actor=actor, amount=found.total,
        currency=distribution.currency, reward_id=str(reward.pk), reason=reason, data=_told(found, missing),
    )  # fmt: skip
    return found


def _lock_what_was_paid(distribution: Distribution) -> None:
    """Lock chunks, then accounts: the distribution comes last, as it does for those who pay, or two could deadlock.

    Payments under way are waited for, and none begins after.
    """
    chunks = list(distribution.chunks.select_for_update(no_key=True).order_by("number"))
    _require_no_claim_under_way(distribution.rewards.all())
    completions = completed_claims(distribution.rewards.all()) if distribution.payout == CHAIN else []
    paid = [chunk.journal_id for chunk in chunks if chunk.journal_id is not None]
    ledger.lock_accounts_of([*paid, *completions])


def _lock_payment(distribution: Distribution, reward: Reward) -> Transfer:
    """Lock the reward's chunk, then the two accounts; what paid it. Raises `NothingToReverse`."""
    chunks = distribution.chunks.filter(first_position__lte=reward.position, last_position__gte=reward.position)
    list(chunks.select_for_update(no_key=True))
    paid = transfer_of(reward)
    if paid is None:
        raise NothingToReverse(f"The reward of {reward.user} is not paid.")
    _require_no_claim_under_way(Reward.objects.filter(pk=reward.pk))
    credit = credit_of(reward)
    touched = [paid, credit] if credit else [paid]
    ledger.lock_accounts_of([each.journal_id for each in touched], only=[each.pk for each in touched])
    return paid


def _require_no_claim_under_way(rewards: QuerySet[Reward]) -> None:
    """Raises `ClaimUnderWay`. None begins after: whoever claims locks the chunk first."""
    under_way = rewards.filter(chain_claim__status="processing").count()
    if under_way:
        raise ClaimUnderWay(
            f"{under_way} of its rewards are being claimed on the chain. Wait until each is completed or has failed, "
            "then take it back.",
            under_way=under_way,
        )


def _mirror(chunk: DistributionChunk, reason: str, actor: User) -> Journal | None:
    """None where each of its rewards was taken back on its own before."""
    try:
        return ledger.reverse(chunk.journal, reason, actor)  # type: ignore[arg-type]
    except AlreadyReversed:
        return None


def _told(found: Clawback, missing: str) -> dict[str, object]:
    """What the audit keeps about those who had spent it; minor units."""
    return {"missing": missing, "short": found.short, "missing_total": found.missing_total} if found.short else {}
