"""Pages of cases: who sees what, voting after being asked, arguing and liking with and without htmx, and no verdict
that is still sealed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rewards.cases.closing import close_cases
from rewards.cases.models import Argument, ArgumentLike, Case, CaseVote
from rewards.distributions.models import Distribution
from rewards.parameters.services import create_missing_parameters
from tests.rewards.cases.conftest import REASONING, argument_of, cast, make_open_case

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
FEWER_QUERIES_THAN = 20


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def case(points, now) -> Case:
    """Open since an hour ago, and until tomorrow."""
    create_missing_parameters()
    return make_open_case(opens_at=now - timedelta(hours=1), title="The lighthouse")


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(response) -> str:
    """What the page says, with its white space folded."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# --------------------------------------------------------------------------------------------------------------- seeing


def test_everybody_reads_open_cases_and_nobody_a_sealed_verdict(case, alice, client) -> None:
    for reader in (client, signed_in(alice)):
        listed, shown = reader.get("/cases/"), reader.get(f"/cases/{case.pk}/")
        assert (listed.status_code, shown.status_code) == (200, 200)
        assert "The lighthouse" in text_of(listed)
        assert case.verdict_hash in text_of(shown)
        assert case.commitment.tx_hash in text_of(shown)
        for page in (listed, shown):
            for hidden in (REASONING, case.sealed.nonce, "verdict-data", "0.8"):
                assert hidden not in page.content.decode()
    assert "Sign in to vote" in text_of(client.get(f"/cases/{case.pk}/"))


def test_a_case_that_waits_is_seen_by_who_submitted_it(points, alice, bob, client) -> None:
    create_missing_parameters()
    hers = signed_in(alice)
    assert client.get("/cases/new/").status_code == 302
    assert client.get("/cases/new/")["Location"] == "/login/?next=/cases/new/"
    made = hers.post("/cases/new/", {"title": "The bridge", "context": "It sways.\r\nShould it be closed?"})
    case = Case.objects.get()
    assert made["Location"] == f"/cases/{case.pk}/"
    assert case.context == "It sways.\nShould it be closed?"
    assert "waits for a moderator" in text_of(hers.get(f"/cases/{case.pk}/"))
    assert "The bridge" in text_of(hers.get("/cases/"))
    for other in (client, signed_in(bob)):
        assert other.get(f"/cases/{case.pk}/").status_code == 404
        assert "The bridge" not in text_of(other.get("/cases/"))


def test_a_case_that_is_refused_keeps_what_was_typed(points, alice) -> None:
    create_missing_parameters()
    hers = signed_in(alice)
    empty = hers.post("/cases/new/", {"title": "<b>The bridge</b>", "context": "  "})
    assert empty.status_code == 400
    assert "&lt;b&gt;The bridge" in empty.content.decode()
    assert "Tell what has happened" in text_of(empty)
    for number in range(5):
        hers.post("/cases/new/", {"title": f"Bridge {number}", "context": "It sways."})
    sixth = hers.post("/cases/new/", {"title": "Bridge 6", "context": "It sways more."})
    assert sixth.status_code == 409
    assert "Five of your cases wait" in text_of(sixth)
    assert "It sways more." in text_of(sixth)
    assert Case.objects.count() == 5


