"""What links rewards to the ledger: each paid reward has exactly one transfer, and each such transfer one reward."""

from __future__ import annotations

from rewards.ledger.checks import CHECKS, Check, count, offenders, query

_MATCHES = """
    SELECT chunk.id, chunk.number, chunk.distribution_id, chunk.recipients, chunk.amount,
        (SELECT count(*) FROM rewards_transfer WHERE journal_id = chunk.journal_id) AS transfers,
        (SELECT count(*) FROM rewards_reward reward
         JOIN rewards_account account
           ON account.user_id = reward.user_id AND account.currency_id = payout.currency_id
          AND account.code = CASE payout.payout WHEN 'chain' THEN 'claimable' ELSE '' END
         JOIN rewards_transfer transfer
           ON transfer.journal_id = chunk.journal_id AND transfer.credit_account_id = account.id
          AND transfer.amount = reward.amount AND transfer.debit_account_id = payout.source_account_id
          AND transfer.reverses_id IS NULL
         WHERE reward.distribution_id = chunk.distribution_id AND reward.amount > 0
           AND reward.position BETWEEN chunk.first_position AND chunk.last_position) AS matched,
        (SELECT count(*) FROM rewards_reward reward WHERE reward.distribution_id = chunk.distribution_id
           AND reward.amount > 0 AND reward.position BETWEEN chunk.first_position AND chunk.last_position) AS rewards
    FROM rewards_distributionchunk chunk JOIN rewards_distribution payout ON payout.id = chunk.distribution_id
    WHERE chunk.journal_id IS NOT NULL
"""


def unmatched_chunks(distribution_id: int) -> list[tuple]:
    """(number, rewards, matched transfers, transfers) of the paid chunks of a distribution where they differ."""
    return query(
        f"SELECT number, rewards, matched, transfers FROM ({_MATCHES} AND chunk.distribution_id = %s) matches "
        "WHERE matched <> recipients OR transfers <> recipients OR rewards <> recipients ORDER BY number",
        [distribution_id],
    )


def rewards_match_transfers() -> tuple[int, list[str]]:
    wrong = offenders(
        "SELECT distribution.programme, distribution.period_key, number, rewards, transfers, matched "
        f"FROM ({_MATCHES}) matches JOIN rewards_distribution distribution ON distribution.id = distribution_id "
        "WHERE matched <> matches.recipients OR transfers <> matches.recipients OR rewards <> matches.recipients "
        "ORDER BY matches.id",
        "{0} {1} chunk {2}: {3} rewards, {4} transfers, {5} of them match",
    )
    unclaimed = offenders(
        "SELECT journal.key FROM rewards_journal journal WHERE journal.kind = 'distribution' AND NOT EXISTS "
        "(SELECT 1 FROM rewards_distributionchunk chunk WHERE chunk.journal_id = journal.id) ORDER BY journal.id",
        "the journal {0} pays no chunk",
    )
    return count("rewards_reward"), wrong + unclaimed


def distributions_add_up() -> tuple[int, list[str]]:
    wrong = offenders(
        "SELECT distribution.programme, distribution.period_key, distribution.paid_amount, "
        "coalesce(sum(CASE WHEN chunk.journal_id IS NULL THEN 0 ELSE chunk.amount END), 0) "
        "FROM rewards_distribution distribution "
        "LEFT JOIN rewards_distributionchunk chunk ON chunk.distribution_id = distribution.id "
        "GROUP BY distribution.id, distribution.programme, distribution.period_key, distribution.paid_amount, "
        "distribution.amount, distribution.carried_over, distribution.status "
        "HAVING distribution.paid_amount <> "
        "coalesce(sum(CASE WHEN chunk.journal_id IS NULL THEN 0 ELSE chunk.amount END), 0) "
        "OR (distribution.status = 'paid' AND distribution.paid_amount + distribution.carried_over "
        "<> distribution.amount) ORDER BY distribution.id",
        "{0} {1} says it paid {2}, its chunks paid {3}",
    )
    return count("rewards_distribution"), wrong


def register_checks() -> None:
    """Add these to what `check_ledger` proves."""
    if not any(check.find is rewards_match_transfers for check in CHECKS):
        CHECKS.append(Check("each paid reward has one transfer, and each such transfer one reward",
                            rewards_match_transfers))  # fmt: skip
        CHECKS.append(Check("each distribution is the sum of its chunks", distributions_add_up))
