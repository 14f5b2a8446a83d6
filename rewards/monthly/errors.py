"""The broken rules of the month's rewards, one class each."""

from __future__ import annotations

from rewards.common.errors import RewardsError


class NoSuchMonth(RewardsError):
    """There is no such month: write a month from 1 to 12 and a year of four digits."""

    code = "no_such_month"


class MonthNotOver(RewardsError):
    """This month has not ended yet: its rewards are worked out once it has."""

    code = "month_not_over"


class UnknownJob(RewardsError):
    """This month has no job yet: start it first."""

    code = "unknown_job"
    http_status = 404


class NotFailed(RewardsError):
    """Only a failed job can be retried."""

    code = "not_failed"
    http_status = 409


class CategoryInvalid(RewardsError):
    """This category cannot be paid as it stands: see what is said of each field."""

    code = "category_invalid"

    def __init__(self, errors: dict[str, str]) -> None:
        """`errors`: field → what is wrong with it."""
        super().__init__(" ".join(f"{field}: {sentence}" for field, sentence in errors.items()), errors=errors)


class UnknownCategory(RewardsError):
    """There is no such ranking category."""

    code = "unknown_category"
    http_status = 404
