"""The door where Django looks for models. Each package keeps its own in its `models.py`."""

from rewards.access.models import AccessToken, ApiKey, IdempotentAnswer
from rewards.activity.models import ActivityEvent, ClosedStretch, Counter
from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent, AuditSeal
from rewards.claims.models import ChargeClock, Claim, ClaimCount, ClaimType, Line
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.jobs.models import JobRun, ProcessHeartbeat
from rewards.ledger.models import Account, BalanceChange, Currency, Journal, Transfer
from rewards.parameters.models import Parameter, ParameterVersion
from rewards.pools.models import Accrual, CarryOver, CcRate, PartnerTransfer, Pool, RewardLog, VoteWeight
from rewards.users.models import User

__all__ = [
    "AccessToken",
    "Account",
    "Accrual",
    "ActivityEvent",
    "Alert",
    "ApiKey",
    "AuditEvent",
    "AuditSeal",
    "BalanceChange",
    "CarryOver",
    "CcRate",
    "ChargeClock",
    "Claim",
    "ClaimCount",
    "ClaimType",
    "ClosedStretch",
    "Counter",
    "Currency",
    "Distribution",
    "DistributionChunk",
    "IdempotentAnswer",
    "JobRun",
    "Journal",
    "Line",
    "Parameter",
    "ParameterVersion",
    "PartnerTransfer",
    "Pool",
    "ProcessHeartbeat",
    "Reward",
    "RewardLog",
    "Transfer",
    "User",
    "VoteWeight",
]
