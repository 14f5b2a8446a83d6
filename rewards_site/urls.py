"""Every URL. Pages for machines answer with and without a slash at the end."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from badges.api import OwnBadges, OwnProgress
from leaderboard.api import Leaderboard, Leaderboards
from rewards.api.urls import endpoint
from rewards_site.errors import nothing_here, problem_list, problem_page
from rewards_site.health import healthz, readyz
from rewards_site.metrics import metrics
from rewards_site.pages.signing_in import home
from rewards_site.profile.claiming import ClaimRewards
from rewards_site.profile.profile import Profile
from rewards_site.profile.rewards import OwnRewards, RewardReceipt
from rewards_site.profile.statement import Statement

handler400 = "rewards_site.errors.bad_request"
handler403 = "rewards_site.errors.permission_denied"
handler404 = "rewards_site.errors.not_found"
handler500 = "rewards_site.errors.server_error"

urlpatterns = [
    path("", home, name="home"),
    path("admin/", admin.site.urls),
    re_path(r"^healthz/?$", healthz, name="healthz"),
    re_path(r"^readyz/?$", readyz, name="readyz"),
    re_path(r"^metrics/?$", metrics, name="metrics"),
    path("problems", problem_list, name="problems"),
    path("problems/", problem_list),
    path("problems/<slug:code>", problem_page, name="problem"),
    path("problems/<slug:code>/", problem_page),
    *endpoint("profile", Profile, "profile"),
    *endpoint("profile/badges", OwnBadges, "own_badges"),
    *endpoint("profile/badges/progress", OwnProgress, "own_badge_progress"),
    *endpoint("profile/rewards", OwnRewards, "own_rewards"),
    *endpoint("profile/rewards/claim", ClaimRewards, "claim_rewards"),
    *endpoint("profile/rewards/<int:id>/receipt", RewardReceipt, "reward_receipt"),
    *endpoint("profile/statement", Statement, "statement"),
    *endpoint("api/leaderboards", Leaderboards, "leaderboards"),
    *endpoint("api/leaderboards/<slug:slug>", Leaderboard, "leaderboard"),
    path("", include("rewards_site.pages.urls")),
    path("", include("rewards.api.urls")),
    *endpoint("api/schema", SpectacularAPIView, "schema"),
    *endpoint("api/docs", SpectacularSwaggerView, "docs", url_name="schema"),
    re_path(r"^(?:api|profile)(?:/|\Z)", nothing_here),
]
