"""What can be wrong with a parameter."""

from __future__ import annotations

from rewards.common.errors import RewardsError


class UnknownParameter(RewardsError):
    """There is no parameter of that name."""

    code = "unknown_parameter"
    http_status = 404


class InvalidParameter(RewardsError):
    """The value is not one that this parameter may have."""

    code = "invalid_parameter"
    http_status = 400
