"""Who calls: a machine by its key, a user by his token or his session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DjangoSessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from rewards.access.errors import CredentialRefused, TwoCredentials
from rewards.access.models import AccessToken, ApiKey
from rewards.access.services import find_api_key, find_token
from rewards.users.models import User

API_KEY_HEADER = "x-api-key"
CHALLENGE = f'Bearer realm="rewards", ApiKey realm="rewards", header="{API_KEY_HEADER}"'


@dataclass(frozen=True)
class Machine:
    """The `request.user` of a call with an API key: somebody, but no user. What it may do stands in its rights."""

    key: ApiKey

    pk = id = None
    is_authenticated = is_active = True
    is_anonymous = is_staff = is_superuser = False

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        return False

    def __str__(self) -> str:
        return self.key.name


class ApiKeyAuthentication(BaseAuthentication):
    """`x-api-key: rwk_…`"""

    def authenticate(self, request: Request) -> tuple[Machine, ApiKey] | None:
        secret = request.headers.get(API_KEY_HEADER)
        if secret is None:
            return None
        if bearer_of(request) is not None:
            raise refusal(TwoCredentials())
        try:
            key = find_api_key(secret, timezone.now())
        except CredentialRefused as error:
            raise refusal(error) from error
        return Machine(key), key

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer rwt_…`"""

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        secret = bearer_of(request)
        if secret is None:
            return None
        try:
            token = find_token(secret, timezone.now())
        except CredentialRefused as error:
            raise refusal(error) from error
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class SessionAuthentication(DjangoSessionAuthentication):
    """The session of somebody who signed in on a page; what changes something needs the CSRF token as well.

    The token is sent as the header X-CSRFToken. It is not looked for in the body, which is JSON and nobody's business
    before it is known who calls.
    """

    def enforce_csrf(self, request: Request) -> None:
        super().enforce_csrf(_WithoutForm(request))  # type: ignore[arg-type]

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class _WithoutForm:
    """A request as Django's check sees it: all but the fields of its form."""

    POST: dict[str, str] = {}

    def __init__(self, request: Request) -> None:
        self._request = request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def refusal(error: CredentialRefused) -> AuthenticationFailed:
    """The error as the framework knows it: its answer is 401 with the challenge."""
    return AuthenticationFailed(error.message, code=error.code)


def bearer_of(request: Request) -> str | None:
    """What follows `Bearer` in the header Authorization; None without one, or where it is of another scheme."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    return secret.strip(" ") if scheme.lower() == "bearer" else None


# ------------------------------------------------------------------------------------------------------------ schema


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": API_KEY_HEADER,
            "description": "A machine's key, with the rights it was given: `manage.py create_api_key`, or the admin.",
        }


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A user's token: POST `/api/tokens`, or `manage.py create_token`.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = SessionAuthentication
    name = "session"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "Whoever is signed in on a page, such as the admin.",
        }
