"""The month's rewards in the back-office: categories and what they would pay, jobs started, looked at, retried."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from rewards.admin import ranking_categories
from rewards.admin.monthly import coins_in_words
from rewards.audit.models import AuditEvent
from rewards.distributions.corrections import take_back
from rewards.distributions.models import Distribution
from rewards.distributions.services import reject
from rewards.ledger import services as ledger
from rewards.monthly.models import MonthlyRewardJob, RankingCategory
from rewards.monthly.queries import previous_month
from rewards.monthly.services import run_due, run_job, start_job
from rewards.monthly.setup import TIERS
from rewards.parameters.services import set_parameter
from tests.rewards.monthly import conftest as months
from tests.rewards.monthly.conftest import did, join

category, students = months.category, months.students

pytestmark = pytest.mark.django_db

SCORE = {"tests_completed": "15", "correct_answers": "1"}


def address(view: str, *args: Any, model: str = "rankingcategory") -> str:
    return reverse(f"admin:rewards_{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def filled(**changes: Any) -> dict[str, Any]:
    """The form of a category as a browser sends it."""
    sent = {
        "slug": "students", "title": "Students", "active": "on", "reason": "Autumn", "group": "", "score": SCORE,
        "tiers": TIERS, "tie_policy": "earliest", "currency": "coins", "source": "issuance", "amount": "",
        "approval_limit": "",
    } | changes  # fmt: skip
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in sent.items()}


def errors_of(answer: Any) -> dict[str, str]:
    assert answer.status_code == 200, "it was saved"
    return {name: " ".join(sentences) for name, sentences in answer.context["adminform"].form.errors.items()}


def last_month() -> Any:
    return previous_month(timezone.now())


def during() -> datetime:
    return last_month().start + timedelta(days=3)


@pytest.fixture
def ranked(category, students, alice, bob, carol) -> RankingCategory:
    """Last month Alice made three tests, Bob two, Carol one; so far none this month but Carol's one."""
    join(students, alice, bob, carol)
    for user, tests in ((alice, "3"), (bob, "2"), (carol, "1")):
        did(user, "tests_completed", tests, at=during())
    did(carol, "tests_completed", "1", at=timezone.now())
    return category(title="Students", active_since=during())


def paid(ranked: RankingCategory) -> MonthlyRewardJob:
    job, _ = start_job(last_month().year, last_month().month, by="schedule", at=timezone.now())
    run_job(job, timezone.now())
    job.refresh_from_db()
    assert job.status == "completed"
    return job


def failed(ranked: RankingCategory) -> MonthlyRewardJob:
    RankingCategory.objects.filter(pk=ranked.pk).update(source="nowhere")
    job, _ = start_job(last_month().year, last_month().month, by="schedule", at=timezone.now())
    run_job(job, timezone.now())
    job.refresh_from_db()
    assert job.status == "failed"
    return job


# ----------------------------------------------------------------------------------------------------------- categories


def test_a_category_is_written_in_currency_units_and_reads_back_the_same(sign_in, students, coins) -> None:
    root = sign_in()
    answer = root.post(address("add"), filled(group=students.pk, amount="1500.5", approval_limit="1000"))
    assert answer.status_code == 302, errors_of(answer)
    made = RankingCategory.objects.get()
    assert (made.score, made.tiers, made.group) == (SCORE, TIERS, students)
    assert (str(made.amount), str(made.approval_limit)) == ("1500.5", "1000")
    assert made.prepared_by.username == "root"
    version = made.history.get()
    assert (version.history_user.username, version.history_change_reason) == ("root", "Autumn")
    form = root.get(address("change", made.pk)).context["adminform"].form
    assert (form["amount"].value(), form["approval_limit"].value()) == ("1500.5", "1000")
    assert json.loads(form["score"].value()) == SCORE


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"score": {}}, "score", "Name at least one metric"),
        ({"score": {"tests_completed": "-1"}}, "score", "above zero"),
        ({"score": "[1]"}, "score", "metrics and their weights"),
        ({"score": "{"}, "score", "valid JSON"),
        ({"tiers": {"rule": "tiers", "tiers": []}}, "tiers", "tiers"),
        ({"tiers": {"rule": "fixed"}}, "tiers", "another rule than fixed"),
        ({"tiers": {"rule": "equal"}}, "amount", "say how much"),
        ({"tiers": {"rule": "equal"}, "amount": "12.345"}, "amount", "decimals"),
        ({"amount": "x"}, "amount", "decimal number"),
        ({"approval_limit": "x"}, "approval_limit", "decimal number"),
        ({"currency": "nothing"}, "currency", "Select a valid choice"),
        ({"source": "nowhere"}, "source", "Select a valid choice"),
        ({"reason": ""}, "reason", "Say why"),
        ({"slug": ""}, "slug", "required"),
    ],
)
def test_a_category_that_makes_no_sense_is_refused_at_its_field(sign_in, coins, fields, field, sentence) -> None:
    assert sentence in errors_of(sign_in().post(address("add"), filled(**fields)))[field]
    assert not RankingCategory.objects.exists()


