"""Lists and statements as CSV: what the filters find, whole, safe to open, audited, and never cut off in silence."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from rewards.admin.common import downloads
from rewards.admin.common.downloads import Exported, csv_download
from rewards.audit.models import AuditEvent
from rewards.audit.services import record
from rewards.common.exports import INCOMPLETE
from rewards.distributions.models import Reward
from rewards.ledger.models import Account
from rewards.ledger.services import balance
from rewards.users.models import User


def csv_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.status_code
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8"), newline="")))


def address(model: str, *args: Any, view: str = "export_csv") -> str:
    return reverse(f"admin:rewards_{model}_{view}", args=args)


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    """Two rows a statement, so that three rewards take more than one."""
    monkeypatch.setattr(downloads, "ROWS_IN_A_CHUNK", 2)
    monkeypatch.setattr("rewards.admin.statement_csv.ROWS_IN_A_CHUNK", 2)


def test_the_rewards_of_an_hour_are_taken_along_in_units_by_place(sign_in, paid_hour, small_chunks) -> None:
    answer = sign_in("Viewer").get(address("reward"), {"distribution__id__exact": paid_hour.pk})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert re.search(r'filename="rewards-\d+_\d{8}T\d{6}Z\.csv"', answer["Content-Disposition"])
    rows = csv_of(answer)
    assert [(row["position"], row["user"]) for row in rows] == [("1", "alice"), ("2", "bob"), ("3", "carol")]
    assert sum(int(row["amount"]) for row in rows) == paid_hour.paid_amount
    assert {row["currency"] for row in rows} == {"points"}
    assert "salt" not in rows[0]


def test_filters_and_search_of_the_list_hold_for_the_file(sign_in, failed_hour, small_chunks) -> None:
    viewer = sign_in("Viewer")
    everything = csv_of(viewer.get(address("distribution")))
    assert [row["status"] for row in everything] == ["failed", "allocated", "paid"]
    waiting = csv_of(viewer.get(address("distribution"), {"status__exact": "allocated"}))
    assert [row["period"] for row in waiting] == ["2026-11-20T08"]
    assert waiting[0]["starts at"] == "2026-11-20T08:00:00Z"
    found = csv_of(viewer.get(address("distribution"), {"q": "pool_hourly 2026-11-20T07"}))
    assert [row["period"] for row in found] == ["2026-11-20T07"]
    assert (
        len(csv_of(viewer.get(address("reward"), {"q": "ali"})))
        == Reward.objects.filter(user__username="alice").count()
    )


def test_the_link_above_the_list_takes_the_filters_along_and_not_the_page(sign_in, failed_hour) -> None:
    page = sign_in("Viewer").get(address("distribution", view="changelist"), {"status__exact": "paid", "after": "9999"})
    assert f'href="{address("distribution")}?status__exact=paid"' in page.content.decode()


def test_a_filter_that_does_not_exist_leads_back_to_the_list(sign_in, paid_hour) -> None:
    answer = sign_in("Viewer").get(address("distribution"), {"nothing__exact": "1"})
    assert (answer.status_code, answer["Location"]) == (302, address("distribution", view="changelist"))
    assert not AuditEvent.objects.filter(event_type="exported").exists()


def test_a_statement_goes_back_from_the_balance_to_the_first_transfer(sign_in, paid_hour, small_chunks) -> None:
    pool = Account.objects.get(code="pool:hourly", user=None)
    rows = csv_of(sign_in("Viewer").get(address("account", pool.pk, view="statement_csv")))
    assert len(rows) > 2
    assert int(rows[0]["balance"]) == balance(pool)
    assert sum(int(row["change"]) for row in rows) == balance(pool)
    assert int(rows[-1]["balance"]) == int(rows[-1]["change"])
    assert rows[0]["change"].startswith("-"), "a negative number stays a number"


@pytest.mark.parametrize("model", ["distribution", "reward", "journal", "transfer", "claim", "alert", "auditevent"])
def test_each_export_needs_the_right_to_look(sign_in, paid_hour, model) -> None:
    nobody = User.objects.create(username="staff", is_staff=True)
    client = Client()
    client.force_login(nobody)
    assert client.get(address(model)).status_code == 403
    nobody.user_permissions.add(Permission.objects.get(codename=f"view_{model}"))
    assert csv_of(client.get(address(model))) is not None
    assert client.post(address("account", Account.objects.first().pk, view="statement_csv")).status_code == 403


def test_an_export_is_audited_with_who_what_filter_and_rows(sign_in, paid_hour) -> None:
    csv_of(sign_in("Viewer").get(address("reward"), {"q": "alice"}))
    begun, ended = AuditEvent.objects.filter(event_type__startswith="export").order_by("pk")
    assert (begun.event_type, begun.actor.username) == ("exported", "viewer")
    assert begun.data["what"] == "rewards"
    assert begun.data["filters"] == {"q": ["alice"]}
    assert (ended.event_type, ended.success, ended.data["rows"]) == ("export_ended", True, 1)


def test_what_people_wrote_is_no_formula_in_a_spreadsheet(sign_in) -> None:
    record("note", reason='=HYPERLINK("http://example.com")', data={"text": 'a,b\r\n"c"'})
    [row] = csv_of(sign_in("Viewer").get(address("auditevent"), {"event_type": "note"}))
    assert row["reason"] == '\'=HYPERLINK("http://example.com")'
    assert row["data"] == '{"text": "a,b\\r\\n\\"c\\""}'
    assert row["time"].endswith("Z")


def test_an_error_in_the_middle_ends_the_file_with_a_line_that_says_so_and_breaks_the_connection(db) -> None:
    def rows() -> Any:
        yield ("alice", 5)
        raise ValueError("the disk is full")

    alice, sent = User.objects.create(username="alice"), []
    answer = csv_download("x.csv", ["user", "amount"], rows(), exported=Exported(alice, "rewards"))
    with pytest.raises(ValueError, match="disk"):
        sent.extend(answer.streaming_content)
    assert b"".join(sent).decode().endswith(f"{INCOMPLETE}\r\n")
    ended = AuditEvent.objects.get(event_type="export_ended")
    assert not ended.success
    assert "disk is full" in ended.error_message


def test_a_download_that_is_given_up_is_audited_as_such(db) -> None:
    bob = User.objects.create(username="bob")
    answer = csv_download("x.csv", ["n"], ([n] for n in range(5_000)), exported=Exported(bob, "rewards"))
    sending = iter(answer.streaming_content)
    next(sending)
    next(sending)
    for close in answer._resource_closers:  # as the server does when the browser is gone
        close()
    ended = AuditEvent.objects.get(event_type="export_ended")
    assert not ended.success


def test_rows_are_read_a_chunk_at_a_time_while_they_are_sent(sign_in, paid_hour, small_chunks) -> None:
    """What was not sent yet was not read either: memory does not grow with the file."""
    first_two = downloads.in_chunks(Reward.objects.all(), ["-pk"])
    with CaptureQueriesContext(connection) as read:
        next(first_two), next(first_two)
    assert len(read) == 1
    assert "LIMIT 2" in read[0]["sql"]
    with CaptureQueriesContext(connection) as read:
        assert len(list(first_two)) == 1
    assert len(read) == 1


def test_the_address_without_a_page(rf: RequestFactory) -> None:
    assert downloads.query_of(rf.get("/", {"q": "a b", "before": "7", "p": "2"})) == "?q=a+b"
    assert downloads.query_of(rf.get("/")) == ""
