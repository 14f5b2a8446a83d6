"""Who belongs to a group, from a list of any size: streamed into a temporary table, then joined or left as a whole.

Groups say who is ranked against whom. Roles are groups too: those hand out rights, and no list touches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction

from rewards.activity.checks import is_username
from rewards.audit.services import record
from rewards.campaigns.errors import BadLine, EmptyList
from rewards.campaigns.intake import BAD_LINES_KEPT, BadLinesFound, create_missing_users
from rewards.campaigns.lines import Reason
from rewards.common.csv_lines import (
    WRONG_WIDTH,
    CsvSource,
    LineRefused,
    name_of,
    numbered_lines,
    place_of,
    read_header,
    split_line,
)
from rewards.common.database import expect_many_rows, in_batches, is_postgresql, write_rows
from rewards.common.errors import RewardsError
from rewards.users.roles import ROLES

LINES_AT_ONCE = 5_000  # between two reports of how far it is
TABLE = "rewards_incoming_members"
ONE_NAME = "the line has a comma: say which column of the CSV has the usernames"


class GroupHasRights(RewardsError):
    """This group hands out rights in the admin: give it to people there, one by one. Choose another group."""

    code = "group_has_rights"
    http_status = 409


class UnknownGroup(RewardsError):
    """There is no such group, so nobody can leave it."""

    code = "unknown_group"
    http_status = 404


class GroupNameInvalid(RewardsError):
    """The name of a group is 1 to 150 printable characters that neither start nor end with a space."""

    code = "group_name_invalid"
    http_status = 400


@dataclass(frozen=True)
class Membership:
    """What a list did, or would do: users in it, of them those who joined or left, and those created for it."""

    users: int
    moved: int
    users_created: int


def assign(
    name: str,
    source: CsvSource,
    *,
    column: str | None = None,
    create_users: bool = False,
    remove: bool = False,
    dry_run: bool = False,
    at: datetime,
    on_lines: Callable[[int], object] | None = None,
) -> Membership:
    """Put the users of a list into the group of that name, which is created when missing; or take them out of it.

    The list is a username a line, or a column of a CSV; a name that comes again counts once. One bad line refuses it
    all. That somebody joined or left is audited. `at` is when created users joined; `on_lines` hears of the lines read
    since it last did. Raises `GroupHasRights`, `GroupNameInvalid`, `UnknownGroup`, `UnreadableFile`, `WrongColumns`,
    `EmptyList`, `BadLines`.
    """
    with transaction.atomic():
        _find_group(name, must_exist=remove)  # before a long list is read for nothing
        expect_many_rows()
        _read(_List(source, column, on_lines), create_users)
        group = _find_group(name, must_exist=remove, hold=True)
        users, inside, missing = (_count(sql, *rest) for sql, *rest in _counts(group))
        moved = inside if remove else users - inside
        if not dry_run:
            missing = create_missing_users(TABLE, at) if missing else 0
            moved = _leave(group) if remove and group else _join(group or Group.objects.get_or_create(name=name)[0])
            if moved:
                record("group_members_changed", data={"group": name, "left" if remove else "joined": moved})
        _execute(_DROP)
    return Membership(users, moved, missing)


def _find_group(name: str, *, must_exist: bool, hold: bool = False) -> Group | None:
    """The group; on `hold`, nobody gives it rights until the transaction ends."""
    if not is_username(name):
        raise GroupNameInvalid
    groups = Group.objects.select_for_update() if hold else Group.objects.all()
    group = groups.filter(name=name).first()
    is_role = name.casefold() in map(str.casefold, ROLES)
    if is_role or (group is not None and group.permissions.exists()):
        raise GroupHasRights(
            f"{name} hands out rights in the admin: give it to people there, one by one. Choose another group."
        )
    if group is None and must_exist:
        raise UnknownGroup(f"There is no group {name!r}, so nobody can leave it.")
    return group


# ------------------------------------------------------------------------------------------------------- line by line


class _List:
    """The good lines of a list as rows of the temporary table, and what is bad, as they pass."""

    def __init__(self, source: CsvSource, column: str | None, on_lines: Callable[[int], object] | None) -> None:
        self.name, self.lines = name_of(source), numbered_lines(source)
        self.on_lines = on_lines or (lambda lines: None)
        self.bad, self.rows_given, self.place = BadLinesFound(), 0, -1
        if column is not None:
            header = read_header(self.lines, self.name)
            self.width, self.place = len(header), place_of(column, header, self.name)

    def rows(self) -> Iterator[tuple[int, str]]:
        for batch in in_batches(self.lines, LINES_AT_ONCE):
            for number, line in batch:
                try:
                    yield number, self._username(line)
                    self.rows_given += 1
                except LineRefused as error:
                    self.bad.add(number, error.message)
            self.on_lines(len(batch))

    def _username(self, line: str) -> str:
        """Raises `LineRefused` with the first reason that holds."""
        if self.place < 0:
            if "," in line:
                raise LineRefused(ONE_NAME)
            username = line
        else:
            values = split_line(line)
            if len(values) != self.width:
                raise LineRefused(WRONG_WIDTH)
            username = values[self.place]
        if not is_username(username):
            raise LineRefused(Reason.USER)
        return username


# --------------------------------------------------------------------------------------------------------- set by set


def _read(listed: _List, create_users: bool) -> None:
    """The whole list into the temporary table. Raises `BadLines`, `EmptyList`."""
    _execute(_DROP)
    _execute(_CREATE)
    write_rows(TABLE, ("line", "username"), listed.rows())
    if is_postgresql():
        _execute(f"ANALYZE {TABLE}")
    listed.bad.raise_with((0 if create_users else _count(_LINES_OF_UNKNOWN_COUNT), _lines_of_unknown))
    if not listed.rows_given:
        raise EmptyList(f"{listed.name} names nobody.")


def _counts(group: Group | None) -> list[tuple[Any, ...]]:
    """Statements that count the users of the list, those in the group, and those who are not created yet."""
    return [(_USERS,), (_INSIDE, group.pk if group else None), (_MISSING,)]


def _join(group: Group) -> int:
    return _execute(_JOIN, group.pk)


def _leave(group: Group) -> int:
    return _execute(_LEAVE, group.pk)


def _lines_of_unknown() -> Iterator[BadLine]:
    with connection.cursor() as cursor:
        cursor.execute(_LINES_OF_UNKNOWN, [BAD_LINES_KEPT])
        for (number,) in cursor.fetchall():
            yield BadLine(number, str(Reason.UNKNOWN_USER))


def _count(sql: str, *parameters: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.fetchone()[0])


def _execute(sql: str, *parameters: Any) -> int:
    """How many rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.rowcount


