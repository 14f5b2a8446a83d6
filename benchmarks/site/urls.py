from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

from django.urls import path
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmarks.claims import raw_claims
from rewards_site.urls import *  # noqa: F403
from rewards_site.urls import urlpatterns as product


class BareView(APIView):
    """Reads JSON and answers JSON: no credentials, no rules, no database."""

    authentication_classes: list = []
    permission_classes: list = []
    throttle_classes: list = []
    parser_classes = [JSONParser]

    def post(self, request: Request, **kwargs: str) -> Response:
        return Response(request.data, status=201)


@cache
def program() -> Callable[[int], object]:
    """One connection a process, as a worker has."""
    return raw_claims(os.environ["DATABASE_URL"])


class WritingView(BareView):
    """The bare view that also writes a claim's rows by psycopg2 alone: still no credentials and no rules."""

    def post(self, request: Request, **kwargs: str) -> Response:
        program()(int(request.data["context"]["encounter_id"].partition("-")[2]))
        return super().post(request)


urlpatterns = [
    path("bare/<slug:claim_type>", BareView.as_view()),
    path("writing/<slug:claim_type>", WritingView.as_view()),
    *product,
]
