"""Who may call what. A view says it for each of its methods; what it does not say is refused.

access = {"GET": [USER], "POST": [machine(Right.CLAIMS_WRITE), USER]}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from rewards.access.models import Right
from rewards.api.authentication import Machine
from rewards.users.models import User


class Callers(Protocol):
    """A kind of callers. `words` completes the sentence "This is for …"."""

    @property
    def words(self) -> str: ...

    def include(self, caller: Any) -> bool: ...


@dataclass(frozen=True)
class Anyone:
    """With or without a credential."""

    words: str = "anyone"

    def include(self, caller: Any) -> bool:
        return True


@dataclass(frozen=True)
class Users:
    """Anyone who is signed in as himself, staff too."""

    words: str = "users"

    def include(self, caller: Any) -> bool:
        return isinstance(caller, User) and caller.is_active


@dataclass(frozen=True)
class Staff:
    """Members of staff; with a permission of Django's, those who have it (superusers have every one)."""

    permission: str = ""

    @property
    def words(self) -> str:
        return f"staff with the permission {self.permission}" if self.permission else "staff"

    def include(self, caller: Any) -> bool:
        if not (isinstance(caller, User) and caller.is_active and caller.is_staff):
            return False
        return not self.permission or caller.has_perm(self.permission)


@dataclass(frozen=True)
class Machines:
    """API keys with the right."""

    right: Right

    @property
    def words(self) -> str:
        return f"API keys with the right {self.right.value}"

    def include(self, caller: Any) -> bool:
        return isinstance(caller, Machine) and caller.key.may(self.right)


ANYONE = Anyone()
USER = Users()
STAFF = Staff()


def staff(permission: str) -> Staff:
    """Members of staff with a permission such as `rewards.approve_distribution`."""
    return Staff(permission)


def machine(right: Right) -> Machines:
    return Machines(Right(right))


class DeclaredAccess(BasePermission):
    """Reads `access` of the view: method → who may call it. HEAD is GET."""

    def has_permission(self, request: Request, view: Any) -> bool:
        method = request.method or ""
        # Not whether the view has an attribute of that name: it has helpers too, and QUERY is a method of HTTP.
        if method not in view.allowed_methods:
            raise MethodNotAllowed(method)
        kinds = callers_of(view, method)
        self.message = f"This is for {' or '.join(kind.words for kind in kinds) or 'nobody'}."
        return any(kind.include(request.user) for kind in kinds)


def callers_of(view: Any, method: str) -> Sequence[Callers]:
    return getattr(view, "access", {}).get("GET" if method == "HEAD" else method, ())