def test_its_name_stays_and_nobody_deletes_it(sign_in, ranked) -> None:
    root = sign_in()
    assert root.post(address("change", ranked.pk), filled(slug="other", title="Pupils")).status_code == 302
    ranked.refresh_from_db()
    assert (ranked.slug, ranked.title) == ("students", "Pupils")
    assert root.post(address("delete", ranked.pk), {"post": "yes"}).status_code == 403


def test_the_history_says_who_changed_what_and_why(sign_in, ranked) -> None:
    root = sign_in()
    root.post(address("change", ranked.pk), filled(score={"tests_completed": "20"}, reason="Tests matter more"))
    shown = root.get(address("history", ranked.pk)).content.decode()
    assert "changed by root" in shown
    assert "Tests matter more" in shown
    assert "&quot;tests_completed&quot;: &quot;20&quot;" in shown


def test_known_metrics_are_suggested(sign_in, ranked, alice) -> None:
    did(alice, "essays", "1", at=during())
    shown = sign_in().get(address("change", ranked.pk)).content.decode()
    for metric in ("essays", "tests_completed", "student_attempts"):
        assert f'<option value="{metric}">' in shown


def test_the_rule_is_read_back_in_words_while_it_is_written_in_the_decimals_of_the_currency(sign_in, coins) -> None:
    too_fine = {"rule": "tiers", "tiers": [{"to": 1, "each": "1.234"}]}
    sent = {"rule": json.dumps(too_fine), "currency": "coins"}
    assert "decimals" in sign_in().post(address("rule"), sent).json()["sentence"]


@pytest.mark.parametrize("role", ["Viewer", "Support", "Operator", "Approver"])
def test_only_administrators_change_categories(sign_in, ranked, role) -> None:
    client = sign_in(role)
    shown = client.get(address("change", ranked.pk))
    assert "15 × tests_completed + 1 × correct_answers" in shown.content.decode()
    assert client.post(address("change", ranked.pk), filled(title="Mine")).status_code == 403
    assert client.post(address("add"), filled(slug="mine")).status_code == 403
    assert sign_in("Administrator").post(address("add"), filled(slug="mine")).status_code == 302


# ------------------------------------------------------------------------------------------------------------ previewed


def best(answer: Any) -> list[tuple[str, str]]:
    return [(row[1], row[3].removesuffix(".00")) for row in answer.context["preview_best"].rows]


def test_the_running_month_is_previewed_as_far_as_it_has_come(sign_in, ranked) -> None:
    answer = sign_in("Viewer").get(address("preview", ranked.pk))
    assert best(answer) == [("carol", "1,000"), ("alice", "500"), ("bob", "500")]
    assert not Distribution.objects.exists()


def test_a_past_month_is_previewed_with_another_rule_beside_it(sign_in, ranked) -> None:
    viewer, month = sign_in("Viewer"), last_month().key
    own = {"month": month, "rule": json.dumps(TIERS), "tie_policy": "earliest"}
    answer = viewer.post(address("preview", ranked.pk), own)
    assert best(answer) == [("alice", "1,000"), ("bob", "500"), ("carol", "500")]
    assert "comparison" not in answer.context

    other = {"rule": "tiers", "tiers": [{"to": 1, "each": "3000"}, {"to": None, "each": "1"}]}
    answer = viewer.post(address("preview", ranked.pk), own | {"rule": json.dumps(other)})
    assert best(answer) == [("alice", "3,000"), ("bob", "1"), ("carol", "1")]
    assert [row[0] for row in answer.context["gaining"].rows] == ["alice"]
    assert [row[0] for row in answer.context["losing"].rows] == ["bob", "carol"]
    ranked.refresh_from_db()
    assert ranked.tiers == TIERS


