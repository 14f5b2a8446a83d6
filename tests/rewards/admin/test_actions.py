"""What one may do in the admin, and what one may not."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from rewards.activity.models import ActivityEvent
from rewards.admin.running import known_tasks
from rewards.alerts.models import Alert
from rewards.alerts.services import raise_alert
from rewards.audit.models import AuditEvent, AuditSeal
from rewards.audit.services import seal_events
from rewards.distributions.models import Distribution, Reward
from rewards.jobs.schedules import create_missing_schedules
from rewards.ledger.models import Account, Currency, Journal, Transfer
from rewards.parameters.models import Parameter
from rewards.parameters.services import create_missing_parameters, param
from rewards.pools.models import Accrual, CcRate, Pool, RewardLog
from rewards.pools.services import create_default_pools
from rewards.users.models import User

APPEND_ONLY = [
    Account,
    Journal,
    Transfer,
    Reward,
    Distribution,
    ActivityEvent,
    Accrual,
    RewardLog,
    AuditEvent,
    AuditSeal,
]
ACTIONS = {
    "approve": "Operator", "reject": "Operator", "retry": "Approver", "reverse": "Operator",
}  # fmt: skip


def address(view: str, *args: Any, model: str = "rewards_distribution") -> str:
    return reverse(f"admin:{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


# ------------------------------------------------------------------------------------------------ nothing to be edited


@pytest.mark.parametrize("model", APPEND_ONLY, ids=lambda model: model.__name__)
def test_not_even_a_superuser_edits_what_is_history(sign_in, paid_hour, model) -> None:
    seal_events()
    root, row = sign_in(), model._default_manager.order_by("pk").last()
    if row is None:
        pytest.skip("what is not committed is not sealed: PostgreSQL has no seal within one transaction")
    before = model._default_manager.filter(pk=row.pk).values().get()
    base = f"rewards_{model._meta.model_name}"
    assert root.post(address("add", model=base), {"amount": 1}).status_code == 403
    assert root.post(address("change", row.pk, model=base), {"amount": 1}).status_code == 403
    assert root.post(address("delete", row.pk, model=base), {"post": "yes"}).status_code == 403
    swept = root.post(
        address("changelist", model=base), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    )
    assert swept.status_code in (200, 302, 403)
    assert model._default_manager.filter(pk=row.pk).values().get() == before


def test_no_list_offers_an_action_on_many_rows() -> None:
    offering = [model for model, model_admin in admin.site._registry.items() if model_admin.actions]
    assert offering == []


# ------------------------------------------------------------------------------------------------------- distributions


@pytest.mark.parametrize(("action", "role"), ACTIONS.items())
def test_staff_without_the_right_is_refused_each_action(sign_in, failed_hour, action, role) -> None:
    for distribution in Distribution.objects.all():
        for who in (sign_in(role), sign_in("Viewer")):
            assert who.get(address(action, distribution.pk)).status_code == 403
            assert who.post(address(action, distribution.pk), {"reason": "I want to"}).status_code == 403
    assert set(Distribution.objects.values_list("status", flat=True)) == {"paid", "allocated", "failed"}


def test_who_may_approve_but_not_look_is_refused(sign_in, waiting_hour, make_user) -> None:
    blind = make_user("blind", is_staff=True)
    blind.user_permissions.add(Permission.objects.get(codename="approve_distribution"))
    client = Client()
    client.force_login(blind)
    assert client.post(address("approve", waiting_hour.pk)).status_code == 403


def test_an_approver_sees_in_numbers_what_will_be_paid_approves_and_it_is_paid(sign_in, waiting_hour) -> None:
    approver = sign_in("Approver")
    asked = approver.get(address("approve", waiting_hour.pk)).content.decode()
    assert "75 points will be paid to 2 recipients from pool:hourly (points)." in asked
    assert waiting_hour.digest in asked

    answer = approver.post(address("approve", waiting_hour.pk), {"digest": waiting_hour.digest}, follow=True)
    assert "is paid: 75 points to 2 recipients." in answer.content.decode()
    waiting_hour.refresh_from_db()
    assert (waiting_hour.status, waiting_hour.approved_by.username) == ("paid", "approver")


def test_a_distribution_that_changed_since_it_was_looked_at_is_not_approved(sign_in, waiting_hour) -> None:
    answer = sign_in("Approver").post(address("approve", waiting_hour.pk), {"digest": "0" * 64})
    assert "(digest_mismatch)" in said(answer)
    waiting_hour.refresh_from_db()
    assert waiting_hour.status == "allocated"


@pytest.mark.parametrize("part", ["actor", "prepared_by"])
def test_nobody_approves_what_he_opened_or_prepared(sign_in, waiting_hour, part) -> None:
    approver = sign_in("Approver")
    people = {"actor": User.objects.get(username="carol")} | {part: User.objects.get(username="approver")}
    Distribution.objects.filter(pk=waiting_hour.pk).update(**people)
    answer = approver.post(address("approve", waiting_hour.pk))
    assert "Ask another approver. (own_approval)" in said(answer)
    waiting_hour.refresh_from_db()
    assert waiting_hour.status == "allocated"


def test_approving_twice_says_that_it_is_done(sign_in, waiting_hour) -> None:
    approver = sign_in("Approver")
    approver.post(address("approve", waiting_hour.pk))
    again = approver.post(address("approve", waiting_hour.pk))
    assert "(not_waiting_for_approval)" in said(again)


def test_rejecting_takes_a_reason_and_carries_the_amount_over(sign_in, waiting_hour) -> None:
    approver = sign_in("Approver")
    without = approver.post(address("reject", waiting_hour.pk), {"reason": "  "})
    assert "Say why" in without.content.decode()
    approver.post(address("reject", waiting_hour.pk), {"reason": "Bob voted for himself"})
    waiting_hour.refresh_from_db()
    assert (waiting_hour.status, waiting_hour.reason) == ("cancelled", "Bob voted for himself")
    assert waiting_hour.carried_over == waiting_hour.amount


def test_reversing_takes_a_reason_says_what_comes_back_and_is_final(sign_in, paid_hour) -> None:
    approver = sign_in("Approver")
    asked = approver.get(address("reverse", paid_hour.pk)).content.decode()
    assert "150 points are taken back from 3 recipients" in asked
    approver.post(address("reverse", paid_hour.pk), {"reason": "Wrong rate"})
    paid_hour.refresh_from_db()
    assert paid_hour.status == "reversed"
    assert "(nothing_to_reverse)" in said(approver.post(address("reverse", paid_hour.pk), {"reason": "Again"}))


def test_a_failed_payout_is_retried_and_says_when_it_fails_again(sign_in, failed_hour) -> None:
    operator = sign_in("Operator")
    assert "failed again" in said(operator.post(address("retry", failed_hour.pk)))
    Distribution.objects.filter(pk=failed_hour.pk).update(rule={"rule": "equal"})
    assert "is paid" in said(operator.post(address("retry", failed_hour.pk)))


def test_only_what_can_be_done_now_is_offered(sign_in, failed_hour, waiting_hour, paid_hour) -> None:
    root = sign_in()

    def offered(distribution: Distribution) -> set[str]:
        shown = root.get(address("change", distribution.pk)).content.decode()
        return {
            name
            for name in ("approve", "reject", "retry", "reverse", "verify")
            if f'{distribution.pk}/{name}/"' in shown
        }

    assert offered(paid_hour) == {"reverse", "verify"}
    assert offered(waiting_hour) == {"approve", "reject", "verify"}
    assert offered(failed_hour) == {"retry"}


def test_verifying_says_that_all_agrees_and_names_what_does_not(sign_in, paid_hour) -> None:
    root = sign_in()
    assert "Everything agrees" in root.get(address("verify", paid_hour.pk)).content.decode()
    Reward.objects.filter(distribution=paid_hour, position=1).update(amount=1)
    shown = root.get(address("verify", paid_hour.pk)).content.decode()
    assert "row 1 says 1" in shown


# --------------------------------------------------------------------------------------------------- rules, parameters


def pool_form(pool: Pool, **changes: Any) -> dict[str, Any]:
    return {
        "title": pool.title, "active": "on", "share": "0.25", "rule": json.dumps(pool.rule), "approval_units": "",
        "tie_policy": "earliest",
    } | changes  # fmt: skip


def test_a_rule_with_a_weight_that_makes_no_sense_is_refused_with_the_sentence_at_the_field(sign_in, pools) -> None:
    hourly, _ = pools
    rule = json.loads(json.dumps(hourly.rule))
    rule["slices"][1]["weight"] = "-1"
    answer = sign_in().post(
        address("change", hourly.pk, model="rewards_pool"), pool_form(hourly, rule=json.dumps(rule))
    )
    assert answer.context["adminform"].form.errors["rule"] == [
        "slices[1].weight: must be above zero; leave out what is not wanted"
    ]
    hourly.refresh_from_db()
    assert hourly.rule["slices"][1]["weight"] == "1"


@pytest.mark.parametrize("text", ["{", "[]", "null", '"equal"', '{"rule": "equal", "extra": 1}'])
def test_what_is_no_rule_is_refused(sign_in, pools, text) -> None:
    hourly, _ = pools
    answer = sign_in().post(address("change", hourly.pk, model="rewards_pool"), pool_form(hourly, rule=text))
    assert "rule" in answer.context["adminform"].form.errors


def test_the_approval_limit_is_written_in_currency_units_and_the_change_is_history(sign_in, coins) -> None:
    create_default_pools(coins)
    pool, root = Pool.objects.get(slug="hourly"), sign_in()
    change = address("change", pool.pk, model="rewards_pool")
    refused = root.post(change, pool_form(pool, approval_units="12.345"))
    assert "more than the 2 decimals" in str(refused.context["adminform"].form.errors["approval_units"])
    root.post(change, pool_form(pool, approval_units="12.34", rule=json.dumps({"rule": "equal"})))
    pool.refresh_from_db()
    assert pool.approval_limit == 1234
    assert 'value="12.34"' in root.get(change).content.decode()
    history = root.get(address("history", pool.pk, model="rewards_pool")).content.decode()
    assert "1234 minor units" in history
    assert "changed by root" in history
    assert "&quot;rule&quot;: &quot;equal&quot;" in history


def test_an_old_version_is_looked_at_and_never_written_back(sign_in, pools) -> None:
    hourly, _ = pools
    first = hourly.history.order_by("history_id").first()
    url = address("simple_history", hourly.pk, first.history_id, model="rewards_pool")
    root = sign_in()
    assert root.get(url).status_code == 200
    assert root.post(url, pool_form(hourly, title="Mine")).status_code == 403
    hourly.refresh_from_db()
    assert hourly.title == "Hourly pool"


def test_pools_are_neither_added_nor_deleted_here(sign_in, pools) -> None:
    root = sign_in()
    assert root.get(address("add", model="rewards_pool")).status_code == 403
    assert root.post(address("delete", pools[0].pk, model="rewards_pool"), {"post": "yes"}).status_code == 403


def test_a_top_up_counts_once_however_often_the_form_is_sent(sign_in, paid_hour, pools) -> None:
    root, url = sign_in(), address("top_up", pools[0].pk, model="rewards_pool")
    form = {"amount": "500", "period": "2026-11-20T12", "reason": "A gift", "key": "once"}
    for _ in range(2):
        assert root.post(url, form).status_code == 302
    assert Journal.objects.filter(kind="pool_top_up").count() == 1
    frozen = root.post(url, form | {"period": "2026-11-20T07", "key": "two"})
    assert "(period_frozen)" in frozen.content.decode()
    assert "too large" in root.post(url, form | {"amount": "9" * 30}).content.decode()
    assert sign_in("Operator").post(url, form).status_code == 403


def test_a_rate_is_exact_and_not_negative(sign_in, points) -> None:
    root, url = sign_in(), address("add", model="rewards_ccrate")
    form = {"starts_at_0": "2026-11-21", "starts_at_1": "07:00:00", "units_per_cc": "0.1", "bonus_rate": "-1"}
    assert "not negative" in str(root.post(url, form).context["adminform"].form.errors["bonus_rate"])
    root.post(url, form | {"bonus_rate": "0.000000000000000001"})
    assert CcRate.objects.get().bonus_rate == Decimal("0.000000000000000001")


def test_decimals_of_a_currency_are_fixed_once_an_account_holds_it(sign_in, points, paid_hour) -> None:
    root, url = sign_in(), address("change", points.pk, model="rewards_currency")
    root.post(url, {"code": "points", "name": "Points", "symbol": "P", "decimals": "2", "active": "on"})
    points.refresh_from_db()
    assert (points.symbol, points.decimals) == ("P", 0)
    assert root.post(address("delete", points.pk, model="rewards_currency"), {"post": "yes"}).status_code == 403
    assert Currency.objects.filter(pk=points.pk).exists()


def test_a_parameter_takes_a_value_that_fits_and_a_reason(sign_in) -> None:
    create_missing_parameters()
    chunk = Parameter.objects.get(key="distributions.chunk_rows")
    root, url = sign_in(), address("change", chunk.pk, model="rewards_parameter")
    refused = root.post(url, {"value": "1000", "reason": "Faster"}).context["adminform"].form.errors
    assert "power of two" in str(refused["value"])
    assert "Say why" in str(root.post(url, {"value": "1024"}).context["adminform"].form.errors["reason"])
    root.post(url, {"value": "1024", "reason": "Smaller transactions"})
    chunk.refresh_from_db()
    newest = chunk.history.first()
    assert (chunk.value, newest.history_user.username, newest.history_change_reason) == (
        1024, "root", "Smaller transactions",
    )  # fmt: skip


def test_false_is_a_value(sign_in) -> None:
    create_missing_parameters()
    paused = Parameter.objects.get(key="payouts_paused")
    root, url = sign_in(), address("change", paused.pk, model="rewards_parameter")
    root.post(url, {"value": "true", "reason": "Stop"})
    root.post(url, {"value": "false", "reason": "Go on"})
    assert param("payouts_paused") is False
    assert paused.history.count() == 3


def test_payouts_are_paused_and_resumed_with_a_reason(sign_in) -> None:
    root = sign_in()
    pause, resume = address("pause", model="rewards_parameter"), address("resume", model="rewards_parameter")
    assert "Say why" in root.post(pause, {"reason": ""}).content.decode()
    root.post(pause, {"reason": "Something is odd"})
    assert param("payouts_paused") is True
    root.post(resume, {"reason": "It was not"})
    assert param("payouts_paused") is False
    assert set(AuditEvent.objects.values_list("event_type", flat=True)) == {"payouts_paused", "payouts_resumed"}
    assert sign_in("Operator").post(pause, {"reason": "Me too"}).status_code == 403


# -------------------------------------------------------------------------------------------------------- jobs, alerts


def test_a_schedule_runs_a_known_job_and_nothing_else(sign_in) -> None:
    create_missing_schedules()
    task = PeriodicTask.objects.get(name="run_hourly")
    root, url = sign_in(), address("change", task.pk, model="django_celery_beat_periodictask")
    form = {"name": "run_hourly", "task": "celery.backend_cleanup", "enabled": "on", "crontab": task.crontab_id}
    assert "task" in root.post(url, form).context["adminform"].form.errors
    root.post(url, form | {"task": task.task, "description": "Pay the hours"})
    task.refresh_from_db()
    assert task.description == "Pay the hours"
    assert task.history.first().history_user.username == "root"
    assert known_tasks()


def test_running_a_job_now_goes_to_a_worker_and_is_audited(sign_in, settings, monkeypatch) -> None:
    create_missing_schedules()
    asked = []
    monkeypatch.setattr("celery.app.base.Celery.send_task", lambda self, name, **kwargs: asked.append((name, kwargs)))
    task = PeriodicTask.objects.get(name="check_ledger")
    url = address("run_job", task.pk, model="django_celery_beat_periodictask")
    assert sign_in("Viewer").post(url).status_code == 403
    assert "asked to run check_ledger" in said(sign_in("Operator").post(url))
    assert [(name, kwargs["kwargs"]) for name, kwargs in asked] == [
        ("rewards.tasks.check_ledger", {"trigger": "operator"})
    ]
    assert AuditEvent.objects.get(event_type="job_requested").actor.username == "operator"


def test_a_schedule_of_something_foreign_is_not_run_from_here(sign_in) -> None:
    create_missing_schedules()
    task = PeriodicTask.objects.get(name="check_ledger")
    PeriodicTask.objects.filter(pk=task.pk).update(task="os.system")
    answer = sign_in().post(address("run_job", task.pk, model="django_celery_beat_periodictask"))
    assert "(unknown_job)" in said(answer)


def test_the_actions_of_the_scheduler_library_are_gone(sign_in) -> None:
    create_missing_schedules()
    task = PeriodicTask.objects.first()
    url = address("changelist", model="django_celery_beat_periodictask")
    for action in ("run_tasks", "enable_tasks", "disable_tasks", "toggle_tasks", "delete_selected"):
        sign_in("Viewer").post(url, {"action": action, "_selected_action": [task.pk], "post": "yes"})
    task.refresh_from_db()
    assert task.enabled


def test_a_crontab_in_use_is_not_deleted_under_its_jobs(sign_in) -> None:
    create_missing_schedules()
    crontab = PeriodicTask.objects.get(name="run_hourly").crontab
    url = address("delete", crontab.pk, model="django_celery_beat_crontabschedule")
    assert sign_in().post(url, {"post": "yes"}).status_code == 403


def test_an_alert_is_resolved_by_an_operator_and_leaves_the_list(sign_in) -> None:
    raise_alert("pool_nearly_dry", "treasury", "Three days are left.")
    alert = Alert.objects.get()
    url, listed = address("resolve", alert.pk, model="rewards_alert"), address("changelist", model="rewards_alert")
    assert sign_in("Viewer").post(url).status_code == 403
    operator = sign_in("Operator")
    assert "pool_nearly_dry" in operator.get(listed).content.decode()
    operator.post(url)
    alert.refresh_from_db()
    assert alert.resolved_at is not None
    assert operator.get(listed).context["cl"].result_count == 0
    assert operator.get(listed, {"state": "resolved"}).context["cl"].result_count == 1


def check_the_chain(root: Client) -> None:
    seal_events()
    if not AuditSeal.objects.exists():
        pytest.skip("what is not committed is not sealed: PostgreSQL has no seal within one transaction")
    url, head = address("verify", model="rewards_auditseal"), AuditSeal.objects.latest("pk").hash
    assert "The chain is intact" in root.get(url).content.decode()
    assert "The chain is intact" in root.get(url, {"expect": head}).content.decode()
    assert "is not on the chain" in root.get(url, {"expect": "f" * 64}).content.decode()


def test_the_audit_chain_is_verified_against_a_head_kept_elsewhere(sign_in, paid_hour) -> None:
    check_the_chain(sign_in())


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_the_audit_chain_is_verified_where_only_committed_events_are_sealed(sign_in, paid_hour) -> None:
    check_the_chain(sign_in())


# -------------------------------------------------------------------------------------------------------------- people


def test_who_may_edit_users_cannot_give_rights_or_take_over_a_superuser(sign_in) -> None:
    sign_in()
    administrator = sign_in("Administrator")
    me, root = User.objects.get(username="administrator"), User.objects.get(username="root")
    administrator.post(
        address("change", me.pk, model="rewards_user"),
        {"username": "administrator", "is_active": "on", "is_staff": "on", "is_superuser": "on", "name": "Me"},
    )
    me.refresh_from_db()
    assert (me.name, me.is_superuser) == ("Me", False)
    password = reverse("admin:auth_user_password_change", args=[root.pk])
    assert administrator.post(password, {"password1": "a-new-one-1", "password2": "a-new-one-1"}).status_code == 403
    administrator.post(address("change", root.pk, model="rewards_user"), {"username": "root2"})
    root.refresh_from_db()
    assert (root.username, root.is_active) == ("root", True)


def test_users_are_switched_off_not_deleted(sign_in, alice) -> None:
    assert sign_in().post(address("delete", alice.pk, model="rewards_user"), {"post": "yes"}).status_code == 403
