"""Every address of the API, each with and without a slash at the end."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path
from django.views import View

from rewards.api.activity import Activity
from rewards.api.campaigns import CampaignParticipants, Campaigns, OneCampaign, RunCampaign
from rewards.api.cases import ArgumentLikes, CaseArguments, Cases, CaseVotes, OneCase
from rewards.api.claims import Claims
from rewards.api.deployments import Deployments, OneDeployment
from rewards.api.distributions import (
    ApproveDistribution,
    DistributionPreview,
    DistributionProof,
    DistributionRewards,
    Distributions,
    OneDistribution,
    RejectDistribution,
    RetryDistribution,
    ReverseDistribution,
)
from rewards.api.ranking import MonthlyRewards, MonthlyRewardsHistory, MonthlyRewardsJobs, MonthlyRewardsStatus
from rewards.api.rewards import AuditLog, Distribute, Metrics, Pending
from rewards.api.tokens import Tokens
from rewards.api.transfers import Transfers


def endpoint(route: str, view: type[View], name: str = "", **options: Any) -> list[URLPattern]:
    """The paths of a view, with a slash at the end and without; the one without has the name."""
    handler = view.as_view(**options)
    return [path(route, handler, name=name or None), path(f"{route}/", handler)]


urlpatterns = [
    *endpoint("api/activity", Activity, "activity"),
    *endpoint("api/campaigns", Campaigns, "campaigns"),
    *endpoint("api/campaigns/<slug:slug>", OneCampaign, "campaign"),
    *endpoint("api/campaigns/<slug:slug>/participants", CampaignParticipants, "upload_participants"),
    *endpoint("api/campaigns/<slug:slug>/run", RunCampaign, "run_campaign"),
    *endpoint("api/cases", Cases, "cases"),
    *endpoint("api/cases/<int:id>", OneCase, "case"),
    *endpoint("api/cases/<int:id>/vote", CaseVotes, "vote"),
    *endpoint("api/cases/<int:id>/arguments", CaseArguments, "arguments"),
    *endpoint("api/cases/<int:id>/arguments/<int:argument_id>/like", ArgumentLikes, "like"),
    *endpoint("api/claims/<str:claim_type>", Claims, "claims"),
    *endpoint("api/deployment", Deployments, "deployments"),
    *endpoint("api/deployment/<uuid:deployment_id>", OneDeployment, "deployment"),
    *endpoint("api/distributions", Distributions, "distributions"),
    *endpoint("api/distributions/preview", DistributionPreview, "preview_distribution"),
    *endpoint("api/distributions/<int:id>", OneDistribution, "distribution"),
    *endpoint("api/distributions/<int:id>/rewards", DistributionRewards, "distribution_rewards"),
    *endpoint("api/distributions/<int:id>/proof", DistributionProof, "distribution_proof"),
    *endpoint("api/distributions/<int:id>/approve", ApproveDistribution, "approve_distribution"),
    *endpoint("api/distributions/<int:id>/reject", RejectDistribution, "reject_distribution"),
    *endpoint("api/distributions/<int:id>/retry", RetryDistribution, "retry_distribution"),
    *endpoint("api/distributions/<int:id>/reverse", ReverseDistribution, "reverse_distribution"),
    *endpoint("api/ranking/monthly-rewards", MonthlyRewards, "monthly_rewards"),
    *endpoint("api/ranking/monthly-rewards/status", MonthlyRewardsStatus, "monthly_rewards_status"),
    *endpoint("api/ranking/monthly-rewards/jobs", MonthlyRewardsJobs, "monthly_rewards_jobs"),
    *endpoint("api/ranking/monthly-rewards/history", MonthlyRewardsHistory, "monthly_rewards_history"),
    *endpoint("api/rewards/pending", Pending, "pending_rewards"),
    *endpoint("api/rewards/distribute", Distribute, "distribute_pending_rewards"),
    *endpoint("api/rewards/audit-log", AuditLog, "audit_log"),
    *endpoint("api/rewards/metrics", Metrics, "reward_metrics"),
    *endpoint("api/tokens", Tokens, "tokens"),
    *endpoint("api/transfers", Transfers, "transfers"),
]
