"""Recipes in the admin: tried out, checked, changed with a reason; claims, looked at."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from rewards.admin.claims import ClaimAdmin
from rewards.claims.models import Claim, ClaimType, Line
from rewards.claims.services import claim
from rewards.ledger.models import BalanceChange, Currency
from rewards.ledger.services import Move, post, split, system_account, user_account
from rewards.ledger.services import reverse as reverse_journal
from rewards.users.models import User

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SCHEMA = {
    "type": "object",
    "properties": {"floor": {"type": "integer"}, "encounter_id": {"type": "string"}},
    "required": ["floor", "encounter_id"],
}


def address(view: str, *args: Any, model: str = "claimtype") -> str:
    return reverse(f"admin:rewards_{model}_{view}", args=args)


@pytest.fixture
def lumees(db: None) -> Currency:
    return Currency.objects.create(code="lumees", name="Lumees", decimals=0)


@pytest.fixture
def ascension(lumees: Currency, coins: Currency) -> ClaimType:
    """Ten lumees a floor, and a third of a coin, of which a user gets 0.33."""
    claim_type = ClaimType.objects.create(
        slug="ascension", title="Ascension", key_pattern="floor_<floor>_<encounter_id>", context_schema=SCHEMA,
        sample_context={"floor": 7, "encounter_id": "e1"},
    )  # fmt: skip
    Line.objects.create(claim_type=claim_type, order=1, currency="lumees", amount="10 * floor")
    Line.objects.create(claim_type=claim_type, order=2, currency="coins", amount="1 / 3", when="floor > 5")
    return claim_type


def won(user: User, floor: int, encounter: str, at: datetime = NOON) -> Claim:
    return claim(user, "ascension", None, {"floor": floor, "encounter_id": encounter}, at=at)


def what_stands_in_the_form(client: Client, url: str) -> dict[str, Any]:
    """What a browser would send if nothing were touched."""
    context = client.get(url).context
    form, formset = context["adminform"].form, context["inline_admin_formsets"][0].formset
    sent: dict[str, Any] = {}
    for each in [form, formset.management_form, *formset.forms]:
        for field in each:
            value = field.value()
            if isinstance(value, tuple | list):
                sent |= {f"{field.html_name}_{place}": part or "" for place, part in enumerate(value)}
            elif value is True:
                sent[field.html_name] = "on"
            elif value is not None and value is not False:
                sent[field.html_name] = value
    return sent


def edited(client: Client, claim_type: ClaimType, **changes: Any) -> dict[str, Any]:
    """The form with some fields changed; `lines_0_amount` stands for `lines-0-amount`."""
    sent = what_stands_in_the_form(client, address("change", claim_type.pk))
    fields = {f"lines-{name[6:].replace('_', '-', 1)}" if name.startswith("lines_") else name: value
              for name, value in changes.items()}  # fmt: skip
    return sent | {"reason": "Balance of the autumn"} | fields


def amounts(claim_type: ClaimType) -> list[str]:
    return list(claim_type.lines.values_list("amount", flat=True))


# ------------------------------------------------------------------------------------------------------------- rights


@pytest.mark.parametrize("role", ["Viewer", "Support", "Operator", "Approver"])
def test_whoever_may_only_look_reads_the_recipe_and_what_it_gives_but_changes_nothing(sign_in, ascension, role) -> None:
    staff = sign_in(role)
    shown = staff.get(address("change", ascension.pk)).content.decode()
    assert "10 * floor" in shown
    assert "70 lumees" in shown
    assert 'name="reason"' not in shown
    assert "hx-post" not in shown
    for url in (
        address("change", ascension.pk),
        address("preview", ascension.pk),
        address("preview_new"),
        address("add"),
    ):
        assert staff.post(url, edited(sign_in(), ascension, lines_0_amount="999")).status_code == 403
    assert staff.post(address("delete", ascension.pk), {"post": "yes"}).status_code == 403
    assert amounts(ascension) == ["10 * floor", "1 / 3"]


def test_an_administrator_changes_recipes(sign_in, ascension) -> None:
    admin = sign_in("Administrator")
    answer = admin.post(address("change", ascension.pk), edited(admin, ascension, lines_0_amount="11 * floor"))
    assert answer.status_code == 302
    assert amounts(ascension) == ["11 * floor", "1 / 3"]


def test_whoever_may_change_a_type_changes_its_lines_too_and_is_checked(make_user, sign_in, ascension) -> None:
    clerk = make_user("clerk", is_staff=True)
    clerk.user_permissions.add(*Permission.objects.filter(codename__in=["view_claimtype", "change_claimtype"]))
    client = Client()
    client.force_login(clerk)
    url = address("change", ascension.pk)
    assert errors_of(client.post(url, edited(client, ascension, lines_0_amount="10 *")))["lines-0-amount"]
    assert client.post(url, edited(client, ascension, lines_0_amount="11")).status_code == 302
    assert amounts(ascension) == ["11", "1 / 3"]
    assert client.get(address("add")).status_code == 403


def test_claims_are_looked_at_by_every_role_and_changed_by_none(sign_in, ascension, alice) -> None:
    made = won(alice, 7, "e1")
    for role in ("Viewer", "Operator", "Administrator", None):
        staff = sign_in(role)
        assert staff.get(address("change", made.pk, model="claim")).status_code == 200
        for url in (address("change", made.pk, model="claim"), address("delete", made.pk, model="claim"),
                    address("add", model="claim")):  # fmt: skip
            assert staff.post(url, {"claim_key": "other", "post": "yes"}).status_code == 403
    assert Claim.objects.get(pk=made.pk).claim_key == "floor_7_e1"


# ------------------------------------------------------------------------------------------------------------- checks


def errors_of(answer: Any) -> dict[str, list[str]]:
    """Name of the field → its sentences; `lines` for those of no field."""
    assert answer.status_code == 200, "it was saved"
    form = answer.context["adminform"].form
    formset = answer.context["inline_admin_formsets"][0].formset
    found = {name: list(sentences) for name, sentences in form.errors.items()}
    for line in formset.forms:
        found |= {line.add_prefix(name): list(sentences) for name, sentences in line.errors.items()}
    return found | ({"lines": list(formset.non_form_errors())} if formset.non_form_errors() else {})


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("lines_0_amount", "10 * ", "lines-0-amount"),
        ("lines_0_amount", "floor.__class__", "lines-0-amount"),
        ("lines_0_amount", "10 * flor", "lines-0-amount"),
        ("lines_0_amount", 'param("no.such")', "lines-0-amount"),
        ("lines_0_amount", "-floor", "lines-0-amount"),
        ("lines_0_amount", "", "lines-0-amount"),
        ("lines_1_when", "floor >", "lines-1-when"),
        ("lines_1_currency", "1 +", "lines-1-currency"),
        ("lines_1_party", "not a name", "lines-1-party"),
        ("key_pattern", "floor_<level>", "key_pattern"),
        ("key_pattern", "floor_<floor", "key_pattern"),
        ("context_schema", '{"type": "objekt"}', "context_schema"),
        ("context_schema", "[]", "context_schema"),
        ("context_schema", "{", "context_schema"),
        ("sample_context", '{"floor": "seven", "encounter_id": "e1"}', "sample_context"),
        ("callers", "user", "limit_per_user"),
        ("limit_period", "day", "limit_per_user"),
        ("reason", "", "reason"),
    ],
)
def test_a_recipe_that_does_not_check_is_not_saved_and_says_where(sign_in, ascension, field, value, where) -> None:
    root = sign_in()
    before = ClaimType.objects.filter(pk=ascension.pk).values().get(), list(ascension.lines.values())
    errors = errors_of(root.post(address("change", ascension.pk), edited(root, ascension, **{field: value})))
    assert all(errors[where])
    assert errors.keys() <= {where, "lines"}
    assert (ClaimType.objects.filter(pk=ascension.pk).values().get(), list(ascension.lines.values())) == before
    assert ascension.history.count() == 1


def test_each_problem_stands_at_its_line_however_the_lines_are_ordered(sign_in, ascension) -> None:
    root = sign_in()
    sent = edited(root, ascension, lines_0_order="9", lines_0_amount="one", lines_1_amount="two")
    errors = errors_of(root.post(address("change", ascension.pk), sent))
    assert "one" in errors["lines-0-amount"][0]
    assert "two" in errors["lines-1-amount"][0]


def test_a_recipe_keeps_at_least_one_line(sign_in, ascension) -> None:
    root = sign_in()
    sent = edited(root, ascension, lines_0_DELETE="on", lines_1_DELETE="on")
    errors = errors_of(root.post(address("change", ascension.pk), sent))
    assert "A recipe has at least one line." in errors["lines"]
    assert ascension.lines.count() == 2


def test_a_new_recipe_is_checked_and_saved_with_its_lines_numbered_on(sign_in, lumees) -> None:
    root = sign_in()
    sent = what_stands_in_the_form(root, address("add")) | {
        "slug": "daily", "active": "on", "limit_per_user": "1", "limit_period": "day", "callers": "user",
        "context_schema": "", "reason": "New", "lines-TOTAL_FORMS": "2", "lines-0-direction": "credit",
        "lines-0-currency": "lumees", "lines-0-amount": "1 +", "lines-1-direction": "credit",
        "lines-1-currency": "lumees", "lines-1-amount": "50",
    }  # fmt: skip
    assert errors_of(root.post(address("add"), sent))["lines-0-amount"]
    assert not ClaimType.objects.exists()

    assert root.post(address("add"), sent | {"lines-0-amount": "100"}).status_code == 302
    daily = ClaimType.objects.get(slug="daily")
    assert list(daily.lines.values_list("order", "amount")) == [(1, "100"), (2, "50")]
    assert daily.context_schema == {}


# ------------------------------------------------------------------------------------------------------------- preview


def test_the_page_says_what_the_recipe_gives_for_its_sample_rounded_as_a_claim_is(sign_in, ascension, alice) -> None:
    shown = sign_in().get(address("change", ascension.pk)).content.decode()
    assert "70 lumees" in shown
    assert "0.33 coins" in shown
    assert "floor_7_e1" in shown
    assert won(alice, 7, "e1").result["credits"] == [
        {"user": "alice", "currency": "lumees", "amount": "70"},
        {"user": "alice", "currency": "coins", "amount": "0.33"},
    ]


def test_a_preview_shows_what_stands_in_the_form_and_saves_nothing(sign_in, ascension) -> None:
    root = sign_in()
    sent = edited(root, ascension, lines_0_amount="12 * floor", sample_context='{"floor": 3, "encounter_id": "x"}')
    shown = root.post(address("preview", ascension.pk), sent | {"reason": ""}).content.decode()
    assert "36 lumees" in shown
    assert "coins" not in shown  # its condition does not hold on floor 3
    assert amounts(ascension) == ["10 * floor", "1 / 3"]
    assert ascension.history.count() == 1


def test_a_preview_of_what_cannot_be_worked_out_says_why(sign_in, ascension) -> None:
    root = sign_in()
    for changes, said in (
        ({"lines_0_amount": "12 * "}, "Line 1, Amount"),
        ({"sample_context": "{"}, "Sample context"),
        ({"lines_0_currency": "gems"}, "gems"),
    ):
        shown = root.post(address("preview", ascension.pk), edited(root, ascension, **changes)).content.decode()
        assert said in shown
        assert "<table" not in shown


def test_a_preview_of_a_new_recipe_needs_no_row(sign_in, lumees) -> None:
    root = sign_in()
    sent = what_stands_in_the_form(root, address("add")) | {
        "slug": "new", "active": "on", "lines-TOTAL_FORMS": "1", "lines-0-direction": "credit",
        "lines-0-currency": "lumees", "lines-0-amount": "2 * 21",
    }  # fmt: skip
    assert "42 lumees" in root.post(address("preview_new"), sent).content.decode()
    assert not ClaimType.objects.exists()


# ------------------------------------------------------------------------------------------------ changes and history


def test_an_edited_recipe_changes_the_next_claim_and_no_earlier_one(sign_in, ascension, alice) -> None:
    first, root = won(alice, 7, "e1"), sign_in()
    root.post(
        address("change", ascension.pk), edited(root, ascension, lines_0_amount="20 * floor", lines_1_DELETE="on")
    )
    assert won(alice, 7, "e2").result["credits"] == [{"user": "alice", "currency": "lumees", "amount": "140"}]
    shown = root.get(address("change", first.pk, model="claim")).content.decode()
    assert "70 lumees" in shown
    assert "140" not in shown


def test_the_history_of_a_recipe_shows_who_changed_which_line_when_and_why(sign_in, ascension) -> None:
    root = sign_in()
    sent = edited(root, ascension, title="Victory", lines_0_amount="11 * floor", lines_1_DELETE="on")
    sent |= {"lines-TOTAL_FORMS": "3", "lines-2-direction": "debit", "lines-2-currency": "coins", "lines-2-amount": "2"}
    assert root.post(address("change", ascension.pk), sent).status_code == 302

    answer = root.get(address("history", ascension.pk))
    records = list(answer.context["page_obj"])
    newest = [record for record in records if record.history_date == records[0].history_date]
    assert (newest[0].part, newest[0].history_type) == ("", "~")
    assert {record.history_type for record in newest[1:]} == {"~", "+", "-"}
    assert {(record.history_user.username, record.history_change_reason) for record in newest} == {
        ("root", "Balance of the autumn")
    }
    shown = answer.content.decode()
    assert "<del>10 * floor</del> → <ins>11 * floor</ins>" in shown
    assert "<del>Ascension</del> → <ins>Victory</ins>" in shown
    assert "takes 2 coins" in shown
    assert shown.count("Balance of the autumn") == 1


def test_changes_made_elsewhere_stand_in_the_same_history_in_order_of_time(sign_in, ascension) -> None:
    line = ascension.lines.get(order=1)
    line.amount = "12 * floor"
    line.save()
    ascension.title = "Later"
    ascension.save()
    records = list(sign_in().get(address("history", ascension.pk)).context["page_obj"])
    assert [record.part != "" for record in records][:2] == [False, True]
    assert [change.new for change in records[1].changes] == ["12 * floor"]
    assert sorted(records, key=lambda record: record.history_date, reverse=True) == records


def test_the_last_version_on_a_page_is_compared_with_the_first_of_the_next(sign_in, ascension, monkeypatch) -> None:
    monkeypatch.setattr("rewards.admin.claims.ClaimTypeAdmin.history_list_per_page", 1)
    ascension.title = "Later"
    ascension.save()
    (newest,) = sign_in().get(address("history", ascension.pk)).context["page_obj"]
    assert [(change.old, change.new) for change in newest.changes] == [("Ascension", "Later")]


def test_name_scope_and_key_stay_once_there_are_claims(sign_in, ascension, alice) -> None:
    root = sign_in()
    sent = edited(root, ascension, scope="global", slug="renamed", key_pattern="<encounter_id>")
    won(alice, 7, "e1")
    assert root.post(address("change", ascension.pk), sent).status_code == 302
    ascension.refresh_from_db()
    assert (ascension.scope, ascension.slug) == ("user", "ascension")
    assert ascension.key_pattern == "floor_<floor>_<encounter_id>"
    assert "&lt;today&gt; is the date" in root.get(address("change", ascension.pk)).content.decode()


def test_a_recipe_that_was_claimed_is_not_deleted_but_can_be_switched_off(sign_in, ascension, alice) -> None:
    won(alice, 7, "e1")
    root, url = sign_in(), address("delete", ascension.pk)
    assert "It has been claimed" in root.get(url).content.decode()
    assert root.post(url, {"post": "yes"}).status_code == 200
    assert ClaimType.objects.filter(pk=ascension.pk, active=True).exists()

    answer = root.post(url, {"reason": "The season is over"}, follow=True)
    assert "ascension is switched off." in answer.content.decode()
    newest = ascension.history.first()
    assert (newest.active, newest.history_user.username, newest.history_change_reason) == (
        False, "root", "The season is over",
    )  # fmt: skip
    again = root.get(url, follow=True).content.decode()
    assert "ascension has been claimed, so it cannot be deleted. It is switched off" in again


def test_a_recipe_that_nobody_claimed_is_deleted(sign_in, ascension) -> None:
    assert sign_in().post(address("delete", ascension.pk), {"post": "yes"}).status_code == 302
    assert not ClaimType.objects.exists()


# -------------------------------------------------------------------------------------------------------------- claims


def listed(client: Client, **query: Any) -> list[int]:
    return [each.pk for each in client.get(address("changelist", model="claim"), query).context["cl"].result_list]


def test_claims_are_found_by_user_by_user_and_key_and_by_the_key_of_a_global_type(
    sign_in, ascension, alice, bob
) -> None:
    Line.objects.create(claim_type=ClaimType.objects.create(slug="pvp", scope="global"), currency="lumees", amount="1")
    of_alice, of_bob = won(alice, 7, "e1"), won(bob, 7, "e1")
    duel = claim(bob, "pvp", "duel 9", {}, at=NOON)
    root = sign_in()
    assert listed(root) == [duel.pk, of_bob.pk, of_alice.pk]
    assert listed(root, q="bo") == [duel.pk, of_bob.pk]
    assert listed(root, q="alice floor_7_e1") == [of_alice.pk]
    assert listed(root, q="duel 9") == [duel.pk]
    assert listed(root, q="nobody") == listed(root, q="carol floor_7_e1") == []
    assert listed(root, claim_type__id__exact=ascension.pk) == [of_bob.pk, of_alice.pk]


def test_pages_of_claims_follow_each_other_in_few_queries(sign_in, ascension, alice, monkeypatch) -> None:
    monkeypatch.setattr(ClaimAdmin, "list_per_page", 2)
    made = [won(alice, floor, "e").pk for floor in range(1, 6)]
    root, url, seen = sign_in(), address("changelist", model="claim"), []
    link = ""
    while True:
        with CaptureQueriesContext(connection) as captured:
            changes = root.get(url + link).context["cl"]
        assert len(captured) <= 12
        assert not any("COUNT(" in each["sql"].upper() for each in captured if "rewards_claim" in each["sql"])
        seen += [each.pk for each in changes.result_list]
        if not changes.has_older:
            break
        link = changes.older_link()
    assert seen == made[::-1]


def test_a_claim_shows_what_was_sent_what_it_gave_and_whether_that_stands(sign_in, ascension, alice) -> None:
    made = won(alice, 7, "e1")
    root, url = sign_in(), address("change", made.pk, model="claim")
    shown = root.get(url).content.decode()
    for text in ("70 lumees", "0.33 coins", "&quot;encounter_id&quot;: &quot;e1&quot;", f"claim:{made.pk}", "stands"):
        assert text in shown
    with transaction.atomic():
        mirror = reverse_journal(made.journal, "Cheated")
    shown = root.get(url).content.decode()
    assert "reversed" in shown
    assert mirror.key in shown
    assert "stands" not in shown


def test_a_user_page_shows_his_newest_claims_only_to_whoever_may_see_claims(
    sign_in, ascension, alice, make_user
) -> None:
    won(alice, 7, "e1")
    url = address("change", alice.pk, model="user")
    shown = sign_in("Support").get(url).content.decode()
    assert "Newest claims" in shown
    assert "70 lumees, 0.33 coins" in shown
    assert json.dumps(SCHEMA) not in shown


# ------------------------------------------------------------------------------------------------------ split accounts


def test_a_split_account_is_shown_with_its_whole_balance_everywhere(sign_in, points, alice) -> None:
    with transaction.atomic():
        treasury = system_account("treasury", points)
        post("fund", "fund", [Move(system_account("issuance", points), treasury, 1000)])
        split(treasury, 4)
    if not BalanceChange.objects.filter(account=treasury).exists():  # only PostgreSQL splits
        BalanceChange.objects.bulk_create(BalanceChange(account=treasury, slot=n, amount=0) for n in (1, 2))
    BalanceChange.objects.filter(account=treasury, slot=1).update(amount=300)
    type(treasury).objects.filter(pk=treasury.pk).update(balance=700, slots=4)
    root = sign_in()
    accounts = root.get(address("changelist", model="account"), {"q": "treasury"}).content.decode()
    assert "1,000 points" in accounts
    assert "1,000 points" in root.get(address("change", treasury.pk, model="account")).content.decode()
    assert "1,000 points" in root.get(address("show_statement", treasury.pk, model="account")).content.decode()
    assert 'account="treasury",currency="points"} 1000.0' in root.get("/metrics").content.decode()


def test_a_user_page_counts_what_stands_beside_an_account_without_a_floor(sign_in, points, alice) -> None:
    debt = user_account(alice, points, "debt")
    type(debt).objects.filter(pk=debt.pk).update(min_balance=None, balance=-5)
    BalanceChange.objects.create(account=debt, amount=-7)
    assert "-12 points" in sign_in().get(address("change", alice.pk, model="user")).content.decode()
