"""What links claims to the ledger: each completed claim has one credit, and what is claimable was not claimed."""

from __future__ import annotations

from rewards.ledger.checks import CHECKS, Check, count, offenders

_CREDITS = """
    SELECT claim.id FROM rewards_rewardclaim claim
    JOIN rewards_reward reward ON reward.id = claim.reward_id AND reward.user_id = claim.user_id
    JOIN rewards_journal journal ON journal.id = claim.journal_id AND journal.kind = 'chain_claim'
    JOIN rewards_transfer transfer ON transfer.journal_id = journal.id AND transfer.amount = reward.amount
    JOIN rewards_account claimable ON claimable.id = transfer.debit_account_id AND claimable.code = 'claimable'
    JOIN rewards_account own ON own.id = transfer.credit_account_id AND own.code = ''
    WHERE claim.status = 'completed' AND own.user_id = claim.user_id AND claimable.user_id = claim.user_id
      AND (SELECT count(*) FROM rewards_transfer WHERE journal_id = journal.id) = 1
"""

# What was paid into accounts `claimable` and neither completed nor taken back, and what lies on them.
_LEFT_TO_CLAIM = """
    SELECT account.id, sum(reward.amount) AS amount
    FROM rewards_reward reward
    JOIN rewards_distribution distribution ON distribution.id = reward.distribution_id AND distribution.payout = 'chain'
    JOIN rewards_distributionchunk chunk ON chunk.distribution_id = distribution.id
      AND reward.position BETWEEN chunk.first_position AND chunk.last_position AND chunk.journal_id IS NOT NULL
    JOIN rewards_account account ON account.user_id = reward.user_id
      AND account.currency_id = distribution.currency_id AND account.code = 'claimable'
    JOIN rewards_transfer paid ON paid.journal_id = chunk.journal_id AND paid.credit_account_id = account.id
    WHERE NOT EXISTS (SELECT 1 FROM rewards_transfer mirror WHERE mirror.reverses_id = paid.id)
      AND NOT EXISTS (
        SELECT 1 FROM rewards_rewardclaim claim WHERE claim.reward_id = reward.id AND claim.status = 'completed'
      )
    GROUP BY account.id
"""


def claims_are_credited_once() -> tuple[int, list[str]]:
    without = offenders(
        "SELECT claim.reward_id FROM rewards_rewardclaim claim "
        f"WHERE claim.status = 'completed' AND claim.id NOT IN ({_CREDITS}) ORDER BY claim.id",
        "the completed claim of reward {0} has no credit of its amount",
    )
    unclaimed = offenders(
        "SELECT journal.key FROM rewards_journal journal WHERE journal.kind = 'chain_claim' AND NOT EXISTS "
        "(SELECT 1 FROM rewards_rewardclaim claim WHERE claim.journal_id = journal.id) ORDER BY journal.id",
        "the journal {0} completes no claim",
    )
    return count("rewards_rewardclaim"), without + unclaimed


def claimable_is_not_claimed() -> tuple[int, list[str]]:
    wrong = offenders(
        "SELECT account.id, account.balance, coalesce(left_over.amount, 0) FROM rewards_account account "
        f"LEFT JOIN ({_LEFT_TO_CLAIM}) left_over ON left_over.id = account.id "
        "WHERE account.user_id IS NOT NULL AND account.code = 'claimable' "
        "AND account.balance <> coalesce(left_over.amount, 0) ORDER BY account.id",
        "account {0} holds {1}, but {2} are left to be claimed",
    )
    return count("rewards_rewardclaim"), wrong


def register_checks() -> None:
    """Add these to what `check_ledger` proves."""
    if not any(check.find is claims_are_credited_once for check in CHECKS):
        CHECKS.append(Check("each completed claim was credited once", claims_are_credited_once))
        CHECKS.append(Check("what is claimable was not claimed", claimable_is_not_claimed))