def test_a_paid_month_is_previewed_by_what_was_frozen(sign_in, ranked, carol) -> None:
    paid(ranked)
    carol.groups.clear()
    own = {"month": last_month().key, "rule": json.dumps(TIERS), "tie_policy": "earliest"}
    answer = sign_in().post(address("preview", ranked.pk), own)
    assert best(answer) == [("alice", "1,000"), ("bob", "500"), ("carol", "500")]


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"rule": '{"rule": "nothing"}'}, "rule"), ({"rule": "{"}, "rule"), ({"month": "1970-01"}, "month")],
)
def test_a_preview_that_cannot_be_says_so_in_its_form(sign_in, ranked, fields, field) -> None:
    sent = {"month": last_month().key, "rule": json.dumps(TIERS), "tie_policy": "earliest"} | fields
    answer = sign_in().post(address("preview", ranked.pk), sent)
    assert field in answer.context["form"].errors
    assert "preview" not in answer.context


def test_a_category_in_an_unknown_currency_says_so(sign_in, ranked) -> None:
    RankingCategory.objects.filter(pk=ranked.pk).update(currency="nothing")
    assert "There is no currency nothing" in sign_in().get(address("preview", ranked.pk)).content.decode()


def test_a_large_group_is_left_to_the_command(sign_in, ranked, monkeypatch) -> None:
    monkeypatch.setattr(ranking_categories, "LARGEST_PREVIEWED", 2)
    shown = sign_in().get(address("preview", ranked.pk)).content.decode()
    assert "more than 2 participants" in shown
    assert "manage.py preview monthly:students" in shown


# ----------------------------------------------------------------------------------------------------------------- jobs


def test_the_list_says_how_far_each_month_has_come(sign_in, ranked) -> None:
    paid(ranked)
    viewer = sign_in("Viewer")
    shown = viewer.get(address("changelist", model="monthlyrewardjob")).content.decode()
    assert "1 of 1 categories" in shown
    assert "2,000.00 coins" in shown
    for month in range(1, 8):
        MonthlyRewardJob.objects.create(year=2020, month=month)
    viewer.get(address("changelist", model="monthlyrewardjob"))
    with CaptureQueriesContext(connection) as captured:
        viewer.get(address("changelist", model="monthlyrewardjob"))
    assert len(captured) <= 19


def test_a_job_shows_each_category_with_a_link_to_its_payout(sign_in, ranked) -> None:
    job = paid(ranked)
    answer = sign_in("Viewer").get(address("change", job.pk, model="monthlyrewardjob"))
    shown = answer.content.decode()
    assert "There is nothing to do." in shown
    assert address("change", Distribution.objects.get().pk, model="distribution") in shown
    assert answer.context["figures"][1][1] == "3"
    assert address("retry", job.pk, model="monthlyrewardjob") not in shown


