"""`verify_distribution`, `export_rewards` and `periods`."""

from __future__ import annotations

import csv
from datetime import timedelta

import pytest

from rewards.distributions import services
from rewards.distributions.models import Distribution, Reward
from tests.rewards.distributions.conftest import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def three(prize, alice, bob, carol):
    prize.scores = {"alice": 30, "bob": 20, "carol": 20}
    prize.prize = 1000
    return prize


@pytest.fixture
def paid(three, open_prize):
    return services.advance(open_prize().pk)


class TestVerifyDistribution:
    def test_says_what_it_recomputed(self, paid, manage):
        said = "1 distributions with 3 rows verified, 0 differ.\n"
        for which in (paid.pk, "prize", "--all"):
            assert manage("verify_distribution", which) == said

    def test_all_of_none_is_well(self, manage):
        assert manage("verify_distribution", "--all") == "0 distributions with 0 rows verified, 0 differ.\n"

    def test_a_changed_reward_is_named(self, paid, refused, capsys):
        Reward.objects.filter(position=2).update(amount=332)
        assert refused("verify_distribution", paid.pk) == "What was paid is not what the rule gives."
        said = capsys.readouterr().out
        assert "prize 1: row 2 says 332" in said
        assert "1 distributions with 3 rows verified, 1 differ." in said

    def test_only_the_one_that_differs_does(self, three, paid, open_prize, manage, refused, capsys):
        other = services.advance(open_prize("2").pk)
        Reward.objects.filter(distribution=other, position=1).update(salt="0" * 32)
        assert "0 differ" in manage("verify_distribution", paid.pk)
        refused("verify_distribution", "--all")
        said = capsys.readouterr().out
        assert "prize 2: rows 1 to 3 do not hash" in said
        assert "2 distributions with 6 rows verified, 1 differ" in said

    @pytest.mark.parametrize("which", ["999", "monthly", "99999999999999999999999", "-1", "1.5", "prize 1"])
    def test_what_is_not_there_is_named(self, paid, refused, which):
        assert refused("verify_distribution", which) == f"There is no distribution or programme {which!r}."

    @pytest.mark.parametrize("words", [[], [""], ["prize", "--all"]])
    def test_one_or_a_programme_or_all(self, paid, refused, words):
        assert refused("verify_distribution", *words) == "Name a distribution by its id, a programme, or --all."


