"""The pool of a case is shared out as its specification words it, whoever votes, argues and wrote it."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.activity.models import Counter
from rewards.cases.closing import close_cases
from rewards.cases.models import Argument, Case, CaseVote
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.queries import verify
from rewards.ledger.models import Account, Currency
from rewards.parameters.services import set_parameter
from rewards.users.models import User
from tests.laws.reference import whole_units
from tests.rewards.cases.conftest import NOON, make_open_case

DUE = NOON + timedelta(hours=24)
CREATOR_FROM = 5


def live_through(pick: Random, users: list[User], most: int) -> Case:
    """A case in which some of the users vote, and some of those argue; many votes and likes are at the same instant."""
    creator = pick.choice([None, *users])
    case = make_open_case(
        pick.choice(["YES", "NO"]), pool=pick.choice([0, 1, 7, 100, 1_000, 10**9 + 7]), created_by=creator
    )
    voters = pick.sample(users, pick.randint(0, most))
    CaseVote.objects.bulk_create(
        CaseVote(case=case, user=user, side=pick.choice(["YES", "NO"]), voted_at=NOON + minutes(pick))
        for user in voters
    )
    Argument.objects.bulk_create(
        Argument(
            case=case, user=user, side="YES", text="So it is.", likes=pick.choice([0, 0, 1, 2, 9]),
            created_at=NOON + minutes(pick),
        )
        for user in pick.sample(voters, pick.randint(0, len(voters)))
    )  # fmt: skip
    return case


def minutes(pick: Random) -> timedelta:
    return timedelta(minutes=pick.randint(0, 3))


def specified(case: Case, verdict: str) -> dict[int, dict[str, int]]:
    """User id → parts, in whole units: one person and one fraction at a time."""
    votes = list(CaseVote.objects.filter(case=case).values_list("user_id", "side", "voted_at", "pk"))
    said = list(Argument.objects.filter(case=case).values_list("user_id", "likes", "created_at", "pk"))
    best = [user for user, _, _, _ in sorted(said, key=lambda each: (-each[1], each[2], each[3]))]
    in_order = best + [user for user, _, _, _ in sorted(votes, key=lambda each: (each[2], each[3])) if user not in best]
    winners = {user for user, side, _, _ in votes if side == verdict}
    creator = [case.created_by_id] if case.created_by_id and len(in_order) >= CREATOR_FROM else []

    parts = whole_units(
        {place: Fraction(case.reward_pool * percent, 100) for place, percent in enumerate((40, 30, 20, 10))}
    )
    prizes = whole_units({place: Fraction(parts[1] * percent, 100) for place, percent in enumerate((50, 30, 20))})
    shares = {
        "winning_voter": equally(parts[0], [user for user in in_order if user in winners]),
        "top_argument": {user: prizes[place] for place, user in enumerate(best[:3])},
        "participant": equally(parts[2], in_order),
        "creator": equally(parts[3], creator),
    }
    everybody = [*in_order, *(user for user in creator if user not in in_order)]
    return {user: {name: units[user] for name, units in shares.items() if units.get(user)} for user in everybody}


def equally(units: int, users: list[int]) -> dict[int, int]:
    by_place = whole_units({place: Fraction(units, len(users)) for place in range(len(users))})
    return {user: by_place[place] for place, user in enumerate(users)}


@pytest.mark.django_db
def test_the_pool_of_a_case_is_shared_out_as_specified(points: Currency) -> None:
    set_parameter("cases.creator_participants", CREATOR_FROM, actor=None, reason="small cases")
    users = User.objects.bulk_create(User(username=f"user{number}", password="!") for number in range(12))

    @given(st.randoms(use_true_random=True), st.sampled_from([12, 9, 6, 4, 1]))
    @settings(max_examples=40)
    def law(pick: Random, most: int) -> None:
        pick.shuffle(users)
        case = live_through(pick, users, most)
        before, decided = treasury(), counted("cases_decided")
        expected = specified(case, case.sealed.verdict)  # type: ignore[attr-defined]

        assert close_cases(DUE).failures == []

        distribution = Distribution.objects.get(period_key=case.period_key)
        rewards: Any = Reward.objects.filter(distribution=distribution).order_by("position")
        assert dict(rewards.values_list("user_id", "breakdown")) == expected
        assert list(rewards.values_list("user_id", flat=True)) == list(expected)
        given_out = sum(sum(parts.values()) for parts in expected.values())
        assert treasury() - before == case.reward_pool - given_out
        assert Account.objects.get(code=case.escrow).balance == 0
        assert verify(distribution) == []
        assert counted("cases_decided") - decided == CaseVote.objects.filter(case=case).count()

    law()


def treasury() -> int:
    return sum(Account.objects.filter(user=None, code="treasury").values_list("balance", flat=True))


def counted(metric: str) -> int:
    return sum(int(each) for each in Counter.objects.filter(metric=metric, month="").values_list("quantity", flat=True))
