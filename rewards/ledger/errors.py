"""The ledger's broken rules, one class each."""

from rewards.common.errors import RewardsError


class IdempotencyConflict(RewardsError):
    """This key was used before with other content. Use a new key, or send the same content again."""

    code = "idempotency_conflict"
    http_status = 409


class InsufficientFunds(RewardsError):
    """The account does not hold enough. Fund it, or lower the amount."""

    code = "insufficient_funds"
    http_status = 409


class UnknownCurrency(RewardsError):
    """There is no such currency. Create it: manage.py create_currency."""

    code = "unknown_currency"


class InactiveCurrency(RewardsError):
    """The currency is not active. Activate it in the admin, or use another one."""

    code = "inactive_currency"


class NotTransferable(RewardsError):
    """Users cannot send this currency to each other."""

    code = "not_transferable"


class SameAccount(RewardsError):
    """A transfer needs two different accounts: choose another recipient."""

    code = "same_account"


class AlreadyReversed(RewardsError):
    """Everything in this journal has been reversed already, or is a reversal itself."""

    code = "already_reversed"
    http_status = 409


class PayoutsPaused(RewardsError):
    """Payouts are paused. An administrator lifts the pause, with a reason, once its cause is gone."""

    code = "payouts_paused"
    http_status = 409


class NothingToRepay(RewardsError):
    """There is no debt in this currency, or nothing on the account to repay it with."""

    code = "nothing_to_repay"
    http_status = 409


class OwnCorrection(RewardsError):
    """Nobody corrects his own account. Ask somebody else who has the right."""

    code = "own_correction"
    http_status = 403


class CorrectionLimit(RewardsError):
    """It is more than what is left of your limit for today. Somebody else corrects it."""

    code = "correction_limit"
    http_status = 409


class InactiveActor(RewardsError):
    """Your account is switched off: it corrects nothing."""

    code = "inactive_actor"
    http_status = 403
