"""Settings of the tests: SQLite in a temporary folder, or the database that TEST_DATABASE_URL names."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_folder = Path(tempfile.mkdtemp(prefix="rewards-tests-"))

_maker = os.getpid()


def _remove_folder() -> None:
    if os.getpid() == _maker:  # a forked child leaves it to its parent
        shutil.rmtree(_folder, ignore_errors=True)


atexit.register(_remove_folder)

os.environ["REWARDS_ENVIRONMENT"] = "test"
os.environ["SECRET_KEY"] = "tests-only"
os.environ["ALLOWED_HOSTS"] = "testserver,127.0.0.1,localhost"
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{_folder}/unused.sqlite3"
os.environ["PARTNER_DATABASE_URL"] = f"sqlite:///{_folder}/partner.sqlite3"
os.environ.setdefault("LOG_LEVEL", "WARNING")

from rewards_site.settings import *  # noqa: E402,F403
from rewards_site.settings import DATABASES  # noqa: E402

STATIC_ROOT = _folder / "static"
STATIC_ROOT.mkdir()

for _alias, _database in DATABASES.items():
    if _database["ENGINE"].endswith("sqlite3"):
        # A file, so that threads and processes of one test see the same database.
        _database["TEST"] = {"NAME": str(_folder / f"{_alias}-test.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
