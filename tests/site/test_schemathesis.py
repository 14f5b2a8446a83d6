"""schemathesis against the product itself, a little of it: `python -m benchmarks.fuzz` does the same for longer."""

from __future__ import annotations

import pytest

from benchmarks import fuzz
from tests.rewards.elsewhere import environment_on_this_database

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

EXAMPLES = 4
SEED = 1
CLAIM_TYPES = {
    "claims:write": ["pve_victory", "pvp_victory", "token_redemption"],
    "user": ["drop_execution"],
}

# That the run was about something: what each caller is to have managed at least once.
DONE = {
    "activity:write": {"record_activity"},
    "claims:write": {"claim_pve_victory", "claim_pvp_victory", "claim_token_redemption"},
    "rewards:distribute": {"distribute_pending_rewards"},
    "monthly:run": {"start_monthly_rewards", "monthly_rewards_jobs"},
    "read": {"reward_metrics", "monthly_rewards_jobs"},
    "user": {
        "profile", "change_profile", "statement", "sign_out", "claim_drop_execution", "pending_rewards",
        "create_deployment", "deployment", "distribution", "distribution_rewards", "distribution_proof",
        "own_badges", "own_badge_progress", "own_rewards", "reward_receipt", "monthly_rewards_history", "leaderboards",
        "leaderboard", "cases", "case", "arguments", "submit_case", "vote", "argue", "like_argument", "unlike_argument",
        "claim_rewards",
    },
    "staff": {
        "change_profile", "distributions", "distribution_rewards", "preview_distribution", "approve_distribution",
        "campaign", "create_campaign", "upload_participants", "run_campaign", "audit_log", "monthly_rewards_jobs",
    },
    "nobody": {"leaderboards", "leaderboard", "cases", "case", "arguments"},
}  # fmt: skip


def test_every_answer_is_a_documented_one(tmp_path) -> None:
    callers = fuzz.prepare(EXAMPLES)
    document = fuzz.api_document()
    documents = fuzz.documents_for(callers, document, CLAIM_TYPES)
    assert documents.keys() == DONE.keys()

    with fuzz.server(environment_on_this_database()["DATABASE_URL"], tmp_path / "server.log") as address:
        assert [each for caller in callers for each in fuzz.not_turned_away(caller, document, address)] == []
        outcomes = list(fuzz.fuzz_each(callers, documents, address, tmp_path, EXAMPLES, SEED))
        # The same seed finds the same again, unless the machine was too busy to answer in time.
        suspects = [caller for caller in callers if caller.name in {each.caller for each in outcomes if not fine(each)}]
        (tmp_path / "again").mkdir()
        again = list(fuzz.fuzz_each(suspects, documents, address, tmp_path / "again", EXAMPLES, SEED))

    log = (tmp_path / "server.log").read_text()[-5000:]
    assert {each.caller for each in outcomes} == DONE.keys()
    assert len(suspects) <= 2, [(each.caller, each.answers, each.text[:2000]) for each in outcomes if not fine(each)]
    for outcome in again:  # his tokens may be used up by now, so what he managed is not asked again
        assert outcome.passed, f"{outcome.text}\n{outcome.answers}\n{log}"


def fine(outcome: fuzz.Outcome) -> bool:
    """Whether every answer was a documented one, and the caller managed what he is to manage."""
    succeeded = {name for name, statuses in outcome.answers.items() if statuses.keys() & {"200", "201", "204"}}
    return outcome.passed and succeeded >= DONE[outcome.caller]
