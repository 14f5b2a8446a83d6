"""Closing: what is due is closed and revealed once, step by step; what goes wrong stops no other case."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from rewards.activity.models import ActivityEvent, Counter
from rewards.alerts.models import Alert
from rewards.alerts.services import raise_alert, resolve_alert
from rewards.audit.models import AuditEvent
from rewards.cases.closing import close_case, close_cases, settle_case
from rewards.cases.models import Argument, Case, SealedVerdict
from rewards.distributions.models import Distribution
from rewards.distributions.services import reverse
from rewards.jobs.models import JobRun
from rewards.ledger.models import Account, Journal
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.rewards.cases.conftest import NOON, REASONING, argument_of, cast
from tests.rewards.faults import refused
from tests.rewards.promises import broken_promises
from tests.rewards.reading import reading_only

pytestmark = pytest.mark.django_db

DUE = NOON + timedelta(hours=24)

People = Callable[[int], list[User]]


@pytest.fixture
def people(make_user) -> People:
    """`people(3)`: anna, and two more."""
    return lambda count: [make_user(f"user{number:03}") for number in range(count)]


def balances() -> dict[str, int]:
    """Units of points of everybody who has some."""
    users = Account.objects.filter(balance__gt=0, currency__code="points").exclude(user=None)
    return dict(users.values_list("user__username", "balance"))


def system(code: str) -> int:
    account = Account.objects.filter(user=None, code=code).first()
    return account.balance if account else 0


def counters(user: User) -> dict[str, int]:
    return {c.metric: int(c.quantity) for c in Counter.objects.filter(user=user, month="")}


def steps_done() -> dict[str, Any]:
    """Everything that closing writes; doing it again must not change any of it."""
    return {
        "cases": list(Case.objects.order_by("pk").values()),
        "places": list(Argument.objects.order_by("pk").values_list("pk", "top_place")),
        "payouts": list(Distribution.objects.order_by("pk").values("period_key", "status", "paid_amount", "digest")),
        "journals": list(Journal.objects.order_by("pk").values_list("key", flat=True)),
        "balances": sorted(Account.objects.values_list("pk", "balance")),
        "events": sorted(ActivityEvent.objects.values_list("event_id", flat=True)),
        "audit": AuditEvent.objects.count(),
    }


# ------------------------------------------------------------------------------------------------------ what is closed


def test_a_case_that_is_due_is_closed_revealed_paid_and_counted(open_case, alice, bob):
    case = open_case("YES")
    cast(case, alice, "YES")
    cast(case, bob, "NO", NOON + timedelta(minutes=1))
    argument_of(case, bob, likers=[alice])

    result = close_cases(DUE)

    assert result.figures() == {"closed": 1, "settled": 1, "waiting": [], "failures": []}
    case.refresh_from_db()
    assert (case.status, case.closed_at, case.settled_at) == ("closed", DUE, DUE)
    assert (case.verdict, case.reasoning, case.nonce) == ("YES", REASONING, case.sealed.nonce)
    assert case.confidence == case.sealed.confidence
    assert balances() == {"alice": 500, "bob": 250}
    assert (system(case.escrow), system("treasury")) == (0, 250)  # the third's place, and no creator
    assert counters(alice) == {"cases_decided": 1, "cases_won": 1}
    assert counters(bob) == {"cases_decided": 1, "top_arguments": 1}
    assert AuditEvent.objects.filter(event_type="case_closed", data__case=case.pk).count() == 1
    assert broken_promises() == []


@pytest.mark.parametrize(("at", "closed"), [(DUE - timedelta(microseconds=1), 0), (DUE, 1)])
def test_a_case_is_due_at_the_instant_at_which_it_closes(open_case, at: datetime, closed: int):
    case = open_case()
    assert close_cases(at).closed == closed
    case.refresh_from_db()
    assert (case.status == "closed") == bool(closed)


def test_doing_it_again_changes_nothing(open_case, alice, bob):
    for verdict in ("YES", "NO"):
        case = open_case(verdict)
        cast(case, alice, "YES")
        argument_of(case, bob)
    close_cases(DUE)
    before = steps_done()

    assert close_cases(DUE + timedelta(days=1)).figures()["settled"] == 0
    Case.objects.update(settled_at=None)  # as if the last step had been lost
    assert close_cases(DUE).figures()["settled"] == 2

    assert steps_done() == before


def test_the_best_three_arguments_are_placed_by_likes_then_by_time(open_case, people):
    case, users = open_case(), people(6)
    said = [
        argument_of(case, users[0], likers=[users[1]], at=NOON + timedelta(hours=3)),
        argument_of(case, users[1], likers=[users[2]], at=NOON + timedelta(hours=1)),
        argument_of(case, users[2], likers=[users[0], users[1]], at=NOON + timedelta(hours=5)),
        argument_of(case, users[3], likers=[users[0]], at=NOON + timedelta(hours=2)),
        argument_of(case, users[4], at=NOON),
    ]
    close_cases(DUE)
    assert [Argument.objects.get(pk=each.pk).top_place for each in said] == [None, 2, 1, 3, None]


def test_a_case_without_anybody_returns_its_whole_pool(open_case):
    case = open_case()
    assert close_cases(DUE).settled == 1
    assert (system("treasury"), system(case.escrow)) == (1_000, 0)
    assert not ActivityEvent.objects.exists()


def test_a_case_without_a_pool_is_closed_and_counted(open_case, alice):
    case = open_case(pool=0)
    cast(case, alice, "YES")
    assert close_cases(DUE).settled == 1
    assert counters(alice) == {"cases_decided": 1, "cases_won": 1}
    assert Distribution.objects.get().status == "paid"
    assert balances() == {}


def test_a_void_case_pays_nothing_and_counts_nothing(open_case, alice):
    case = open_case()
    cast(case, alice, "YES")
    Case.objects.filter(pk=case.pk).update(status="void")
    assert close_cases(DUE).figures() == {"closed": 0, "settled": 0, "waiting": [], "failures": []}
    assert not Distribution.objects.exists()
    assert counters(alice) == {}


def test_what_is_taken_back_later_goes_to_the_treasury_too(open_case, alice, bob, staff):
    case = open_case("YES")
    cast(case, alice, "YES")
    cast(case, bob, "NO")
    close_cases(DUE)
    assert (system(case.escrow), system("treasury")) == (0, 400)

    reverse(Distribution.objects.get().pk, staff("rita", "reverse_distribution"), "a mistake")
    for later in (1, 2):
        close_cases(DUE + timedelta(hours=later))
    assert (system(case.escrow), system("treasury")) == (0, 1_000)
    assert broken_promises() == []


def test_a_case_whose_commitment_is_contradicted_is_not_paid(open_case, alice):
    case = open_case("YES")
    cast(case, alice, "YES")
    raise_alert("commitment_mismatch", case.period_key, "The chain carries something else.")
    assert close_cases(DUE).closed == 0
    case.refresh_from_db()
    assert (case.status, case.verdict) == ("active", "")

    resolve_alert("commitment_mismatch", case.period_key)
    assert close_cases(DUE).settled == 1


def test_one_in_a_currency_with_cents_that_is_no_longer_the_parameters(open_case, alice, coins):
    case = open_case()
    cast(case, alice, "YES")
    set_parameter("cases.currency", "coins", actor=None, reason="from now on")
    close_cases(DUE)
    assert balances() == {"alice": 600}


def test_the_results_count_in_the_month_in_which_the_case_was_closed(open_case, alice):
    case = open_case(opens_at=datetime.fromisoformat("2026-11-30T12:00:00+00:00"))
    cast(case, alice, "YES")
    close_cases(datetime.fromisoformat("2026-12-01T12:00:00+00:00"))
    months = Counter.objects.filter(user=alice, metric="cases_won").exclude(month="")
    assert list(months.values_list("month", flat=True)) == ["2026-12"]


def test_more_voters_than_a_batch_holds_are_each_counted(open_case, people, monkeypatch):
    monkeypatch.setattr("rewards.cases.results.VOTERS_AT_ONCE", 3)
    case, users = open_case(), people(8)
    for number, user in enumerate(users):
        cast(case, user, "YES" if number % 2 else "NO")
    close_cases(DUE)
    assert [counters(user) for user in users] == [
        {"cases_decided": 1, "cases_won": 1} if number % 2 else {"cases_decided": 1} for number in range(8)
    ]


# ------------------------------------------------------------------------------------------------------ what goes wrong


def three_cases(open_case: Any, user: User) -> list[Case]:
    cases = [open_case(hours=hours) for hours in (22, 23, 24)]
    for case in cases:
        cast(case, user, "YES")
    return cases


def test_a_verdict_that_is_not_the_committed_one_keeps_its_case_open_and_stops_no_other(open_case, alice, caplog):
    cases = three_cases(open_case, alice)
    SealedVerdict.objects.filter(case=cases[1]).update(verdict="NO")

    result = close_cases(DUE)

    assert (result.closed, result.settled, len(result.failures)) == (2, 2, 1)
    assert [Case.objects.get(pk=case.pk).status for case in cases] == ["closed", "active", "closed"]
    bad = Case.objects.get(pk=cases[1].pk)
    assert (bad.failures, bad.verdict) == (1, "")
    assert "not the one that was committed" in bad.error
    (logged,) = [each for each in caplog.records if getattr(each, "event", "") == "case_failed"]
    assert logged.exc_info  # with its trace
    assert not Alert.objects.filter(code="case_failed").exists()


def test_an_alert_is_raised_at_the_third_failure_in_a_row_and_resolved_by_a_success(open_case, alice):
    (case,) = three_cases(open_case, alice)[1:2]
    SealedVerdict.objects.filter(case=case).update(verdict="NO")
    for _ in range(2):
        close_cases(DUE)
    assert not Alert.objects.filter(code="case_failed").exists()
    close_cases(DUE)
    (alert,) = Alert.objects.filter(code="case_failed", resolved_at=None)
    assert (alert.subject, alert.severity) == (case.period_key, "critical")
    close_cases(DUE)
    alert.refresh_from_db()
    assert alert.count == 2

    SealedVerdict.objects.filter(case=case).update(verdict="YES")
    assert close_cases(DUE).settled == 1
    alert.refresh_from_db()
    assert alert.resolved_at is not None
    case.refresh_from_db()
    assert (case.status, case.failures, case.error) == ("closed", 0, "")


def test_what_settles_a_case_ends_its_failures_too(open_case, alice):
    """Nothing looks at a settled case again: a worker that dies right after must not leave them standing."""
    case = open_case()
    cast(case, alice, "YES")
    Case.objects.filter(pk=case.pk).update(failures=2, error="The connection was lost.")
    raise_alert("case_failed", case.period_key, "The connection was lost.")

    case, _ = close_case(case.pk, DUE)
    assert settle_case(case, DUE)

    case.refresh_from_db()
    assert (case.failures, case.error) == (0, "")
    assert not Alert.objects.filter(code="case_failed", resolved_at=None).exists()


FAULTS = {
    "the reveal": ("rewards_case", "UPDATE", "NEW.status = 'closed' AND NEW.settled_at IS NULL"),
    "the places": ("rewards_argument", "UPDATE", "NEW.top_place IS NOT NULL"),
    "the rewards": ("rewards_reward", "INSERT", "true"),
    "the transfers": ("rewards_transfer", "INSERT", "true"),
    "the remainder": ("rewards_journal", "INSERT", "NEW.kind = 'case_remainder'"),
    "the counters": ("rewards_activityevent", "INSERT", "NEW.metric = 'cases_decided'"),
    "the last note": ("rewards_case", "UPDATE", "NEW.settled_at IS NOT NULL"),
}


@pytest.mark.parametrize("step", FAULTS)
def test_a_step_that_the_database_refuses_is_done_by_the_next_run(open_case, alice, bob, step: str):
    case = open_case()
    cast(case, alice, "YES")
    cast(case, bob, "NO")
    argument_of(case, bob)
    with refused(*FAULTS[step]):
        for _ in range(2):
            assert len(close_cases(DUE).failures) == 1
    case.refresh_from_db()
    assert (case.failures, case.settled_at) == (2, None)
    assert case.error

    assert close_cases(DUE + timedelta(minutes=5)).settled == 1

    case.refresh_from_db()
    assert (case.status, case.failures, case.error) == ("closed", 0, "")
    assert balances() == {"alice": 500, "bob": 250}
    assert system("treasury") == 250
    assert counters(alice) == {"cases_decided": 1, "cases_won": 1}
    assert counters(bob) == {"cases_decided": 1, "top_arguments": 1}
    assert broken_promises() == []


def test_of_a_refused_reveal_nothing_is_told(open_case, alice, caplog):
    """PostgreSQL quotes the row that it refuses, and the case is open still."""
    case = open_case()
    caplog.set_level(logging.DEBUG)
    with refused(*FAULTS["the reveal"]):
        result = close_cases(DUE)
    case.refresh_from_db()
    formatter = logging.Formatter()
    told = "\n".join(formatter.format(each) for each in caplog.records if each.name.startswith("rewards"))
    told += repr(result.failures) + case.error + repr(list(AuditEvent.objects.values()))
    assert "case_failed" in {getattr(each, "event", "") for each in caplog.records}
    for hidden in (REASONING, case.sealed.nonce, "out of order"):
        assert hidden not in told


def test_paused_payouts_make_a_case_wait_and_are_no_failure(open_case, alice):
    case = open_case()
    cast(case, alice, "YES")
    set_parameter("payouts_paused", True, actor=None, reason="a look at the books")
    assert close_cases(DUE).figures() == {"closed": 1, "settled": 0, "waiting": [case.period_key], "failures": []}
    assert counters(alice) == {}
    case.refresh_from_db()
    assert (case.status, case.verdict, case.failures) == ("closed", "YES", 0)

    set_parameter("payouts_paused", False, actor=None, reason="all is well")
    assert close_cases(DUE).settled == 1
    assert balances() == {"alice": 600}


def test_a_run_whose_time_is_over_leaves_the_rest_to_the_next(open_case, alice):
    three_cases(open_case, alice)

    class Short:
        left = 3

        def step(self, successes: int = 0, failures: int = 0) -> None: ...

        def keep_going(self) -> bool:
            self.left -= 1
            return self.left >= 0

    result = close_cases(DUE, Short())
    assert (result.closed, result.settled) == (1, 0)
    assert close_cases(DUE).settled == 3
    assert balances() == {"alice": 1_800}


def test_an_escrow_that_does_not_hold_the_pool_is_a_failure(open_case, alice, bob):
    cases = three_cases(open_case, alice)
    Account.objects.filter(code=cases[0].escrow).update(balance=1)
    result = close_cases(DUE)
    assert (result.settled, len(result.failures)) == (2, 1)
    Account.objects.filter(code=cases[0].escrow).update(balance=1_000)
    assert close_cases(DUE).settled == 1
    assert balances() == {"alice": 1_800}
    assert Distribution.objects.filter(status="paid").count() == 3


# ---------------------------------------------------------------------------------------------------------- the command


def said(**options: Any) -> str:
    out = io.StringIO()
    call_command("close_cases", stdout=out, at=DUE, **options)
    return out.getvalue()


def test_the_command_closes_what_is_due_and_leaves_a_run(open_case, alice):
    three_cases(open_case, alice)
    assert "3 items, 3 succeeded, 0 failed" in said()
    run = JobRun.objects.get(job="close_cases")
    assert (run.status, run.items, run.successes, run.failures) == ("succeeded", 3, 3, 0)
    assert run.results["settled"] == 3


def test_the_command_names_what_failed_and_counts_it(open_case, alice):
    cases = three_cases(open_case, alice)
    SealedVerdict.objects.filter(case=cases[1]).update(verdict="NO")
    with pytest.raises(CommandError, match=cases[1].period_key):
        said()
    run = JobRun.objects.get(job="close_cases")
    assert (run.items, run.successes, run.failures) == (3, 2, 1)


def test_a_dry_run_tells_what_is_due_and_neither_writes_nor_tells_a_verdict(open_case, alice):
    case = open_case("YES", title="A promise")
    cast(case, alice, "NO")
    with reading_only():
        shown = said(dry_run=True)
    assert f"{case.period_key} 'A promise': due 2026-11-21 12:00 UTC; 0 YES, 1 NO" in shown
    assert "1 cases; nothing was written" in shown
    assert REASONING not in shown
