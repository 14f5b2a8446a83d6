"""Recipes: checked when they are saved, worked out for a context, seen everywhere within a second when changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from rewards.claims import contexts
from rewards.claims.contexts import ContextSchema, plain_context
from rewards.claims.errors import (
    ContextRefused,
    InvalidKey,
    InvalidRecipe,
    KeyMismatch,
    KeyMissing,
    RecipeFailed,
    UnknownClaimType,
)
from rewards.claims.models import ClaimType, Line
from rewards.claims.recipes import (
    Entry,
    Recipe,
    compile_recipe,
    preview,
    recipe_of,
    rounded,
)
from rewards.ledger.errors import UnknownCurrency
from rewards.parameters import services as parameters
from rewards.parameters.models import Parameter, ParameterVersion
from rewards.parameters.services import create_missing_parameters, set_parameter

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TODAY = date(2026, 11, 21)

Lines = list[dict[str, str]]


def gives(amount: str, currency: str = "points", **fields: str) -> dict[str, str]:
    return {"direction": "credit", "amount": amount, "currency": currency, **fields}


def takes(amount: str, currency: str = "points", **fields: str) -> dict[str, str]:
    return {"direction": "debit", "amount": amount, "currency": currency, **fields}


def drafted(*lines: dict[str, str], **fields: Any) -> tuple[ClaimType, list[Line]]:
    """An unsaved claim type with lines."""
    claim_type = ClaimType(**{"slug": "victory", **fields})
    return claim_type, [Line(claim_type=claim_type, order=order, **line) for order, line in enumerate(lines)]


def recipe(*lines: dict[str, str], **fields: Any) -> Recipe:
    return compile_recipe(*drafted(*lines, **fields))


def saved(*lines: dict[str, str], **fields: Any) -> ClaimType:
    claim_type, rows = drafted(*lines, **fields)
    claim_type.save()
    for row in rows:
        row.save()
    return claim_type


def problems(*lines: dict[str, str], **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidRecipe) as caught:
        recipe(*lines, **fields)
    return caught.value.facts["errors"]


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


NUMBER = {"type": "number"}
FLOOR = schema(floor=NUMBER)

# ------------------------------------------------------------------------------------------------------------ checking


@pytest.mark.parametrize(
    ("place", "sentence", "line", "fields"),
    [
        ("slug", "letters, digits", gives("1"), {"slug": "a b"}),
        ("slug", "letters, digits", gives("1"), {"slug": ""}),
        ("ends_at", "after it starts", gives("1"), {"starts_at": NOON, "ends_at": NOON}),
        ("limit_per_user", "1 or more", gives("1"), {"limit_per_user": 0}),
        ("limit_per_user", "how often", gives("1"), {"limit_period": "day"}),
        ("funded_by", "is a user", gives("1"), {"funded_by": "alice"}),
        ("funded_by", "system account", gives("1"), {"funded_by": " "}),
        ("key_pattern", "angle brackets", gives("1"), {"key_pattern": "floor_<floor"}),
        ("key_pattern", "angle brackets", gives("1"), {"key_pattern": "floor_<two words>"}),
        ("key_pattern", "angle brackets", gives("1"), {"key_pattern": "<>"}),
        ("key_pattern", "printable", gives("1"), {"key_pattern": " <floor>"}),
        ("key_pattern", "no encounter", gives("1"), {"key_pattern": "<encounter>", "context_schema": schema(a=NUMBER)}),
        ("context_schema", "object", gives("1"), {"context_schema": [1]}),
        ("context_schema", "no JSON Schema: type", gives("1"), {"context_schema": {"type": "nonsense"}}),
        ("context_schema", "regex", gives("1"), {"context_schema": schema(a={"pattern": "("})}),
        ("context_schema", "only parts of itself", gives("1"), {"context_schema": {"$ref": "https://example.org/x"}}),
        ("context_schema", "only parts of itself", gives("1"), {"context_schema": schema(a={"$ref": "#/$defs/b"})}),
        ("context_schema", "only parts of itself", gives("1"), {"context_schema": {"$ref": "file:///etc/passwd"}}),
        ("line 1.amount", "missing", gives(""), {}),
        ("line 1.amount", "column 5", gives("1 + os.path"), {}),
        ("line 1.amount", "no parameter 'claims.typo'", gives('param("claims.typo")'), {}),
        ("line 1.amount", "no flour", gives("flour"), {"context_schema": FLOOR}),
        ("line 1.amount", "no today", gives("today"), {"context_schema": FLOOR}),
        ("line 1.when", "no flour", gives("1", when="flour > 1"), {"context_schema": FLOOR}),
        ("line 1.when", "not an expression", gives("1", when="floor >"), {}),
        ("line 1.currency", "missing", gives("1", ""), {}),
        ("line 1.currency", "no kind", gives("1", '"token_" + kind'), {"context_schema": FLOOR}),
        ("line 1.currency", "not an expression", gives("1", "two words"), {}),
        ("line 1.party", "name of the context", gives("1", party="the winner"), {}),
        ("line 1.party", "no winner", gives("1", party="winner"), {"context_schema": FLOOR}),
        ("line 1.direction", "gives (credit) or takes", gives("1", direction="steals"), {}),
        ("limit_per_user", "needs a limit", gives("1"), {"callers": "user"}),
        ("line 1.party", "from nobody else", takes("1", party="victim"), {"callers": "user"}),
        ("sample_context", "floor", gives("1"), {"sample_context": {"floor": ""}, "context_schema": FLOOR}),
        ("line 1.amount", "no 'floor'", gives("floor"), {"sample_context": {"sector": 1}}),
        ("line 1.amount", "not a number", gives('"x"'), {"sample_context": {"sector": 1}}),
        ("line 1.amount", "below zero", gives("0 - 1"), {"sample_context": {"sector": 1}}),
        ("line 1.when", "not yes or no", gives("1", when="1"), {"sample_context": {"sector": 1}}),
        ("line 1.party", "username", gives("1", party="sector"), {"sample_context": {"sector": 1}}),
        ("sample_context", "no currency 'gems'", gives("1", "gems"), {"sample_context": {"sector": 1}}),
        ("sample_context", "too large", gives("10 ** 30"), {"sample_context": {"sector": 1}}),
        ("sample_context", "encounter", gives("1"), {"sample_context": {"a": 1}, "key_pattern": "<encounter>"}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_is_wrong(alice, points, place, sentence, line, fields):
    found = problems(line, **fields)
    assert list(found) == [place]
    assert sentence in found[place]


def test_a_recipe_has_lines(db):
    assert problems() == {"lines": "A recipe has at least one line."}


def test_everything_wrong_is_said_at_once(points):
    found = problems(gives("1 +"), gives("1", when="~x", party="a b"), slug="", key_pattern="<", limit_per_user=0)
    assert set(found) == {"slug", "key_pattern", "limit_per_user", "line 1.amount", "line 2.when", "line 2.party"}


def test_users_may_claim_what_costs_them_or_is_limited(points):
    assert recipe(takes("1"), gives("2"), callers="user")
    assert recipe(gives("2"), callers="user", limit_per_user=3)
    assert recipe(takes("1"), gives("1", party="friend"), callers="user")
    assert recipe(takes("1", party="loser"), gives("2"))


def test_currencies_that_are_not_in_the_sample_are_looked_for_when_claimed(points):
    with pytest.raises(UnknownCurrency, match="gems"):
        preview(recipe(gives("1", "gems")), {})


# ----------------------------------------------------------------------------------------------------------- evaluating


def test_lines_come_in_their_order_and_those_that_come_to_nothing_are_left_out(points, coins):
    victory = recipe(
        gives("floor / 3", "coins"),
        gives("1", when="floor > 10"),
        gives("floor - floor"),
        gives("2", '"po" + "ints"', party="friend"),
        takes("0.009", "coins"),
    )
    entries = victory.evaluate({"floor": 4, "friend": "bob"})
    assert [(entry.party, entry.direction, entry.currency) for entry in entries] == [
        (None, "credit", "coins"), ("bob", "credit", "points"), (None, "debit", "coins")
    ]  # fmt: skip
    assert entries[0].amount.quantize(Decimal("1e-9")) == Decimal("1.333333333")
    assert [(minor, str(currency)) for _, minor, currency in preview(victory, {"floor": 4, "friend": "bob"})] == [
        (133, "coins"), (2, "points")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        ("1", 100),
        ("1.999", 199),
        ("0.009", 0),
        ("92233720368547758.07", 2**63 - 1),
        ("92233720368547758.0699999999999999999999999", 2**63 - 2),
        ("0.019999999999999999999", 1),
    ],
)
def test_amounts_are_rounded_down_to_the_minor_unit(coins, amount, minor):
    assert rounded(Entry(None, "credit", "coins", Decimal(amount)), coins) == minor


def test_an_amount_beyond_64_bits_is_refused(coins):
    with pytest.raises(RecipeFailed, match="64 bits"):
        rounded(Entry(None, "credit", "coins", Decimal("92233720368547758.08")), coins)


@pytest.mark.parametrize("party", [None, "", 5, ["alice"], {"a": 1}])
def test_a_party_is_a_username(points, party):
    with pytest.raises(RecipeFailed, match=r"line 1.party"):
        recipe(gives("1", party="winner")).evaluate({"winner": party})


# ------------------------------------------------------------------------------------------------------------- contexts


def test_the_schema_fills_in_what_it_has_defaults_for(points):
    victory = recipe(gives("floor * factor"), context_schema=schema(floor=NUMBER, factor={**NUMBER, "default": 3}))
    assert victory.check_context({"floor": 2}) == {"floor": 2, "factor": 3}
    assert victory.check_context({"floor": 2, "factor": 5, "more": [1]}) == {"floor": 2, "factor": 5, "more": [1]}


def test_all_that_is_wrong_with_a_context_is_said(points):
    floor = {"type": "integer", "minimum": 1}
    form = {
        **schema(floor=floor, kind={"enum": ["a", "b"]}, deep=schema(x=NUMBER)),
        "required": ["floor", "encounter_id"],
    }
    victory = recipe(gives("1"), context_schema=form)
    with pytest.raises(ContextRefused) as caught:
        victory.check_context({"floor": 0, "kind": "c", "deep": {"x": "y"}})
    assert caught.value.facts["errors"] == {
        "floor": "0 is less than the minimum of 1",
        "kind": "'c' is not one of ['a', 'b']",
        "deep.x": "'y' is not of type 'number'",
        "encounter_id": "This is missing.",
    }


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


@pytest.mark.parametrize(
    ("context", "sentence"),
    [
        (None, "JSON object"),
        ([], "JSON object"),
        ("floor", "JSON object"),
        (5, "JSON object"),
        ({"a": "x" * 17_000}, "16384 bytes"),
        ({"a": list(range(10_000))}, "16384 bytes"),
        ({"a": nested(25)}, "20 levels"),
        ({"a": nested(500)}, "20 levels"),
        ({"a": "\0"}, "not text"),
        ({"a\0": 1}, "not text"),
        ({"a": ["\ud800"]}, "not text"),
        ({"\udfff": 1}, "not text"),
        ({"a": float("nan")}, "number"),
        ({"a": float("-inf")}, "number"),
        ({"a": 10**40}, "number"),
        ({"a": 10**5000}, "number"),
        ({"a": Decimal(1)}, "Decimal"),
        ({"a": b"x"}, "bytes"),
        ({"a": NOON}, "datetime"),
        ({5: 1}, "names"),
    ],
    ids=range(20),
)
def test_a_context_is_plain_json_of_a_bounded_size(points, context, sentence):
    victory = recipe(gives("1"))
    for look in (plain_context, victory.check_context, lambda it: victory.derive_key(it, "key", TODAY)):
        with pytest.raises(ContextRefused, match=sentence):
            look(context)


def test_plain_json_of_all_kinds_passes():
    context = {"a": [1, -2.5, "é😀", None, True, {"b": {}}], "large": 10**39, "deep": nested(18)}
    assert plain_context(context) == context


def test_no_reference_is_ever_fetched(monkeypatch):
    def refuse(*arguments: Any) -> None:
        raise AssertionError("It went out.")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    for address in ("http://127.0.0.1:9/schema", "https://json-schema.org/draft/2020-12/schema#/x", "other.json"):
        with pytest.raises(ValueError, match="only parts of itself"):
            ContextSchema({"properties": {"a": {"$ref": address}}})


def test_a_schema_may_refer_to_parts_of_itself():
    known = ContextSchema({"$defs": {"id": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/id"}}})
    assert known.problems({"a": "x"}) == {}
    assert known.problems({"a": 1}) == {"a": "1 is not of type 'string'"}


def test_a_schema_without_an_end_is_an_answer_not_a_crash():
    endless = ContextSchema({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})
    assert "without end" in endless.problems({})["context"]


def test_long_complaints_are_cut():
    found = ContextSchema(schema(kind={"enum": ["a"]})).problems({"kind": "x" * 5000})
    assert len(found["kind"]) <= contexts.LONGEST_PROBLEM + 1


# ----------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("pattern", "context", "key"),
    [
        ("floor_<floor>_<encounter_id>", {"floor": 50, "encounter_id": "e-1"}, "floor_50_e-1"),
        ("<a>", {"a": 5.0}, "5"),
        ("<a>", {"a": 1e21}, "1000000000000000000000"),
        ("<a>", {"a": 2.5}, "2.5"),
        ("<a>", {"a": "É x"}, "É x"),
        ("<a>", {"a": "<b>", "b": "other"}, "<b>"),
        ("<today>_<a>", {"a": 1, "today": "yesterday"}, "2026-11-21_1"),
        ("welcome", {}, "welcome"),
    ],
)
def test_a_pattern_gives_the_key(points, pattern, context, key):
    victory = recipe(gives("1"), key_pattern=pattern)
    for given in (None, "", key):
        assert victory.derive_key(context, given, TODAY) == key
    with pytest.raises(KeyMismatch):
        victory.derive_key(context, f"{key}!", TODAY)


def test_defaults_of_the_schema_stand_in_the_key_too(points):
    victory = recipe(gives("1"), key_pattern="<sector>", context_schema=schema(sector={**NUMBER, "default": 7}))
    assert victory.derive_key({}, None, TODAY) == "7"


@pytest.mark.parametrize("value", [None, True, [1], {"b": 1}, "", " ", "a\n", "x" * 201, "\u200b", " a", "a "])
def test_what_makes_no_key_is_refused(points, value):
    with pytest.raises(InvalidKey):
        recipe(gives("1"), key_pattern="<a>").derive_key({"a": value}, None, TODAY)


def test_a_part_of_the_key_that_is_missing_is_named(points):
    with pytest.raises(ContextRefused) as caught:
        recipe(gives("1"), key_pattern="<a>_<b>").derive_key({"a": 1}, "1_2", TODAY)
    assert caught.value.facts["errors"] == {"b": "This is missing."}


def test_without_a_pattern_the_caller_names_the_deed(points):
    victory = recipe(gives("1"))
    assert victory.derive_key({}, "request 1", TODAY) == "request 1"
    for given in (None, ""):
        with pytest.raises(KeyMissing):
            victory.derive_key({}, given, TODAY)
    for given in (" ", "a ", "\ta", "a\0", "\ud800", "x" * 201, 5, ["a"]):
        with pytest.raises(InvalidKey):
            victory.derive_key({}, given, TODAY)
    assert victory.derive_key({}, "x" * 200, TODAY) == "x" * 200


# -------------------------------------------------------------------------------------------------------------- changes


@pytest.fixture
def clock(monkeypatch):
    """Moves only when told to, so that nothing is read again by the clock."""
    now = [1_000.0]
    parameters.forget()
    monkeypatch.setattr(parameters, "monotonic", lambda: now[0])
    yield now
    parameters.forget()


def amounts(slug: str = "victory") -> list[Decimal]:
    return [entry.amount for entry in recipe_of(slug).evaluate({})]


def test_a_change_counts_for_the_next_claim(points, clock):
    create_missing_parameters()
    victory = saved(gives("2"), gives('param("combat.rewards.base_lumees")'))
    assert amounts() == [2, 100]
    set_parameter("combat.rewards.base_lumees", "12.5", actor=None, reason="less")
    assert amounts() == [2, Decimal("12.5")]
    first = victory.lines.first()
    first.amount = "3"
    first.save()
    assert amounts() == [3, Decimal("12.5")]
    first.delete()
    assert amounts() == [Decimal("12.5")]
    Line.objects.create(claim_type=victory, amount="7", currency="points", order=9)
    assert amounts() == [Decimal("12.5"), 7]
    victory.active = False
    victory.save()
    assert recipe_of("victory").claim_type.active is False
    victory.delete()
    with pytest.raises(UnknownClaimType):
        recipe_of("victory")


@pytest.mark.django_db(transaction=True)
def test_recipes_are_read_once_and_again_after_a_change(django_assert_num_queries, clock):
    victory = saved(gives("2"))
    assert amounts() == [2]
    with django_assert_num_queries(0):
        assert amounts() == [2]
        assert recipe_of("victory") is recipe_of("victory")
    # The poll finds nothing new.
    clock[0] += 2
    with django_assert_num_queries(1):
        assert amounts() == [2]
    # Another process changed the line: its signal does not reach this one, the version row does.
    with transaction.atomic():
        victory.lines.update(amount="5")
        parameters.bump_version()
    assert amounts() == [2]
    clock[0] += 1
    assert amounts() == [5]


def test_each_change_to_a_recipe_moves_the_version_that_other_processes_look_at(points):
    def version() -> int:
        return ParameterVersion.objects.get().version

    victory = saved(gives("2"))
    versions = [version()]
    for change in (victory.save, victory.lines.get().save, victory.lines.get().delete, victory.delete):
        change()
        versions.append(version())
    assert versions == list(range(versions[0], versions[0] + 5))


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_was_never_seen(clock):
    victory = saved(gives("2"))
    assert amounts() == [2]
    with transaction.atomic():
        line = victory.lines.get()
        line.amount = "5"
        line.save()
        assert amounts() == [5]
        transaction.set_rollback(True)
    assert amounts() == [2]


def test_a_recipe_that_was_broken_behind_our_back_says_so(points):
    saved(gives("1 +"))
    with pytest.raises(InvalidRecipe, match=r"line 1.amount"):
        recipe_of("victory")


def test_a_parameter_of_the_operators_own_serves_a_recipe(points):
    own = Parameter.objects.create(key="season.factor", value="1.5")
    saved(gives('2 * param("season.factor")'))
    assert amounts() == [3]
    own.delete()
    with pytest.raises(InvalidRecipe, match=r"season\.factor"):
        recipe_of("victory")


@pytest.mark.parametrize("slug", ["", "no_such", "a\0b", "x" * 500, "é", None, 5])
def test_an_unknown_claim_type_is_an_answer(db, slug):
    with pytest.raises(UnknownClaimType):
        recipe_of(slug)


def test_history_says_who_changed_what(alice, points):
    victory = saved(gives("2"))
    line = victory.lines.get()
    line.amount = "3"
    line._history_user = alice
    line._change_reason = "a better season"
    line.save()

    newest = Line.history.filter(id=line.pk).first()
    assert (newest.amount, newest.history_user, newest.history_change_reason) == ("3", alice, "a better season")
    assert newest.prev_record.amount == "2"


def test_a_claim_type_that_starts_before_it_ends_is_fine(points):
    assert recipe(gives("1"), starts_at=NOON, ends_at=NOON + timedelta(microseconds=1))
