"""Alice takes the rules of one installation to another: what is the same stays, what differs is changed, with who and
why; what stands in the way is said, all of it at once, and then nothing is changed."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group

from badges.models import Badge, BadgeAward
from leaderboard.models import Board
from leaderboard.services import refresh_board
from rewards.audit.models import AuditEvent
from rewards.claims.models import ClaimType, Line
from rewards.claims.services import claim
from rewards.common.errors import ReasonMissing
from rewards.exchange.documents import from_bytes
from rewards.exchange.errors import ChangedMeanwhile, FileUnreadable, NewerFormat, RulesRefused
from rewards.exchange.services import export_rules, import_rules, look_at
from rewards.ledger.models import Account, Currency
from rewards.monthly.models import RankingCategory
from rewards.parameters.models import Parameter
from rewards.parameters.services import param, set_parameter
from rewards.pools.models import Pool, VoteWeight
from rewards.users.models import User

from .conftest import AT, exported, refusals, take

# ------------------------------------------------------------------------------------------------------- there and back


def test_what_an_installation_exports_changes_nothing_there(file) -> None:
    report = take(exported())
    assert report.changes == []
    assert not report.of("refused")
    assert {item.kind for item in report.of("same")} == {
        "currencies", "pools", "claim_types", "ranking_categories", "badges", "boards"
    }  # fmt: skip
    assert not AuditEvent.objects.filter(event_type="rules_imported").exists()


def test_the_same_rules_are_the_same_text_and_carry_no_ids_or_times() -> None:
    text = export_rules()
    Badge.objects.update(created_at=AT)
    assert export_rules() == text
    assert text.endswith("}\n")
    assert '"id"' not in text
    assert json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n" == text


def test_all_that_was_edited_comes_over_and_a_second_time_nothing_is_left_to_do(alice) -> None:
    edited = _edit_everything()
    _put_back()
    assert exported() != edited

    report = take(edited, alice)

    assert exported() == edited
    assert {item.kind for item in report.changes} == set(edited)
    assert take(edited, alice).changes == []
    [event] = AuditEvent.objects.filter(event_type="rules_imported")
    assert (event.actor, event.reason) == (alice, "From the other one")
    assert "badges:night_owl" in event.data["create"]


def _edit_everything() -> dict:
    Currency.objects.create(code="gems", name="Gems", decimals=2)
    set_parameter("distributions.stuck_after_minutes", 45, actor=None, reason="Patience")
    VoteWeight.objects.create(vote_type="share", weight=Decimal("1.25"))
    Pool.objects.filter(slug="hourly").update(share=None, approval_limit=500)
    Pool.objects.filter(slug="daily").update(share="0.6")
    win = ClaimType.objects.create(slug="win", title="A win", sample_context={"floor": 7})
    Line.objects.create(claim_type=win, order=1, currency="points", amount="10 * floor")
    RankingCategory.objects.filter(slug="students").update(approval_limit="1000", title="All students")
    Badge.objects.create(slug="night_owl", name="Night owl", metric="night_votes", threshold=3)
    Board.objects.create(slug="gems", source="points", currency="gems", window="monthly", time_zone="Europe/Berlin")
    return exported()


def _put_back() -> None:
    """As the other installation is: with what is shipped alone."""
    Board.objects.filter(slug="gems").delete()
    Badge.objects.filter(slug="night_owl").delete()
    RankingCategory.objects.filter(slug="students").update(approval_limit=None, title="Students")
    ClaimType.objects.filter(slug="win").delete()
    Pool.objects.filter(slug="hourly").update(share="0.25", approval_limit=None)
    Pool.objects.filter(slug="daily").update(share=None)
    VoteWeight.objects.all().delete()
    for parameter in Parameter.objects.all():
        set_parameter(parameter.key, parameter.default, actor=None, reason="back")
    Currency.objects.filter(code="gems").delete()


def test_who_and_why_stand_in_the_history_of_each_rule(alice, file) -> None:
    take(
        file(
            badges={"first_win": {"name": "The first one"}},
            parameters={"distributions.stuck_after_minutes": {"value": 45}},
            ranking_categories={"students": {"title": "All"}},
            pools={"hourly": {"title": "By the hour"}},
        ),
        alice,
    )
    rows = [
        Badge.objects.get(slug="first_win"), Parameter.objects.get(key="distributions.stuck_after_minutes"),
        RankingCategory.objects.get(slug="students"), Pool.objects.get(slug="hourly"),
    ]  # fmt: skip
    for row in rows:
        newest = row.history.first()
        assert (newest.history_user, newest.history_change_reason) == (alice, "From the other one"), row
    assert RankingCategory.objects.get(slug="students").prepared_by == alice, "he does not approve what it pays"
    assert Badge.objects.get(slug="first_win").threshold == 1, "what the file leaves out stays"


def test_nothing_is_deleted_and_what_is_not_named_is_counted(file) -> None:
    set_parameter("distributions.stuck_after_minutes", 45, actor=None, reason="Patience")
    report = take(file(badges={"first_win": {"bonus": 60}}))
    assert report.untouched["badges"] == Badge.objects.count() - 1 == 8
    assert report.untouched["parameters"] == 1
    assert param("distributions.stuck_after_minutes") == 45


def test_a_recipe_has_the_lines_of_the_file_with_their_history(file) -> None:
    old = ClaimType.objects.create(slug="win", sample_context={"floor": 7})
    first = Line.objects.create(claim_type=old, order=1, currency="points", amount="1")
    gone = Line.objects.create(claim_type=old, order=2, currency="coins", amount="2")
    lines = [{"currency": "points", "amount": "10 * floor"}]
    take(file(claim_types={"win": {"lines": lines}}))
    assert list(old.lines.values_list("pk", "amount")) == [(first.pk, "10 * floor")]
    assert Line.history.filter(id=gone.pk).first().history_type == "-"
    assert Line.history.filter(id=gone.pk).first().history_change_reason == "From the other one"


def test_two_shares_that_are_right_together_alone(file) -> None:
    Pool.objects.filter(slug="hourly").update(share="0.25")
    Pool.objects.filter(slug="daily").update(share="0.75")
    both = {"hourly": {"share": "0.4"}, "daily": {"share": "0.6"}}
    take(file(pools=both))
    assert Pool.objects.get(slug="daily").share == Decimal("0.6")
    assert "not the whole" in refusals(file(pools={"hourly": {"share": "0.5"}}))["pools:hourly"]


# ------------------------------------------------------------------------------------------------------------- a look


def test_a_look_writes_nothing_and_says_every_difference(alice, file) -> None:
    before = export_rules()
    report = look_at(
        file(badges={"first_win": {"bonus": 60}}, vote_weights={"share": {"weight": "2"}}), actor=alice, at=AT
    )
    assert [(item.key, item.outcome) for item in report.changes] == [("share", "create"), ("first_win", "change")]
    change = report.changes[1]
    assert (change.before["bonus"], change.after["bonus"]) == (50, 60)
    assert export_rules() == before
    assert not Badge.history.filter(history_user=alice).exists()
    assert (
        param("distributions.stuck_after_minutes")
        == Parameter.objects.get(key="distributions.stuck_after_minutes").default
    )


def test_a_badge_that_many_would_get_says_how_many_and_what_it_costs(file) -> None:
    for name in ("bob", "carol"):
        User.objects.create(username=name, wallet_address="0x1")
    Badge.objects.filter(slug="wallet_connected").update(active=False)
    report = look_at(file(badges={"wallet_connected": {"active": True}}), actor=None, at=AT)
    assert report.changes[0].note == "It would be given to 2 users within the hour, with 100 points in all."


def test_what_was_looked_at_is_what_is_taken_or_nothing(file) -> None:
    sections = file(badges={"first_win": {"bonus": 60}})
    seen = look_at(sections, actor=None, at=AT).digest()
    badge = Badge.objects.get(slug="first_win")
    badge.bonus = 55
    badge.save()
    with pytest.raises(ChangedMeanwhile):
        import_rules(sections, actor=None, reason="As seen", at=AT, looked_at=seen)
    seen = look_at(sections, actor=None, at=AT).digest()
    import_rules(sections, actor=None, reason="As seen", at=AT, looked_at=seen)
    assert Badge.objects.get(slug="first_win").bonus == 60


# ------------------------------------------------------------------------------------------------------------ refusals


def test_every_refusal_is_said_at_once_and_nothing_is_changed(alice, file) -> None:
    sections = file(
        vote_weights={"share": {"weight": "2"}, "like": {"weight": "-1"}},
        parameters={"no.such": {"value": 1}, "distributions.stuck_after_minutes": {"value": "soon"}},
        pools={"weekly": {"title": "Weekly"}, "hourly": {"rule": {"rule": "magic"}}, "daily": {"currency": "coins"}},
        claim_types={"win": {"lines": [{"currency": "points", "amount": "1 +"}]}},
        ranking_categories={"students": {"group": "nobody"}, "teachers": {"score": {}}},
        badges={"first_win": {"threshold": 0}, "ten_wins": {"colour": "red"}},
        boards={"points-weekly": {"currency": "shells"}, "x y": {}},
        api_keys={"k": {"secret": "s"}},
    )
    found = refusals(sections, alice)
    assert set(found) == {
        "vote_weights:like", "parameters:no.such", "parameters:distributions.stuck_after_minutes", "pools:weekly",
        "pools:hourly", "pools:daily", "claim_types:win", "ranking_categories:students", "ranking_categories:teachers",
        "badges:first_win", "badges:ten_wins", "boards:points-weekly", "boards:x y", "api_keys:",
    }  # fmt: skip
    assert "not negative" in found["vote_weights:like"]
    assert "there is no group 'nobody'" in found["ranking_categories:students"]
    assert "is no kind of rules" in found["api_keys:"]
    assert "line 1.amount" in found["claim_types:win"]
    with pytest.raises(RulesRefused) as refused:
        take(sections, alice)
    assert len(refused.value.facts["refused"]) == len(found)
    assert not VoteWeight.objects.exists()


def test_what_is_locked_is_refused_with_the_sentence_of_its_page(alice, file) -> None:
    BadgeAward.objects.create(badge=Badge.objects.get(slug="first_win"), user=alice)
    month = Board.objects.create(slug="month", source="points", currency="points", window="monthly")
    refresh_board(month, AT)
    month.standings.update(closed=True, ranked_by=month.ranks_by)
    Account.objects.create(currency=Currency.objects.get(code="coins"), user=alice)
    win = ClaimType.objects.create(slug="win")
    Line.objects.create(claim_type=win, currency="points", amount="1")
    claim(alice, "win", "once", {})
    found = refusals(
        file(
            badges={"first_win": {"threshold": 2}},
            boards={"month": {"currency": "coins"}},
            currencies={"coins": {"decimals": 2}},
            claim_types={"win": {"scope": "global"}},
        )
    )
    assert "Somebody holds first_win: its threshold are locked" in found["badges:first_win"]
    assert found["boards:month"]
    assert "fixed once an account exists" in found["currencies:coins"]
    assert "keeps its meaning" in found["claim_types:win"]
    free = file(
        badges={"first_win": {"name": "One"}}, boards={"month": {"size": 7}}, currencies={"coins": {"name": "C"}}
    )
    assert refusals(free) == {}


def test_the_switch_that_pauses_payouts_is_no_rule(file) -> None:
    set_parameter("payouts_paused", True, actor=None, reason="Stop")
    assert "payouts_paused" not in export_rules()
    assert "is a switch" in refusals(file(parameters={"payouts_paused": {"value": False}}))["parameters:payouts_paused"]


def test_whoever_may_not_change_a_kind_by_hand_may_not_by_a_file(file) -> None:
    bob = User.objects.create(username="bob", is_staff=True)
    bob.groups.add(Group.objects.get(name="Operator"))
    sections = file(badges={"first_win": {"bonus": 60}, "new": {"name": "New"}}, boards={"points-weekly": {}})
    found = refusals(sections, bob)
    assert "'change_badge'" in found["badges:first_win"]
    assert "'add_badge'" in found["badges:new"]
    assert "boards:points-weekly" not in found, "nothing of it would change"


def test_a_reason_is_needed(file) -> None:
    with pytest.raises(ReasonMissing):
        import_rules(file(), actor=None, reason=" ", at=AT)


@pytest.mark.parametrize(
    ("field", "value"),
    [("bonus", "60"), ("bonus", True), ("active", "yes"), ("name", 5), ("threshold", None), ("bonus", 1.5)],
)
def test_values_are_of_the_type_of_their_field(file, field, value) -> None:
    assert field in refusals(file(badges={"first_win": {field: value}}))["badges:first_win"]


# ------------------------------------------------------------------------------------------------------------ the file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON in UTF-8"),
        (b"[]", "not written by export_rules"),
        (b'{"format": "rewards-rules", "rules": {}}', "does not say its version"),
        (b'{"format": "rewards-rules", "version": 1, "rules": {"badges": []}}', "must be an object"),
        (b'{"format": "rewards-rules", "version": 1, "rules": {}, "secrets": {}}', "nothing else is taken"),
        (b'{"format": "rewards-rules", "version": 1, "version": 1, "rules": {}}', "is there twice"),
        (b'{"format": "rewards-rules", "version": 1, "rules": {"pools": {"hourly": NaN}}}', "no number of JSON"),
        (b'{"format": "rewards-rules", "version": 1, "rules": {"badges": {"a\\u0000": {}}}}', "cannot be stored"),
        (b'{"format": "rewards-rules", "version": 1, "rules": {"badges": {"a": {"name": "\\ud800"}}}}', "be stored"),
        (b"[" * 100_000, "nested too deep"),
        (b" " * 5_000_001, "at most"),
    ],
)
def test_what_is_no_file_of_rules_is_refused_in_a_sentence(content, said) -> None:
    with pytest.raises(FileUnreadable, match=said):
        from_bytes(content)


def test_a_file_of_a_newer_version_is_refused() -> None:
    with pytest.raises(NewerFormat, match="bring it up to date"):
        from_bytes(b'{"format": "rewards-rules", "version": 2, "rules": {}}')
