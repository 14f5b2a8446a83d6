"""One file, several commands, processes that die: everybody is paid once, and one list wins."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from rewards.campaigns import services
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.distributions.models import Distribution, DistributionChunk
from rewards.distributions.queries import verify
from rewards.ledger.models import Account, Transfer
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import PATIENCE_SECONDS, at_once, die_at_commit, in_process, was_killed

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PEOPLE = 200


@pytest.fixture
def pay(coins, tmp_path) -> Callable[..., str]:
    """`pay("list", each=3)`: the command on a list that gives so much to each; what it says."""
    set_parameter("distributions.chunk_rows", 64, actor=None, reason="several chunks")

    def run(name: str = "list", each: int = 3) -> str:
        path: Path = tmp_path / f"{name}.csv"
        if not path.exists():
            path.write_text("user,amount\n" + "".join(f"user{number},{each}\n" for number in range(PEOPLE)))
        words = [
            "--campaign",
            "prizes",
            "--currency",
            "coins",
            "--amount-column",
            "amount",
            "--rule",
            '{"rule":"fixed"}',
        ]
        out = io.StringIO()
        call_command("distribute_file", str(path), *words, "--create-users", stdout=out)
        return out.getvalue()

    return run


def assert_each_is_paid_once(each: int = 3) -> None:
    distribution = Distribution.objects.get()
    assert (distribution.status, distribution.paid_amount) == ("paid", PEOPLE * each * 100)
    assert User.objects.count() == CampaignParticipant.objects.count() == Transfer.objects.count() == PEOPLE
    assert set(Account.objects.exclude(user=None).values_list("balance", flat=True)) == {each * 100}
    assert DistributionChunk.objects.exclude(journal=None).count() == 4
    assert Campaign.objects.get().status == "done"
    assert verify(distribution) == []
    assert broken_promises() == []


def test_two_of_the_same_command_at_once_pay_once(pay):
    pay_once = partial(pay, "list")
    said = at_once(pay_once, pay_once)

    states = {text.splitlines()[0] for text in said}
    assert states <= {
        "campaign:prizes: paid",
        "campaign:prizes: already paid, nothing is changed",
        "campaign:prizes: is being paid by another process",
    }
    pay("list")
    assert_each_is_paid_once()


def test_of_two_lists_at_once_one_wins_and_the_other_changes_nothing(pay):
    said = at_once(partial(pay, "three", 3), partial(pay, "four", 4))

    [refused] = [answer for answer in said if isinstance(answer, CommandError)]
    assert "stands already with another list: nothing is changed" in str(refused)
    assert_each_is_paid_once(3 if said[1] is refused else 4)


@pytest.mark.parametrize("after", [False, True], ids=["before its commit", "after its commit"])
def test_a_command_that_dies_at_a_commit_is_continued_by_the_same_command(pay, after):
    """It dies opening the run, then freezing it, then paying its chunks; each reads the file again first."""

    def pay_and_die_at_commit(number: int) -> None:
        die_at_commit(number, after=after)
        pay("list")

    states = []
    for number in (1, 2, 3, 2):
        process = in_process(pay_and_die_at_commit, number)
        process.join(PATIENCE_SECONDS)
        assert was_killed(process)
        states.append([*Distribution.objects.values_list("status", flat=True)])

    assert states[0] == (["open"] if after else [])
    assert states[-1] != ["paid"]
    assert pay("list").startswith("campaign:prizes: paid")
    assert_each_is_paid_once()


def test_a_run_that_is_due_is_opened_once_by_all_who_see_it(coins, alice):
    campaign = services.create_campaign(
        slug="daily", currency=coins, rule={"rule": "equal"}, amount=5, starts_at=NOON, schedule="daily", at=NOON
    )
    services.store_rows(campaign.pk, [(alice.pk, "1", None, "")], actor=None, at=NOON)
    services.change_campaign(campaign.pk, None, NOON, status="active")

    results = at_once(*[partial(services.run_due, NOON)] * 3)

    assert sum(result.opened for result in results) == 1
    assert [result.failures for result in results] == [[], [], []]
    assert Transfer.objects.count() == 1
