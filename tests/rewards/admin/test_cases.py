"""Cases in the back-office: looked at, moderated, ended; and a verdict that nobody reads before its time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from rewards.alerts.services import raise_alert
from rewards.audit.models import AuditEvent
from rewards.cases.closing import close_cases
from rewards.cases.commitments import COMMITMENT_MISMATCH, check_verdicts
from rewards.cases.failures import CASE_FAILED
from rewards.cases.models import Argument, Case, SealedVerdict
from rewards.cases.moderation import approve_case
from rewards.cases.services import submit_case, vote
from rewards.chain.models import ChainTransaction, LocalEntry
from rewards.distributions.models import Distribution
from rewards.jobs.services import run_job
from rewards.ledger.services import balance, system_account
from rewards.users.models import User
from rewards.users.roles import ROLES
from tests.rewards.cases.conftest import argument_of, cast, make_open_case

pytestmark = pytest.mark.django_db

REASONING = "Whoever keeps a lighthouse has promised it to strangers"
CONFIDENCE = Decimal("0.731592")
VERDICT = {"verdict": "NO", "reasoning": REASONING, "confidence": str(CONFIDENCE)}
EVIL = "<script>alert(1)</script>"


def address(view: str, *args: Any) -> str:
    return reverse(f"admin:rewards_case_{view}", args=args)


def shown(client: Client, case: Case) -> str:
    answer = client.get(address("change", case.pk))
    assert answer.status_code == 200
    return answer.content.decode()


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def actions_on(client: Client, case: Case) -> set[str]:
    """What the page offers."""
    page = shown(client, case)
    return {deed for deed in ("approve", "edit", "reject", "void") if f'href="{address(deed, case.pk)}"' in page}


@pytest.fixture
def submitted(points, alice) -> Case:
    return submit_case(alice, "The lighthouse", "The keeper sleeps while a ship comes near.", timezone.now())


@pytest.fixture
def draft(submitted, staff) -> Case:
    return approve_case(submitted.pk, staff("mara", "moderate_case"), "NO", REASONING, CONFIDENCE, timezone.now())


@pytest.fixture
def opened(draft) -> Case:
    return opened_by_the_job(draft)


def opened_by_the_job(draft: Case) -> Case:
    """Sent with the first look, a block later on the chain, open."""
    now = timezone.now()
    for at in (now, now + timedelta(minutes=2)):
        run_job("check_verdicts", lambda progress, at=at: check_verdicts(at, progress).figures())
    draft.refresh_from_db()
    assert draft.status == "active", draft.error
    return draft


# ------------------------------------------------------------------------------------------------------------- the page


def test_the_list_says_what_state_each_case_is_in_and_how_often_a_job_failed_with_it(
    sign_in, submitted, opened
) -> None:
    Case.objects.filter(pk=opened.pk).update(failures=4, error="It hurts", yes_votes=1_200, no_votes=30)
    waiting = submit_case(submitted.created_by, "The ferry", "It is full.", timezone.now())
    root = sign_in()
    listed = root.get(address("changelist")).content.decode()
    for words in ("1,200 yes, 30 no", "failing", "Waits for moderation", "confirmed"):
        assert words in listed, words
    failing = root.get(address("changelist"), {"jobs": "failing"}).context["cl"].result_list
    assert [case.pk for case in failing] == [opened.pk]
    found = root.get(address("changelist"), {"q": "ferry"}).context["cl"].result_list
    assert [case.pk for case in found] == [waiting.pk]
    assert root.get(address("changelist"), {"q": "ali"}).context["cl"].result_count == 2


def test_a_case_says_what_happens_next(sign_in, submitted, staff) -> None:
    root = sign_in()
    assert "A moderator approves it with a verdict" in shown(root, submitted)
    draft = approve_case(submitted.pk, staff("mara", "moderate_case"), "NO", REASONING, CONFIDENCE, timezone.now())
    assert "It opens once the chain has taken it." in shown(root, draft)
    ChainTransaction.objects.update(confirmations=1)
    assert "check_verdicts opens it with its next run" in shown(root, draft)
    opened = opened_by_the_job(draft)
    assert f"until {opened.closes_at:%Y-%m-%d %H:%M} UTC" in shown(root, opened)
    Case.objects.update(opens_at=timezone.now() - timedelta(hours=2), closes_at=timezone.now() - timedelta(hours=1))
    assert "Voting ended at" in shown(root, opened)


def test_the_escrow_is_shown_while_it_is_filled(sign_in, submitted, draft) -> None:
    root = sign_in()
    assert "filled when it opens" in shown(root, draft)
    opened_by_the_job(draft)
    page = shown(root, draft)
    assert "1,000 points" in page
    assert f"case:{draft.pk}" in page
    assert "Verdict under seal" in page


def test_what_went_wrong_stands_on_top_with_its_alerts(sign_in, opened) -> None:
    root = sign_in()
    Case.objects.filter(pk=opened.pk).update(failures=3, error="The escrow is empty.\nTraceback: in close_cases")
    raise_alert(CASE_FAILED, opened.period_key, "The escrow is empty.")
    raise_alert(COMMITMENT_MISMATCH, opened.period_key, "The chain carries another hash.")
    raise_alert(COMMITMENT_MISMATCH, f"{opened.period_key}0", "Of another case.")
    page = shown(root, opened)
    assert "3 times in a row" in page
    assert "Traceback: in close_cases" in page
    assert page.count("The chain carries another hash.") == 1
    assert "Of another case." not in page


def test_once_closed_it_shows_the_verdict_its_check_the_places_and_the_payout(sign_in, opened, bob, carol) -> None:
    cast(opened, bob, "NO", opened.opens_at)
    cast(opened, carol, "YES", opened.opens_at)
    argument_of(opened, bob, likers=[carol], at=opened.opens_at, side="NO")
    root = sign_in()
    before = shown(root, opened)
    assert "bob thinks so." in before
    assert "1.</span>" not in before
    close_cases(opened.closes_at)
    opened.refresh_from_db()
    assert opened.settled_at, opened.error
    page = shown(root, opened)
    for words in (REASONING, opened.nonce, "hashes to what was committed", "1.</span>", "everybody is paid"):
        assert words in page, words
    payout = Distribution.objects.get(programme="case")
    assert reverse("admin:rewards_distribution_change", args=[payout.pk]) in page
    assert "Verdict under seal" not in page


def test_a_verdict_that_does_not_hash_to_the_commitment_is_marked(sign_in, opened) -> None:
    close_cases(opened.closes_at)
    Case.objects.update(reasoning="Something else")
    assert "another hash" in shown(sign_in(), opened)


def test_arguments_are_listed_by_case_and_found_by_their_user(sign_in, opened, bob, carol) -> None:
    for user in (bob, carol):
        argument_of(opened, user)
    root, url = sign_in(), reverse("admin:rewards_argument_changelist")
    assert root.get(url, {"case__id__exact": opened.pk}).context["cl"].result_count == 2
    assert [each.user for each in root.get(url, {"q": "bo"}).context["cl"].result_list] == [bob]
    page = root.get(reverse("admin:rewards_argument_change", args=[Argument.objects.first().pk])).content.decode()
    assert "bob thinks so." in page


def test_markup_of_users_stays_text(sign_in, opened, bob) -> None:
    argument_of(opened, bob)
    Case.objects.update(title=EVIL, context=EVIL)
    Argument.objects.update(text=EVIL)
    root = sign_in()
    for url in (address("change", opened.pk), address("changelist"), address("void", opened.pk)):
        assert EVIL not in root.get(url).content.decode(), url


# ----------------------------------------------------------------------------------------------------------- moderated


def test_a_moderator_approves_with_a_verdict(sign_in, submitted) -> None:
    operator = sign_in("Operator")
    answer = operator.post(address("approve", submitted.pk), VERDICT)
    assert (answer.status_code, answer.url) == (302, address("change", submitted.pk))
    assert "is approved: its verdict is sealed" in said(answer)
    submitted.refresh_from_db()
    assert (submitted.status, submitted.moderated_by.username) == ("draft", "operator")
    sealed = SealedVerdict.objects.get(case=submitted)
    assert (sealed.verdict, sealed.reasoning, sealed.confidence) == ("NO", REASONING, CONFIDENCE)


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"verdict": "MAYBE"}, "verdict", "Yes or No"),
        ({"verdict": ""}, "verdict", "Choose a side"),
        ({"reasoning": " "}, "reasoning", "Say why"),
        ({"reasoning": REASONING * 200}, "reasoning", "at most 10,000"),
        ({"reasoning": REASONING + "\x00"}, "reasoning", "cannot be kept"),
        ({"confidence": "1.01"}, "confidence", "from 0 to 1"),
        ({"confidence": "-0.1"}, "confidence", "from 0 to 1"),
        ({"confidence": "NaN"}, "confidence", "from 0 to 1"),
        ({"confidence": "0.73159201"}, "confidence", "from 0 to 1"),
        ({"confidence": "quite"}, "confidence", "from 0 to 1"),
    ],
)
def test_a_mistake_is_said_at_its_field_and_nothing_that_was_written_comes_back(
    sign_in, submitted, fields, field, sentence
) -> None:
    answer = sign_in("Operator").post(address("approve", submitted.pk), VERDICT | fields)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert sentence in " ".join(answer.context["form"].errors[field])
    assert "write it once more" in page
    for secret in (REASONING, str(CONFIDENCE), "MAYBE", "quite", 'value="NO" selected', "NaN"):
        assert secret not in page, secret
    assert "no-store" in answer["Cache-Control"]
    assert not SealedVerdict.objects.exists()


def test_a_verdict_that_comes_too_late_is_said_without_it(sign_in, submitted, draft) -> None:
    answer = sign_in("Operator").post(address("approve", submitted.pk), VERDICT | {"verdict": "YES"})
    assert "not_waiting" in said(answer)
    assert REASONING not in said(answer)
    assert SealedVerdict.objects.get().verdict == "NO"


def test_a_case_is_rejected_with_a_reason(sign_in, submitted) -> None:
    operator = sign_in("Operator")
    assert operator.post(address("reject", submitted.pk), {"reason": " "}).status_code == 200
    operator.post(address("reject", submitted.pk), {"reason": "An advertisement"})
    submitted.refresh_from_db()
    assert (submitted.status, submitted.reason) == ("void", "An advertisement")
    page = shown(operator, submitted)
    assert "Rejected" in page
    assert "An advertisement" in page


def test_texts_are_mended_while_it_waits_and_the_history_shows_both(sign_in, submitted) -> None:
    operator = sign_in("Operator")
    words = {"title": "The keeper", "context": "He sleeps.", "reason": "Too long"}
    assert operator.post(address("edit", submitted.pk), words | {"title": " "}).status_code == 200
    assert operator.post(address("edit", submitted.pk), words).status_code == 302
    submitted.refresh_from_db()
    assert (submitted.title, submitted.context) == ("The keeper", "He sleeps.")
    history = operator.get(address("history", submitted.pk)).content.decode()
    for expected in ("changed by operator", "Too long", "The lighthouse", "The keeper"):
        assert expected in history, expected


def test_a_case_that_is_open_is_made_void_with_its_figures_before(sign_in, opened, bob, points) -> None:
    cast(opened, bob, "NO", opened.opens_at)
    operator = sign_in("Operator")
    asked = operator.get(address("void", opened.pk)).content.decode()
    assert "1,000 points" in asked
    answer = operator.post(address("void", opened.pk), {"reason": "It names somebody"})
    assert "1,000 points went from its escrow to the treasury" in said(answer)
    opened.refresh_from_db()
    assert opened.status == "void"
    assert balance(system_account("treasury", points)) == 1_000
    assert actions_on(operator, opened) == set()


def test_what_is_closed_is_not_made_void(sign_in, opened) -> None:
    close_cases(opened.closes_at)
    operator = sign_in("Operator")
    assert actions_on(operator, opened) == set()
    assert "cannot_void" in said(operator.post(address("void", opened.pk), {"reason": "Late"}))
    opened.refresh_from_db()
    assert opened.status == "closed"


def test_only_what_makes_sense_is_offered(sign_in, submitted) -> None:
    operator = sign_in("Operator")
    assert actions_on(operator, submitted) == {"approve", "edit", "reject"}
    operator.post(address("approve", submitted.pk), VERDICT)
    assert actions_on(operator, submitted) == {"void"}


def test_nobody_moderates_his_own_case(sign_in, submitted) -> None:
    operator = sign_in("Operator")
    Case.objects.update(created_by=User.objects.get(username="operator"))
    assert actions_on(operator, submitted) == set()
    assert "another moderator decides" in shown(operator, submitted)
    sent = {"reason": "Mine", "title": "Mine", "context": "Mine", **VERDICT}
    for deed in ("approve", "edit", "reject", "void"):
        assert "own_case" in said(operator.post(address(deed, submitted.pk), sent)), deed
    submitted.refresh_from_db()
    assert (submitted.status, submitted.title) == ("pending_moderation", "The lighthouse")


# ----------------------------------------------------------------------------------------------------------- who may


@pytest.mark.parametrize("role", [*ROLES, None])
def test_who_may_do_what(sign_in, submitted, role) -> None:
    client, may = sign_in(role), role in ("Operator", "Administrator", None)
    assert actions_on(client, submitted) == ({"approve", "edit", "reject"} if may else set())
    for deed in ("approve", "edit", "reject", "void"):
        assert client.get(address(deed, submitted.pk)).status_code == (200 if may else 403), deed
    assert client.post(address("approve", submitted.pk), VERDICT).status_code == (302 if may else 403)
    submitted.refresh_from_db()
    assert submitted.status == ("draft" if may else "pending_moderation")
    for view in ("change", "delete"):
        assert client.post(address(view, submitted.pk), {"title": "Mine", "post": "yes"}).status_code == 403
    assert client.post(address("add"), {"title": "Mine"}).status_code == 403
    if may:
        seen = client.post(address("unseal", submitted.pk)).status_code
        assert seen == (200 if role is None else 403)


def test_who_may_moderate_but_not_look_does_neither(submitted, staff) -> None:
    client = Client()
    client.force_login(staff("clerk", "moderate_case", "view_sealedverdict"))
    for deed in ("approve", "edit", "reject", "void", "unseal"):
        assert client.post(address(deed, submitted.pk), VERDICT).status_code == 403, deed
    assert Client().post(address("approve", submitted.pk), VERDICT).status_code == 302  # to the login
    submitted.refresh_from_db()
    assert submitted.status == "pending_moderation"


@pytest.mark.usefixtures("roles")
def test_no_role_sees_a_verdict_under_seal() -> None:
    for group in Group.objects.filter(name__in=ROLES):
        assert not group.permissions.filter(content_type__model="sealedverdict").exists(), group
        assert group.permissions.filter(codename="view_case").exists(), group
    moderators = Group.objects.filter(permissions__codename="moderate_case").values_list("name", flat=True)
    assert {*moderators} == {"Operator", "Administrator"}


# ---------------------------------------------------------------------------------------------------------- under seal


def test_a_verdict_under_seal_is_shown_on_a_click_and_the_audit_says_who_looked(sign_in, opened) -> None:
    root, sealed = sign_in(), opened.sealed
    assert address("unseal", opened.pk) in shown(root, opened)
    assert root.get(address("unseal", opened.pk)).status_code == 405
    assert not AuditEvent.objects.filter(event_type="sealed_verdict_seen").exists()
    answer = root.post(address("unseal", opened.pk))
    part = answer.content.decode()
    for secret in ("No", REASONING, str(CONFIDENCE), sealed.nonce):
        assert secret in part
    assert "no-store" in answer["Cache-Control"]
    event = AuditEvent.objects.get(event_type="sealed_verdict_seen")
    assert (event.actor.username, event.data) == ("root", {"case": opened.pk})
    assert event.reason == ""


def test_there_is_nothing_to_unseal_before_and_no_button_for_others(sign_in, submitted) -> None:
    assert sign_in().post(address("unseal", submitted.pk)).status_code == 404
    assert address("unseal", submitted.pk) not in shown(sign_in("Operator"), submitted)


def test_no_list_of_the_admin_is_of_sealed_verdicts() -> None:
    assert SealedVerdict not in admin.site._registry


@pytest.mark.parametrize(
    "lookup",
    ["sealed__verdict", "sealed__reasoning__startswith", "sealed__nonce__startswith", "sealed__confidence__gt"],
)
def test_lists_are_not_filtered_by_what_is_under_seal(sign_in, opened, lookup) -> None:
    root = sign_in()
    for model, prefix in (
        ("case", ""), ("argument", "case__"), ("chaintransaction", "case__"), ("user", "cases__"),
    ):  # fmt: skip
        answer = root.get(reverse(f"admin:rewards_{model}_changelist"), {f"{prefix}{lookup}": "NO"})
        assert answer.status_code == 400, model


def everybody_but_unsealers(staff: Any, name: str) -> User:
    every = Permission.objects.exclude(codename="view_sealedverdict").values_list("codename", flat=True)
    return staff(name, *every)


def pages(client: Client) -> Iterator[tuple[str, Any]]:
    """Every page of the admin that there is something to see on, with its answer."""
    urls = [reverse("admin:index"), reverse("admin:rewards_distribution_periods")]
    for model in admin.site._registry:
        base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        urls += [reverse(f"{base}_changelist"), f"{reverse(f'{base}_changelist')}?q=lighthouse", reverse(f"{base}_add")]
        for pk in model._default_manager.order_by("-pk").values_list("pk", flat=True)[:8]:
            urls += [reverse(f"{base}_{view}", args=[pk]) for view in ("change", "history", "delete")]
    for case in Case.objects.all():
        urls += [address(deed, case.pk) for deed in ("approve", "edit", "reject", "void", "unseal")]
        urls += [address("simple_history", case.pk, version.pk) for version in case.history.all()]
    for tx in ChainTransaction.objects.all():
        urls.append(reverse("admin:rewards_chaintransaction_look", args=[tx.pk]))
    for url in urls:
        yield url, client.get(url)


@pytest.mark.parametrize("superuser", [False, True], ids=["staff", "superuser"])
def test_no_page_answer_message_history_or_log_has_a_verdict_under_seal(
    submitted, staff, sign_in, bob, caplog, superuser
) -> None:
    """As somebody who has every right but that one; and as a superuser, who has not clicked."""
    caplog.set_level(logging.INFO)
    client = sign_in() if superuser else Client()
    if not superuser:
        client.force_login(everybody_but_unsealers(staff, "mara"))
    approved = client.post(address("approve", submitted.pk), VERDICT, follow=True)
    opened = opened_by_the_job(Case.objects.get())
    vote(opened.pk, bob, "NO", opened.opens_at)
    ended = Case.objects.get(pk=make_open_case(title="Ended", opens_at=timezone.now()).pk)
    SealedVerdict.objects.filter(case=ended).update(reasoning=REASONING)
    secrets = [REASONING, str(CONFIDENCE), *SealedVerdict.objects.values_list("nonce", flat=True)]
    answers = [("approved", approved)]
    answers.append(("void", client.post(address("void", ended.pk), {"reason": "No"}, follow=True)))
    answers.append(("again", client.post(address("approve", opened.pk), VERDICT, follow=True)))
    answers.append(("change", client.post(address("change", opened.pk), VERDICT)))
    looked = reverse("admin:rewards_chaintransaction_look", args=[opened.commitment_id])
    answers.append(("look", client.post(looked, follow=True)))
    if not superuser:
        answers.append(("unseal", client.post(address("unseal", opened.pk))))
    answers += pages(client)
    assert len(answers) > 120
    for name, answer in answers:
        content = b"".join(answer) if answer.streaming else answer.content
        for secret in secrets:
            assert secret not in content.decode(), (name, secret)
            assert secret not in str(answer.headers), name
    for text in [*(record.getMessage() for record in caplog.records), *map(str, LogEntry.objects.values())]:
        assert not any(secret in text for secret in secrets), text


def test_the_local_chain_has_the_hash_alone(opened) -> None:
    assert [entry.payload_hash for entry in LocalEntry.objects.all()] == [opened.verdict_hash]


# ------------------------------------------------------------------------------------------------------------ dashboard


def tile(client: Client) -> Any:
    found = client.get(reverse("admin:index")).context["dashboard"]["tiles"]
    return next(each for each in found if each.label == "Open cases")


def test_the_dashboard_counts_open_cases_and_turns_red_where_somebody_has_to_look(sign_in, submitted, opened) -> None:
    root = sign_in()
    assert (tile(root).value, tile(root).note, tile(root).kind) == ("1", "none to moderate", "success")
    submit_case(submitted.created_by, "The ferry", "It is full.", timezone.now())
    assert tile(root).note == "1 to moderate"
    sidebar = root.get(reverse("admin:index")).content.decode()
    assert reverse("admin:rewards_case_changelist") in sidebar
    moved(opened, timezone.now() - timedelta(hours=3))
    assert (tile(root).note, tile(root).kind) == ("1 should be closed", "warning")
    Case.objects.filter(pk=opened.pk).update(failures=1)
    assert (tile(root).note, tile(root).kind) == ("1 failing", "danger")
    raise_alert(COMMITMENT_MISMATCH, opened.period_key)
    assert tile(root).note == "1 commitment differs"


def test_a_case_that_could_not_be_paid_is_somebody_who_is_not_paid(sign_in, opened) -> None:
    raise_alert(CASE_FAILED, opened.period_key, "The escrow is empty.")
    shown_first = sign_in().get(reverse("admin:index")).content.decode()
    assert "Somebody is not paid." in shown_first
    assert f"{opened.period_key} is not closed, or not paid: The escrow is empty." in shown_first


def moved(case: Case, closes_at: datetime) -> None:
    Case.objects.filter(pk=case.pk).update(opens_at=closes_at - timedelta(hours=24), closes_at=closes_at)
