"""A list from a file of any size: streamed into a temporary table, checked there as a whole, then taken or refused."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from time import monotonic
from typing import Any

from django.db import connection

from rewards.activity.checks import is_username
from rewards.activity.rows import column_values
from rewards.campaigns.errors import BadLine, BadLines, EmptyList, TotalTooLarge
from rewards.campaigns.lines import NO_WEIGHT, Amounts, Listed, Reason, canonical_weight, checked_group
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.common.amounts import MAX_MINOR
from rewards.common.csv_lines import (
    WRONG_WIDTH,
    CsvSource,
    LineRefused,
    WrongColumns,
    name_of,
    numbered_lines,
    place_of,
    read_header,
    split_line,
)
from rewards.common.database import (
    expect_many_rows,
    in_batches,
    is_postgresql,
    refresh_statistics,
    require_transaction,
    write_rows,
)
from rewards.common.errors import ensure
from rewards.ledger.models import Currency
from rewards.users.models import NO_PASSWORD, User

BAD_LINES_KEPT = 1_000
LINES_AT_ONCE = 5_000  # between two reports of how far it is
TABLE = "rewards_incoming_list"
COLUMNS = ("line", "username", "weight", "amount", "group_name")

OnLines = Callable[[int], object]
ListLine = tuple[int, str, str, int | None, str]
"""(id of the user; username; canonical weight; minor units; group).

A user who is not created yet has the number of his line, negative, as his id.
"""


@dataclass(frozen=True)
class Layout:
    """The columns of a file by their own names. Amounts are written in units of `amount_scale` currency units."""

    user: str = "user"
    weight: str | None = None
    amount: str | None = None
    group: str | None = None
    amount_scale: Decimal = Decimal(1)


@dataclass(frozen=True)
class IncomingList:
    """A list in the temporary table, every line of it good. It lasts until `reading` ends."""

    listed: Listed
    users_missing: int
    seconds: dict[str, float]
    """Of each stage that is done: read, users, list."""

    def lines(self) -> Iterator[ListLine]:
        """In code-point order of the usernames."""
        yield from _fetched(_LINES)

    def take(self, campaign: Campaign, at: datetime) -> int:
        """Make it the list of a campaign, instead of the one before; how many users were created for it."""
        with timed(self.seconds, "users"):
            created = create_missing_users(TABLE, at) if self.users_missing else 0
        with timed(self.seconds, "list"), connection.cursor() as cursor:
            CampaignParticipant.objects.filter(campaign=campaign).delete()
            cursor.execute(_sql(_TAKE), [campaign.pk])
            ensure(cursor.rowcount == self.listed.rows, f"{cursor.rowcount} of {self.listed.rows} lines were stored")
        return created


@contextmanager
def reading(
    source: CsvSource,
    layout: Layout,
    currency: Currency,
    *,
    create_users: bool,
    amounts_needed: bool,
    on_lines: OnLines | None = None,
) -> Iterator[IncomingList]:
    """Read a file to its end, in the caller's transaction; inside the block its list stands, all of it good.

    With `amounts_needed` a blank amount is a bad line. `on_lines` hears of the lines read since it last did. Raises
    `UnreadableFile`, `WrongColumns`, `BadLines`, `EmptyList`, `TotalTooLarge`.
    """
    require_transaction()
    expect_many_rows()
    reader = _Reader(source, layout, Amounts(layout.amount_scale, currency.decimals, needed=amounts_needed), on_lines)
    seconds: dict[str, float] = {}
    with timed(seconds, "read"):
        _fill_table(reader)
        users_missing = _count(_USERS_MISSING)
        unknown = _count(_UNKNOWN_COUNT) if users_missing and not create_users else 0
        reader.bad.raise_with((_count(_REPEATED_COUNT), _repeated_lines), (unknown, _lines_of_unknown_users))
    if not reader.listed.rows:
        raise EmptyList(f"{name_of(source)} has no lines after the first: nobody takes part.")
    if reader.listed.total > MAX_MINOR:
        raise TotalTooLarge
    yield IncomingList(reader.listed, users_missing, seconds)
    _execute(_DROP)


def stored_lines(campaign: Campaign) -> Iterator[ListLine]:
    """A campaign's list, in code-point order of the usernames. A user who is gone breaks a law: no line is left out."""
    for line in _fetched(_STORED_LINES, campaign.pk):
        ensure(line[1] is not None, f"the user {line[0]} on the list of {campaign} is gone")
        yield line


