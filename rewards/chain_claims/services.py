"""Claiming rewards of a chain payout.

A reward that is `claimable` lies on its owner's account of that code. Who claims it has a transaction put on the chain
(`processing`); once that is confirmed, the reward moves to his own account (`paid`). See `monitor` for what follows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from hashlib import sha256
from time import monotonic

from django.db import connection, transaction

from rewards.allocation.canonical import canonical_json
from rewards.audit.services import record
from rewards.chain import services as chain
from rewards.chain.errors import NotRetryable
from rewards.chain.models import ChainTransaction
from rewards.chain_claims.errors import NoSuchReward, NotClaimable, NoWalletAddress
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.monitor import MonitorResult as MonitorResult
from rewards.chain_claims.monitor import monitor_transactions as monitor_transactions
from rewards.common.database import insert_if_absent, is_postgresql, require_transaction
from rewards.common.errors import ensure
from rewards.distributions.models import CHAIN, DistributionChunk, Reward
from rewards.distributions.own import own_rewards
from rewards.ledger.services import require_payouts_running
from rewards.users.models import User

AT_ONCE = 100
"""So many rewards are claimed in one go at most."""

SEND_SECONDS = 5.0
"""How long a request sends along; what is left is sent by the next run of the monitor."""

Status = Reward.Status


def claim(user: User, reward_ids: Collection[int], wallet_address: str, at: datetime) -> list[RewardClaim]:
    """Claim these rewards of the user's, all or none, and send their transactions; the claims, by reward.

    Without `wallet_address` the one of his profile takes its place. What is claimed already stays as it stands; a claim
    that failed is tried again with the same nonce. Raises like `begin_claims`; what a node says raises nothing.
    """
    with transaction.atomic(durable=True):
        claims = begin_claims(user, reward_ids, wallet_address, at)
    return send_claims(claims, at)


def begin_claims(user: User, reward_ids: Collection[int], wallet_address: str, at: datetime) -> list[RewardClaim]:
    """What `claim` does in one transaction: the rows of claims and of their transactions. Hand them to `send_claims`.

    Raises `NoSuchReward` when one of them is not the user's, `NotClaimable`, `NoWalletAddress`, `PayoutsPaused`, and
    what the chain has against the address.
    """
    require_transaction()
    ensure(0 < len(reward_ids) <= AT_ONCE, f"One to {AT_ONCE} rewards are claimed at once.")
    rewards = _own_rewards(user, reward_ids)
    _require_claimable(rewards)
    # All claims before the first transaction: that one locks the sender, for whom others wait with a claim in hand.
    claims = [(reward, *_claim_of(reward, user, at)) for reward in rewards]
    fresh = [(reward, claim) for reward, claim, is_new in claims if is_new or claim.status == claim.Status.FAILED]
    if fresh:
        require_payouts_running()
        wallet_address = wallet_address or user.wallet_address
        if not wallet_address:
            raise NoWalletAddress
    for reward, claim in fresh:
        _put_under_way(reward, claim, wallet_address, at)
    return [claim for _, claim, _ in claims]


def send_claims(claims: Sequence[RewardClaim], at: datetime) -> list[RewardClaim]:
    """Send the transactions that were not sent yet, for a moment, until a node fails; the claims as they are then.

    What is not sent here, the monitor sends.
    """
    until = monotonic() + SEND_SECONDS
    for claim in claims:
        tx = claim.transaction
        if tx is None or tx.checked_at is not None or tx.status != tx.Status.SUBMITTED:
            continue
        if monotonic() > until or chain.broadcast(tx, at).error:
            break
    return list(_with_facts().filter(pk__in=[claim.pk for claim in claims]).order_by("reward_id"))


def payload_hash(reward: Reward) -> str:
    """What is put on the chain of a reward: the SHA-256 of canonical JSON of its id, owner, amount and currency."""
    currency = reward.distribution.currency
    said = {
        "reward_id": reward.pk,
        "user": reward.user.username,
        "amount": currency.to_units(reward.amount),
        "currency": currency.code,
    }
    return sha256(canonical_json(said)).hexdigest()


# --------------------------------------------------------------------------------------------------------------- steps


def _own_rewards(user: User, reward_ids: Collection[int]) -> list[Reward]:
    """The rewards, by id, with `seen_as`; their chunks are locked, so that nobody takes one back meanwhile."""
    own = own_rewards(user).filter(pk__in=reward_ids)
    _share_chunks(list(own.values_list("pk", flat=True)))
    rewards = list(own.select_related("user", "distribution__currency").order_by("pk"))
    if len(rewards) < len(set(reward_ids)):
        raise NoSuchReward
    return rewards


def _share_chunks(reward_ids: Sequence[int]) -> None:
    """Lock the chunks of these rewards against those who take back, not against others who claim."""
    if not reward_ids or not is_postgresql():
        return
    with connection.cursor() as cursor:
        cursor.execute(_SHARE_CHUNKS, [list(reward_ids)])


_SHARE_CHUNKS = f"""
    SELECT chunk.id FROM {DistributionChunk._meta.db_table} chunk WHERE chunk.id IN (
        SELECT own.id FROM {Reward._meta.db_table} reward JOIN {DistributionChunk._meta.db_table} own
        ON own.distribution_id = reward.distribution_id
        AND reward.position BETWEEN own.first_position AND own.last_position
        WHERE reward.id = ANY(%s)
    ) ORDER BY chunk.id FOR SHARE OF chunk
