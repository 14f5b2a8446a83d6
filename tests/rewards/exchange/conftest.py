"""An installation with the rules that the product ships with."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command

from rewards.exchange.documents import from_bytes
from rewards.exchange.services import export_rules, import_rules, look_at
from rewards.parameters.services import forget
from rewards.users.models import User

AT = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(autouse=True)
def shipped(db: None) -> None:
    forget()
    call_command("setup_defaults", stdout=StringIO())


@pytest.fixture
def alice() -> User:
    alice = User.objects.create(username="alice", is_staff=True)
    alice.groups.add(Group.objects.get(name="Administrator"))
    return alice


@pytest.fixture
def file() -> Callable[..., dict[str, Any]]:
    """`file(pools={…})`: the sections of a file as it comes back from the disk."""

    def sections(**rules: Any) -> dict[str, Any]:
        return from_bytes(json.dumps({"format": "rewards-rules", "version": 1, "rules": rules}).encode())

    return sections


def exported() -> dict[str, Any]:
    return from_bytes(export_rules().encode())


def take(sections: dict[str, Any], actor: User | None = None) -> Any:
    return import_rules(sections, actor=actor, reason="From the other one", at=AT)


def refusals(sections: dict[str, Any], actor: User | None = None) -> dict[str, str]:
    report = look_at(sections, actor=actor, at=AT)
    return {f"{item.kind}:{item.key}": item.sentence for item in report.of("refused")}
