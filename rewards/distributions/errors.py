"""The broken rules of distributions, one class each."""

from rewards.common.errors import RewardsError


class NotYet(RewardsError):
    """This period cannot be worked out yet: the one before it is not allocated."""

    code = "not_yet"
    http_status = 409


class PeriodNotOver(RewardsError):
    """This period is not over yet. Wait until it has ended."""

    code = "period_not_over"


class NotWaitingForApproval(RewardsError):
    """This distribution is not waiting for approval."""

    code = "not_waiting_for_approval"
    http_status = 409


class OwnApproval(RewardsError):
    """Who opened it, or last changed its rule, participants or amount, cannot approve it. Ask another approver."""

    code = "own_approval"
    http_status = 403


class NotAllowed(RewardsError):
    """You do not have the right to do this. Ask an administrator for it."""

    code = "not_allowed"
    http_status = 403


class DigestMismatch(RewardsError):
    """The rows are not what was approved: they do not hash to the digest. Nothing is paid; find out what changed."""

    code = "digest_mismatch"
    http_status = 409


class NotFailed(RewardsError):
    """Only a failed distribution can be retried."""

    code = "not_failed"
    http_status = 409


class NothingToReverse(RewardsError):
    """Nothing of this distribution has been paid, or all of it is reversed already."""

    code = "nothing_to_reverse"
    http_status = 409


class ClaimUnderWay(RewardsError):
    """A claim of it is under way on the chain. Wait until it is completed or has failed, then take it back."""

    code = "claim_under_way"
    http_status = 409


class NoSuchRow(RewardsError):
    """This user has no row in this distribution."""

    code = "not_found"
    http_status = 404


class DifferentCurrencies(RewardsError):
    """These two are in different currencies: compare what is paid in the same one."""

    code = "different_currencies"
