"""The door where Django looks for models. Each package keeps its own in its `models.py`."""

from rewards.access.models import AccessToken, ApiKey, IdempotentAnswer
from rewards.activity.models import ActivityEvent, ClosedStretch, Counter
from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent, AuditSeal
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.cases.models import Argument, ArgumentLike, Case, CaseVote, SealedVerdict
from rewards.chain.models import ChainSender, ChainTransaction, LocalEntry
from rewards.chain_claims.models import RewardClaim
from rewards.claims.models import ChargeClock, Claim, ClaimCount, ClaimType, Line
from rewards.deployments.models import Deployment, Replica, StakingPosition
from rewards.distributions.models import Distribution, DistributionChunk, Reward
from rewards.jobs.models import JobRun, ProcessHeartbeat
from rewards.ledger.models import Account, BalanceChange, Correction, Currency, Journal, Transfer
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.parameters.models import Parameter, ParameterVersion
from rewards.pending.models import PendingReward
from rewards.pools.models import Accrual, CarryOver, CcRate, PartnerTransfer, Pool, RewardLog, VoteWeight
from rewards.users.models import User

__all__ = [
    "AccessToken",
    "Account",
    "Accrual",
    "ActivityEvent",
    "Alert",
    "ApiKey",
    "Argument",
    "ArgumentLike",
    "AuditEvent",
    "AuditSeal",
    "BalanceChange",
    "Campaign",
    "CampaignParticipant",
    "CarryOver",
    "Case",
    "CaseVote",
    "CcRate",
    "ChainSender",
    "ChainTransaction",
    "ChargeClock",
    "Claim",
    "ClaimCount",
    "ClaimType",
    "ClosedStretch",
    "Correction",
    "Counter",
    "Currency",
    "Deployment",
    "Distribution",
    "DistributionChunk",
    "IdempotentAnswer",
    "JobRun",
    "Journal",
    "Line",
    "LocalEntry",
    "MonthlyRewardJob",
    "Parameter",
    "ParameterVersion",
    "PartnerTransfer",
    "PendingReward",
    "Pool",
    "ProcessHeartbeat",
    "RankingCategory",
    "Replica",
    "Reward",
    "RewardClaim",
    "RewardLog",
    "SealedVerdict",
    "StakingPosition",
    "Transfer",
    "User",
    "VoteWeight",
]
