"""The nine badges that the product ships with."""

from __future__ import annotations

from badges.models import Badge
from badges.setup import create_default_badges

SEED = [
    ("first_win", "First Victory", "🏆", "cases_won", 1, 50),
    ("five_wins", "Winning Streak", "🔥", "cases_won", 5, 200),
    ("ten_wins", "Champion", "👑", "cases_won", 10, 500),
    ("top_argument", "Master Debater", "💬", "top_arguments", 1, 100),
    ("top_argument_3x", "Persuasion Expert", "🎯", "top_arguments", 3, 300),
    ("active_participant", "Active Member", "⭐", "participations", 20, 150),
    ("dedicated_voter", "Dedicated Voter", "🗳️", "votes", 50, 250),
    ("early_adopter", "Early Adopter", "🚀", "user:joined_in_beta", 1, 100),
    ("wallet_connected", "Blockchain Ready", "🔗", "user:wallet_connected", 1, 50),
]


def test_the_nine_are_those_of_the_seed_in_its_order(nine):
    shipped = Badge.objects.values_list("slug", "name", "icon", "metric", "threshold", "bonus")

    assert list(shipped) == SEED
    assert set(Badge.objects.values_list("active", "repeat", "version")) == {(True, "once", 1)}
    assert "Won your first case" in nine["first_win"].description


def test_what_an_operator_made_of_one_is_kept_and_only_missing_ones_are_created(nine):
    Badge.objects.filter(slug="five_wins").update(name="On fire", active=False)
    nine["votes"] = nine.pop("dedicated_voter")
    nine["votes"].delete()

    assert create_default_badges() == ["dedicated_voter"]
    assert create_default_badges() == []

    assert Badge.objects.values_list("name", "active").get(slug="five_wins") == ("On fire", False)
    assert Badge.objects.count() == 9


def test_each_begins_its_history(nine):
    reasons = Badge.history.values_list("history_type", "history_change_reason")

    assert list(reasons) == [("+", "default")] * 9
