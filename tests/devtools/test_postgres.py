"""The PostgreSQL of the tests starts, answers, and is gone afterwards; as root in each of the two ways."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest

from devtools import postgres
from devtools.postgres import temporary_postgres

pytestmark = pytest.mark.once

AS_NOBODY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as somebody else")


@pytest.mark.parametrize("unshare", [postgres.UNSHARE, pytest.param(("false",), marks=AS_NOBODY)])
def test_a_temporary_postgres_leaves_nothing(unshare: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "UNSHARE", unshare)
    with temporary_postgres() as url:
        folder = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert folder.stat().st_mode & 0o777 == 0o700
        server = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        connection = psycopg2.connect(host=str(folder), user="postgres", dbname="postgres")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'Ä' > 'z', lower('Ä'), current_setting('listen_addresses')")
            assert cursor.fetchone() == (True, "ä", "")
        connection.close()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