# ------------------------------------------------------------------------------------------------------- line by line


class BadLinesFound:
    """The bad lines of a file: how many, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[BadLine] = []

    def add(self, number: int, reason: str) -> None:
        self.count += 1
        if len(self.first) < BAD_LINES_KEPT:
            self.first.append(BadLine(number, str(reason)))

    def raise_with(self, *others: tuple[int, Callable[[], Iterator[BadLine]]]) -> None:
        """Raise `BadLines` if there are any. `others` were found by looking at the whole list: how many, and which, in
        the order of their lines.
        """
        count = self.count + sum(many for many, _ in others)
        if count:
            found = heapq.merge(self.first, *(lines() for many, lines in others if many))
            raise BadLines(list(islice(found, BAD_LINES_KEPT)), count)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long the block took."""
    started = monotonic()
    yield
    seconds[stage] = round(monotonic() - started, 3)


class _Reader:
    """The good lines of a file as rows of the temporary table; what is bad, and what they come to, as they pass."""

    def __init__(self, source: CsvSource, layout: Layout, amounts: Amounts, on_lines: OnLines | None) -> None:
        self.on_lines = on_lines or (lambda lines: None)
        self.amounts, self.listed, self.bad = amounts, Listed(), BadLinesFound()
        self.lines = numbered_lines(source)
        name = name_of(source)
        if amounts.needed and layout.amount is None:
            raise WrongColumns("The rule pays each line its own amount: say which column has the amounts.")
        header = read_header(self.lines, name)
        self.width = len(header)
        self.user = place_of(layout.user, header, name)
        self.weight, self.amount, self.group = (
            None if column is None else place_of(column, header, name)
            for column in (layout.weight, layout.amount, layout.group)
        )

    def rows(self) -> Iterator[tuple[Any, ...]]:
        for batch in in_batches(self.lines, LINES_AT_ONCE):
            for number, line in batch:
                try:
                    checked = self._checked(split_line(line))
                except LineRefused as error:
                    self.bad.add(number, error.message)
                    continue
                self.listed.add(*checked)
                yield (number, *checked)
            self.on_lines(len(batch))

    def _checked(self, values: list[str]) -> tuple[str, str, int | None, str]:
        """(username, weight, amount, group). Raises `LineRefused` with the first reason that holds."""
        if len(values) != self.width:
            raise LineRefused(WRONG_WIDTH)
        username = values[self.user]
        if not is_username(username):
            raise LineRefused(Reason.USER)
        weight = NO_WEIGHT if self.weight is None else canonical_weight(values[self.weight])
        amount = None if self.amount is None else self.amounts.minor_units(values[self.amount])
        return username, weight, amount, "" if self.group is None else checked_group(values[self.group])


# -------------------------------------------------------------------------------------------------------- set by set


def _fill_table(reader: _Reader) -> None:
    _execute(_DROP)
    _execute(_CREATE)
    write_rows(TABLE, COLUMNS, reader.rows())
    if is_postgresql():
        _execute(f"ANALYZE {TABLE}")


def create_missing_users(table: str, at: datetime) -> int:
    """Create the users of a temporary table with a column `username` who are missing; how many this call created.

    Those that somebody else creates meanwhile are his.
    """
    template = column_values(User(password=NO_PASSWORD, date_joined=at))
    del template["username"]
    sql = _sql(_CREATE_USERS, table=table, columns=", ".join(template), values=", ".join(["%s"] * len(template)))
    with connection.cursor() as cursor:
        cursor.execute(sql, list(template.values()))
        created = cursor.rowcount
    refresh_statistics(User)
    return created


