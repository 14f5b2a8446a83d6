"""Many rows at once, and the row that only one of many may write."""

from __future__ import annotations

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from rewards.common.database import in_batches, insert_if_absent, write_rows
from rewards.ledger.models import Currency

pytestmark = pytest.mark.django_db

HOSTILE = [
    "",
    " leading and trailing ",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\\",
    "\\N",
    "\\.",
    "\\\\n",
    "\\t\t\\\t",
    "NULL",
    "quote \" and ' and ;--",
    "Grüße, 東京, 🎁",
    "\u202eright to left",
    "e\u0301 is not \u00e9",
    "\x01\x1f\x7f\x85\u2028",
]


@pytest.fixture
def lines():
    """A table of the test alone."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE lines (number bigint PRIMARY KEY, words text, flag boolean)")
    yield "lines"
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS lines")


def read_back():
    with connection.cursor() as cursor:
        cursor.execute("SELECT number, words, flag FROM lines ORDER BY number")
        return [(number, words, None if flag is None else bool(flag)) for number, words, flag in cursor.fetchall()]


def test_any_text_comes_back_as_it_was(lines):
    rows = [(number, words, number % 2 == 0) for number, words in enumerate(HOSTILE)]
    write_rows(lines, ["number", "words", "flag"], rows)
    assert read_back() == rows


def test_nothing_is_something_else_than_an_empty_text(lines):
    write_rows(lines, ["number", "words", "flag"], [(1, None, None), (2, "", False)])
    assert read_back() == [(1, None, None), (2, "", False)]


def test_columns_may_come_in_any_order(lines):
    write_rows(lines, ["flag", "number"], [(True, 2**63 - 1)])
    assert read_back() == [(2**63 - 1, None, True)]


def test_more_than_any_buffer_holds_is_streamed(lines):
    rows = [(number, "🎁\t" * (number % 700), True) for number in range(3_000)]
    write_rows(lines, ["number", "words", "flag"], iter(rows))
    assert read_back() == rows


def test_one_line_longer_than_the_buffer(lines):
    rows = [(1, "ä" * 1_000_000, True), (2, "short", False)]
    write_rows(lines, ["number", "words", "flag"], rows)
    assert read_back() == rows


def test_no_rows_are_no_rows(lines):
    write_rows(lines, ["number", "words", "flag"], [])
    assert read_back() == []


def test_a_row_that_stands_already_fails_the_whole(lines):
    write_rows(lines, ["number"], [(1,)])
    with pytest.raises(IntegrityError), transaction.atomic():
        write_rows(lines, ["number"], [(2,), (3,), (1,)])
    assert [row[0] for row in read_back()] == [1]


def test_a_source_of_rows_that_breaks_off_writes_none(lines):
    def broken():
        yield (1,)
        raise ZeroDivisionError("the source broke off")

    with pytest.raises(Exception, match="broke off"), transaction.atomic():
        write_rows(lines, ["number"], broken())
    assert read_back() == []


@pytest.mark.postgresql
def test_what_the_database_cannot_keep_is_a_data_error(lines):
    with pytest.raises(DataError), transaction.atomic():
        write_rows(lines, ["words"], [("a\x00b",)])


def test_batches_are_full_but_for_the_last():
    assert list(in_batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_batches(range(6), 3)) == [[0, 1, 2], [3, 4, 5]]
    assert list(in_batches([], 3)) == []


def test_only_the_first_writes_a_unique_row():
    first, second = Currency(code="gold", decimals=2), Currency(code="gold", decimals=5)
    assert insert_if_absent(first, unique=["code"])
    assert not insert_if_absent(second, unique=["code"])
    assert Currency.objects.get() == first
    assert second.pk is None
    first.name = "Gold"
    first.save()  # an update, not a second insert
    assert Currency.objects.get().name == "Gold"
