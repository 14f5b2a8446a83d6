"""The broken rules of claims, one class each."""

from rewards.common.errors import RewardsError


class NoSuchReward(RewardsError):
    """You have no such reward. Look at your rewards, and claim one of them."""

    code = "not_found"
    http_status = 404


class NotClaimable(RewardsError):
    """This reward cannot be claimed on the chain."""

    code = "not_claimable"
    http_status = 409


class NoWalletAddress(RewardsError):
    """There is no wallet address to send it to. Send wallet_address, or keep one in your profile."""

    code = "no_wallet_address"
