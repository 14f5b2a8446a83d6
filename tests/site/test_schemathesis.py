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
