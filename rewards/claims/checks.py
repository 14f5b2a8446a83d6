"""What `check_ledger` proves about claims."""

from __future__ import annotations

from rewards.ledger.checks import CHECKS, Check, count, offenders


def claims_have_their_journal() -> tuple[int, list[str]]:
    """Each claim has exactly the journal under its own key, and each journal of a claim has that claim."""
    without = offenders(
        "SELECT claim.id FROM rewards_claim claim LEFT JOIN rewards_journal journal ON journal.id = claim.journal_id "
        "WHERE journal.id IS NULL OR journal.key <> 'claim:' || claim.id OR claim.result IS NULL ORDER BY claim.id",
        "claim {0} has not the journal under its key",
    )
    stray = offenders(
        "SELECT journal.key FROM rewards_journal journal LEFT JOIN rewards_claim claim "
        "ON claim.journal_id = journal.id WHERE journal.kind = 'claim' AND claim.id IS NULL ORDER BY journal.id",
        "the journal {0} belongs to no claim",
    )
    return count("rewards_claim"), without + stray


def register_checks() -> None:
    CHECKS.append(Check("each claim has its one journal", claims_have_their_journal))
