"""Support corrects twice at once: the limit of the day holds, and a form sent twice is posted once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rewards.ledger.corrections import correct, left_today, take_back
from rewards.ledger.errors import AlreadyReversed, CorrectionLimit
from rewards.ledger.models import ISSUANCE, Correction
from rewards.parameters.services import set_parameter
from tests.concurrency.conftest import broken_promises
from tests.concurrency.racing import at_once

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def support(make_user):
    set_parameter("corrections.daily_limit", 100, actor=None, reason="Here")
    return make_user("support")


def giving(user, points, amount, actor, key):
    return lambda: correct(
        user, points, amount, against=ISSUANCE, key=key, reason="A vote was lost", actor=actor, at=NOON
    )


def test_two_at_once_never_exceed_the_limit(alice, bob, support, points) -> None:
    """Eight times thirty of a hundred: three fit, whoever comes first."""
    works = [giving((alice, bob)[number % 2], points, 30, support, str(number)) for number in range(8)]
    outcomes = at_once(*works)
    assert sum(isinstance(each, Correction) for each in outcomes) == 3
    assert sum(isinstance(each, CorrectionLimit) for each in outcomes) == 5
    assert left_today(support, points, NOON) == 10
    assert not broken_promises()


def test_a_double_click_posts_once(alice, support, points) -> None:
    first, *others = at_once(*[giving(alice, points, 30, support, "form")] * 4)
    assert others == [first] * 3
    assert Correction.objects.count() == 1


def test_two_who_take_the_same_back_do_it_once(alice, bob, carol, support, points) -> None:
    given = giving(alice, points, 30, support, "form")()
    outcomes = at_once(
        *(lambda actor=actor: take_back(given, reason="Wrong", actor=actor, at=NOON) for actor in (bob, carol))
    )
    assert sorted(type(each).__name__ for each in outcomes) == [AlreadyReversed.__name__, Correction.__name__]
    assert not broken_promises()
