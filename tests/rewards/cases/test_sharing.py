"""Sharing out: who gets which part of a case's pool, to the unit, and how anyone can look it up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from rewards.allocation import verify as offline
from rewards.allocation.canonical import canonical_json
from rewards.allocation.presets import case_rule
from rewards.cases.closing import close_case, close_cases
from rewards.cases.errors import CaseNotClosed
from rewards.cases.models import Case
from rewards.cases.programme import CaseProgramme
from rewards.distributions import services
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.preview import preview
from rewards.distributions.programmes import NoPreview
from rewards.distributions.queries import period_states, proof, receipt, verify
from rewards.ledger.models import Account, Currency
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.rewards.cases.conftest import NOON, argument_of, cast
from tests.rewards.promises import broken_promises

pytestmark = pytest.mark.django_db

DUE = NOON + timedelta(hours=24)

People = Callable[[int], list[User]]


@pytest.fixture
def people(make_user) -> People:
    return lambda count: [make_user(f"user{number:03}") for number in range(count)]


def shared_out(case: Case) -> dict[str, dict[str, int]]:
    """Username → breakdown, in position order, once the case is closed."""
    close_cases(DUE)
    rewards = Reward.objects.filter(distribution__period_key=case.period_key).order_by("position")
    assert all(reward.amount == sum(reward.breakdown.values()) for reward in rewards)
    return {reward.user.username: reward.breakdown for reward in rewards.select_related("user")}


def treasury() -> int:
    account = Account.objects.filter(user=None, code="treasury").first()
    return account.balance if account else 0


def creator_from(participants: int) -> None:
    set_parameter("cases.creator_participants", participants, actor=None, reason="few are many here")


# ------------------------------------------------------------------------------------------------------- who gets what


def test_a_case_with_all_four_parts(open_case, people, carol):
    creator_from(4)
    case, users = open_case("YES", created_by=carol), people(4)
    for number, user in enumerate(users):
        cast(case, user, "NO" if number == 3 else "YES", NOON + timedelta(minutes=number))
    argument_of(case, users[3], likers=users[:2])
    argument_of(case, users[0], likers=users[1:2])

    assert shared_out(case) == {
        "user003": {"top_argument": 150, "participant": 50},
        "user000": {"winning_voter": 134, "top_argument": 90, "participant": 50},
        "user001": {"winning_voter": 133, "participant": 50},
        "user002": {"winning_voter": 133, "participant": 50},
        "carol": {"creator": 100},
    }
    assert treasury() == 60  # nobody argued third best
    assert broken_promises() == []


@pytest.mark.parametrize(("needed", "part"), [(2, {"creator": 100}), (3, None)])
def test_the_creator_gets_his_part_from_so_many_participants_on(open_case, people, carol, needed, part):
    creator_from(needed)
    case, users = open_case("NO", created_by=carol), people(2)
    for user in users:
        cast(case, user, "YES")
    assert shared_out(case).get("carol") == part
    assert treasury() == (700 if part else 800)


def test_by_default_it_takes_a_hundred(open_case, people, carol):
    cases, users = [open_case(created_by=carol) for _ in range(2)], people(100)
    for user in users[:99]:
        cast(cases[0], user, "YES")
    for user in users:
        cast(cases[1], user, "YES")
    assert "carol" not in shared_out(cases[0])
    assert shared_out(cases[1])["carol"] == {"creator": 100}


def test_a_creator_who_votes_gets_one_reward_of_all_his_parts(open_case, people, carol):
    creator_from(2)
    case, users = open_case(created_by=carol), people(1)
    cast(case, users[0], "NO")
    cast(case, carol, "YES", NOON + timedelta(minutes=1))
    assert shared_out(case) == {
        "user000": {"participant": 100},
        "carol": {"winning_voter": 400, "participant": 100, "creator": 100},
    }
    assert Distribution.objects.get().recipients == 2


def test_who_argues_without_a_vote_takes_part_and_who_does_both_does_so_once(open_case, alice, bob):
    case = open_case()
    cast(case, alice, "YES")
    argument_of(case, alice)
    argument_of(case, bob, at=NOON + timedelta(minutes=1))
    assert shared_out(case) == {
        "alice": {"winning_voter": 400, "top_argument": 150, "participant": 100},
        "bob": {"top_argument": 90, "participant": 100},
    }


def test_a_fourth_argument_gets_nothing_for_it(open_case, people):
    case, users = open_case("NO"), people(4)
    for number, user in enumerate(users):
        cast(case, user, "YES")
        argument_of(case, user, at=NOON + timedelta(minutes=number))
    given = [150, 90, 60]
    assert [parts.get("top_argument") for parts in shared_out(case).values()] == [*given, None]


def test_when_nobody_was_right_their_part_returns(open_case, alice):
    case = open_case("NO")
    cast(case, alice, "YES")
    assert shared_out(case) == {"alice": {"participant": 200}}
    assert treasury() == 800


def test_a_deactivated_voter_still_gets_his_share(open_case, alice, bob):
    case = open_case()
    for user in (alice, bob):
        cast(case, user, "YES")
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert shared_out(case) == {name: {"winning_voter": 200, "participant": 100} for name in ("alice", "bob")}


def test_units_left_over_go_to_the_earlier_votes(open_case, people):
    case, users = open_case(pool=11), people(3)
    for number, user in enumerate(users):
        cast(case, user, "YES", NOON + timedelta(minutes=3 - number))
    # 4.4, 3.3, 2.2, 1.1 of eleven: 5, 3, 2, 1
    assert shared_out(case) == {
        "user002": {"winning_voter": 2, "participant": 1},
        "user001": {"winning_voter": 2, "participant": 1},
        "user000": {"winning_voter": 1},
    }
    assert treasury() == 4


# --------------------------------------------------------------------------------------------- looked up and looked at


@pytest.fixture
def paid_case(open_case, people) -> Case:
    case, users = open_case(), people(5)
    for number, user in enumerate(users):
        cast(case, user, "NO" if number == 2 else "YES", NOON + timedelta(minutes=number))
    for number, user in enumerate(users[1:3]):
        argument_of(case, user, likers=users[number + 2 :])
    close_cases(DUE)
    case.refresh_from_db()
    return case


def test_a_receipt_says_why(paid_case):
    reward = Reward.objects.select_related("distribution__currency").get(user__username="user001")
    told = receipt(reward)
    assert told["amount"] == "290"
    parts = {line.pop("name"): line for line in told["slices"]}
    assert {name: (line["amount"], line["slice_amount"], line["members"]) for name, line in parts.items()} == {
        "winning_voter": ("100", "400", 4),
        "top_argument": ("150", "300", 2),
        "participant": ("40", "200", 5),
    }
    assert parts["winning_voter"]["raw_share"] == "100"
    assert "Place 1 of 5 with a score of 3" in told["words"]
    assert told["inputs"]["measures"] == {"winning_voter": "1", "argument": "1", "participant": "1", "creator": "0"}


def test_rows_verify_and_prove_themselves(paid_case):
    distribution = Distribution.objects.get()
    assert (distribution.programme, distribution.period_key) == ("case", paid_case.period_key)
    assert (distribution.starts_at, distribution.ends_at) == (paid_case.opens_at, paid_case.closes_at)
    assert verify(distribution) == []
    for user in User.objects.all():
        evidence = proof(distribution, user)
        leaf = canonical_json(evidence["leaf"]).decode()
        assert "was allocated" in offline.verify_proof({**evidence, "leaf": offline._parse(leaf)})


def test_the_figures_of_its_parts(paid_case):
    slices = Distribution.objects.get().results["slices"]
    assert slices == [
        {"name": "winning_voter", "amount": 400, "paid": 400, "members": 4},
        {"name": "top_argument", "amount": 300, "paid": 240, "members": 2},
        {"name": "participant", "amount": 200, "paid": 200, "members": 5},
        {"name": "creator", "amount": 100, "paid": 0, "members": 0},
    ]


def test_what_an_open_case_would_pay_is_not_told(open_case, alice):
    case = open_case()
    cast(case, alice, "YES")
    with pytest.raises(NoPreview) as refused:
        preview("case", case.period_key, at=DUE)
    assert "not closed" in refused.value.message
    close_case(case.pk, DUE)
    before = preview("case", case.period_key, at=DUE)
    assert (before.amount, before.unpaid, before.participants) == (1_000, 400, 1)
    close_cases(DUE)
    assert preview("case", case.period_key, at=DUE).amounts.tolist() == before.amounts.tolist() == [600]


@pytest.mark.parametrize(("programme", "key"), [
    ("case", "case:999"), ("case", "12"), ("case", "case:x"), ("case", "case:²"), ("case", "case:" + "9" * 30),
    ("case", "case:-1"), ("case:x", "case:{pk}"), ("case", "case:0{pk}"),
])  # fmt: skip
def test_what_is_no_case_has_no_preview(open_case, programme: str, key: str):
    case = open_case()
    close_case(case.pk, DUE)
    with pytest.raises(NoPreview):
        preview(programme, key.format(pk=case.pk), at=DUE)


@pytest.mark.parametrize("status", ["active", "void"])
def test_the_engine_itself_pays_only_closed_cases(open_case, points: Currency, alice, status: str):
    case = open_case()
    cast(case, alice, "YES")
    Case.objects.filter(pk=case.pk).update(status=status)
    escrow = Account.objects.select_related("currency").get(code=case.escrow)
    distribution, _ = services.open_distribution(
        "case", case.period_key, starts_at=case.opens_at, ends_at=case.closes_at, currency=points,
        source_account=escrow, rule=case_rule(), at=DUE,
    )  # fmt: skip
    with pytest.raises(CaseNotClosed):
        CaseProgramme().require_standing(distribution)
    assert services.advance(distribution.pk).status == "failed"
    assert not Reward.objects.exists()


def test_the_list_of_periods_has_what_is_due_and_what_is_paid(open_case, alice):
    cases = [open_case(), open_case(), open_case(hours=25)]
    cast(cases[0], alice, "YES")
    close_case(cases[1].pk, DUE)

    def states(at: Any) -> dict[str, str]:
        return {state.period_key: state.state for state in period_states(at, "case")}

    assert states(DUE) == {cases[0].period_key: "due", cases[1].period_key: "due"}
    close_cases(DUE)
    assert states(DUE) == {cases[0].period_key: "done", cases[1].period_key: "done"}


def test_a_payout_on_the_chain_says_so(open_case, alice):
    case = open_case(payout="chain")
    cast(case, alice, "YES")
    close_cases(DUE)
    assert Distribution.objects.get(period_key=case.period_key).payout == "chain"
    assert Account.objects.get(user=alice, code="claimable").balance == 600
    assert treasury() == 400
