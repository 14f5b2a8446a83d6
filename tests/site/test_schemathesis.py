"""schemathesis against the product itself, a little of it: `python -m benchmarks.fuzz` does the same for longer."""

from __future__ import annotations

import pytest

from benchmarks import fuzz
from tests.rewards.elsewhere import environment_on_this_database

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

EXAMPLES = 4
SEED = 1

# That the run was about something: what each caller is to have managed at least once.
DONE = {
    "activity:write": {"record_activity"},
    "claims:write": {"claim_pve_victory", "claim_pvp_victory", "claim_token_redemption"},
    "monthly:run": set(),
    "rewards:distribute": set(),
    "read": set(),
    "user": {"profile", "change_profile", "statement", "sign_out", "claim_drop_execution"},
    "staff": {"profile", "change_profile", "statement"},
    "nobody": set(),
}


def test_every_answer_is_a_documented_one(tmp_path) -> None:
    callers = fuzz.prepare(EXAMPLES)
    documents = fuzz.documents_for(callers)
    assert {caller.name for caller in callers} == DONE.keys()

    with fuzz.server(environment_on_this_database()["DATABASE_URL"], tmp_path / "server.log") as address:
        outcomes = list(fuzz.fuzz_each(callers, documents, address, tmp_path, EXAMPLES, SEED))

    for outcome in outcomes:
        assert outcome.passed, f"{outcome.text}\n{(tmp_path / 'server.log').read_text()[-5000:]}"
        succeeded = {name for name, statuses in outcome.answers.items() if statuses.keys() & {"200", "201", "204"}}
        assert succeeded >= DONE[outcome.caller], outcome.answers
