from __future__ import annotations

from django.urls import path
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

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


urlpatterns = [path("bare/<slug:claim_type>", BareView.as_view()), *product]
