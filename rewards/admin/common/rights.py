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


class AlertRights:
    def has_resolve_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _holds(request, "rewards.change_alert")
