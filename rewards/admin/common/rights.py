"""Rights beyond view, add, change and delete, under the names that actions ask for them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def _holds(request: HttpRequest, right: str) -> bool:
    user: Any = request.user
    return user.is_active and user.has_perm(right)


class PayoutRights:
    def has_approve_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.approve_distribution")

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.run_distribution")

    def has_reverse_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.reverse_distribution")


class QueueRights:
    def has_requeue_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.requeue_pendingreward")


class DeploymentRights:
    def has_take_down_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.delete_deployment")


class AlertRights:
    def has_resolve_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.change_alert")


class MonthRights:
    def has_run_month_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.run_monthlyrewardjob")


class CaseRights:
    def has_moderate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.moderate_case")

    def has_unseal_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.view_sealedverdict")


class CorrectionRights:
    def has_correct_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.post_correction")
