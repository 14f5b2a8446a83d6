"""Badges in the back-office: looked at before anybody gets them, locked once held, revoked and given back."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from badges import admin as pages
from badges.icons import check_icon, icon_html
from badges.models import Badge, BadgeAward
from badges.services import check_badges
from rewards.ledger.services import Move, post, system_account, user_account
from rewards.users.models import User
from tests.badges.conftest import badges_of, did, points_of
from tests.rewards.admin import conftest as staff_of_the_admin

pytestmark = pytest.mark.django_db

sign_in, roles = staff_of_the_admin.sign_in, staff_of_the_admin.roles
parameters_read_again = staff_of_the_admin.parameters_read_again

OTHERS = ("Viewer", "Support", "Operator", "Approver")


def address(view: str, *args: Any, model: str = "badge") -> str:
    return reverse(f"admin:badges_{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def filled(badge: Badge | None = None, **changes: Any) -> dict[str, Any]:
    """The form as a browser sends it; a switch that is off is not sent."""
    badge = badge or Badge(slug="tester", name="Tester", icon="⭐", metric="tests_completed", threshold=2, bonus=10)
    names = ("slug", "name", "description", "icon", "order", "metric", "threshold", "unit", "repeat", "bonus")
    sent = {name: getattr(badge, name) for name in names} | ({"active": "on"} if badge.active else {})
    return {name: value for name, value in (sent | changes).items() if value is not None}


def errors_of(answer: Any) -> dict[str, str]:
    assert answer.status_code == 200, "it was saved"
    return {name: " ".join(sentences) for name, sentences in answer.context["adminform"].form.errors.items()}


@pytest.fixture
def tester(make_badge, alice: User, bob: User, carol: User) -> Badge:
    """Switched off, for two tests; Alice and Bob would get it, Carol has done one only."""
    for user, times in ((alice, 2), (bob, 3), (carol, 1)):
        did(user, "tests_completed", times)
    return make_badge("tester", threshold=2, bonus=10, active=False)


@pytest.fixture
def held(tester: Badge) -> Badge:
    """Alice and Bob hold it."""
    Badge.objects.filter(pk=tester.pk).update(active=True)
    check_badges(timezone.now())
    assert BadgeAward.objects.count() == 2
    tester.refresh_from_db()
    return tester


def award_of(user: User) -> BadgeAward:
    return BadgeAward.objects.get(user=user)


# ------------------------------------------------------------------------------------------ looked at, then switched on


def test_switching_a_badge_on_shows_who_would_get_it_and_what_it_costs_before_anything_is_saved(
    sign_in, tester
) -> None:
    root = sign_in()
    page = root.post(address("change", tester.pk), filled(tester, active="on"))
    assert page.context["figures"][0][1] == "2"
    assert page.context["figures"][2][1] == "20 points"
    assert page.context["usernames"] == ["alice", "bob"]
    tester.refresh_from_db()
    assert (tester.active, BadgeAward.objects.count()) == (False, 0)

    confirmed = root.post(address("change", tester.pk), dict(page.context["sent"]))
    tester.refresh_from_db()
    assert confirmed.status_code == 302
    assert tester.active
    assert "within the hour" in said(confirmed)
    assert LogEntry.objects.filter(object_id=str(tester.pk)).exists()


def test_back_from_the_look_the_form_is_as_it_was_written_and_nothing_is_saved(sign_in, tester) -> None:
    root = sign_in()
    for url, sent in (
        (address("change", tester.pk), filled(tester, active="on", name="Proof-reader", threshold="1")),
        (address("add"), filled(slug="another", active="on", name="Proof-reader", threshold="1")),
    ):
        look = root.post(url, sent)
        assert 'name="_back"' in look.content.decode()
        page = root.post(url, dict(look.context["sent"]) | {"_back": "yes"})
        form = page.context["adminform"].form
        assert (page.status_code, form["name"].value(), form["threshold"].value()) == (200, "Proof-reader", "1")
        assert form["active"].value()
        assert not page.context["errors"]
    assert list(Badge.objects.values_list("slug", "name", "active")) == [("tester", tester.name, False)]

    wrong = root.post(address("change", tester.pk), filled(tester, active="on", threshold="0"))
    assert errors_of(wrong)["threshold"]


def test_back_from_the_look_at_other_criteria_they_are_as_they_were_written(sign_in, held) -> None:
    root, url = sign_in(), address("change_criteria", held.pk)
    look = root.post(url, {"metric": "tests_completed", "threshold": 1, "bonus": 77})
    page = root.post(url, dict(look.context["sent"]) | {"_back": "yes"})

    assert page.context["form"]["bonus"].value() == "77"
    held.refresh_from_db()
    assert (held.version, held.bonus) == (1, 10)


def test_a_new_badge_that_is_active_is_looked_at_first_and_one_that_is_not_is_saved_at_once(sign_in, tester) -> None:
    root = sign_in()
    looked_at = root.post(address("add"), filled(slug="another", active="on"))
    assert looked_at.context["usernames"] == ["alice", "bob"]
    assert not Badge.objects.filter(slug="another").exists()
    assert root.post(address("add"), filled(slug="another", name="Another")).status_code == 302
    assert not Badge.objects.get(slug="another").active


def test_other_criteria_of_an_active_badge_are_looked_at_first_a_new_name_is_not(sign_in, tester) -> None:
    Badge.objects.filter(pk=tester.pk).update(active=True)
    tester.refresh_from_db()
    root = sign_in()
    page = root.post(address("change", tester.pk), filled(tester, threshold=1))
    assert page.context["usernames"] == ["alice", "bob", "carol"]
    assert page.context["changes"].rows == [("Threshold", "2", "1")]
    assert root.post(address("change", tester.pk), filled(tester, name="Proof reader")).status_code == 302
    tester.refresh_from_db()
    assert (tester.name, tester.threshold) == ("Proof reader", 2)


def test_switching_it_off_needs_no_look(sign_in, tester) -> None:
    Badge.objects.filter(pk=tester.pk).update(active=True)
    tester.refresh_from_db()
    assert sign_in().post(address("change", tester.pk), filled(tester, active=None)).status_code == 302
    tester.refresh_from_db()
    assert not tester.active


def test_only_the_first_names_are_shown_and_how_many_more_there_are(sign_in, make_user, tester) -> None:
    for number in range(25):
        did(make_user(f"user{number:02d}"), "tests_completed", 2)
    page = sign_in().post(address("change", tester.pk), filled(tester, active="on"))
    assert (len(page.context["usernames"]), page.context["more"]) == (20, "7")


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"metric": "user:something"}, "__all__", "There is no fact"),
        ({"metric": "user:wallet_connected"}, "__all__", "its threshold is 1"),
        ({"metric": "\x07"}, "metric", "the name of a metric"),
        ({"threshold": 0}, "threshold", "greater than or equal to 1"),
        ({"bonus": -1}, "bonus", "greater than or equal to 0"),
        ({"icon": "http://example.org/a.png"}, "icon", "begins with https://"),
        ({"slug": "with spaces"}, "slug", "valid"),
    ],
)  # fmt: skip
def test_a_badge_that_makes_no_sense_is_refused_at_its_field_and_never_looked_at(
    sign_in, tester, fields, field, sentence
) -> None:
    assert (
        sentence in errors_of(sign_in().post(address("add"), filled(**({"slug": "new"} | fields), active="on")))[field]
    )
    assert Badge.objects.count() == 1


# ------------------------------------------------------------------------------------------------------------ once held


def test_what_earns_a_held_badge_is_not_in_the_form_and_not_taken_from_it(sign_in, held) -> None:
    root = sign_in()
    form = root.get(address("change", held.pk)).context["adminform"].form
    assert set(form.fields) == {"name", "description", "icon", "order", "active", "unit"}
    assert root.post(address("change", held.pk), filled(held, threshold=1, name="Other")).status_code == 302
    held.refresh_from_db()
    assert (held.name, held.threshold, held.version) == ("Other", 2, 1)


def test_changing_what_earns_it_makes_a_new_version_after_a_look(sign_in, held, carol) -> None:
    root, url = sign_in(), address("change_criteria", held.pk)
    assert url in root.get(address("change", held.pk)).content.decode()
    page = root.post(url, {"metric": "tests_completed", "threshold": 1, "bonus": 5})
    assert page.context["usernames"] == ["carol"]
    assert page.context["figures"][2][1] == "5 points"
    held.refresh_from_db()
    assert held.version == 1

    root.post(url, dict(page.context["sent"]))
    held.refresh_from_db()
    assert (held.version, held.threshold, held.bonus) == (2, 1, 5)
    assert held.history.first().history_user.username == "root"
    check_badges(timezone.now())
    assert BadgeAward.objects.get(user=carol).version == 2
    assert set(BadgeAward.objects.exclude(user=carol).values_list("version", flat=True)) == {1}


def test_changing_nothing_makes_no_version(sign_in, held) -> None:
    answer = sign_in().post(
        address("change_criteria", held.pk), {"metric": "tests_completed", "threshold": 2, "bonus": 10}
    )
    assert "nothing was changed" in said(answer)
    held.refresh_from_db()
    assert held.version == 1


def test_the_history_says_what_was_changed(sign_in, tester) -> None:
    root = sign_in()
    root.post(address("change", tester.pk), filled(tester, threshold=7, name="Seven"))
    shown = root.get(address("history", tester.pk)).content.decode()
    assert "<del>2</del> → <ins>7</ins>" in shown
    assert "<del>Tester</del> → <ins>Seven</ins>" in shown


def test_a_badge_is_never_deleted(sign_in, tester) -> None:
    assert sign_in().post(address("delete", tester.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("role", OTHERS)
def test_only_administrators_change_badges(sign_in, held, role) -> None:
    client = sign_in(role)
    assert client.get(address("change", held.pk)).status_code == 200
    assert client.post(address("change", held.pk), filled(held, name="Mine", _confirmed="yes")).status_code == 403
    assert client.post(address("add"), filled(slug="mine")).status_code == 403
    sent = {"metric": "tests_completed", "threshold": 1, "bonus": 900, "_confirmed": "yes"}
    assert client.get(address("change_criteria", held.pk)).status_code == 403
    assert client.post(address("change_criteria", held.pk), sent).status_code == 403
    held.refresh_from_db()
    assert (held.name, held.version, Badge.objects.count()) == ("Tester", 1, 1)


def test_administrators_do(sign_in, tester) -> None:
    answer = sign_in("Administrator").post(address("change", tester.pk), filled(tester, name="Mine"))
    assert answer.status_code == 302
    assert Badge.objects.get().name == "Mine"


# ---------------------------------------------------------------------------------------------------------------- icons


@pytest.mark.parametrize(
    "icon", ["", "🏆", "🗳️", "👩‍👩‍👧‍👦", "1️⃣", "https://example.org/a.png?x=1", "/static/rewards/favicon.svg"]
)
def test_emoji_and_images_from_https_or_the_products_own_files_are_icons(icon) -> None:
    check_icon(icon)


@pytest.mark.parametrize(
    "icon",
    [
        "http://example.org/a.png", "//example.org/a.png", "javascript:alert(1)", "data:image/png;base64,AA",
        "/media/a.png", "/static/../secret", "https://", "https://example.org/a b.png", "abc", "<b>", "🏆" * 17, "ftp://example.org",
    ],
)  # fmt: skip
def test_nothing_else_is_an_icon_and_none_of_it_is_loaded(icon) -> None:
    with pytest.raises(ValidationError):
        check_icon(icon)
    assert "<img" not in icon_html(icon)


def test_icons_and_names_are_text_whatever_stands_in_them(sign_in, tester) -> None:
    evil = '"><script>alert(1)</script>'
    Badge.objects.filter(pk=tester.pk).update(icon=f"https://example.org/{evil}", name=evil)
    shown = sign_in().get(address("changelist")).content.decode()
    assert "<script>alert(1)" not in shown
    assert "example.org" in shown


def test_an_image_is_loaded_without_telling_from_where() -> None:
    assert 'referrerpolicy="no-referrer"' in icon_html("https://example.org/a.png")


# ------------------------------------------------------------------------------------------------------------- the list


def test_the_list_says_what_earns_each_badge_and_who_holds_it(sign_in, held) -> None:
    shown = sign_in().get(address("changelist")).content.decode()
    assert "2 × tests_completed" in shown
    assert "10 points" in shown
    assert pages.holders_of([held.pk]) == {held.pk: 2}


def test_holders_are_counted_no_further_than_they_have_to_be(sign_in, held, monkeypatch) -> None:
    monkeypatch.setattr(pages, "MOST_COUNTED", 1)
    root = sign_in()
    with CaptureQueriesContext(connection) as captured:
        shown = root.get(address("changelist")).content.decode()
    assert "over 1" in shown
    counts = [each["sql"] for each in captured if "badges_badgeaward" in each["sql"]]
    assert len(counts) == 1
    assert "LIMIT 2" in counts[0]


def test_a_revoked_award_is_nobodys(sign_in, held, alice) -> None:
    BadgeAward.objects.filter(user=alice).update(revoked_at=timezone.now())
    assert pages.holders_of([held.pk]) == {held.pk: 1}


# --------------------------------------------------------------------------------------------------------------- awards


def test_awards_are_found_by_the_whole_username_and_filtered_by_badge(sign_in, held, make_badge, alice) -> None:
    root, url = sign_in(), address("changelist", model="badgeaward")
    found = root.get(url, {"q": "alice"}).context["cl"].result_list
    assert [award.user for award in found] == [alice]
    assert root.get(url, {"q": "ali"}).context["cl"].result_list == []
    assert len(root.get(url, {"badge__id__exact": held.pk}).context["cl"].result_list) == 2
    assert root.get(url, {"badge__id__exact": make_badge("other").pk}).context["cl"].result_list == []


@pytest.mark.parametrize("role", [None, "Support"])
def test_nobody_adds_changes_or_deletes_an_award(sign_in, held, alice, role) -> None:
    client, award = sign_in(role), award_of(alice)
    for view, *args in (("add",), ("change", award.pk), ("delete", award.pk)):
        answer = client.post(address(view, *args, model="badgeaward"), {"period_key": "x", "post": "yes"})
        assert answer.status_code == 403, view
    assert award_of(alice).period_key == ""


def test_support_revokes_a_badge_its_bonus_goes_back_and_it_is_given_back(sign_in, held, alice) -> None:
    support, award = sign_in("Support"), award_of(alice)
    url = address("revoke", award.pk, model="badgeaward")
    page = support.get(url)
    assert "10 points of bonus go back" in page.content.decode()
    assert page.context["figures"][1][1] == "10 points"
    assert "a reason is needed" in support.post(url, {"reason": ""}).content.decode()
    assert badges_of(alice) == {"tester"}

    assert support.post(url, {"reason": "Cheated"}).status_code == 302
    assert (badges_of(alice), points_of(alice)) == (set(), 0)
    shown = support.get(address("change", award.pk, model="badgeaward")).content.decode()
    assert "Cheated" in shown
    assert "taken back since" in shown
    assert url not in shown

    again = support.post(address("reinstate", award.pk, model="badgeaward"), {"reason": "Wrong person"})
    assert "holds Tester again" in said(again)
    assert (badges_of(alice), points_of(alice)) == ({"tester"}, 10)


def test_whoever_has_spent_the_bonus_is_named_and_may_be_lent_it(sign_in, held, alice, points) -> None:
    with transaction.atomic():
        post("spent", "purchase", [Move(user_account(alice, points), system_account("shop", points), 8)])
    root, award = sign_in(), award_of(alice)
    url = address("revoke", award.pk, model="badgeaward")
    assert root.get(url).context["short"].rows == [("alice", "10", "2", "8")]
    refused = root.post(url, {"reason": "Cheated", "missing": "refuse"})
    assert "insufficient_funds" in said(refused)
    assert badges_of(alice) == {"tester"}
    assert root.post(url, {"reason": "Cheated", "missing": "lend"}).status_code == 302
    assert badges_of(alice) == set()


def test_what_cannot_be_done_any_more_is_said(sign_in, held, alice) -> None:
    root, award = sign_in(), award_of(alice)
    url = address("revoke", award.pk, model="badgeaward")
    root.post(url, {"reason": "Cheated"})
    assert "already_revoked" in said(root.post(url, {"reason": "Again"}))
    root.post(address("reinstate", award.pk, model="badgeaward"), {"reason": "Wrong person"})
    assert "not_revoked" in said(root.post(address("reinstate", award.pk, model="badgeaward"), {"reason": "Again"}))


@pytest.mark.parametrize("role", ["Viewer", "Operator", "Approver"])
def test_whoever_may_only_look_revokes_nothing(sign_in, held, alice, role) -> None:
    client, award = sign_in(role), award_of(alice)
    shown = client.get(address("change", award.pk, model="badgeaward"))
    assert shown.status_code == 200
    for view in ("revoke", "reinstate"):
        url = address(view, award.pk, model="badgeaward")
        assert url not in shown.content.decode()
        assert client.get(url).status_code == 403
        assert client.post(url, {"reason": "Because"}).status_code == 403
    assert badges_of(alice) == {"tester"}


def test_an_award_that_is_not_there_is_not_found(sign_in, held) -> None:
    assert sign_in().get(address("revoke", 4711, model="badgeaward")).status_code == 404


def test_the_page_of_a_user_shows_his_badges_to_whoever_may_see_them(sign_in, held, alice, staff) -> None:
    url = reverse("admin:rewards_user_change", args=[alice.pk])
    shown = sign_in("Viewer").get(url).content.decode()
    assert "All badges" in shown
    assert address("change", award_of(alice).pk, model="badgeaward") in shown
    clerk = staff("clerk", "view_user")
    client = sign_in(username=clerk.username)
    assert "All badges" not in client.get(url).content.decode()
