"""The broken rules of campaigns, one class each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rewards.common.errors import RewardsError


class UnknownCampaign(RewardsError):
    """There is no such campaign."""

    code = "unknown_campaign"
    http_status = 404


class CampaignExists(RewardsError):
    """A campaign of this slug stands already. Choose another slug, or change that one."""

    code = "campaign_exists"
    http_status = 409


class OtherSettings(RewardsError):
    """A campaign of this slug stands already, with other settings. Choose another slug; nothing is changed."""

    code = "other_settings"
    http_status = 409


class OtherList(RewardsError):
    """A campaign of this slug stands already, with another list. Choose another slug; nothing is changed."""

    code = "other_list"
    http_status = 409


class CampaignInvalid(RewardsError):
    """This campaign cannot be paid as it stands: see what is said of each field."""

    code = "campaign_invalid"

    def __init__(self, errors: dict[str, str]) -> None:
        """`errors`: field → what is wrong with it."""
        super().__init__(" ".join(f"{field}: {sentence}" for field, sentence in errors.items()), errors=errors)


class CampaignBegun(RewardsError):
    """A run of this campaign has been opened: what it pays, and to whom, cannot be changed any more."""

    code = "campaign_begun"
    http_status = 409


class CampaignOver(RewardsError):
    """This campaign is over: it is done or cancelled."""

    code = "campaign_over"
    http_status = 409


class NotStarted(RewardsError):
    """This campaign is not to be run yet."""

    code = "not_started"
    http_status = 409


class NothingDue(RewardsError):
    """No run of this campaign is due."""

    code = "nothing_due"
    http_status = 409


class TakesNoList(RewardsError):
    """This campaign does not take its participants from an uploaded list. Change its participants first."""

    code = "takes_no_list"
    http_status = 409


class CorrectionStays(RewardsError):
    """A correction pays what is missing, to whom it is missing: only its title and status change. Else cancel it."""

    code = "correction_stays"
    http_status = 409


class TooManyRunsDue(RewardsError):
    """Too many runs of this campaign would be due at once. Move its start, or create another campaign."""

    code = "too_many_runs_due"


class EmptyList(RewardsError):
    """Nobody takes part: the list has no lines. Upload one."""

    code = "empty_list"


class NothingToPay(RewardsError):
    """All weights, or all amounts, are zero: there is nobody to share with."""

    code = "nothing_to_weigh"


class OverBudget(RewardsError):
    """This pays more than there is: raise the amount, or pay less."""

    code = "budget_exceeded"


class NothingToCorrect(RewardsError):
    """Late events would have brought nobody more than was paid: there is nothing to correct."""

    code = "nothing_to_correct"
    http_status = 409


class TotalTooLarge(RewardsError):
    """The amounts of the list together do not fit 64 bits of minor units."""

    code = "total_too_large"


class BadLine(NamedTuple):
    """A line of a file, counted as an editor does, and why it is not taken."""

    line: int
    reason: str


class BadLines(RewardsError):
    """The file has bad lines: nothing is stored. Mend them and send it again."""

    code = "bad_lines"

    def __init__(self, lines: Sequence[BadLine], count: int) -> None:
        """`lines` are the first of `count`. Facts: `errors` ({"line 7": reason}) and `count`."""
        self.lines, self.count = list(lines), count
        noun = "line" if count == 1 else "lines"
        super().__init__(
            f"{count:,} bad {noun}: nothing is stored. The first: line {lines[0].line}: {lines[0].reason}.",
            errors={f"line {number}": reason for number, reason in lines},
            count=count,
        )
