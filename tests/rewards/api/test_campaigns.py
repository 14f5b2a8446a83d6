"""Campaigns over HTTP: created, given a list, run."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.test import Client

from rewards.api import campaigns as door
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.distributions.models import Distribution
from rewards.ledger import services as ledger
from rewards.users.models import User
from tests.concurrency.racing import at_once

pytestmark = pytest.mark.django_db

GRANTS = {"slug": "grants", "currency": "coins", "amount": "9", "rule": {"rule": "proportional"}}
LIST = b"user,weight\nalice,2\nbob,1\n"


@pytest.fixture
def admin(staff: Any, as_user: Any) -> Client:
    rights = ("view_campaign", "add_campaign", "change_campaign", "run_distribution")
    return as_user(staff("anna", *rights))


@pytest.fixture
def grants(admin: Client, coins: Any, alice: Any, bob: Any) -> Campaign:
    assert post(admin, **GRANTS).status_code == 201
    return Campaign.objects.get(slug="grants")


def post(client: Client, path: str = "", /, key: str | None = None, **body: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(f"/api/campaigns{path}", data=body, content_type="application/json", headers=headers)


def send(client: Client, content: bytes = LIST, query: str = "", content_type: str = "text/csv") -> Any:
    return client.post(f"/api/campaigns/grants/participants{query}", data=content, content_type=content_type)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_from_nothing_to_paid(admin: Client, coins: Any, alice: Any, bob: Any) -> None:
    made = post(admin, **GRANTS, title="Grants of November", approval_limit="0")
    assert made.status_code == 201
    assert made.json() | {"created_at": "", "updated_at": ""} == {
        "slug": "grants", "title": "Grants of November", "programme": "campaign:grants", "currency": "coins",
        "source": "issuance", "amount": "9.00", "participants": {"source": "upload"}, "rule": {"rule": "proportional"},
        "tie_policy": "earliest", "status": "draft", "starts_at": None, "schedule": "", "approval_limit": "0.00",
        "rows": 0, "rows_digest": "", "prepared_by": "anna", "created_at": "", "updated_at": "",
    }  # fmt: skip
    assert made.json().keys() == door.CampaignSerializer().fields.keys()
    sent = send(admin)
    assert sent.status_code == 200
    assert sent.json() | {"digest": ""} == {
        "slug": "grants", "rows": 2, "users_created": 0, "currency": "coins", "total": "0.00", "digest": "",
    }  # fmt: skip
    waiting = post(admin, "/grants/run").json()
    assert (waiting["programme"], waiting["status"], waiting["recipients"]) == ("campaign:grants", "allocated", 2)
    assert (waiting["actor"], waiting["approval_limit"]) == ("anna", "0.00")
    one = admin.get("/api/campaigns/grants").json()
    assert (one["status"], one["rows"], one["rows_digest"]) == ("active", 2, sent.json()["digest"])


def test_a_run_pays_and_is_opened_once(grants: Campaign, admin: Client, coins: Any, alice: Any) -> None:
    send(admin)
    first = post(admin, "/grants/run", key="k-1")

    assert (first.status_code, first.json()["status"], first.json()["paid_amount"]) == (200, "paid", "9.00")
    assert post(admin, "/grants/run", key="k-1").json() == first.json()
    assert post(admin, "/grants/run").json() == first.json()
    assert ledger.balance(ledger.user_account(alice, coins)) == 600
    assert Distribution.objects.count() == 1
    assert code(send(admin)) == (409, "campaign_over")


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_run_it_at_once(grants: Campaign, admin: Client, coins: Any, alice: Any) -> None:
    send(admin)
    answers = at_once(lambda: post(admin, "/grants/run"), lambda: post(admin, "/grants/run"))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert ledger.balance(ledger.user_account(alice, coins)) == 600


def test_who_may_do_what(grants: Campaign, as_user: Any, as_machine: Any, staff: Any, alice: Any) -> None:
    def tried(client: Client) -> dict[str, int]:
        answers = {
            "view": client.get("/api/campaigns"),
            "view one": client.get("/api/campaigns/grants"),
            "add": post(client, **GRANTS | {"slug": "other"}),
            "change": send(client),
            "run": post(client, "/grants/run"),
        }
        return {name: answer.status_code for name, answer in answers.items()}

    assert {*tried(Client()).values()} == {401}
    for client in (as_machine(), as_user(alice), as_user(staff("clerk", "view_distribution"))):
        assert {*tried(client).values()} == {403}
    allowed = {"view_campaign": {"view", "view one"}, "add_campaign": {"add"}, "change_campaign": {"change"}}
    for right, names in (allowed | {"run_distribution": {"run"}}).items():
        answers = tried(as_user(staff(right, right)))
        assert {name for name, status in answers.items() if status != 403} == names


def test_to_let_it_run_by_itself_takes_the_right_to_run(coins: Any, staff: Any, as_user: Any, admin: Client) -> None:
    weekly = GRANTS | {"schedule": "weekly", "starts_at": "2026-11-21T07:30:00Z", "status": "active"}
    author = as_user(staff("arno", "add_campaign"))

    assert code(post(author, **weekly)) == (403, "permission_denied")
    assert post(author, **weekly | {"status": "draft"}).json()["status"] == "draft"
    made = post(admin, **weekly | {"slug": "weekly"}).json()
    assert (made["status"], made["starts_at"], made["schedule"]) == ("active", "2026-11-21T07:30:00Z", "weekly")


@pytest.mark.parametrize(
    ("changed", "status", "error", "fields"),
    [
        ({"rule": {"rule": "proportional", "max_share": "2"}}, 422, "rule_invalid", ["rule.max_share"]),
        ({"rule": {"rule": "tiers", "by": "luck", "tiers": []}}, 422, "rule_invalid", None),
        ({"rule": "equal"}, 400, "invalid_request", ["rule"]),
        ({"rule": None}, 400, "invalid_request", ["rule"]),
        ({"currency": "gold"}, 422, "unknown_currency", ["currency"]),
        ({"amount": None}, 400, "invalid_request", ["amount"]),
        ({"amount": "0"}, 400, "invalid_request", ["amount"]),
        ({"amount": "0.001"}, 400, "invalid_request", ["amount"]),
        ({"amount": 1.5}, 400, "invalid_request", ["amount"]),
        ({"approval_limit": "-1"}, 400, "invalid_request", ["approval_limit"]),
        ({"approval_limit": "0.001"}, 400, "invalid_request", ["approval_limit"]),
        ({"slug": "a b"}, 400, "invalid_request", ["slug"]),
        ({"slug": "x" * 61}, 400, "invalid_request", ["slug"]),
        ({"participants": {"source": "rumour"}}, 422, "campaign_invalid", ["participants"]),
        ({"participants": {}}, 422, "campaign_invalid", ["participants"]),
        ({"participants": {"source": {}}}, 422, "campaign_invalid", ["participants"]),
        ({"participants": {"source": []}}, 422, "campaign_invalid", ["participants"]),
        ({"participants": {"source": "holders", "currency": []}}, 422, "campaign_invalid", ["participants"]),
        (
            {"participants": {"source": "counter", "metric": {}}},
            422,
            "campaign_invalid",
            ["participants"],
        ),
        ({"participants": {"source": "counter"}}, 422, "campaign_invalid", ["participants"]),
        ({"source": "pocket"}, 422, "campaign_invalid", ["source"]),
        ({"schedule": "weekly"}, 422, "campaign_invalid", ["starts_at"]),
        ({"schedule": "hourly"}, 400, "invalid_request", ["schedule"]),
        ({"starts_at": "2026-11-21"}, 400, "invalid_request", ["starts_at"]),
        ({"tie_policy": "luck"}, 400, "invalid_request", ["tie_policy"]),
        ({"prepared_by": "bob"}, 400, "invalid_request", ["prepared_by"]),
        ({"slug": "grants"}, 409, "campaign_exists", None),
    ],
)
def test_refused(
    grants: Campaign, admin: Client, changed: dict[str, Any], status: int, error: str, fields: list[str] | None
) -> None:
    answer = post(admin, **{**GRANTS, "slug": "other"} | changed)

    assert code(answer) == (status, error)
    assert fields is None or [*answer.json()["errors"]] == fields
    assert Campaign.objects.count() == 1


def test_created_once_under_a_key(admin: Client, coins: Any) -> None:
    first = post(admin, key="k-1", **GRANTS)

    assert post(admin, key="k-1", **GRANTS).json() == first.json()
    assert code(post(admin, **GRANTS)) == (409, "campaign_exists")


def test_pages(admin: Client, coins: Any) -> None:
    for number in range(7):
        post(admin, **GRANTS | {"slug": f"round-{number}"})
    seen, url = [], "/api/campaigns?limit=3"
    while url:
        page = admin.get(url).json()
        seen += [each["slug"] for each in page["results"]]
        url = page["next"]

    assert seen == [f"round-{number}" for number in reversed(range(7))]
    assert code(admin.get("/api/campaigns?order=slug")) == (400, "invalid_request")


def test_one_that_there_is_not(admin: Client, coins: Any) -> None:
    for answer in (admin.get("/api/campaigns/grants"), send(admin), post(admin, "/grants/run")):
        assert code(answer) == (404, "not_found")


class TestLists:
    def lines(self) -> list[tuple[str, str, int | None, str]]:
        rows = CampaignParticipant.objects.order_by("user__username")
        return [*rows.values_list("user__username", "weight", "amount", "group")]

    def test_takes_the_place_of_the_one_before(self, grants: Campaign, admin: Client) -> None:
        send(admin)
        assert send(admin, b"user,weight\nbob,5\n").json()["rows"] == 1
        assert self.lines() == [("bob", "5", None, "")]

    def test_packed(self, grants: Campaign, admin: Client) -> None:
        assert send(admin, gzip.compress(LIST)).json()["rows"] == 2
        assert code(send(admin, gzip.compress(LIST)[:-9])) == (400, "unreadable_file")
        assert self.lines() == [("alice", "2", None, ""), ("bob", "1", None, "")]

    def test_columns_by_their_usual_names_and_by_others(self, grants: Campaign, admin: Client) -> None:
        full = b"group,amount,user,note\nred,1.50,alice,x\n,2,bob,y\n"
        assert send(admin, full).json()["total"] == "3.50"
        assert self.lines() == [("alice", "", 150, "red"), ("bob", "", 200, "")]

        named = b"who,won\nalice,1500000000000000000\n"
        query = "?user_column=who&amount_column=won&amount_scale=1e-18"
        assert send(admin, named, query).json()["total"] == "1.50"
        assert self.lines() == [("alice", "", 150, "")]

    def test_one_bad_line_refuses_all(self, grants: Campaign, admin: Client) -> None:
        send(admin)
        answer = send(admin, b"user,weight\nalice,-1\nbob,2\nnobody,3\nbob,4\n")

        assert code(answer) == (422, "bad_lines")
        assert answer.json()["count"] == 3
        assert [*answer.json()["errors"]] == ["line 2", "line 4", "line 5"]
        assert self.lines() == [("alice", "2", None, ""), ("bob", "1", None, "")]

    def test_a_thousand_bad_lines_are_told_and_all_are_counted(self, grants: Campaign, admin: Client) -> None:
        answer = send(admin, b"user,weight\n" + b"alice,x\n" * 1_200).json()

        assert (answer["count"], len(answer["errors"])) == (1_200, 1_000)

    def test_creates_users_where_it_is_told_to(self, grants: Campaign, admin: Client) -> None:
        assert send(admin, b"user,weight\ndave,1\n", "?create_users=true").json()["users_created"] == 1
        assert User.objects.filter(username="dave").exists()

    @pytest.mark.parametrize(
        ("content", "query", "status", "error"),
        [
            (b"", "", 400, "unreadable_file"),
            (b"\n", "", 400, "unreadable_file"),
            (b"\xff\xfe\x00", "", 400, "unreadable_file"),
            (b"\x1f\x8b\x08nonsense", "", 400, "unreadable_file"),
            (b"user,weight\n", "", 422, "empty_list"),
            (b"name,weight\nalice,1\n", "", 400, "wrong_columns"),
            (b"user,weight,weight\nalice,1,2\n", "", 400, "wrong_columns"),
            (LIST, "?weight_column=votes", 400, "wrong_columns"),
            (LIST, "?create_users=yes", 400, "invalid_request"),
            (LIST, "?amount_scale=0", 400, "invalid_request"),
            (LIST, "?amount_scale=1e999", 400, "invalid_request"),
            (LIST, "?dry_run=true", 400, "invalid_request"),
        ],
    )
    def test_refused(
        self, grants: Campaign, admin: Client, content: bytes, query: str, status: int, error: str
    ) -> None:
        assert code(send(admin, content, query)) == (status, error)
        assert not CampaignParticipant.objects.exists()

    def test_is_csv(self, grants: Campaign, admin: Client) -> None:
        for content_type in ("application/json", "text/plain", "text/csv; charset=latin-1"):
            assert code(send(admin, content_type=content_type)) == (415, "unsupported_media_type")
        assert send(admin, content_type="text/csv; charset=utf-8").status_code == 200

    def test_has_a_limit_packed_and_unpacked(
        self, grants: Campaign, admin: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(door, "MOST_LIST_BYTES", 1_000)
        long = b"user,weight\n" + b"alice,1\n" * 200

        assert code(send(admin, long)) == (413, "too_large")
        assert len(gzip.compress(long)) < 200
        assert code(send(admin, gzip.compress(long))) == (413, "too_large")
        assert not CampaignParticipant.objects.exists()

    def test_of_a_campaign_that_takes_none(self, admin: Client, points: Any, coins: Any) -> None:
        holders = {"source": "holders", "currency": "points"}
        assert post(admin, **GRANTS, participants=holders).json()["participants"] == holders
        assert code(send(admin)) == (409, "takes_no_list")
