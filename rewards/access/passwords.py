"""Whoever changes a password wants those out who got in with the old one."""

from __future__ import annotations

from django.utils import timezone

from rewards.access.models import AccessToken
from rewards.access.services import revoke
from rewards.users.models import User


class TokensEndWithThePassword:
    """One of AUTH_PASSWORD_VALIDATORS, which Django tells of every new password, wherever it was set.

    It accepts every password. Sessions end with the password by themselves.
    """

    def validate(self, password: str, user: User | None = None) -> None:
        pass

    def password_changed(self, password: str, user: User) -> None:
        for token in AccessToken.objects.filter(user=user, revoked_at=None):
            revoke(token, at=timezone.now(), by=None)

    def get_help_text(self) -> str:
        return "A new password ends all access tokens of the user."
