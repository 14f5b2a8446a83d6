"""Rules taken along and taken up in the admin: nothing is stored before it was seen, by whoever has seen it."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from badges.models import Badge
from rewards.audit.models import AuditEvent


@pytest.fixture(autouse=True)
def shipped(db: None) -> None:
    call_command("setup_defaults", stdout=StringIO())


def page() -> str:
    return reverse("admin:rewards_parameter_rules")


def upload(client: Client, **rules: Any) -> Any:
    content = json.dumps({"format": "rewards-rules", "version": 1, "rules": rules}).encode()
    return client.post(page(), {"file": SimpleUploadedFile("rules.json", content)})


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def test_an_administrator_looks_and_then_takes_the_file_with_a_reason(sign_in) -> None:
    alice = sign_in("Administrator", "alice")
    looked = upload(alice, badges={"first_win": {"bonus": 60}})
    shown = looked.content.decode()
    assert "Badges: first_win" in shown
    assert "&quot;bonus&quot;: 60" in shown
    assert Badge.objects.get(slug="first_win").bonus == 50

    kept = looked.context["kept"]
    assert "Say why" in alice.post(page(), {"kept": kept, "reason": ""}).content.decode()
    assert "0 rules were created, 1 changed" in said(alice.post(page(), {"kept": kept, "reason": "As agreed"}))
    badge = Badge.objects.get(slug="first_win")
    newest = badge.history.first()
    assert (badge.bonus, newest.history_user.username, newest.history_change_reason) == (60, "alice", "As agreed")
    assert "(file_gone)" in said(alice.post(page(), {"kept": kept, "reason": "Again"}))
    assert "Nothing to change" in upload(alice, badges={"first_win": {"bonus": 60}}).content.decode()


def test_refusals_are_all_shown_and_no_button_takes_the_file(sign_in) -> None:
    alice = sign_in("Administrator")
    looked = upload(alice, badges={"first_win": {"threshold": 0}}, boards={"b": {"source": "luck"}})
    shown = looked.content.decode()
    assert "Take these rules" not in shown
    assert [row[:2] for row in looked.context["refused"].rows] == [("Badges", "first_win"), ("Boards", "b")]
    forced = alice.post(page(), {"kept": looked.context["kept"], "reason": "All the same"})
    assert "(rules_refused)" in said(forced)


def test_what_changed_between_the_two_pages_is_looked_at_again(sign_in) -> None:
    alice = sign_in("Administrator")
    kept = upload(alice, badges={"first_win": {"bonus": 60}}).context["kept"]
    badge = Badge.objects.get(slug="first_win")
    badge.bonus = 55
    badge.save()
    assert "(rules_changed_meanwhile)" in said(alice.post(page(), {"kept": kept, "reason": "As seen"}))
    assert Badge.objects.get(slug="first_win").bonus == 55


def test_a_file_is_taken_by_who_looked_at_it(sign_in) -> None:
    kept = upload(sign_in("Administrator", "alice"), badges={"first_win": {"bonus": 60}}).context["kept"]
    assert "(file_gone)" in said(sign_in("Administrator", "bob").post(page(), {"kept": kept, "reason": "Mine"}))
    assert "(file_gone)" in said(sign_in().post(page(), {"kept": f"{kept}x", "reason": "Mine"}))
    assert Badge.objects.get(slug="first_win").bonus == 50


def test_a_file_that_is_none_is_refused_on_the_form(sign_in) -> None:
    answer = sign_in("Administrator").post(page(), {"file": SimpleUploadedFile("rules.json", b"{")})
    assert "(rules_unreadable)" in answer.content.decode()
    newer = SimpleUploadedFile("rules.json", b'{"format": "rewards-rules", "version": 9, "rules": {}}')
    assert "(rules_newer_format)" in sign_in("Administrator").post(page(), {"file": newer}).content.decode()
    assert "Choose a file" in sign_in("Administrator").post(page(), {}).content.decode()


def test_who_may_see_all_rules_takes_them_along_and_only_who_may_change_all_takes_them_up(sign_in) -> None:
    file = reverse("admin:rewards_parameter_rules_file")
    viewer = sign_in("Viewer")
    shown = viewer.get(page()).content.decode()
    assert file in shown
    assert "Look at it" not in shown
    assert json.loads(viewer.get(file).content)["format"] == "rewards-rules"
    assert AuditEvent.objects.get(event_type="exported").actor.username == "viewer"
    for role in ("Viewer", "Operator", "Approver"):
        assert upload(sign_in(role), badges={}).status_code == 403
    nobody = sign_in("Support", "nobody")
    nobody_user = nobody.get(page()).wsgi_request.user
    nobody_user.groups.clear()
    assert nobody.get(page()).status_code == 403
    assert nobody.get(file).status_code == 403
    assert Client().get(file).status_code == 302