def test_a_failed_job_shows_what_failed_with_its_stack_and_is_retried(sign_in, ranked, monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("rewards.admin.running.poke", lambda job, trigger: asked.append(job) or True)
    job, operator = failed(ranked), sign_in("Operator")
    shown = operator.get(address("change", job.pk, model="monthlyrewardjob")).content.decode()
    assert "there is no system account &#x27;nowhere&#x27; in coins" in shown
    assert "Traceback" in shown
    retry = address("retry", job.pk, model="monthlyrewardjob")
    assert retry in shown
    assert "continues where it stopped" in operator.get(retry).content.decode()
    job.refresh_from_db()
    assert job.status == "failed"

    RankingCategory.objects.update(source="issuance")
    answer = operator.post(retry)
    assert "a worker was asked" in said(answer)
    assert asked == ["monthly_rewards"]
    job.refresh_from_db()
    assert job.status == "processing"
    assert AuditEvent.objects.get(event_type="monthly_rewards_retried").actor.username == "operator"
    run_job(job, timezone.now())
    job.refresh_from_db()
    assert job.status == "completed"
    assert "not_failed" in said(operator.post(retry))


def test_an_operator_starts_a_month_once(sign_in, ranked, monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("rewards.admin.running.poke", lambda job, trigger: asked.append(job) or True)
    operator, url = sign_in("Operator"), address("start", model="monthlyrewardjob")
    sent = {"month": last_month().month, "year": last_month().year}
    form = operator.get(url).context["form"]
    assert form.initial == sent
    answer = operator.post(url, sent)
    job = MonthlyRewardJob.objects.get()
    assert answer.url == address("change", job.pk, model="monthlyrewardjob")
    assert (job.actor.username, job.status, asked) == ("operator", "processing", ["monthly_rewards"])
    assert "started already" in said(operator.post(url, sent))
    assert (MonthlyRewardJob.objects.count(), len(asked)) == (1, 1)


def test_a_month_is_started_also_while_no_broker_is_there(sign_in, ranked, monkeypatch) -> None:
    monkeypatch.setattr("rewards.admin.running.poke", lambda job, trigger: False)
    answer = sign_in().post(
        address("start", model="monthlyrewardjob"), {"month": last_month().month, "year": last_month().year}
    )
    assert "The schedule runs the job when it is due" in said(answer)
    assert MonthlyRewardJob.objects.get().status == "processing"


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"month": 12, "year": 9000}, "month_not_over"),
        ({"month": 13, "year": 2024}, "Select a valid choice"),
        ({"month": 1, "year": 1800}, "greater than or equal to 1970"),
        ({"month": 1}, "required"),
    ],
)
def test_a_month_that_is_not_over_or_does_not_exist_is_not_started(sign_in, ranked, sent, sentence) -> None:
    assert sentence in sign_in().post(address("start", model="monthlyrewardjob"), sent).content.decode()
    assert not MonthlyRewardJob.objects.exists()


@pytest.mark.parametrize("role", ["Viewer", "Support", "Approver"])
def test_whoever_may_only_look_neither_starts_nor_retries(sign_in, ranked, role) -> None:
    job, client = failed(ranked), sign_in(role)
    start, retry = address("start", model="monthlyrewardjob"), address("retry", job.pk, model="monthlyrewardjob")
    shown = client.get(address("change", job.pk, model="monthlyrewardjob")).content.decode()
    assert "Traceback" in shown
    assert retry not in shown
    assert start not in client.get(address("changelist", model="monthlyrewardjob")).content.decode()
    for url in (start, retry):
        assert client.get(url).status_code == 403
        assert client.post(url, {"month": 1, "year": 2024}).status_code == 403
    job.refresh_from_db()
    assert (job.status, MonthlyRewardJob.objects.count()) == ("failed", 1)


@pytest.mark.parametrize("role", [None, "Administrator"])
def test_nobody_writes_a_job(sign_in, ranked, role) -> None:
    job, client = paid(ranked), sign_in(role)
    for view, *args in (("add",), ("change", job.pk), ("delete", job.pk)):
        answer = client.post(address(view, *args, model="monthlyrewardjob"), {"status": "failed", "post": "yes"})
        assert answer.status_code == 403
    job.refresh_from_db()
    assert job.status == "completed"


def test_a_month_that_waits_for_an_approver_says_so_with_its_payout(sign_in, ranked) -> None:
    RankingCategory.objects.update(approval_limit="1")
    job, _ = start_job(last_month().year, last_month().month, by="schedule", at=timezone.now())
    run_job(job, timezone.now())
    viewer = sign_in("Viewer")
    shown = viewer.get(address("change", job.pk, model="monthlyrewardjob")).content.decode()
    assert "waits for approval" in shown
    assert "wait for an approver" in shown
    assert "0 of 1 categories" in viewer.get(address("changelist", model="monthlyrewardjob")).content.decode()


def test_a_job_whose_worker_died_says_that_nobody_is_at_it(sign_in, ranked) -> None:
    job, _ = start_job(last_month().year, last_month().month, by="schedule", at=timezone.now())
    MonthlyRewardJob.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=11), worker="gone:1")
    viewer = sign_in("Viewer")
    assert "nobody is at it" in viewer.get(address("changelist", model="monthlyrewardjob")).content.decode()
    assert "another worker" in viewer.get(address("change", job.pk, model="monthlyrewardjob")).content.decode()


# -------------------------------------------------------------------------------------------------------- the dashboard


def dashboard(client: Any) -> str:
    return client.get(reverse("admin:index")).content.decode()


