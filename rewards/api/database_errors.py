"""What an error of the database means for whoever sent the request, by its SQLSTATE or SQLite's own words."""

from __future__ import annotations

from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError

CONFLICT = ("conflict", 409)
RULE_BROKEN = ("rule_broken", 422)
INVALID = ("invalid_request", 400)
UNAVAILABLE = ("unavailable", 503)

# Of whole classes only where each of their states means the same.
_BY_SQLSTATE = {
    "23505": CONFLICT,  # unique
    "23P01": CONFLICT,  # exclusion
    "23514": RULE_BROKEN,  # check
    "23503": RULE_BROKEN,  # foreign key
    "22001": INVALID,  # too long for its column
    "22003": INVALID,  # number out of range
    "22008": INVALID,  # date out of range
    "22P02": INVALID,  # no such text for this type
    "22P05": INVALID,  # no such character in this encoding
    "22021": INVALID,  # not a text of this encoding
    "40001": UNAVAILABLE,  # serialization failure, after its retries
    "40P01": UNAVAILABLE,  # deadlock, after its retries
    "55P03": UNAVAILABLE,  # waited too long for a lock
    "57014": UNAVAILABLE,  # the statement took too long
}
_BY_CLASS = {"08": UNAVAILABLE, "53": UNAVAILABLE, "57": UNAVAILABLE}

_BY_SQLITE_NAME = {
    "SQLITE_CONSTRAINT_UNIQUE": CONFLICT,
    "SQLITE_CONSTRAINT_PRIMARYKEY": CONFLICT,
    "SQLITE_CONSTRAINT_CHECK": RULE_BROKEN,
    "SQLITE_CONSTRAINT_FOREIGNKEY": RULE_BROKEN,
    "SQLITE_BUSY": UNAVAILABLE,
    "SQLITE_BUSY_SNAPSHOT": UNAVAILABLE,
    "SQLITE_LOCKED": UNAVAILABLE,
    "SQLITE_LOCKED_SHAREDCACHE": UNAVAILABLE,
    "SQLITE_FULL": UNAVAILABLE,
    "SQLITE_CANTOPEN": UNAVAILABLE,
    "SQLITE_TOOBIG": INVALID,
}
RETRIED = frozenset({"40001", "40P01"})


def sqlstate(error: DatabaseError) -> str | None:
    """The five characters PostgreSQL gives; None where the connection failed, and on SQLite."""
    return getattr(error.__cause__, "pgcode", None)


def explain_database_error(error: DatabaseError) -> tuple[str, int] | None:
    """(code, HTTP status); None when it is nothing that the request can have caused, nor passes by itself."""
    sqlite_name = getattr(error.__cause__, "sqlite_errorname", None)
    if sqlite_name is not None:
        return _BY_SQLITE_NAME.get(sqlite_name)
    state = sqlstate(error)
    if state is None:
        # No answer from the server at all: refused, cut off, or closed before.
        return UNAVAILABLE if isinstance(error, OperationalError | InterfaceError) else None
    return _BY_SQLSTATE.get(state) or _BY_CLASS.get(state[:2])


def is_unstorable_text(error: Exception) -> bool:
    """A driver's refusal of a parameter: NUL, half of a surrogate pair, or a number beyond 64 bits on SQLite."""
    if isinstance(error, UnicodeEncodeError):
        return error.reason == "surrogates not allowed"
    if isinstance(error, OverflowError):
        return "too large to convert to SQLite INTEGER" in str(error)
    return isinstance(error, ValueError) and "cannot contain NUL (0x00) characters" in str(error)
