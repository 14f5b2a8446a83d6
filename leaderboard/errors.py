"""The broken rules of boards, one class each."""

from rewards.common.errors import RewardsError


class UnknownBoard(RewardsError):
    """There is no such board, or it is not active. /api/leaderboards lists those that are."""

    code = "unknown_board"
    http_status = 404


class NoSuchMonth(RewardsError):
    """This board has no such month. Give a month that has begun, such as 2026-10, of a board of calendar months."""

    code = "no_such_month"


class NotInThePast(RewardsError):
    """A board can be looked at as it was: give an instant in the past."""

    code = "not_in_the_past"


class BoardLocked(RewardsError):
    """This board has months that are closed: what it ranks, its window and zone stay. Make another board."""

    code = "board_locked"
    http_status = 409


class PointsTooLarge(RewardsError):
    """Somebody's points on this board do not fit 64 bits. Rank something with fewer decimals."""

    code = "points_too_large"
