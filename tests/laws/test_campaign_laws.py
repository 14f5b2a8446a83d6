"""A campaign pays the same people the same, in whatever order its list is written and its users were created."""

from __future__ import annotations

import csv
import io
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.campaigns import services
from rewards.campaigns.errors import NothingToPay, OverBudget
from rewards.campaigns.models import Campaign
from rewards.campaigns.services import Layout
from rewards.distributions.programmes import Draft
from rewards.ledger.models import Currency
from rewards.users.models import User
from tests.laws.reference import Refused, Rulebook
from tests.laws.strategies import Payout, payouts
from tests.rewards.campaigns.conftest import NOON

# Code points order some of these otherwise than words do; the second é is made of two.
NAMES = ["Z", "a", "z", "\u00e9", "e\u0301", "\ufb00", "\U0001f600", "a b", *(f"user{n:02d}" for n in range(20))]
Line = tuple[str, str, int, str]  # user, weight, minor units, group


def fits_a_list(payout: Payout) -> bool:
    """A list has no measure but the weight, and one without anybody or any amount is refused."""
    return "votes" not in repr(payout.rule) and any(one.amount for one in payout.people)


def lines_of(payout: Payout, names: list[str]) -> list[Line]:
    def text(weight: Fraction) -> str:
        return f"{weight // 1}.{weight % 1 * 10**18 // 1:018d}"  # the strategies make no more places than these

    people = zip(names, payout.people, strict=False)
    return [(name, text(one.score), one.amount, one.group) for name, one in people]


def as_file(lines: list[Line], currency: Currency) -> io.BytesIO:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["user", "weight", "amount", "group"])
    rows.writerows([name, weight, currency.to_units(amount), group] for name, weight, amount, group in lines)
    return io.BytesIO(text.getvalue().encode())


def specified(payout: Payout, names: list[str]) -> dict[str, int] | None:
    """Minor units by username, None where nobody may be paid. Places go by weight, then by code points of the name."""
    people = zip(names, payout.people, strict=False)
    ranking = sorted(people, key=lambda named: (-named[1].score, named[0]))
    try:
        parts = Rulebook([one for _, one in ranking], payout.decimals, payout.tie_policy).parts(
            payout.rule, payout.amount
        )
    except Refused:
        return None
    return {name: sum(part.units.get(place, 0) for part in parts) for place, (name, _) in enumerate(ranking)}


def paid(draft: Draft) -> dict[str, int] | None:
    """What the campaign says."""
    try:
        amounts = services.allocated(draft).amounts.tolist()
    except (NothingToPay, OverBudget):
        return None
    return dict(zip(draft.snapshot.usernames, amounts, strict=True))


@pytest.mark.django_db
def test_neither_the_order_of_lines_nor_that_of_users_decides_who_is_paid_what(coins: Currency) -> None:
    created = NAMES.copy()
    Random(1).shuffle(created)
    ids = {name: User.objects.create(username=name).pk for name in created}

    @given(payouts("equal", "proportional", "tiers", "fixed", decimals=(2,)).filter(fits_a_list), st.data())
    @settings(max_examples=60)
    def law(payout: Payout, data: st.DataObject) -> None:
        names = data.draw(st.permutations(NAMES), label="names")
        lines = lines_of(payout, names)
        campaign = services.create_campaign(
            slug=f"law-{Campaign.objects.count()}", currency=coins, amount=payout.amount, rule=payout.rule,
            tie_policy=payout.tie_policy, at=NOON,
        )  # fmt: skip
        rows = [(ids[name], weight, amount, group) for name, weight, amount, group in data.draw(st.permutations(lines))]
        stored = services.store_rows(campaign.pk, rows, actor=None, at=NOON)
        file = as_file(data.draw(st.permutations(lines)), coins)
        layout = Layout("user", weight="weight", amount="amount", group="group")
        uploaded = services.preview_upload(campaign, file, layout, create_users=False, at=NOON)

        expected = specified(payout, names)
        assert uploaded.draft is not None
        assert paid(uploaded.draft) == expected
        assert paid(services.draft_of(campaign, NOON)) == expected
        assert uploaded.digest == stored.digest

    law()
