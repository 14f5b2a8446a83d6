"""What can be wrong with a file of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewards.common.errors import RewardsError

if TYPE_CHECKING:
    from rewards.exchange.services import Report


class FileUnreadable(RewardsError):
    """This is not a file of rules as export_rules writes it."""

    code = "rules_unreadable"
    http_status = 400


class NewerFormat(RewardsError):
    """The file was written by a newer version of the product: bring this installation up to date first."""

    code = "rules_newer_format"
    http_status = 400


class RuleRefused(RewardsError):
    """This rule cannot be taken as it is."""

    code = "rule_refused"
    http_status = 400


class RulesRefused(RewardsError):
    """Some of the rules cannot be taken; nothing was changed."""

    code = "rules_refused"

    def __init__(self, report: Report) -> None:
        self.report = report
        refused = report.of("refused")
        noun = "rule is" if len(refused) == 1 else "rules are"
        super().__init__(
            f"{len(refused)} {noun} refused; nothing was changed.",
            refused=[{"kind": item.kind, "key": item.key, "why": item.sentence} for item in refused],
        )


class ChangedMeanwhile(RewardsError):
    """What the file would change is not what was looked at: somebody has changed rules meanwhile. Look at it again."""

    code = "rules_changed_meanwhile"
    http_status = 409
