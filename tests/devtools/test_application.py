"""One running product to a data directory, and the same secrets each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.application import NOBODY_LISTENS, application_environment, choose_broker_url, held, running_broker_url
from devtools.environment import DevelopmentError

pytestmark = pytest.mark.once


def test_starting_twice_on_the_same_data_is_one_sentence(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(DevelopmentError) as caught, held(tmp_path):
        pass
    assert str(caught.value) == f"The product already runs on {tmp_path}: stop it first, or choose another --data."
    with held(tmp_path):
        pass


def test_commands_use_the_broker_of_the_product_that_runs(tmp_path: Path) -> None:
    with held(tmp_path):
        url = choose_broker_url(tmp_path)
        assert running_broker_url(tmp_path) == url
    assert running_broker_url(tmp_path) == NOBODY_LISTENS


def test_the_secret_key_is_kept_and_private_and_each_data_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY", raising=False)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    keys = [application_environment(folder, NOBODY_LISTENS)["SECRET_KEY"] for folder in [*folders, folders[0]]]
    assert keys[0] == keys[2] != keys[1]
    assert len(keys[0]) >= 50
    assert (folders[0] / "secret_key").stat().st_mode & 0o777 == 0o600


def test_what_the_shell_sets_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://db.example.org/rewards")
    monkeypatch.delenv("ALLOWED_HOSTS", raising=False)
    environment = application_environment(tmp_path, NOBODY_LISTENS)
    assert environment["DATABASE_URL"] == "postgres://db.example.org/rewards"
    assert environment["ALLOWED_HOSTS"] == "127.0.0.1,localhost"
