"""Commands as a shell would call them, and what they leave behind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from tests.rewards.distributions.conftest import open_prize, prize

__all__ = ["open_prize", "prize"]


def everything_stored() -> dict[str, str]:
    """A hash of every row of every table of the product, but for the runs of jobs."""
    digests = {}
    for model in apps.get_app_config("rewards").get_models():
        if model.__name__ != "JobRun":
            rows = repr(list(model.objects.order_by("pk").values_list()))
            digests[model.__name__] = hashlib.sha256(rows.encode()).hexdigest()
    return digests


@pytest.fixture
def manage(capsys) -> Callable[..., str]:
    """`manage("fund", "alice", "5", …)`: what the command writes to stdout."""

    def run(*words: object) -> str:
        call_command(*map(str, words))
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(db) -> Callable[..., str]:
    """`refused("fund", …)`: the one sentence with which the command ends; it has changed nothing."""

    def run(*words: object) -> str:
        before = everything_stored()
        with pytest.raises(CommandError) as refusal:
            call_command(*map(str, words))
        assert everything_stored() == before
        sentence = str(refusal.value)
        assert "\n" not in sentence
        assert refusal.value.returncode == 1
        return sentence

    return run
