"""The page of a distribution: what everybody sees, what only who took part sees, and what nobody is told."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rewards.allocation.merkle import leaf_hash, verify_inclusion
from rewards.distributions import services
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.queries import proof
from rewards.users.models import User
from tests.rewards.distributions.conftest import NOON, open_prize, prize  # noqa: F401
from tests.site.pages.test_cases import FEWER_QUERIES_THAN, signed_in, text_of

pytestmark = pytest.mark.django_db

PROPORTIONAL = {"rule": "proportional"}


@pytest.fixture
def paid(prize, open_prize, make_user):  # noqa: F811
    """`paid(3)`: 100.00 coins in proportion to 3, 2, 1 for user00, user01, user02."""

    def pay(people: int, key: str = "1") -> Distribution:
        names = [f"user{number:02d}" for number in range(people)]
        for name in names:
            User.objects.get_or_create(username=name)
        prize.scores = {name: people - place for place, name in enumerate(names)}
        prize.prize = 10_000
        found = open_prize(key, PROPORTIONAL)
        services.advance(found.pk)
        found.refresh_from_db()
        assert found.status == "paid"
        return found

    return pay


def as_user(name: str) -> Client:
    return signed_in(User.objects.get(username=name))


def test_everybody_sees_the_figures_and_nobody_anothers_name_or_salt(paid, client) -> None:
    found = paid(12)
    page = client.get(f"/distributions/{found.pk}/")
    shown, told = page.content.decode(), text_of(page)
    assert page.status_code == 200
    assert found.digest in told
    assert "100.00" in told
    assert "The amount is shared in proportion to the score." in told
    assert "Payout by place" in shown
    assert "Lorenz curve" in shown
    assert shown.count('class="chart-reference"') == 1
    for reward in Reward.objects.filter(distribution=found).select_related("user"):
        assert reward.salt not in shown
        assert reward.user.username not in shown
    assert "Your part" not in told
    assert f"/login/?next=/distributions/{found.pk}/" in shown


def test_of_a_few_only_they_see_what_each_place_got(paid, client, make_user) -> None:
    found = paid(3)
    address = f"/distributions/{found.pk}/"
    for reader in (client, signed_in(make_user("stranger"))):
        page = reader.get(address)
        assert "from ten recipients on" in text_of(page)
        assert "50.00" not in text_of(page)
        assert "Payout by place" not in page.content.decode()
    assert "Payout by place" in as_user("user01").get(address).content.decode()
    root = User.objects.create_superuser("root")
    assert "Payout by place" in signed_in(root).get(address).content.decode()


def test_who_took_part_sees_his_row_and_why_and_where_his_proof_is(paid) -> None:
    found = paid(3)
    his = as_user("user01")
    page = his.get(f"/distributions/{found.pk}/")
    told = text_of(page)
    assert "33.33 coins" in told
    assert "Place 2 of 3 with a score of 2" in told
    assert "2 of 3" in told
    address = re.search(r'data-proof="([^"]+)"', page.content.decode())
    assert address
    given = his.get(address[1]).json()
    assert given == proof(found, User.objects.get(username="user01"))
    assert f'data-tree-size="{given["tree_size"]}"' in page.content.decode()
    assert f'data-digest="{given["root"]}"' in page.content.decode()


@pytest.mark.parametrize("status", ["open", "frozen", "allocated", "cancelled"])
def test_what_is_not_approved_is_not_there_for_who_is_not_staff(paid, client, status: str) -> None:
    found = paid(3)
    Distribution.objects.filter(pk=found.pk).update(status=status, approved_at=None)
    address = f"/distributions/{found.pk}/"
    assert client.get(address).status_code == 404
    assert as_user("user01").get(address).status_code == 404
    root = User.objects.create_superuser("root")
    assert signed_in(root).get(address).status_code == 200


def test_who_has_a_row_sees_an_approved_one_that_failed(paid, client) -> None:
    found = paid(3)
    Distribution.objects.filter(pk=found.pk).update(status="failed")
    address = f"/distributions/{found.pk}/"
    assert client.get(address).status_code == 404
    page = as_user("user01").get(address)
    assert page.status_code == 200
    assert "data-proof" not in page.content.decode()


def test_ids_that_cannot_be_are_not_found(db, client) -> None:
    assert client.get("/distributions/1/").status_code == 404
    assert client.get(f"/distributions/{'9' * 40}/").status_code == 404
    assert client.post("/distributions/1/").status_code == 405


def test_a_page_asks_as_often_for_sixty_rows_as_for_two(paid) -> None:
    counts = []
    for number, people in enumerate((2, 60)):
        found = paid(people, str(number))
        his = as_user("user01")
        with CaptureQueriesContext(connection) as queries:
            assert his.get(f"/distributions/{found.pk}/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] < FEWER_QUERIES_THAN


def test_the_leaf_of_the_tests_in_the_browser_is_that_of_the_engine(paid) -> None:
    """What the browser has to work out, worked out here from the documented form."""
    found = paid(3)
    given = proof(found, User.objects.get(username="user02"))
    leaf = given["leaf"]
    text = (
        f'{{"amount":"{leaf["amount"]}","breakdown":{{"proportional":"{leaf["breakdown"]["proportional"]}"}},'
        f'"position":{leaf["position"]},"salt":"{leaf["salt"]}","score":"{leaf["score"]}","user":"{leaf["user"]}"}}'
    )
    path = [bytes.fromhex(node) for node in given["path"]]
    root = bytes.fromhex(given["root"])
    assert verify_inclusion(leaf_hash(text.encode()), given["leaf_index"], given["tree_size"], path, root)
