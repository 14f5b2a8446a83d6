"""The broken rules of pending rewards, one class each."""

from rewards.common.errors import RewardsError


class UnknownAccount(RewardsError):
    """There is no such user to pay."""

    code = "unknown_account"


class RewardMismatch(RewardsError):
    """A reward of this id stands in the queue with another recipient, amount or currency. Use an id of its own."""

    code = "reward_mismatch"
    http_status = 409


class InvalidReward(RewardsError):
    """A reward has an id of 1 to 200 characters, a type of 1 to 40, and texts without NUL or half characters."""

    code = "invalid_reward"
    http_status = 400


class ReservedRewardId(RewardsError):
    """Ids of this form belong to what accrues, and name what is paid when it is. Use another id."""

    code = "reserved_reward_id"


class RewardDead(RewardsError):
    """This reward has failed for good. Remove the cause, then put it back into the queue."""

    code = "reward_dead"
    http_status = 409


class NotDead(RewardsError):
    """Only a reward that has failed for good, or has expired, can be put back into the queue."""

    code = "not_dead"
    http_status = 409
