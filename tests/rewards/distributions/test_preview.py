"""What a rule would pay, before it does; and who would gain by another one."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from rewards.allocation.errors import BudgetExceeded, NothingToWeigh, RuleError
from rewards.distributions import services
from rewards.distributions.errors import DifferentCurrencies
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.preview import Change, Place, SliceFigures, compare, preview, with_rule
from rewards.distributions.programmes import NoPreview, UnknownProgramme
from tests.rewards.reading import reading_only

from .conftest import NOON

pytestmark = pytest.mark.django_db

WINNER_TAKES_ALL = {"rule": "tiers", "tiers": [{"to": 1, "share": "1"}]}
BY_SCORE = {"rule": "proportional"}


@pytest.fixture
def three(prize, alice, bob, carol, coins):
    prize.scores = {"alice": 30, "bob": 20, "carol": 10}
    prize.prize, prize.currency = 600, coins
    return prize


@pytest.fixture
def paid(three, open_prize):
    return services.advance(open_prize().pk)


def test_a_paid_period_by_its_own_rule_is_what_was_paid(paid):
    with reading_only():
        shown = preview("prize", "1", at=NOON)
    stored = list(Reward.objects.filter(distribution=paid).order_by("position").values_list("amount", flat=True))
    assert shown.amounts.tolist() == stored == [200, 200, 200]
    assert (shown.amount, shown.figures.total, shown.unpaid, shown.participants) == (600, 600, 0, 3)
    assert shown.best == [Place(1, "alice", "30", 200), Place(2, "bob", "20", 200), Place(3, "carol", "10", 200)]
    assert shown.slices == [SliceFigures("equal", 600, 600, 3)]


def test_another_rule_for_a_paid_period_says_who_would_gain_and_who_would_lose(paid):
    with reading_only():
        before = preview("prize", "1", at=NOON)
        after = preview("prize", "1", at=NOON, rule=BY_SCORE)
        difference = compare(before, after)
    assert after.amounts.tolist() == [300, 200, 100]
    assert (difference.gaining.count, difference.gaining.sum) == (1, 100)
    assert difference.gaining.largest == [Change("alice", 200, 300, 100)]
    assert (difference.losing.count, difference.losing.sum) == (1, -100)
    assert difference.losing.largest == [Change("carol", 200, 100, -100)]
    assert difference.unchanged == 1
    assert with_rule(before, BY_SCORE).amounts.tolist() == [300, 200, 100]


def test_late_activity_does_not_move_the_preview_of_a_frozen_period(paid, three):
    three.scores = {"carol": 1000}
    assert preview("prize", "1", at=NOON).participants == 3


def test_a_period_that_is_not_frozen_is_worked_out_by_its_programme(three):
    with reading_only():
        shown = preview("prize", "2", at=NOON, rule=WINNER_TAKES_ALL)
    assert shown.amounts.tolist() == [600, 0, 0]
    assert shown.figures.recipients == 1
    assert not Distribution.objects.exists()


def test_an_opened_period_keeps_the_rule_it_was_opened_with(three, open_prize):
    open_prize(rule=WINNER_TAKES_ALL)
    assert preview("prize", "1", at=NOON).amounts.tolist() == [600, 0, 0]


def test_what_another_snapshot_brings(paid, three, open_prize, make_user):
    """Carol is not in the second period, and Dave is not in the first."""
    make_user("dave")
    three.scores = {"dave": 5, "alice": 3, "bob": 1}
    services.advance(open_prize("2", rule=BY_SCORE, fund=600).pk)
    difference = compare(preview("prize", "1", at=NOON), preview("prize", "2", at=NOON))
    assert difference.gaining.largest == [Change("dave", 0, 333, 333)]
    assert difference.losing.largest == [Change("carol", 200, 0, -200), Change("bob", 200, 67, -133)]
    assert (difference.losing.count, difference.losing.sum, difference.unchanged) == (2, -333, 1)


def test_a_rule_that_pays_too_much_is_told_in_currency_units(three):
    each = {"rule": "tiers", "tiers": [{"to": 1, "each": "6.01"}]}
    with pytest.raises(BudgetExceeded, match=r"^This pays 6\.01 coins but only 6\.00 coins are there"):
        preview("prize", "2", at=NOON, rule=each)


def test_what_cannot_be_compared_or_previewed_says_why(paid, three, points):
    three.currency = points
    with pytest.raises(DifferentCurrencies, match="One is in coins, the other in points"):
        compare(preview("prize", "1", at=NOON), preview("prize", "2", at=NOON))
    with pytest.raises(UnknownProgramme):
        preview("nobody", "1", at=NOON)
    with pytest.raises(NoPreview):
        preview("prize", "never", at=NOON)


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({}, "rule"),
        ({"rule": "proportional", "by": "votes"}, "by"),
        ({"rule": "fixed"}, "rule"),
        ({"rule": "tiers", "tiers": [{"to": 1, "each": "1"}, {"to": 1, "each": "1"}]}, "tiers[1].to"),
        (
            {"rule": "slices", "slices": [
                {"name": "a", "weight": "1", "members": {"group": "x"}, "rule": {"rule": "equal"}}]},
            "slices[0].members.group",
        ),
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused_with_its_path(paid, rule, path):
    with pytest.raises(RuleError) as refused:
        preview("prize", "1", at=NOON, rule=rule)
    assert refused.value.path == path


def test_a_tie_policy_that_there_is_not_is_refused(paid):
    with pytest.raises(RuleError, match="tie_policy: write one of earliest, shared, same"):
        preview("prize", "1", at=NOON, tie_policy="lottery")


def test_nothing_to_weigh_is_an_error_as_it_would_be_when_paying(three):
    three.scores = {"alice": 0, "bob": 0}
    with pytest.raises(NothingToWeigh):
        preview("prize", "2", at=NOON, rule=BY_SCORE)


def test_nobody_took_part(three):
    three.scores = {}
    shown = preview("prize", "2", at=NOON)
    assert (shown.participants, shown.unpaid, shown.best, shown.curve) == (0, 600, [], [])
    assert compare(shown, shown).unchanged == 0


def test_a_frozen_period_without_anybody_takes_any_rule_that_makes_sense(three, open_prize):
    three.scores = {}
    services.advance(open_prize().pk)
    for rule in ({"rule": "fixed"}, {"rule": "proportional", "by": "votes"}):
        assert preview("prize", "1", at=NOON, rule=rule).unpaid == 600
    with pytest.raises(RuleError):
        preview("prize", "1", at=NOON, rule={"rule": "lottery"})


def test_as_json_amounts_are_text_in_currency_units(paid):
    before, after = preview("prize", "1", at=NOON), preview("prize", "1", at=NOON, rule=BY_SCORE)
    shown = json.loads(json.dumps(after.as_json()))
    assert shown.items() >= {
        "programme": "prize", "period_key": "1", "currency": "coins", "amount": "6.00", "total": "6.00",
        "unpaid": "0.00", "participants": 3, "recipients": 3, "top_1_percent": "0.500000", "gini": "0.222222",
        "rule": BY_SCORE, "tie_policy": "earliest",
    }.items()  # fmt: skip
    assert shown["best"][0] == {"position": 1, "user": "alice", "score": "30", "amount": "3.00"}
    assert shown["quantiles"]["50"] == "2.00"
    assert shown["curve"] == [
        {"position": place, "amount": amount} for place, amount in ((1, "3.00"), (2, "2.00"), (3, "1.00"))
    ]
    assert shown["slices"] == [{"name": "proportional", "amount": "6.00", "paid": "6.00", "members": 3}]
    assert compare(before, after).as_json() == {
        "currency": "coins",
        "gaining": {
            "count": 1, "sum": "1.00",
            "largest": [{"user": "alice", "before": "2.00", "after": "3.00", "difference": "1.00"}],
        },
        "losing": {
            "count": 1, "sum": "-1.00",
            "largest": [{"user": "carol", "before": "2.00", "after": "1.00", "difference": "-1.00"}],
        },
        "unchanged": 1,
    }  # fmt: skip


def test_reading_only_catches_a_write(coins):
    with pytest.raises(DatabaseError), reading_only():
        coins.save()


def test_scores_of_many_digits_and_few_are_read_back_as_they_were(three, open_prize):
    """Blocks of rows have different decimals and sizes; the columns are joined without losing a digit."""
    from rewards.distributions import rows

    services.advance(open_prize().pk)
    texts = {1: "123456789012345678901234567890", 2: "2.5", 3: "0.000001"}
    for position, text in texts.items():
        Reward.objects.filter(position=position).update(score=text, inputs={"group": "a", "amount": "7"})
    whole, rows.ROWS_AT_ONCE = rows.ROWS_AT_ONCE, 1
    try:
        snapshot = rows.stored_snapshot(Distribution.objects.get())
    finally:
        rows.ROWS_AT_ONCE = whole
    assert snapshot.scores.decimals == 6
    assert [int(value) for value in snapshot.scores.values] == [123456789012345678901234567890 * 10**6, 2_500_000, 1]
    assert (snapshot.groups, list(snapshot.amounts)) == (["a"] * 3, [7] * 3)


# -------------------------------------------------------------------------------------------------------- the command


def test_the_command_shows_the_figures_and_who_gains(paid, capsys):
    with reading_only():
        call_command("preview", "prize", "1", rule=json.dumps(BY_SCORE), against_rule=json.dumps(WINNER_TAKES_ALL))
    shown = capsys.readouterr().out
    assert "6.00 coins to 3 of 3 participants, 0.00 left over" in shown
    assert "    1  alice     30    3.00\n" in shown
    assert "1 gain 0.00" not in shown
    assert "2 gain 3.00" in shown
    assert "1 lose -3.00" in shown


def test_the_command_compares_two_periods(paid, three, open_prize, capsys):
    three.scores = {"carol": 5}
    services.advance(open_prize("2", fund=600).pk)
    call_command("preview", "prize", "2", against_period="1")
    shown = capsys.readouterr().out
    assert "Against prize 1" in shown
    assert "1 gain 4.00" in shown


def test_the_command_says_what_is_wrong(paid):
    with pytest.raises(CommandError, match="--rule is not JSON"):
        call_command("preview", "prize", "1", rule="{rule: equal}")
    with pytest.raises(CommandError, match=r"by: there is no measure 'votes' here"):
        call_command("preview", "prize", "1", rule='{"rule": "proportional", "by": "votes"}')
    with pytest.raises(CommandError, match="No programme 'nobody' is installed"):
        call_command("preview", "nobody", "1")
    with pytest.raises(CommandError, match="--at 'soon' is not an instant"):
        call_command("preview", "prize", "1", at="soon")
