"""Every address of the API, each with and without a slash at the end."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path
from django.views import View

from rewards.api.activity import Activity
from rewards.api.claims import Claims
from rewards.api.tokens import Tokens
from rewards.api.transfers import Transfers


def endpoint(route: str, view: type[View], name: str = "", **options: Any) -> list[URLPattern]:
    """The paths of a view, with a slash at the end and without; the one without has the name."""
    handler = view.as_view(**options)
    return [path(route, handler, name=name or None), path(f"{route}/", handler)]


urlpatterns = [
    *endpoint("api/activity", Activity, "activity"),
    *endpoint("api/claims/<str:claim_type>", Claims, "claims"),
    *endpoint("api/tokens", Tokens, "tokens"),
    *endpoint("api/transfers", Transfers, "transfers"),
]