_DROP = f"DROP TABLE IF EXISTS {TABLE}"

_CREATE = f"CREATE TEMPORARY TABLE {TABLE} (line bigint NOT NULL, username text NOT NULL)"

_KNOWN = f"FROM {TABLE} AS incoming JOIN rewards_user AS known ON known.username = incoming.username"

_UNKNOWN = (
    f"FROM {TABLE} AS incoming LEFT JOIN rewards_user AS known ON known.username = incoming.username "
    "WHERE known.id IS NULL"
)

_USERS = f"SELECT count(DISTINCT username) FROM {TABLE}"

_INSIDE = f"""
    SELECT count(*) FROM rewards_user_groups WHERE group_id = %s AND user_id IN (SELECT known.id {_KNOWN})
"""

_MISSING = f"SELECT count(DISTINCT incoming.username) {_UNKNOWN}"

_LINES_OF_UNKNOWN_COUNT = f"SELECT count(*) {_UNKNOWN}"

_LINES_OF_UNKNOWN = f"SELECT incoming.line {_UNKNOWN} ORDER BY incoming.line LIMIT %s"

_JOIN = f"""
    INSERT INTO rewards_user_groups (user_id, group_id)
    SELECT DISTINCT known.id, %s {_KNOWN} WHERE true ORDER BY known.id ON CONFLICT (user_id, group_id) DO NOTHING
"""

_LEAVE = f"DELETE FROM rewards_user_groups WHERE group_id = %s AND user_id IN (SELECT known.id {_KNOWN})"