"""


def _require_claimable(rewards: Sequence[Reward]) -> None:
    """Raises `NotClaimable`, with the first of those that are not."""
    for reward in rewards:
        status = reward.seen_as  # type: ignore[attr-defined]
        if reward.distribution.payout != CHAIN:
            raise NotClaimable(
                f"Reward {reward.pk} is paid in the ledger: there is nothing to claim.", reward_id=reward.pk
            )
        is_claim = status == Status.FAILED and RewardClaim.objects.filter(reward=reward).exists()
        if status not in (Status.CLAIMABLE, Status.PROCESSING, Status.PAID) and not is_claim:
            raise NotClaimable(f"Reward {reward.pk} is {status}: it cannot be claimed.", reward_id=reward.pk)


def _claim_of(reward: Reward, user: User, at: datetime) -> tuple[RewardClaim, bool]:
    """The claim of a reward, locked, and whether this call wrote it: waits for a concurrent one."""
    claim = RewardClaim(reward=reward, user=user, claimed_at=at)
    if insert_if_absent(claim, ["reward"]):
        return claim, True
    standing = RewardClaim.objects.select_for_update(no_key=True, of=("self",)).select_related("transaction")
    return standing.get(reward=reward), False


def _put_under_way(reward: Reward, claim: RewardClaim, wallet_address: str, at: datetime) -> None:
    """Prepare its transaction, the next one where one has failed: with the same nonce, so that one is mined at most."""
    failed = claim.transaction
    purpose, payload = ChainTransaction.Purpose.REWARD, payload_hash(reward)
    try:
        claim.transaction = chain.prepare(purpose, payload, at=at, recipient=wallet_address, nonce_of=failed)
        claim.attempts += failed is not None
        claim.wallet_address = claim.transaction.recipient
        claim.claimed_at = at
    except NotRetryable:  # the chain has taken the one before after all: the monitor completes it
        ensure(failed is not None, "only a transaction that is tried again can be refused for the one before")
    claim.status, claim.finished_at, claim.error, claim.failures = claim.Status.PROCESSING, None, "", 0
    claim.save()
    record(
        "reward_claimed", user=claim.user, actor=claim.user, distribution=reward.distribution, amount=reward.amount,
        currency=reward.distribution.currency, reward_id=str(reward.pk),
        data={"wallet_address": claim.wallet_address, "attempt": claim.attempts},
    )  # fmt: skip


def _with_facts():  # type: ignore[no-untyped-def]
    return RewardClaim.objects.select_related("transaction", "reward__distribution__currency")