class TestExportRewards:
    def read(self, path) -> list[list[str]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    def test_writes_a_line_for_each_row(self, paid, manage, tmp_path):
        out = tmp_path / "rewards.csv"
        assert manage("export_rewards", "prize", out) == f"3 rewards of 1 periods written to {out}.\n"
        assert self.read(out) == [
            ["period_key", "user", "position", "rank", "score", "amount", "status"],
            ["1", "alice", "1", "1", "30", "3.34", "paid"],
            ["1", "bob", "2", "2", "20", "3.33", "paid"],
            ["1", "carol", "3", "2", "20", "3.33", "paid"],
        ]

    def test_a_second_time_writes_the_same(self, paid, manage, tmp_path):
        out = tmp_path / "rewards.csv"
        manage("export_rewards", "prize", out)
        first = out.read_bytes()
        manage("export_rewards", "prize", out)
        assert out.read_bytes() == first

    def test_one_period_only(self, paid, three, open_prize, manage, tmp_path):
        services.advance(open_prize("2").pk)
        manage("export_rewards", "prize", tmp_path / "all.csv")
        manage("export_rewards", "prize", tmp_path / "one.csv", "--period", "2")
        assert [line[0] for line in self.read(tmp_path / "all.csv")[1:]] == ["1", "1", "1", "2", "2", "2"]
        assert [line[0] for line in self.read(tmp_path / "one.csv")[1:]] == ["2", "2", "2"]

    def test_each_status_is_told(self, three, open_prize, staff, manage, tmp_path):
        rule = {"rule": "tiers", "by": "position", "tiers": [{"to": 1, "each": "4"}]}
        services.advance(open_prize("waits", fund=0, approval_limit=0).pk)
        services.advance(open_prize("paid", rule=rule).pk)
        services.advance(open_prize("failed", fund=399).pk)  # with the 600 that were not paid it is one unit short
        boss = staff("boss", "reverse_distribution")
        services.reverse(services.advance(open_prize("reversed").pk).pk, boss, "a mistake")
        manage("export_rewards", "prize", tmp_path / "out.csv")
        statuses = {(line[0], line[1]): line[6] for line in self.read(tmp_path / "out.csv")[1:]}
        assert statuses["waits", "alice"] == "allocated"
        assert (statuses["paid", "alice"], statuses["paid", "bob"]) == ("paid", "none")
        assert statuses["failed", "bob"] == "failed"
        assert statuses["reversed", "carol"] == "reversed"

    @pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "＝1+1"])
    def test_a_name_that_is_a_formula_is_text_to_a_spreadsheet(
        self, three, make_user, open_prize, manage, tmp_path, name
    ):
        make_user(name)
        three.scores = {name: 5}
        services.advance(open_prize().pk)
        manage("export_rewards", "prize", tmp_path / "out.csv")
        ((_, user, *_, score, amount, _),) = self.read(tmp_path / "out.csv")[1:]
        assert user == f"'{name}"
        assert (score, amount) == ("5", "10.00")

    @pytest.mark.parametrize("name", ['quote " and , comma', "Grüße 東京", "semi;colon", "apostrophe's"])
    def test_any_other_name_is_kept(self, three, make_user, open_prize, manage, tmp_path, name):
        make_user(name)
        three.scores = {name: 5}
        services.advance(open_prize().pk)
        manage("export_rewards", "prize", tmp_path / "out.csv")
        assert self.read(tmp_path / "out.csv")[1][1] == name

    def test_scores_below_zero_stay_numbers(self, three, open_prize, manage, tmp_path):
        three.scores = {"alice": 1, "bob": -5}
        services.advance(open_prize().pk)
        manage("export_rewards", "prize", tmp_path / "out.csv")
        assert [line[4] for line in self.read(tmp_path / "out.csv")[1:]] == ["1", "-5"]

    @pytest.mark.parametrize("words", [["monthly"], ["prize", "--period", "2"], [""]])
    def test_what_is_not_there_is_named_and_no_file_begun(self, paid, refused, tmp_path, words):
        out = tmp_path / "out.csv"
        programme, *rest = words
        assert f"{programme!r} has no such distribution" in refused("export_rewards", programme, out, *rest)
        assert not out.exists()

    def test_a_place_that_cannot_be_written_is_named(self, paid, refused, tmp_path):
        nowhere = tmp_path / "nowhere" / "out.csv"
        assert refused("export_rewards", "prize", nowhere) == f"{nowhere} cannot be written: No such file or directory."
        assert refused("export_rewards", "prize", tmp_path) == f"{tmp_path} cannot be written: Is a directory."
        assert "cannot be written: No space left" in refused("export_rewards", "prize", "/dev/full")

    def test_the_file_has_to_be_named(self, paid, refused):
        assert "OUT.csv" in refused("export_rewards", "prize")


class TestPeriods:
    def test_lists_what_is_there_and_counts_it(self, three, open_prize, manage):
        services.advance(open_prize("1").pk)
        services.advance(open_prize("2", approval_limit=0).pk)
        three.broken = True
        services.advance(open_prize("3").pk)
        said = manage("periods", "--programme", "prize").splitlines()
        assert [" ".join(line.split()) for line in said] == [
            "stuck prize 3 the snapshot is broken",
            "running prize 2 waits for approval",
            "done prize 1 paid",
            "3 periods: 0 due, 0 missed, 1 running, 1 stuck.",
        ]

    def test_lists_as_many_as_asked_for(self, three, open_prize, manage):
        for key in "123":
            services.advance(open_prize(key).pk)
        assert manage("periods", "--programme", "prize", "--limit", 2).startswith("done")
        assert "2 periods:" in manage("periods", "--programme", "prize", "--limit", 2)
        assert "0 periods:" in manage("periods", "--programme", "prize", "--limit", 0)

    def test_one_that_is_begun_and_left_is_stuck_after_a_while(self, three, open_prize, manage):
        left = open_prize()
        later = (left.opened_at + timedelta(days=2)).isoformat()
        assert manage("periods", "--programme", "prize").startswith("running")
        assert manage("periods", "--programme", "prize", "--at", later).startswith("stuck")

    def test_nothing_is_written_by_looking(self, paid, manage):
        before = Distribution.objects.values().get()
        manage("periods", "--at", NOON.isoformat())
        assert Distribution.objects.values().get() == before

    def test_an_unknown_programme_is_named(self, paid, refused):
        assert "There is no programme 'yearly'" in refused("periods", "--programme", "yearly")

    @pytest.mark.parametrize(
        "at", ["", "now", "tomorrow", "2026-02-30", "2026-11-21T25:00", "1763721000", "0001-01-01T00:00+14:00"]
    )
    def test_a_bad_instant_is_named(self, refused, at):
        assert refused("periods", "--at", at).startswith(f"--at {at!r} is not an instant such as")

    @pytest.mark.parametrize("limit", ["-1", "many", "1.5"])
    def test_a_bad_limit_is_named(self, refused, limit):
        assert "--limit" in refused("periods", "--limit", limit)
