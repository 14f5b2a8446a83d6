"""One case or transaction that no job gets done, between others: they are done, it is shown, tried again, told of, and
done as soon as it can be.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from celery import current_app

from rewards.alerts.models import Alert
from rewards.cases.generating import generate_case
from rewards.cases.models import Case
from rewards.chain_claims.models import RewardClaim
from rewards.chain_claims.services import claim
from rewards.distributions.models import Reward
from rewards.jobs.models import JobRun
from rewards.jobs.registry import task_name
from rewards.ledger.models import Account, Currency
from rewards.users.models import User
from tests.rewards.cases.conftest import NOON, argument_of, cast
from tests.rewards.faults import refused
from tests.rewards.promises import broken_promises

pytestmark = pytest.mark.django_db

TOMORROW = NOON + timedelta(hours=25)


def run(job: str, at: datetime) -> JobRun:
    """What the worker does when the schedule pokes it at that instant."""
    current_app.loader.import_default_modules()
    with time_machine.travel(at, tick=False):
        current_app.tasks[task_name(job)]()
    return JobRun.objects.filter(job=job).latest("pk")


def figures(row: JobRun) -> tuple[str, int, int]:
    return row.status, row.successes, row.failures


def alerts(code: str) -> list[tuple[str, bool]]:
    """Subject, and whether it is over."""
    return [(alert.subject, alert.resolved_at is not None) for alert in Alert.objects.filter(code=code)]


def three_failures(job: str, at: datetime, code: str, subject: str, shown: Callable[[], tuple[int, str]]) -> None:
    """The poison alone is left: each run tries it again, says so, and the third tells of it."""
    for failures in (2, 3):
        assert alerts(code) == []
        at += timedelta(minutes=5)
        assert figures(run(job, at))[2] == 1
        count, error = shown()
        assert (count, bool(error)) == (failures, True)
    assert alerts(code) == [(subject, False)]


# ---------------------------------------------------------------------------------------------------------- close_cases


STEPS = {
    "when it is closed": ("rewards_case", "UPDATE", "NEW.id = {id} AND NEW.status = 'closed'"),
    "when its payout is opened": ("rewards_distribution", "INSERT", "NEW.period_key = 'case:{id}'"),
    "when its remainder returns": ("rewards_journal", "INSERT", "NEW.key = 'case-remainder:{id}'"),
    "when its results are counted": ("rewards_activityevent", "INSERT", "NEW.event_id LIKE 'case:{id}:%'"),
    "when it is settled": ("rewards_case", "UPDATE", "NEW.id = {id} AND NEW.settled_at IS NOT NULL"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_case_that_cannot_be_closed(open_case: Any, alice: User, bob: User, step: str) -> None:
    first, poison, last = cases = [open_case("YES") for _ in range(3)]
    for case in cases:
        cast(case, alice, "YES")
        cast(case, bob, "NO")
        argument_of(case, alice, likers=[bob])

    def shown() -> tuple[int, str]:
        poison.refresh_from_db()
        return poison.failures, poison.error

    table, operation, when = STEPS[step]
    with refused(table, operation, when.format(id=poison.pk)):
        assert figures(run("close_cases", TOMORROW)) == ("succeeded", 2, 1)
        assert set(Case.objects.exclude(settled_at=None)) == {first, last}
        assert shown()[0] == 1
        three_failures("close_cases", TOMORROW, "case_failed", f"case:{poison.pk}", shown)

    assert figures(run("close_cases", TOMORROW + timedelta(hours=1))) == ("succeeded", 1, 0)
    assert shown() == (0, "")
    assert alerts("case_failed") == [(f"case:{poison.pk}", True)]
    assert Case.objects.filter(status="closed", settled_at__isnull=False).count() == 3
    amounts = Reward.objects.filter(user=alice).values_list("amount", flat=True)
    assert list(amounts) == [400 + 150 + 100] * 3
    assert broken_promises() == []


# ------------------------------------------------------------------------------------------------------- check_verdicts


def test_a_draft_that_cannot_be_opened(points: Currency) -> None:
    for _ in range(3):
        generate_case(NOON)
    first, poison, last = Case.objects.order_by("pk")

    def shown() -> tuple[int, str]:
        poison.refresh_from_db()
        return poison.failures, poison.error

    soon = NOON + timedelta(minutes=2)
    with refused("rewards_journal", "INSERT", f"NEW.key = 'case-escrow:{poison.pk}'"):
        assert figures(run("check_verdicts", soon)) == ("succeeded", 2, 1)
        assert set(Case.objects.filter(status="active")) == {first, last}
        assert shown()[0] == 1
        three_failures("check_verdicts", soon, "case_failed", f"case:{poison.pk}", shown)

    assert figures(run("check_verdicts", soon + timedelta(hours=1))) == ("succeeded", 3, 0)
    assert shown() == (0, "")
    assert poison.status == "active"
    assert poison.opens_at == soon + timedelta(hours=1)
    assert alerts("case_failed") == [(f"case:{poison.pk}", True)]
    assert broken_promises() == []


# ------------------------------------------------------------------------------------------------- monitor_transactions


def test_a_claim_that_cannot_be_credited(open_case: Any, alice: User, bob: User, carol: User) -> None:
    case = open_case("YES", payout="chain")
    for user in (alice, bob, carol):
        cast(case, user, "YES")
    run("close_cases", TOMORROW)
    for reward in Reward.objects.order_by("pk"):
        claim(reward.user, [reward.pk], f"0x{reward.pk:040x}", TOMORROW)
    first, poison, last = RewardClaim.objects.order_by("pk")

    def shown() -> tuple[int, str]:
        poison.refresh_from_db()
        return poison.failures, poison.error

    soon = TOMORROW + timedelta(minutes=2)
    with refused("rewards_journal", "INSERT", f"NEW.key = 'chain-claim:{poison.reward_id}'"):
        assert figures(run("monitor_transactions", soon)) == ("succeeded", 2, 1)
        assert set(RewardClaim.objects.filter(status="completed")) == {first, last}
        assert shown()[0] == 1
        three_failures("monitor_transactions", soon, "reward_claim_stuck", f"reward {poison.reward_id}", shown)
        assert not Account.objects.filter(user=poison.user, code="", balance__gt=0).exists()

    assert figures(run("monitor_transactions", soon + timedelta(hours=1))) == ("succeeded", 1, 0)
    assert shown() == (0, "")
    assert poison.status == "completed"
    assert alerts("reward_claim_stuck") == [(f"reward {poison.reward_id}", True)]
    amount = Account.objects.get(user=poison.user, code="").balance
    assert amount == poison.reward.amount
    assert broken_promises() == []


# -------------------------------------------------------------------------------------------------------- generate_case


@pytest.mark.parametrize("table", ["rewards_case", "rewards_sealedverdict", "rewards_chaintransaction"])
def test_a_case_that_cannot_be_written(points: Currency, table: str) -> None:
    """There is one of them a run: it fails as a whole, tells at once, and leaves nothing behind."""
    assert figures(run("generate_case", NOON)) == ("succeeded", 1, 0)
    with refused(table):
        for number in (1, 2, 3):
            failed = run("generate_case", NOON + timedelta(hours=12 * number))
            assert (failed.status, bool(failed.error)) == ("failed", True)
    assert Case.objects.count() == 1
    assert alerts("job_failed") == [("generate_case", False)]
    assert Alert.objects.get().count == 3

    assert figures(run("generate_case", NOON + timedelta(hours=48))) == ("succeeded", 1, 0)
    assert alerts("job_failed") == [("generate_case", True)]
    titles = Case.objects.values_list("title", flat=True)
    assert len(set(titles)) == 2
