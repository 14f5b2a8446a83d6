"""The broken rules of deployments and staking, one class each."""

from rewards.common.errors import RewardsError


class DeploymentGone(RewardsError):
    """There is no such deployment, or it has been deleted."""

    code = "deployment_gone"
    http_status = 404


class NotAccrued(RewardsError):
    """This reward is not what has accrued. Read again what is pending, and pay that."""

    code = "not_accrued"
    http_status = 409


class NotStaked(RewardsError):
    """There is no such staking position, or it was unstaked before."""

    code = "not_staked"
    http_status = 409


class InvalidDeployment(RewardsError):
    """A deployment has a name of 1 to 120 characters and 1 to 100 replicas."""

    code = "invalid_deployment"
    http_status = 400


class UnknownDeployment(RewardsError):
    """There is no such deployment."""

    code = "unknown_deployment"


class RewardsDead(RewardsError):
    """Rewards of this deployment failed for good. Remove the cause, and put them back into the queue first."""

    code = "rewards_dead"
    http_status = 409


class CannotDelete(RewardsError):
    """Cannot delete: what the deployment earned could not be paid. It runs on, and operators have been told."""

    code = "cannot_delete"
    http_status = 500
    is_expected = True