def _repeated_lines() -> Iterator[BadLine]:
    return _bad_lines(_REPEATED_LINES, "the user stands in line {:,} already")


def _lines_of_unknown_users() -> Iterator[BadLine]:
    return _bad_lines(_LINES_OF_UNKNOWN_USERS, Reason.UNKNOWN_USER)


def _bad_lines(sql: str, reason: str) -> Iterator[BadLine]:
    with connection.cursor() as cursor:
        cursor.execute(_sql(sql), [BAD_LINES_KEPT])
        for number, *facts in cursor.fetchall():
            yield BadLine(number, reason.format(*facts))


def _count(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_sql(sql))
        return int(cursor.fetchone()[0])


def _fetched(sql: str, *parameters: Any) -> Iterator[ListLine]:
    """The rows of a query, a few thousand of them in memory at a time."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(_sql(sql), parameters)
        while rows := cursor.fetchmany(LINES_AT_ONCE):
            yield from rows


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _sql(text: str, **parts: str) -> str:
    """The statement for this database: C sorts by code point on PostgreSQL, as SQLite does anyway."""
    return text.format(incoming=TABLE, by_code_point=' COLLATE "C"' if is_postgresql() else "", **parts)


_CREATE = f"""
    CREATE TEMPORARY TABLE {TABLE} (
        line bigint NOT NULL, username text NOT NULL, weight text NOT NULL, amount bigint, group_name text NOT NULL
    )
"""

_DROP = f"DROP TABLE IF EXISTS {TABLE}"

_USERS_MISSING = """
    SELECT count(*) FROM {incoming} AS incoming LEFT JOIN rewards_user AS known USING (username) WHERE known.id IS NULL
"""

_REPEATED_COUNT = """
    SELECT coalesce(sum(lines - 1), 0) FROM (
        SELECT count(*) AS lines FROM {incoming} GROUP BY username HAVING count(*) > 1
    ) AS repeated
"""

_REPEATED_LINES = """
    SELECT again.line, repeated.first_line FROM (
        SELECT username, min(line) AS first_line FROM {incoming} GROUP BY username HAVING count(*) > 1
    ) AS repeated JOIN {incoming} AS again ON again.username = repeated.username AND again.line > repeated.first_line
    ORDER BY again.line LIMIT %s
"""

_UNKNOWN_COUNT = """
    SELECT count(DISTINCT username) FROM {incoming} AS incoming LEFT JOIN rewards_user AS known USING (username)
    WHERE known.id IS NULL
"""

_LINES_OF_UNKNOWN_USERS = """
    SELECT min(incoming.line) AS first_line FROM {incoming} AS incoming LEFT JOIN rewards_user AS known USING (username)
    WHERE known.id IS NULL GROUP BY username ORDER BY first_line LIMIT %s
"""

_CREATE_USERS = """
    INSERT INTO rewards_user (username, {columns})
    SELECT incoming.username, {values} FROM {table} AS incoming
    LEFT JOIN rewards_user AS known ON known.username = incoming.username WHERE known.id IS NULL
    ORDER BY incoming.username{by_code_point} ON CONFLICT (username) DO NOTHING
"""

_TAKE = """
    INSERT INTO rewards_campaignparticipant (campaign_id, user_id, weight, amount, "group")
    SELECT %s, known.id, incoming.weight, incoming.amount, incoming.group_name
    FROM {incoming} AS incoming JOIN rewards_user AS known ON known.username = incoming.username ORDER BY known.id
"""

_LINES = """
    SELECT coalesce(known.id, -incoming.line), incoming.username, incoming.weight, incoming.amount, incoming.group_name
    FROM {incoming} AS incoming LEFT JOIN rewards_user AS known ON known.username = incoming.username
    ORDER BY incoming.username{by_code_point}
"""

_STORED_LINES = """
    SELECT listed.user_id, known.username, listed.weight, listed.amount, listed."group"
    FROM rewards_campaignparticipant AS listed LEFT JOIN rewards_user AS known ON known.id = listed.user_id
    WHERE listed.campaign_id = %s ORDER BY known.username{by_code_point}
"""