def test_the_dashboard_tells_of_a_month_that_is_late_failed_or_paid(sign_in, ranked, monkeypatch) -> None:
    monkeypatch.setattr("rewards.admin.running.poke", lambda job, trigger: True)
    viewer = sign_in("Viewer")
    shown = dashboard(viewer)
    if timezone.now() - last_month().end > timedelta(hours=1, minutes=5):
        assert f"{last_month().key} late" in shown
        assert "Somebody is not paid." in shown
    job = failed(ranked)
    shown = dashboard(viewer)
    assert f"Rewards of {job.period_key} failed" in shown
    assert "Somebody is not paid." in shown

    RankingCategory.objects.update(source="issuance")
    sign_in().post(address("retry", job.pk, model="monthlyrewardjob"))
    job.refresh_from_db()
    run_job(job, timezone.now())
    shown = dashboard(viewer)
    assert "completed, 2,000.00 coins" in shown
    assert f"Rewards of {job.period_key} failed" not in shown


# ------------------------------------------------------------------------------------------- paid, and not everybody is


def shown(client: Any, job: MonthlyRewardJob) -> tuple[str, dict[str, str], list[str]]:
    """What a month's page says: what to do, the figures by name, and in its table what each category was paid."""
    context = client.get(address("change", job.pk, model="monthlyrewardjob")).context
    figures = {name: value for name, value, _ in context["figures"]}
    return context["next_step"], figures, [str(row[-1]) for row in context["payouts_table"].rows]


def test_what_was_taken_back_is_not_said_to_be_paid(sign_in, ranked, staff, category, students) -> None:
    category("teachers", title="Teachers", active_since=during())
    job, root, otto = paid(ranked), sign_in(), staff("otto", "reverse_distribution")
    step, figures, _ = shown(root, job)
    assert step == "Everybody is paid for this month. There is nothing to do."
    assert (figures["Rewards"], figures["Paid"]) == ("6", "4,000.00 coins")

    take_back(Distribution.objects.get(programme="monthly:students").pk, otto, "by mistake")

    step, figures, table = shown(root, job)
    assert step == "What was paid for students was taken back. Everybody else is paid. There is nothing to do."
    assert (figures["Rewards"], figures["Paid"]) == ("3", "2,000.00 coins")
    assert table == ["2,000.00 coins, taken back", "2,000.00 coins"]

    take_back(Distribution.objects.get(programme="monthly:teachers").pk, otto, "as well")
    step, figures, _ = shown(root, job)
    assert step == "What was paid for students and teachers was taken back. There is nothing to do."
    assert (figures["Rewards"], figures["Paid"]) == ("0", "–")
    [line] = root.get(address("changelist", model="monthlyrewardjob")).context["cl"].result_list
    assert coins_in_words(line.payouts) == "–"


def test_what_was_rejected_is_not_said_to_be_paid(sign_in, ranked, staff) -> None:
    RankingCategory.objects.update(approval_limit="1")
    job, _ = start_job(last_month().year, last_month().month, by="schedule", at=timezone.now())
    run_job(job, timezone.now())
    reject(Distribution.objects.get().pk, staff("otto", "approve_distribution"), "too much")
    run_due(timezone.now())
    job.refresh_from_db()

    step, figures, _ = shown(sign_in(), job)

    assert job.status == "completed"
    assert step == "Nothing is paid for students: an approver rejected it. There is nothing to do."
    assert (figures["Rewards"], figures["Paid"]) == ("0", "–")


def test_of_what_failed_half_way_the_half_is_said_to_be_paid(sign_in, ranked, coins) -> None:
    set_parameter("distributions.chunk_rows", 2, actor=None, reason="test")
    RankingCategory.objects.update(source="treasury")
    funds = ledger.Move(ledger.system_account("issuance", coins), ledger.system_account("treasury", coins), 1_000_00)
    ledger.post("fund", "fund", [funds])
    job, _ = start_job(last_month().year, last_month().month, by="schedule", at=timezone.now())
    run_job(job, timezone.now())
    job.refresh_from_db()

    step, figures, table = shown(sign_in(), job)

    assert job.status == "failed"
    assert step.startswith("What is paid stays paid.")
    assert (figures["Rewards"], figures["Paid"], table) == ("1", "1,000.00 coins", ["1,000.00 coins"])
