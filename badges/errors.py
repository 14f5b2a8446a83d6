"""The broken rules of badges, one class each."""

from rewards.common.errors import RewardsError


class BadgeLocked(RewardsError):
    """Somebody holds this badge: what earns it is locked. Change it as a new version."""

    code = "badge_locked"
    http_status = 409


class CriterionUnknown(RewardsError):
    """A badge is earned by a counter, such as cases_won, or by a fact: user:wallet_connected, user:joined_in_beta."""

    code = "criterion_unknown"


class NoSuchAward(RewardsError):
    """There is no such award."""

    code = "no_such_award"
    http_status = 404


class AlreadyRevoked(RewardsError):
    """This badge is revoked already."""

    code = "already_revoked"
    http_status = 409


class NotRevoked(RewardsError):
    """This badge is not revoked: there is nothing to reinstate."""

    code = "not_revoked"
    http_status = 409
