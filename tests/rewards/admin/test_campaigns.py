"""Campaigns in the admin: prepared, given a list in two steps, previewed, run with an approval, exported."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from rewards.admin import campaign_upload
from rewards.admin.campaigns import CampaignParticipantAdmin
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.campaigns.services import create_campaign, run_due, store_rows
from rewards.distributions.models import Distribution, Reward
from rewards.ledger.models import Currency
from rewards.ledger.services import balance, user_account
from rewards.parameters.services import create_missing_parameters
from rewards.users.models import User

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIST = "user,weight\nalice,3\nbob,1\n"


def address(view: str, *args: Any, model: str = "campaign") -> str:
    return reverse(f"admin:rewards_{model}_{view}", args=args)


def said(response: Any) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def filled(paid_in: Currency, **changes: Any) -> dict[str, Any]:
    """The form of a campaign as a browser sends it."""
    return {
        "slug": "grants", "title": "Grants", "status": "draft", "currency": paid_in.pk, "amount_units": "100",
        "source": "issuance", "approval_units": "", "participants_source": "upload", "period": "previous",
        "rule": '{"rule": "proportional"}', "tie_policy": "earliest", "starts_at_0": "", "starts_at_1": "",
        "schedule": "",
    } | changes  # fmt: skip


def errors_of(answer: Any) -> dict[str, str]:
    assert answer.status_code == 200, "it was saved"
    return {name: " ".join(sentences) for name, sentences in answer.context["adminform"].form.errors.items()}


@pytest.fixture
def people(alice: User, bob: User, carol: User) -> dict[str, int]:
    create_missing_parameters()
    return {user.username: user.pk for user in (alice, bob, carol)}


@pytest.fixture
def grants(people: dict[str, int], coins: Currency) -> Campaign:
    """Sixty coins by weight among Alice (3), Bob (2) and Carol (1)."""
    campaign = create_campaign(
        slug="grants", title="Grants", currency=coins, amount=6_000, rule={"rule": "proportional"}, at=NOON
    )
    lines = [(people[name], weight, None, "") for name, weight in (("alice", "3"), ("bob", "2"), ("carol", "1"))]
    store_rows(campaign.pk, lines, actor=None, at=NOON)
    campaign.refresh_from_db()
    return campaign


def lines_of(campaign: Campaign) -> list[tuple[str, str]]:
    return list(campaign.lines.order_by("user__username").values_list("user__username", "weight"))


# ------------------------------------------------------------------------------------------------------------ prepared


def test_amounts_are_written_in_currency_units_and_read_back_the_same(sign_in, people, coins) -> None:
    root = sign_in()
    sent = filled(coins, amount_units="1234.50", approval_units="1000")
    answer = root.post(address("add"), sent)
    campaign = Campaign.objects.get()
    assert answer.url == address("change", campaign.pk)
    assert (campaign.amount, campaign.approval_limit, campaign.status) == (123_450, 100_000, "draft")
    assert campaign.prepared_by.username == "root"
    form = root.get(answer.url).context["adminform"].form
    assert (form["amount_units"].value(), form["approval_units"].value()) == ("1234.50", "1000.00")


@pytest.mark.parametrize(
    ("fields", "participants"),
    [
        ({"participants_source": "upload"}, {"source": "upload"}),
        (
            {"participants_source": "counter", "metric": "steps", "period": "previous", "month": "2026-10"},
            {"source": "counter", "metric": "steps", "month": "previous"},
        ),
        (
            {"participants_source": "counter", "metric": "steps", "period": "month", "month": "2026-10"},
            {"source": "counter", "metric": "steps", "month": "2026-10"},
        ),
        (
            {"participants_source": "counter", "metric": "steps", "period": ""},
            {"source": "counter", "metric": "steps", "month": ""},
        ),
        ({"participants_source": "holders", "held": "coins"}, {"source": "holders", "currency": "coins"}),
    ],
)
def test_participants_are_chosen_by_fields_and_the_fields_say_it_again(
    sign_in, people, coins, fields, participants
) -> None:
    sent = fields | ({"held": coins.pk} if "held" in fields else {})
    root = sign_in()
    root.post(address("add"), filled(coins, **sent))
    campaign = Campaign.objects.get()
    assert campaign.participants == participants
    form = root.get(address("change", campaign.pk)).context["adminform"].form
    again = {name: getattr(form[name].value(), "pk", form[name].value()) for name in sent}
    expected = sent | ({"month": ""} if sent.get("period") == "previous" else {})
    assert again == expected


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"amount_units": "1.234"}, "amount_units", "2 decimals"),
        ({"amount_units": ""}, "amount_units", "say how much"),
        ({"amount_units": "0"}, "amount_units", "above zero"),
        ({"approval_units": "-1"}, "approval_units", "not negative"),
        ({"slug": "no slug"}, "slug", "valid"),
        ({"participants_source": "counter"}, "metric", "name a metric"),
        ({"participants_source": "counter", "metric": "m", "period": "month", "month": "x"}, "metric", "month"),
        ({"participants_source": "holders"}, "held", "no currency"),
        ({"schedule": "daily"}, "starts_at", "first instant"),
        ({"rule": '{"rule": "equal", "by": "x"}'}, "rule", "not known here"),
        ({"rule": '{"rule": "tiers", "tiers": [{"to": 1, "each": "0.001"}]}'}, "rule", "tiers[0].each: "),
        ({"rule": '{"rule": "fixed"}', "participants_source": "holders", "held": "coins"}, "rule", "no amounts"),
        ({"currency": ""}, "currency", "required"),
        ({"source": "nowhere"}, "source", "valid choice"),
    ],
)
def test_what_does_not_fit_is_said_at_its_field_and_nothing_is_saved(
    sign_in, people, coins, changes, field, sentence
) -> None:
    if "held" in changes:
        changes = changes | {"held": coins.pk}
    errors = errors_of(sign_in().post(address("add"), filled(coins, **changes)))
    assert sentence.lower() in errors[field].lower()
    assert not Campaign.objects.exists()


def test_a_change_is_history_with_who_and_what_and_prepares_the_campaign(sign_in, grants, coins) -> None:
    admin = sign_in("Administrator")
    url = address("change", grants.pk)
    rule = {
        "rule": "slices",
        "slices": [{"name": "a", "weight": "1", "members": {"top": 2}, "rule": {"rule": "equal"}}],
    }
    assert admin.post(url, filled(coins, amount_units="70", rule=json.dumps(rule))).status_code == 302
    grants.refresh_from_db()
    assert (grants.amount, grants.rule, grants.prepared_by.username) == (7_000, rule, "administrator")
    assert grants.rows == 3  # the list stays
    shown = admin.get(address("history", grants.pk)).content.decode()
    assert "changed by administrator" in shown
    assert "<del>6000 minor units</del> → <ins>7000 minor units</ins>" in shown
    assert "&quot;rule&quot;: &quot;slices&quot;" in shown


@pytest.mark.parametrize("role", ["Viewer", "Support", "Operator", "Approver"])
def test_whoever_prepares_no_campaigns_reads_them_and_changes_nothing(sign_in, grants, coins, role) -> None:
    staff = sign_in(role)
    shown = staff.get(address("change", grants.pk)).content.decode()
    assert "The amount is shared in proportion to the score." in shown
    assert 'name="amount_units"' not in shown
    for url in (address("change", grants.pk), address("add"), address("upload", grants.pk)):
        assert staff.post(url, filled(coins, title="Mine")).status_code == 403
    assert staff.post(address("delete", grants.pk), {"post": "yes"}).status_code == 403
    if role != "Operator":
        for action in ("run", "cancel"):
            assert staff.post(address(action, grants.pk), {"reason": "I want to"}).status_code == 403
    grants.refresh_from_db()
    assert (grants.title, grants.status) == ("Grants", "draft")


# -------------------------------------------------------------------------------------------------------------- upload


@pytest.fixture
def uploads(settings: Any, tmp_path: Path) -> Callable[[], list[Path]]:
    """The files that are kept just now."""
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    return lambda: list(tmp_path.glob("rewards-uploads-*/*"))


def sent(client: Client, campaign: Campaign, content: str | bytes, **fields: Any) -> Any:
    data = content.encode() if isinstance(content, str) else content
    given = {"file": SimpleUploadedFile("list.csv", data), "user": "user", "amount_scale": "1"} | fields
    return client.post(address("upload", campaign.pk), given)


def test_a_list_is_looked_at_first_and_taken_then(sign_in, grants, uploads) -> None:
    root = sign_in()
    looked = sent(root, grants, LIST)
    shown = looked.content.decode()
    assert "It takes the place of the 3 lines" in shown
    assert "60.00 coins" in shown
    assert "to 2 recipients" in shown
    assert looked.context["columns"] == "user, weight"
    assert lines_of(grants) == [("alice", "3"), ("bob", "2"), ("carol", "1")]
    (kept,) = uploads()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    answer = root.post(address("upload", grants.pk), {"kept": looked.context["kept"]})
    assert answer.url == address("change", grants.pk)
    assert "grants: 2 lines are its list now." in said(answer)
    assert lines_of(grants) == [("alice", "3"), ("bob", "1")]
    assert "List of 2 lines" in root.get(address("history", grants.pk)).content.decode()
    assert uploads() == []
    again = root.post(address("upload", grants.pk), {"kept": looked.context["kept"]})
    assert "(file_gone)" in said(again)


def test_bad_lines_are_listed_with_number_and_reason_and_nothing_is_kept(sign_in, grants, uploads) -> None:
    answer = sent(sign_in(), grants, "user,weight\nalice,-1\nnobody,1\nbob,x\nbob,1\nbob,2\n")
    shown = answer.content.decode()
    assert "4 bad lines: nothing is stored." in shown
    assert answer.context["table"].rows[0] == ("2", "the weight is negative")
    assert [row[0] for row in answer.context["table"].rows] == ["2", "3", "4", "6"]
    assert uploads() == []
    assert len(lines_of(grants)) == 3


def test_unknown_users_are_counted_and_created_when_the_list_is_taken(sign_in, grants, uploads) -> None:
    root = sign_in()
    looked = sent(root, grants, gzip.compress(b"user,weight\nalice,1\ndora,1\nemil,1\n"), create_users="on")
    assert ("Users to create", "2", "not known yet") in looked.context["figures"]
    assert not User.objects.filter(username="dora").exists()
    answer = root.post(address("upload", grants.pk), {"kept": looked.context["kept"]})
    assert "2 users created" in said(answer)
    assert [name for name, _ in lines_of(grants)] == ["alice", "dora", "emil"]


def test_columns_and_scale_are_named_and_amounts_are_exact(sign_in, grants, uploads) -> None:
    Campaign.objects.filter(pk=grants.pk).update(rule={"rule": "fixed"}, amount=None)
    root = sign_in()
    content = "who,cents,weight\nalice,1050,7\nbob,1,8\n"
    looked = sent(root, grants, content, user="who", amount="cents", amount_scale="0.01")
    assert looked.context["figures"][2][:2] == ("Amounts together", "10.51 coins")
    root.post(address("upload", grants.pk), {"kept": looked.context["kept"]})
    assert list(grants.lines.order_by("pk").values_list("amount", "weight")) == [(1050, "7"), (1, "8")]


@pytest.mark.parametrize(
    ("content", "fields", "sentence"),
    [
        ("", {}, "submitted file is empty"),
        ("user,weight\n", {}, "(empty_list)"),
        (b"\xff\xfe\x00", {}, "(unreadable_file)"),
        ("name,weight\nalice,1\n", {}, "no column &#x27;user&#x27;"),
        (LIST, {"weight": "points"}, "no column &#x27;points&#x27;"),
        (LIST, {"amount_scale": "0"}, "not a decimal number above zero"),
        (LIST, {"user": ""}, "This field is required"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(
    sign_in, grants, uploads, content, fields, sentence
) -> None:
    assert sentence in sent(sign_in(), grants, content, **fields).content.decode()
    assert uploads() == []
    assert len(lines_of(grants)) == 3


def test_a_file_that_is_too_large_for_a_page_goes_to_the_command(sign_in, grants, uploads, monkeypatch) -> None:
    monkeypatch.setattr(campaign_upload, "LARGEST_BYTES", 10)
    assert "use manage.py distribute_file" in sent(sign_in(), grants, LIST).content.decode()


def test_a_kept_file_is_nobody_elses_and_may_be_discarded(sign_in, grants, uploads, coins) -> None:
    root, other = sign_in(), sign_in("Administrator")
    signed = sent(root, grants, LIST).context["kept"]
    second = create_campaign(slug="second", currency=coins, amount=1, rule={"rule": "equal"}, at=NOON)
    for who, campaign, text in ((other, grants, signed), (root, second, signed), (root, grants, signed + "x")):
        assert "(file_gone)" in said(who.post(address("upload", campaign.pk), {"kept": text}))
    assert len(uploads()) == 1
    root.post(address("upload", grants.pk), {"kept": signed, "discard": "1"})
    assert uploads() == []
    assert len(lines_of(grants)) == 3


def test_what_is_kept_for_too_long_is_removed(sign_in, grants, uploads, monkeypatch) -> None:
    root = sign_in()
    sent(root, grants, LIST)
    monkeypatch.setattr("rewards.admin.common.kept_files.KEPT_SECONDS", -1)
    sent(root, grants, LIST)
    assert len(uploads()) == 1


# ------------------------------------------------------------------------------------------------------------- preview


def test_a_preview_shows_who_would_get_what_and_against_another_rule_who_gains(sign_in, grants) -> None:
    viewer, url = sign_in("Viewer"), address("preview", grants.pk)
    shown = viewer.get(url)
    assert [(row[1], row[3]) for row in shown.context["preview_best"].rows] == [
        ("alice", "30.00"), ("bob", "20.00"), ("carol", "10.00"),
    ]  # fmt: skip
    answer = viewer.post(url, {"rule": '{"rule": "equal"}', "tie_policy": "earliest"})
    comparison = answer.context["comparison"]
    assert [change.user for change in comparison.gaining.largest] == ["carol"]
    assert [(change.user, change.difference) for change in comparison.losing.largest] == [("alice", -1000)]
    assert not Distribution.objects.exists()
    grants.refresh_from_db()
    assert grants.rule == {"rule": "proportional"}


def test_a_rule_that_cannot_be_previewed_says_where_and_leaves_the_figures(sign_in, grants) -> None:
    rules = {
        '{"rule": "tiers", "tiers": [{"to": 1, "each": "x"}]}': "tiers[0].each: write",
        '{"rule": "tiers", "tiers": [{"to": 1, "each": "61"}]}': "only 60.00 coins are there",
        '{"rule": "fixed"}': "fixed needs an amount",
    }
    for rule, sentence in rules.items():
        answer = sign_in().post(address("preview", grants.pk), {"rule": rule, "tie_policy": "earliest"})
        assert sentence in str(answer.context["form"].errors)
        assert answer.context["preview_best"].rows


def test_a_campaign_that_cannot_be_run_says_why_in_preview_and_run(sign_in, coins, people) -> None:
    empty = create_campaign(slug="empty", currency=coins, amount=100, rule={"rule": "fixed"}, at=NOON)
    root = sign_in()
    assert "upload the list" in root.get(address("change", empty.pk)).content.decode()
    assert "(empty_list)" in said(root.post(address("run", empty.pk)))
    assert not Distribution.objects.exists()


# ----------------------------------------------------------------------------------------------------------------- run


def test_an_operator_reads_in_numbers_what_a_run_pays_and_it_is_paid(sign_in, grants, coins, alice) -> None:
    operator, url = sign_in("Operator"), address("run", grants.pk)
    assert "60.00 coins for 3 recipients are paid from issuance at once." in operator.get(url).content.decode()
    answer = operator.post(url, follow=True)
    paid = Distribution.objects.get(programme="campaign:grants")
    assert "is paid: 60.00 coins to 3 recipients." in answer.content.decode()
    assert f'href="/admin/rewards/distribution/{paid.pk}/change/">See the run' in answer.content.decode()
    assert balance(user_account(alice, coins)) == 3_000
    grants.refresh_from_db()
    assert grants.status == "done"
    operator.post(url)
    assert balance(user_account(alice, coins)) == 3_000


def test_nothing_is_editable_once_it_has_begun(sign_in, grants, coins, uploads) -> None:
    root = sign_in()
    kept = sent(root, grants, LIST).context["kept"]
    root.post(address("run", grants.pk))
    assert 'name="amount_units"' not in root.get(address("change", grants.pk)).content.decode()
    assert root.post(address("change", grants.pk), filled(coins, amount_units="1")).status_code == 403
    assert "(campaign_over)" in said(root.post(address("upload", grants.pk), {"kept": kept}))
    assert "(campaign_over)" in said(root.post(address("cancel", grants.pk), {"reason": "Too late"}))
    assert len(lines_of(grants)) == 3


def test_from_its_limit_on_a_run_waits_for_somebody_else_who_approves_the_digest(sign_in, grants, alice) -> None:
    Campaign.objects.filter(pk=grants.pk).update(approval_limit=6_000)
    root = sign_in()
    assert "then wait for an approver" in root.get(address("run", grants.pk)).content.decode()
    assert "waits for approval" in said(root.post(address("run", grants.pk)))
    waiting = Distribution.objects.get(programme="campaign:grants")
    assert "waits for an approver" in root.get(address("change", grants.pk)).content.decode()
    assert "waits for approval" in root.get(address("changelist")).content.decode()
    approve = reverse("admin:rewards_distribution_approve", args=[waiting.pk])
    assert "(own_approval)" in said(root.post(approve, {"digest": waiting.digest}))
    assert "is paid" in said(sign_in("Approver").post(approve, {"digest": waiting.digest}))
    assert Reward.objects.get(distribution=waiting, user=alice).amount == 3_000


def test_only_what_can_be_done_now_is_offered(sign_in, grants) -> None:
    root = sign_in()

    def offered() -> set[str]:
        shown = root.get(address("change", grants.pk)).content.decode()
        names = ("upload", "preview", "run", "cancel", "export")
        return {name for name in names if f'href="{address(name, grants.pk)}"' in shown}

    assert offered() == {"upload", "preview", "run", "cancel"}
    Campaign.objects.filter(pk=grants.pk).update(participants={"source": "holders", "currency": "coins"})
    assert offered() == {"preview", "run", "cancel"}
    Campaign.objects.filter(pk=grants.pk).update(
        starts_at=datetime.now(UTC) + timedelta(days=1), participants={"source": "upload"}
    )
    assert offered() == {"upload", "preview", "cancel"}
    Campaign.objects.filter(pk=grants.pk).update(starts_at=None)
    root.post(address("run", grants.pk))
    assert offered() == {"preview", "export"}


def test_a_campaign_is_cancelled_with_a_reason_and_never_runs(sign_in, grants) -> None:
    operator, url = sign_in("Operator"), address("cancel", grants.pk)
    assert "Say why" in operator.post(url, {"reason": " "}).content.decode()
    assert "grants is cancelled." in said(operator.post(url, {"reason": "The wrong list"}))
    assert "(campaign_over)" in said(operator.post(address("run", grants.pk)))
    history = sign_in().get(address("history", grants.pk)).content.decode()
    assert "The wrong list" in history
    assert "It was cancelled" in operator.get(address("change", grants.pk)).content.decode()


def test_a_schedule_shows_its_next_run_and_keeps_what_names_its_periods(sign_in, grants, coins) -> None:
    now = datetime.now(UTC)
    first = (now - timedelta(hours=1)).replace(microsecond=0)
    Campaign.objects.filter(pk=grants.pk).update(starts_at=first, schedule="weekly", status="active")
    root = sign_in()
    assert "due 1 h ago" in root.get(address("changelist")).content.decode()
    assert run_due(now).paid == 1
    shown = root.get(address("change", grants.pk)).content.decode()
    assert f"{first + timedelta(days=7):%Y-%m-%d %H:%M} UTC" in shown
    for name in ("currency", "starts_at_0", "schedule"):
        assert f'name="{name}"' not in shown
    changed = filled(coins, amount_units="12", status="active")
    assert root.post(address("change", grants.pk), changed).status_code == 302
    grants.refresh_from_db()
    assert (grants.amount, grants.schedule, grants.status) == (1_200, "weekly", "active")


def test_a_campaign_that_could_not_be_run_is_said_on_the_dashboard(sign_in, coins, people) -> None:
    create_campaign(slug="empty", currency=coins, amount=1, rule={"rule": "equal"}, starts_at=NOON, at=NOON)
    Campaign.objects.update(status="active")
    run_due(NOON + timedelta(hours=1))
    shown = sign_in().get(reverse("admin:index")).content.decode()
    assert "Somebody is not paid." in shown
    assert "Campaign empty was not run: " in shown


# --------------------------------------------------------------------------------------------------- export, the lists


def test_the_paid_rows_are_exported_guarded_against_formulas(sign_in, grants, make_user, people) -> None:
    evil = make_user("=cmd|1")
    store_rows(grants.pk, [(evil.pk, "1", None, ""), (people["bob"], "2", None, "")], actor=None, at=NOON)
    viewer = sign_in("Viewer")
    assert viewer.get(address("export", grants.pk)).status_code == 404
    sign_in("Operator").post(address("run", grants.pk))
    answer = viewer.get(address("export", grants.pk))
    assert answer["Content-Disposition"] == 'attachment; filename="grants-1.csv"'
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert lines[0] == "user,weight,position,amount,breakdown"
    assert lines[1].startswith("bob,2,1,40.00,")
    assert lines[2].startswith("'=cmd|1,1,2,20.00,")


def test_the_lines_of_a_list_are_paged_by_user_and_searched(sign_in, grants, monkeypatch) -> None:
    monkeypatch.setattr(CampaignParticipantAdmin, "list_per_page", 2)
    viewer, listed = sign_in("Viewer"), address("changelist", model="campaignparticipant")
    query = {"campaign__id__exact": grants.pk}
    first = viewer.get(listed, query).context["cl"]
    assert [line.user.username for line in first.result_list] == ["alice", "bob"]
    rest = viewer.get(listed + first.older_link()).context["cl"]
    assert [line.user.username for line in rest.result_list] == ["carol"]
    found = viewer.get(listed, query | {"q": "car"}).context["cl"]
    assert [line.user.username for line in found.result_list] == ["carol"]
    line = CampaignParticipant.objects.first()
    for view in ("change", "delete"):
        url = address(view, line.pk, model="campaignparticipant")
        assert sign_in().post(url, {"weight": "100", "post": "yes"}).status_code == 403