@pytest.mark.parametrize("address", ["/cases/999/", "/cases/99999999999999999999999/"])
def test_a_case_that_is_not_there_is_told_so(points, client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert "There is no case" in text_of(answer)


def test_cases_that_are_over_come_by_pages(points, now, client) -> None:
    for number in range(45):
        Case.objects.create(
            title=f"Old {number:02d}", context="…", status="void", opens_at=now, closes_at=now + timedelta(hours=1)
        )
    titles, address = [], "/cases/"
    for _ in range(3):
        page = client.get(address)
        titles += re.findall(r"Old \d\d", text_of(page))
        older = re.search(r'rel="next" href="(\?before=\d+)"', page.content.decode())
        address = f"/cases/{older[1]}" if older else ""
    assert titles == [f"Old {number:02d}" for number in reversed(range(45))]
    assert address == ""
    for nonsense in ("x", "-1", "9" * 30, "%00", "٣"):
        assert client.get(f"/cases/?before={nonsense}").status_code == 200


# --------------------------------------------------------------------------------------------------------------- acting


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
def test_a_vote_is_asked_about_before_it_counts(case, alice, headers) -> None:
    hers = signed_in(alice)
    asked = hers.post(f"/cases/{case.pk}/vote/", {"side": "YES"}, headers=headers)
    assert asked.status_code == 200
    assert "You vote YES. A vote is final" in text_of(asked)
    assert not CaseVote.objects.exists()
    done = hers.post(f"/cases/{case.pk}/vote/", {"side": "YES", "sure": "1"}, headers=headers)
    assert done.status_code == (200 if headers else 302)
    assert "You voted YES" in text_of(hers.get(f"/cases/{case.pk}/"))
    again = hers.post(f"/cases/{case.pk}/vote/", {"side": "NO", "sure": "1"}, headers=headers)
    assert "You voted YES in this case at" in text_of(again)
    assert again.status_code == (200 if headers else 409)
    assert CaseVote.objects.get().side == "YES"
    if headers:
        assert "<html" not in again.content.decode()
        assert 'id="live"' in again.content.decode()


def test_who_is_not_signed_in_is_sent_to_sign_in_and_comes_back(case, bob, client) -> None:
    argument = argument_of(case, bob)
    for address in ("vote", "argue", f"arguments/{argument.pk}/like", f"arguments/{argument.pk}/unlike"):
        sent = client.post(f"/cases/{case.pk}/{address}/", {"side": "YES", "sure": "1", "text": "I think so."})
        assert (sent.status_code, sent["Location"]) == (302, f"/login/?next=/cases/{case.pk}/"), address
        partly = client.post(f"/cases/{case.pk}/{address}/", {"side": "YES"}, headers=HTMX)
        assert partly["HX-Redirect"] == f"/login/?next=/cases/{case.pk}/"
        assert client.get(f"/cases/{case.pk}/{address}/").status_code == 405
    assert not CaseVote.objects.exists()


def test_nothing_is_written_for_a_form_of_another_site(case, alice) -> None:
    hers = Client(enforce_csrf_checks=True)
    hers.force_login(alice)
    for address, sent in (("vote", {"side": "YES", "sure": "1"}), ("argue", {"side": "YES", "text": "…"})):
        assert hers.post(f"/cases/{case.pk}/{address}/", sent).status_code == 403
    assert hers.post("/cases/new/", {"title": "A", "context": "B"}).status_code == 403
    assert not CaseVote.objects.exists()
    assert Case.objects.count() == 1


def test_alice_likes_votes_and_argues(case, alice, bob, carol) -> None:
    his, theirs = argument_of(case, bob), argument_of(case, carol)
    hers, page = signed_in(alice), f"/cases/{case.pk}/"
    assert "Vote first; then you can argue, once you like 2 arguments of others" in text_of(hers.get(page))
    hers.post(f"{page}vote/", {"side": "NO", "sure": "1"})
    assert "Like 2 more arguments of others" in text_of(hers.get(page))
    early = hers.post(f"{page}argue/", {"side": "NO", "text": "<i>Nobody</i> sees it."})
    assert early.status_code == 409
    assert "Like 2 of the arguments of others first; so far you like 0." in text_of(early)
    assert "&lt;i&gt;Nobody&lt;/i&gt; sees it.</textarea>" in early.content.decode(), "what was typed is kept"
    for argument in (his, theirs):
        liked = hers.post(f"{page}arguments/{argument.pk}/like/")
        assert liked["Location"] == f"{page}#like-{argument.pk}"
    twice = hers.post(f"{page}arguments/{his.pk}/like/", headers=HTMX)
    assert "You like this argument already" in text_of(twice)
    hers.post(f"{page}arguments/{his.pk}/unlike/")
    assert ArgumentLike.objects.count() == 1
    hers.post(f"{page}arguments/{his.pk}/like/", headers=HTMX)
    assert hers.post(f"{page}argue/", {"side": "NO", "text": " "}).status_code == 400
    hers.post(f"{page}argue/", {"side": "NO", "text": "<i>Nobody</i> sees it."})
    own = Argument.objects.get(user=alice)
    assert own.text == "<i>Nobody</i> sees it."
    shown = hers.get(page)
    assert "&lt;i&gt;Nobody&lt;/i&gt;" in shown.content.decode()
    assert "You have argued" in text_of(shown)
    refused = hers.post(f"{page}arguments/{own.pk}/like/")
    assert refused.status_code == 403
    assert "This argument is your own" in text_of(refused)


def test_an_argument_of_another_case_is_not_liked_through_this_one(case, alice, bob, now) -> None:
    other = make_open_case(opens_at=now - timedelta(hours=1))
    argument = argument_of(other, bob)
    answer = signed_in(alice).post(f"/cases/{case.pk}/arguments/{argument.pk}/like/")
    assert answer.status_code == 404
    assert not ArgumentLike.objects.exists()


def test_what_cannot_be_stored_is_refused_with_a_sentence(case, alice) -> None:
    hers = signed_in(alice)
    cast(case, alice, "YES")
    for text in ("\x00", "x" * 2_001):
        answer = hers.post(f"/cases/{case.pk}/argue/", {"side": "YES", "text": text})
        assert answer.status_code == 400
    assert hers.post(f"/cases/{case.pk}/vote/", {"side": "MAYBE"}).status_code == 400
    assert not Argument.objects.exists()


# ------------------------------------------------------------------------------------------------------------- revealed


def test_a_closed_case_tells_its_verdict_and_where_its_pool_went(case, alice, bob, now, client) -> None:
    cast(case, alice, "YES")
    cast(case, bob, "NO")
    argument_of(case, alice, likers=[bob])
    close_cases(now + timedelta(hours=30))
    shown = client.get(f"/cases/{case.pk}/")
    for told in (REASONING, case.sealed.nonce, case.verdict_hash):
        assert told in shown.content.decode()
    assert "The best arguments" in text_of(shown)
    assert "Your part" not in text_of(shown)
    hers = signed_in(alice).get(f"/cases/{case.pk}/")
    assert "as the verdict" in text_of(hers)
    assert re.search(r"Your part: \d+ points", text_of(hers))
    assert "You were right." in text_of(signed_in(alice).get("/cases/"))
    paid = Distribution.objects.get()
    for page in (client.get(f"/distributions/{paid.pk}/"), signed_in(alice).get("/me/rewards/")):
        assert f"Case {case.pk} " in text_of(page)
    assert f'href="/cases/{case.pk}/"' in client.get(f"/distributions/{paid.pk}/").content.decode()
    late = signed_in(bob).post(f"/cases/{case.pk}/vote/", {"side": "YES", "sure": "1"})
    assert late.status_code == 409


# --------------------------------------------------------------------------------------------------------------- budget


@pytest.mark.parametrize("is_closed", [False, True], ids=["open", "closed"])
def test_a_page_asks_as_often_for_sixty_arguments_as_for_two(case, make_user, alice, now, is_closed: bool) -> None:
    cast(case, alice, "YES")

    def asked(address: str) -> int:
        hers = signed_in(alice)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert hers.get(address).status_code == 200
        return len(queries)

    people = [make_user(f"user{number}") for number in range(60)]
    for user in people[:2]:
        argument_of(case, user, likers=[alice])
    if is_closed:
        close_cases(now + timedelta(hours=30))
    few = asked(f"/cases/{case.pk}/")
    for user in people[2:]:
        argument_of(case, user)
    assert asked(f"/cases/{case.pk}/") == few < FEWER_QUERIES_THAN
    listed = asked("/cases/")
    for _ in range(30):
        make_open_case(opens_at=now - timedelta(hours=1), pool=0)
    assert asked("/cases/") == listed < FEWER_QUERIES_THAN
