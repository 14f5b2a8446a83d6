"""/profile and /profile/statement: what a user sees and changes of himself, and of nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from badges.services import check_badges
from badges.setup import create_default_badges
from leaderboard.services import create_default_boards, refresh_boards
from rewards.access.services import create_api_key, create_token
from rewards.activity.services import NewEvent, record_events
from rewards.audit.models import AuditEvent
from rewards.ledger import services as ledger
from rewards.ledger.models import TREASURY, Currency
from rewards.users.models import User

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    _, secret = create_token(user)
    return Client(headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def alices(alice):
    return signed_in(alice)


def change(client: Client, changes: object):
    return client.patch("/profile", changes, content_type="application/json")


def did(user: User, metric: str, quantity: int) -> None:
    event = NewEvent(
        event_id=f"{user}:{metric}", user=user.username, metric=metric, quantity=quantity,
        occurred_at=datetime(2026, 11, 1, tzinfo=UTC), attributes={},
    )  # fmt: skip
    assert record_events([event], at=datetime(2026, 11, 2, tzinfo=UTC)).accepted == 1


class TestProfile:
    def test_of_a_new_user(self, alices):
        assert alices.get("/profile").json() == {
            "id": "alice",
            "username": "alice",
            "name": "",
            "balances": {},
            "claimable": {},
            "total_points": "0",
            "statistics": {"votes": 0, "wins": 0, "arguments": 0, "accuracy": "0"},
            "badges": [],
            "ranks": {},
            "wallet_address": "",
            "time_zone": "",
        }

    def test_balances_are_what_is_left_and_total_points_what_was_earned(self, alice, alices, bob, coins, points):
        ledger.credit(alice, coins, 12550, "coins", "won")
        ledger.credit(alice, points, 40, "points", "won")
        ledger.debit(alice, points, 15, "spent", "spent")
        ledger.credit(bob, points, 99, "his", "won")

        profile = alices.get("/profile").json()

        assert profile["balances"] == {"coins": "125.50", "points": "25"}
        assert profile["total_points"] == "40"

    def test_of_his_accounts_only_his_own_is_shown(self, alice, alices, coins):
        ledger.credit(alice, coins, 1000, "coins", "won")
        own, stake = ledger.user_account(alice, coins), ledger.user_account(alice, coins, "stake:1")
        ledger.post("stake", "stake", [ledger.Move(own, stake, 400)])

        assert alices.get("/profile").json()["balances"] == {"coins": "6.00"}

    def test_statistics_come_from_his_counters(self, alice, alices, bob):
        for metric, quantity in (("votes", 9), ("cases_decided", 6), ("cases_won", 4), ("arguments", 2)):
            did(alice, metric, quantity)
        did(bob, "votes", 100)

        assert alices.get("/profile").json()["statistics"] == {
            "votes": 9, "wins": 4, "arguments": 2, "accuracy": "0.6667",
        }  # fmt: skip

    def test_where_nobody_reports_decided_votes_every_vote_counts_as_decided(self, alice, alices):
        did(alice, "votes", 4)
        did(alice, "cases_won", 2)

        assert alices.get("/profile").json()["statistics"]["accuracy"] == "0.5"

    def test_badges_and_ranks(self, alice, alices, bob, points):
        create_default_badges()
        create_default_boards()
        did(alice, "cases_won", 1)
        ledger.credit(bob, points, 50, "his", "won")
        check_badges(datetime.now(UTC))

        for refreshed in (False, True):
            if refreshed:
                refresh_boards(datetime.now(UTC))
            profile = alices.get("/profile").json()
            boards = ("points-all-time", "points-weekly", "points-daily")
            assert profile["ranks"] == {slug: {"rank": 1, "points": "50"} for slug in boards}  # as many as Bob
            assert profile["badges"] == alices.get("/profile/badges").json()["badges"]
            assert [(badge["name"], badge["bonus_points"]) for badge in profile["badges"]] == [("First Victory", 50)]
            assert profile["total_points"] == "50"
            assert change(alices, {}).json() == profile

    def test_it_takes_no_parameters(self, alices):
        assert alices.get("/profile?user=bob").status_code == 400

    def test_of_whoever_has_more_it_takes_no_more_queries(self, alice, alices, coins, points):
        create_default_badges()
        create_default_boards()
        ledger.credit(alice, points, 10, "points", "won")
        check_badges(datetime.now(UTC))
        refresh_boards(datetime.now(UTC))
        alices.get("/profile")
        with CaptureQueriesContext(connection) as few:
            assert alices.get("/profile").json()["badges"] == []
        for metric in ("votes", "cases_won", "top_arguments", "participations"):
            did(alice, metric, 50)
        ledger.credit(alice, coins, 100, "coins", "won")
        check_badges(datetime.now(UTC))
        refresh_boards(datetime.now(UTC))
        with CaptureQueriesContext(connection) as many:
            profile = alices.get("/profile").json()

        assert (len(profile["badges"]), len(profile["balances"]), len(profile["ranks"])) == (7, 2, 3)
        assert len(many) == len(few)

    def test_charges_that_are_due_are_posted_when_it_is_read(self, make_user):
        Currency.objects.create(code="drop_charges")
        dora = signed_in(make_user("dora", date_joined=datetime.now(UTC) - timedelta(hours=2, minutes=30)))

        assert dora.get("/profile").json()["balances"] == {"drop_charges": "2"}
        assert dora.get("/profile").json()["balances"] == {"drop_charges": "2"}

    def test_the_slash_at_the_end_does_not_matter(self, alices):
        assert alices.get("/profile/").json() == alices.get("/profile").json()

    def test_without_a_user_there_is_none(self, client):
        answer = client.get("/profile")

        assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")

    def test_a_machine_has_none(self, db):
        _, secret = create_api_key("game", ["claims:write", "read"], by=None)

        assert Client(headers={"x-api-key": secret}).get("/profile").status_code == 403


class TestChange:
    def test_name_wallet_and_zone(self, alice, alices):
        changes = {"name": "Alice Ω", "wallet_address": "0xAbc1", "time_zone": "Europe/Berlin"}

        answer = change(alices, changes)

        assert answer.status_code == 200
        assert changes.items() <= answer.json().items()
        assert answer.json() == alices.get("/profile").json()

    def test_one_of_them_leaves_the_others(self, alices):
        change(alices, {"name": "Alice", "time_zone": "Asia/Tokyo"})

        profile = change(alices, {"name": ""}).json()

        assert (profile["name"], profile["time_zone"]) == ("", "Asia/Tokyo")

    def test_the_audit_log_names_the_fields_but_not_what_stands_in_them(self, alice, alices):
        change(alices, {"name": "Alice", "wallet_address": "0xAbc1"})
        change(alices, {"name": "Alice", "wallet_address": "0xAbc2"})
        change(alices, {"name": "Alice"})

        events = AuditEvent.objects.filter(event_type="profile_changed", user=alice, actor=alice).order_by("id")
        assert [event.data for event in events] == [
            {"fields": ["name", "wallet_address"]},
            {"fields": ["wallet_address"]},
        ]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", "x" * 151),
            ("name", "two\nlines"),
            ("name", "\u0000"),
            ("name", "\ud800"),
            ("name", None),
            ("name", ["Alice"]),
            ("wallet_address", "0x" + "a" * 128),
            ("wallet_address", "not one"),
            ("wallet_address", "0xäöü"),
            ("time_zone", "Europe/Atlantis"),
            ("time_zone", "../../etc/passwd"),
            ("time_zone", 1),
        ],
    )
    def test_a_bad_value_is_named_and_nothing_changes(self, alices, field, value):
        before = alices.get("/profile").json()

        answer = change(alices, {"name": "Alice", "time_zone": "Asia/Tokyo", field: value})

        assert answer.status_code == 400
        assert "errors" not in answer.json() or [*answer.json()["errors"]] == [field]
        assert alices.get("/profile").json() == before

    @pytest.mark.parametrize(
        "field",
        [
            "id",
            "username",
            "balances",
            "total_points",
            "is_staff",
            "is_superuser",
            "email",
            "password",
            "badges",
            "ranks",
        ],
    )
    def test_nothing_else_can_be_changed(self, alice, alices, field):
        answer = change(alices, {"name": "Alice", field: "1"})

        assert answer.status_code == 400
        assert [*answer.json()["errors"]] == [field]
        alice.refresh_from_db()
        assert (alice.username, alice.name, alice.is_staff) == ("alice", "", False)

    @pytest.mark.parametrize("body", ["[]", '"name"', "null", "1", "{", '{"name": "A", "name": "B"}'])
    def test_what_is_no_object_is_refused(self, alices, body):
        assert change(alices, body).status_code == 400

    def test_a_user_who_is_switched_off_cannot(self, alice, alices):
        alice.is_active = False
        alice.save()

        assert change(alices, {"name": "Alice"}).status_code == 401


class TestStatement:
    def lines(self, client: Client, **parameters: object) -> list[dict]:
        answer = client.get("/profile/statement", parameters)
        assert answer.status_code == 200, answer.content
        return answer.json()["results"]

    def test_newest_first_with_running_balance(self, alice, alices, bob, coins):
        won = ledger.credit(alice, coins, 10000, "won", "Hourly pool")
        ledger.transfer(alice, bob, coins, 2550, "present", "Thank you")
        treasury = ledger.system_account(TREASURY, coins)
        ledger.post("fee", "fee", [ledger.Move(ledger.user_account(alice, coins), treasury, 50)], reason="Fee")

        lines = self.lines(alices, currency="coins")

        shown = [[line[key] for key in ("kind", "reason", "counterparty", "change", "balance")] for line in lines]
        assert shown == [
            ["fee", "Fee", "treasury", "-0.50", "74.00"],
            ["transfer", "Thank you", "bob", "-25.50", "74.50"],
            ["credit", "Hourly pool", "issuance", "100.00", "100.00"],
        ]
        assert lines[-1]["journal_id"] == won.pk
        assert lines[-1]["transfer_id"] == won.transfers.get().pk
        assert datetime.fromisoformat(lines[-1]["created_at"]) == won.transfers.get().created_at

    def test_he_who_is_sent_something_sees_from_whom(self, alice, bob, coins):
        ledger.credit(alice, coins, 100, "won", "won")
        ledger.transfer(alice, bob, coins, 100, "present")

        (line,) = self.lines(signed_in(bob), currency="coins")

        assert (line["counterparty"], line["change"], line["balance"]) == ("alice", "1.00", "1.00")

    def test_what_went_to_an_account_of_ones_own_shows_its_code(self, alice, alices, coins):
        ledger.credit(alice, coins, 100, "won", "won")
        own, stake = ledger.user_account(alice, coins), ledger.user_account(alice, coins, "stake:1")
        ledger.post("stake", "stake", [ledger.Move(own, stake, 100)])

        assert self.lines(alices, currency="coins")[0]["counterparty"] == "stake:1"

    def test_nobody_sees_the_lines_of_others(self, alice, bob, coins, points):
        ledger.credit(bob, coins, 100, "his", "won")
        ledger.credit(alice, points, 100, "hers", "won")

        assert self.lines(signed_in(alice), currency="coins") == []

    def test_page_by_page_every_line_comes_once(self, alice, alices, coins):
        for number in range(7):
            ledger.credit(alice, coins, 100 + number, f"won:{number}", str(number))
        whole = self.lines(alices, currency="coins")

        url, pages = "/profile/statement?currency=coins&limit=3", []
        while url:
            page = alices.get(url).json()
            pages.append(page["results"])
            url = page["next"]
            if len(pages) == 1:  # what comes meanwhile stands above what is being read
                ledger.credit(alice, coins, 999, "meanwhile", "meanwhile")

        assert [len(page) for page in pages] == [3, 3, 1]
        assert [line for page in pages for line in page] == whole

    def test_a_last_page_that_is_full_has_no_next(self, alice, alices, coins):
        for number in range(3):
            ledger.credit(alice, coins, 100, f"won:{number}", str(number))

        page = alices.get("/profile/statement?currency=coins&limit=3").json()

        assert (len(page["results"]), page["next"], page["previous"]) == (3, None, None)

    @pytest.mark.parametrize(
        "query",
        [
            "", "currency=", "currency=coins&limit=0", "currency=coins&limit=501", "currency=coins&limit=-1",
            "currency=coins&limit=1.5", "currency=coins&limit=%EF%BC%91", "currency=coins&limit=", "currency=%00",
            "currency=coins&offset=3", "currency=coins&currency=points", "currency=coins&user=bob",
        ],
    )  # fmt: skip
    def test_a_bad_query_is_refused(self, alices, coins, query):
        answer = alices.get(f"/profile/statement?{query}")

        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")

    def test_a_currency_that_does_not_exist(self, alices):
        answer = alices.get("/profile/statement?currency=gold")

        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_currency")

    @pytest.mark.parametrize("cursor", ["", "5", "5:100", "x" * 2000, "WzEsIjE6MTAwIl0:AAAA", "\u0000", "'; --"])
    def test_a_cursor_of_ones_own_making_is_refused(self, alice, alices, coins, cursor):
        ledger.credit(alice, coins, 100, "won", "won")

        assert alices.get("/profile/statement", {"currency": "coins", "cursor": cursor}).status_code == 400

    def test_a_cursor_fits_its_account_only(self, alice, alices, bob, coins, points):
        for user in (alice, bob):
            for currency in (coins, points):
                for number in range(2):
                    ledger.credit(user, currency, 100, f"{user}:{currency}:{number}", "won")
        query = urlsplit(alices.get("/profile/statement?currency=coins&limit=1").json()["next"]).query

        assert alices.get(f"/profile/statement?{query}").status_code == 200
        assert alices.get(f"/profile/statement?{query.replace('coins', 'points')}").status_code == 400
        assert signed_in(bob).get(f"/profile/statement?{query}").status_code == 400
