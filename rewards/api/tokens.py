"""Tokens: a user gets one for his password, and ends it when he signs out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from rewards.access.errors import WrongPassword
from rewards.access.services import create_token, revoke
from rewards.api.authentication import TokenAuthentication, refusal
from rewards.api.permissions import ANYONE, USER
from rewards.api.serializers import StrictSerializer, TextField
from rewards.api.throttles import AddressThrottle, count_sign_in
from rewards.api.views import ApiView
from rewards.users.models import User


class SignIn(StrictSerializer):
    username = TextField(max_length=150)
    password = TextField(max_length=4096, write_only=True)


class NewToken(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Sent as `Authorization: Bearer <token>`; it is shown this once")
    expires_at = serializers.DateTimeField()


class Tokens(ApiView):
    access = {"POST": [ANYONE], "DELETE": [USER]}
    authentication_classes = [TokenAuthentication]

    def get_authenticators(self) -> list[Any]:
        """Who asks for a token may still send an old one: it is not looked at."""
        # The schema asks before there is a request.
        signing_in = self.request is not None and self.request.method == "POST"
        return [] if signing_in else super().get_authenticators()

    def get_throttles(self) -> list[BaseThrottle]:
        return [AddressThrottle()] if self.request.method == "POST" else super().get_throttles()

    @extend_schema(
        operation_id="sign_in",
        summary="Sign in: a token for a password",
        request=SignIn,
        responses={201: NewToken},
        auth=[],
        examples=[
            OpenApiExample(
                "Alice", request_only=True, value={"username": "alice", "password": "correct horse battery staple"}
            )
        ],
    )
    def post(self, request: Request) -> Response:
        given = self.body(SignIn)
        count_sign_in(given["username"])
        # For a name that nobody has, Django hashes the password all the same: the time tells no more than the answer.
        user = authenticate(request._request, **given)
        if not isinstance(user, User):
            raise refusal(WrongPassword())
        token, secret = create_token(user, at=timezone.now(), by=user)
        answer = {"token": secret, "expires_at": token.expires_at}
        return Response(answer, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(
        operation_id="sign_out",
        summary="Sign out: revoke the token that is sent",
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request) -> Response:
        revoke(request.auth, at=timezone.now(), by=request.user)  # type: ignore[arg-type]
        return Response(status=204)
