"""`distribute_file` and `run_campaigns`."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from rewards.campaigns import services
from rewards.campaigns.files import open_run_of_file
from rewards.campaigns.models import Campaign
from rewards.distributions.models import Distribution, Reward
from rewards.distributions.services import approve, reject, reverse, step
from rewards.jobs.models import JobRun
from rewards.ledger import services as ledger
from rewards.ledger.models import Account, Currency, Transfer
from rewards.parameters.services import set_parameter
from tests.rewards.commands.conftest import everything_stored

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROPORTIONAL = '{"rule": "proportional"}'
FIXED = '{"rule": "fixed"}'
WEIGHTS = "user,weight\nalice,1\nbob,2.5\ncarol,\n"
AMOUNTS = "who,wei\nalice,1500000000000000000\nbob,20000000000000000000\n"
AS_AMOUNTS = ("--user-column", "who", "--amount-column", "wei", "--amount-scale", "1e-18", "--rule", FIXED)


@pytest.fixture
def command(coins, tmp_path) -> Callable[..., list[Any]]:
    """The words of a `distribute_file` that shares 100 coins by weight, users created, but for what the test says."""

    def words(*more: object, content: str | bytes = WEIGHTS, name: str = "list.csv", **options: Any) -> list[Any]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        given = {"campaign": "grants", "currency": "coins", "rule": PROPORTIONAL, "amount": "100"} | options
        given = {"weight_column": "weight"} | given if "--amount-column" not in more else given
        pairs = [(f"--{key.replace('_', '-')}", value) for key, value in given.items() if value is not None]
        return ["distribute_file", path, *(word for pair in pairs for word in pair), "--create-users", *more]

    return words


def balances() -> dict[str, int]:
    return dict(Account.objects.exclude(user=None).values_list("user__username", "balance"))


def test_it_pays_a_file_in_one_step(command, manage):
    said = manage(*command())

    distribution = Distribution.objects.get()
    assert said.splitlines()[0] == "campaign:grants: paid"
    assert "3 rows, 2 recipients, 100.00 coins, left over 0.00 coins, users created 3" in said
    assert "rows/s" in said
    assert f"Digest {distribution.digest}" in said
    assert balances() == {"alice": 28_57, "bob": 71_43}
    assert Campaign.objects.get().status == "done"


def test_it_pays_each_line_its_own_amount_in_the_scale_of_the_file(command, manage):
    content = gzip.compress(AMOUNTS.encode())
    said = manage(*command(*AS_AMOUNTS, content=content, name="list.csv.gz", amount="21.50", rule=None))

    assert "2 rows, 2 recipients, 21.50 coins, left over 0.00 coins" in said
    assert balances() == {"alice": 1_50, "bob": 20_00}


def test_again_changes_nothing_however_the_file_is_written(command, manage):
    manage(*command())
    before = everything_stored()

    other_order = "weight,user,note\n2.50,bob,x\n0,carol,y\n1,alice,z\n"
    for content in (WEIGHTS, other_order, gzip.compress(WEIGHTS.encode())):
        said = manage(*command(content=content))
        assert "already paid" in said
        assert "3 rows, 2 recipients, 100.00 coins" in said
    assert "already paid" in manage(*command("--dry-run"))
    assert "already paid" in manage(*command(rule='{"rule": "proportional", "max_amount": null}', approval_limit="5"))
    assert everything_stored() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"content": WEIGHTS.replace("2.5", "2.6")}, "another list"),
        ({"content": WEIGHTS + "dora,0\n"}, "another list"),
        ({"rule": '{"rule": "equal"}'}, "another rule"),
        ({"amount": "100.01"}, "another amount"),
        ({"tie_policy": "shared"}, "another tie policy"),
        ({"source": "treasury"}, "another source"),
        ({"currency": "points"}, "another currency"),
    ],
)
def test_the_same_slug_for_something_else_is_refused(command, manage, refused, points, change, sentence):
    manage(*command())
    for more in ((), ("--dry-run",)):
        assert sentence in refused(*command(*more, **change))


def test_a_dry_run_writes_nothing(command, manage):
    before = everything_stored()
    said = manage(*command("--dry-run"))

    assert said.startswith("Dry run, nothing was written. 3 rows, 2 recipients, 100.00 coins, largest 71.43 coins")
    assert "left over 0.00 coins, users to create 3" in said
    assert everything_stored() == before


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_the_export(command, manage, tmp_path, dry_run):
    rule = {"rule": "slices", "slices": [
        {"name": "best", "weight": "1", "members": {"top": 1}, "rule": {"rule": "equal"}},
        {"name": "all", "weight": "1", "members": {"all": True}, "rule": {"rule": "equal"}},
    ]}  # fmt: skip
    out = tmp_path / "out.csv"
    content = "user,weight\n=cmd(),1\n,bob\n".replace(",bob", '"bob, jr",2e-3')
    manage(*command("--export", out, *dry_run, content=content, rule=json.dumps(rule)))

    rows = list(csv.reader(out.open()))
    assert rows[0] == ["user", "weight", "position", "amount", "breakdown"]
    assert rows[1:] == [
        ["'=cmd()", "1", "1", "75.00", '{"all": "25.00", "best": "50.00"}'],
        ["bob, jr", "0.002", "2", "25.00", '{"all": "25.00"}'],
    ]
    assert Reward.objects.count() == (0 if dry_run else 2)


def test_bad_lines_are_listed_and_nothing_is_stored(command, refused, capsys):
    content = "user,weight\nalice,1\nbob,-1\nalice,2\ncarol\n"
    for more in ((), ("--dry-run",)):
        assert refused(*command(*more, content=content)) == "3 bad lines: nothing is stored."
        said = capsys.readouterr().err
        assert "Line 3: the weight is negative" in said
        assert "Line 4: the user stands in line 2 already" in said
        assert "Line 5: the line has more or fewer columns" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"currency": "gold"}, "There is no currency 'gold'. Create it: manage.py create_currency."),
        ({"rule": "equal"}, "--rule is not JSON"),
        ({"rule": "[" * 100_000}, "--rule is not JSON"),
        ({"rule": '{"rule": "proportional", "max_share": 0.05}'}, "max_share: write a plain decimal number as text"),
        ({"amount": None}, "amount: this rule shares out an amount: say how much"),
        ({"amount": "1.001"}, "more than the 2 decimals of the currency"),
        ({"amount": "-5"}, "must be above zero"),
        ({"amount_scale": "1e-18"}, "--amount-scale says what the amounts of --amount-column are written in"),
        ({"weight_column": "score"}, "has no column 'score'. Its columns are: user, weight."),
        ({"user_column": "name"}, "has no column 'name'"),
        ({"campaign": "a b"}, "slug: "),
        ({"source": "tresury"}, "source: there is no system account 'tresury'"),
        ({"tie_policy": "x"}, "tie_policy: write one of earliest, shared, same"),
        ({"approval_limit": "x"}, "approval limit 'x' is not a plain decimal number"),
        ({"content": "user,weight\nalice,0\n"}, "All weights are zero"),
        ({"content": "user,weight\n"}, "has no lines after the first"),
        ({"content": b""}, "does not begin with a line of column names"),
        ({"content": WEIGHTS.encode("utf-16")}, "is not UTF-8 text"),
        ({"content": gzip.compress(WEIGHTS.encode())[:-12]}, "is cut off"),
        ({"export": "/nowhere/out.csv"}, "there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(command, refused, options, sentence):
    assert sentence in refused(*command(**options))
    assert sentence in refused(*command("--dry-run", **options))


def test_a_file_that_is_not_there(coins, refused):
    words = [
        "distribute_file",
        "/nowhere.csv",
        "--campaign",
        "a",
        "--currency",
        "coins",
        "--rule",
        FIXED,
        "--amount-column",
        "a",
    ]
    assert refused(*words) == "/nowhere.csv cannot be read: No such file or directory."


def test_the_export_does_not_overwrite_the_file(command, refused):
    words = command()
    assert "would overwrite" in refused(*words, "--export", words[1])


def test_users_who_are_not_known_are_bad_lines(command, refused, capsys, alice):
    words = [word for word in command() if word != "--create-users"]
    assert refused(*words) == "2 bad lines: nothing is stored."
    assert "Line 3: there is no user of this name" in capsys.readouterr().err


def test_a_list_over_the_ceiling_stores_nothing(command, refused):
    assert "This pays 21.50 coins" in refused(*command(*AS_AMOUNTS, content=AMOUNTS, rule=None, amount="21.49"))


def test_from_a_limit_on_a_person_approves(command, manage, refused, staff):
    limited = command(approval_limit="100")
    for _ in range(2):
        assert manage(*limited).startswith("campaign:grants: waits for approval, nothing is paid yet")
    distribution = Distribution.objects.get()
    assert (distribution.status, distribution.actor) == ("allocated", None)
    assert "another approval limit" in refused(*command(approval_limit="5"))

    approve(distribution.pk, staff("boris", "approve_distribution"))
    assert manage(*limited).startswith("campaign:grants: paid")
    assert "already paid" in manage(*limited)


def test_what_was_rejected_or_reversed_is_not_paid(command, manage, refused, staff):
    boris = staff("boris", "approve_distribution", "reverse_distribution")
    limited = command(approval_limit="0")
    manage(*limited)
    reject(Distribution.objects.get().pk, boris, "not this year")
    assert "was rejected: not this year. Nothing is paid." in refused(*limited)

    other = command(campaign="other")
    manage(*other)
    reverse(Distribution.objects.get(programme="campaign:other").pk, boris, "a mistake")
    assert "has been reversed: a mistake. Nothing is paid." in refused(*other)


def test_a_source_that_cannot_pay_is_paid_from_once_it_can(command, manage, coins):
    words = [str(word) for word in command(source="treasury")]
    with pytest.raises(CommandError, match=r"campaign:grants 1 failed: .*treasury"):
        call_command(*words)
    with transaction.atomic():
        treasury = ledger.system_account("treasury", coins)
        ledger.post("fund", "fund", [ledger.Move(ledger.system_account("issuance", coins), treasury, 150_00)])

    assert manage(*words).startswith("campaign:grants: paid")
    assert ledger.balance(treasury) == 50_00


def test_while_payouts_are_paused_it_waits_and_goes_on(command, manage):
    set_parameter("payouts_paused", True, actor=None, reason="audit")
    assert "waits until payouts are no longer paused" in manage(*command())
    assert not Transfer.objects.exists()

    set_parameter("payouts_paused", False, actor=None, reason="done")
    assert manage(*command()).startswith("campaign:grants: paid")


def test_a_campaign_that_an_operator_prepared_is_filled_and_run(command, manage, coins):
    services.create_campaign(
        slug="grants", currency=coins, rule=json.loads(PROPORTIONAL), amount=100_00, approval_limit=1, at=NOON
    )
    assert "waits for approval" in manage(*command())


def test_the_command_again_after_a_crash_between_any_two_steps(command, manage):
    """Opened, allocated, half paid: each is where a process may have died."""
    manage(*command(campaign="whole"))
    for steps in (0, 1, 2):
        slug = f"crash{steps}"
        set_parameter("distributions.chunk_rows", 2, actor=None, reason="test")
        settings = {"slug": slug, "amount": 100_00, "rule": json.loads(PROPORTIONAL)}
        die_after(steps, settings, command(campaign=slug)[1])
        assert Distribution.objects.get(programme=f"campaign:{slug}").status != "paid"

        assert manage(*command(campaign=slug)).startswith(f"campaign:{slug}: paid")
        assert rewards(slug) == rewards("whole")
    assert balances() == {"alice": 4 * 28_57, "bob": 4 * 71_43}


def die_after(steps: int, settings: dict[str, Any], path: Path) -> None:
    given = settings | {"currency": Currency.objects.get(), "source": "issuance", "tie_policy": "earliest"}
    layout = services.Layout("user", weight="weight")
    opened = open_run_of_file(given, path, layout, create_users=True, at=NOON)
    for _ in range(steps):
        assert step(opened.distribution)


def rewards(slug: str) -> list[tuple[str, int, int]]:
    rows = Reward.objects.filter(distribution__programme=f"campaign:{slug}").order_by("position")
    return list(rows.values_list("user__username", "position", "amount"))


# -------------------------------------------------------------------------------------------------------- run_campaigns


@pytest.fixture
def daily(coins, alice) -> Campaign:
    """Everybody who has coins, every day from noon on."""
    with_coins = {"source": "holders", "currency": "coins"}
    with transaction.atomic():
        ledger.credit(alice, coins, 1, "first", "test")
    campaign = services.create_campaign(
        slug="daily", currency=coins, rule={"rule": "equal"}, amount=5, participants=with_coins, starts_at=NOON,
        schedule="daily", at=NOON,
    )  # fmt: skip
    return services.change_campaign(campaign.pk, None, NOON, status="active")


def test_what_is_due_is_listed_and_run(daily, manage):
    at = (NOON + timedelta(days=1)).isoformat()
    assert manage("run_campaigns", "--at", at, "--dry-run").splitlines() == [
        "campaign:daily 2026-11-21, due 2026-11-21 12:00 UTC",
        "campaign:daily 2026-11-22, due 2026-11-22 12:00 UTC",
        "run_campaigns --dry-run: 2 runs due; nothing was written",
    ]
    assert not JobRun.objects.exists()

    assert manage("run_campaigns", "--at", at).startswith("run_campaigns: 2 items, 2 succeeded, 0 failed")
    assert balances() == {"alice": 11}
    assert manage("run_campaigns", "--at", at).startswith("run_campaigns: 0 items")


def test_what_fails_ends_with_its_sentence(daily, manage):
    services.change_campaign(daily.pk, None, NOON, source="treasury")
    with pytest.raises(CommandError, match=r"campaign:daily 2026-11-21: .*treasury"):
        manage("run_campaigns", "--at", NOON.isoformat())
