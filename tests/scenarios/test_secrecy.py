"""What a case hides until it is closed is read nowhere: every door is opened while it is open, and while its closing
fails, by everybody who has no right to see it; all that comes out, all that is stored, logged and mailed is searched.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from inspect import signature
from typing import Any
from uuid import UUID

import pytest
import time_machine
from celery import current_app
from celery.signals import task_prerun
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.management import CommandError, call_command, get_commands
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, reverse
from drf_spectacular.generators import SchemaGenerator

from rewards.access.models import Right
from rewards.access.services import create_api_key
from rewards.alerts.models import Alert
from rewards.audit.models import AuditEvent
from rewards.cases.generator.builtin import next_dilemma
from rewards.cases.models import Argument, Case, SealedVerdict
from rewards.chain.models import ChainTransaction
from rewards.chain_claims.models import RewardClaim
from rewards.distributions.models import Distribution
from rewards.jobs.models import JobRun
from rewards.jobs.registry import JOBS, task_name
from rewards.users.models import User
from tests.rewards.faults import refused
from tests.rewards.reading import every_row

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORD = "quillwort"
REASONING = f"A {WORD} that nobody has promised belongs to whoever waters it."
CONFIDENCE = "0.837419"
SEALED = "rewards_sealedverdict"
COLUMNS = [f'"{SEALED}"."{column}"' for column in ("verdict", "reasoning", "confidence", "nonce")]

NOT_THE_CLERKS = ("view_sealedverdict", "moderate_case")
"""He may do anything else."""

NEAR_CASES = (Case, ChainTransaction, RewardClaim, JobRun, Alert, AuditEvent, Distribution)
"""Of the back-office; all its other pages: tests/rewards/admin."""

ROWS_OPENED = 2


# The one that tells of all of them is the same for everybody, and slow.
PATHS = [
    path
    for path, methods in SchemaGenerator().get_schema(request=None, public=True)["paths"].items()
    if "get" in methods and not path.startswith(("/api/schema", "/api/docs"))
]


class Ears:
    """Keeps whatever leaves the server, under the name of the door, until it is searched."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def hear(self, door: str, text: object) -> None:
        self.heard.append((door, str(text)))

    def answer(self, who: str, method: str, path: str, answer: Any) -> Any:
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        self.hear(f"{who}: {method} {path}", f"{answer.status_code} {dict(answer.headers)} {body.decode()}")
        return answer

    def leaks(self, *secrets: str) -> list[str]:
        """The doors through which one of the secrets came, and a piece of what came."""
        return [
            f"{door}: …{text[max(0, at - 80) : at + 80]}…"
            for door, text in self.heard
            for secret in secrets
            if (at := text.find(secret)) >= 0
        ]


class LogEar(logging.Handler):
    def __init__(self, ears: Ears) -> None:
        super().__init__(logging.DEBUG)
        self.ears = ears
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        # With the stack, and with what was given as `extra`, which goes out as JSON.
        self.ears.hear(f"log {record.name}", f"{self.format(record)} {record.__dict__}")


@contextmanager
def listening(ears: Ears) -> Iterator[None]:
    """Every logger at DEBUG, but for the one of SQL.

    `django.db.backends` says nothing unless somebody asks for all SQL by name, and then each statement with its
    parameters is what he asked for: also the one that writes the sealed verdict.
    """
    handler, root = LogEar(ears), logging.getLogger()
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    before = [(logger, logger.level, logger.propagate) for logger in (root, *loggers)]
    for logger, _, _ in before:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    logging.getLogger("django.db.backends").setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for logger, level, propagate in before:
            logger.setLevel(level)
            logger.propagate = propagate


# ------------------------------------------------------------------------------------------------------------ the doors


class House:
    """A product with one case, and everybody who comes to its doors."""

    def __init__(self, ears: Ears) -> None:
        self.ears = ears
        self.now = NOON
        for name in ("alice", "bob", "carol"):
            User.objects.create(username=name, password="!")
        moderator = User.objects.create(username="moderator", password="!", is_staff=True)
        moderator.user_permissions.set(Permission.objects.filter(codename__in=("moderate_case", "view_case")))
        clerk = User.objects.create(username="clerk", password="!", is_staff=True)
        clerk.user_permissions.set(Permission.objects.exclude(codename__in=NOT_THE_CLERKS))
        _, key = create_api_key("game", [*Right], by=None)
        self.clients = {name: self._client(name) for name in ("alice", "bob", "carol", "moderator", "clerk")}
        self.clients["nobody"] = Client(raise_request_exception=False)
        self.clients["machine"] = Client(raise_request_exception=False, headers={"x-api-key": key})

    def _client(self, name: str) -> Client:
        client = Client(raise_request_exception=False)
        client.force_login(User.objects.get(username=name))
        return client

    def get(self, who: str, path: str) -> Any:
        with time_machine.travel(self.now, tick=False):
            return self.ears.answer(who, "GET", path, self.clients[who].get(path))

    def post(self, who: str, path: str, **body: Any) -> Any:
        with time_machine.travel(self.now, tick=False):
            answer = self.clients[who].post(path, data=body, content_type="application/json")
        return self.ears.answer(who, "POST", path, answer)

    def submits_form(self, who: str, path: str, **fields: str) -> Any:
        with time_machine.travel(self.now, tick=False):
            return self.ears.answer(who, "POST", path, self.clients[who].post(path, fields))

    def runs(self, *jobs: str) -> None:
        with time_machine.travel(self.now, tick=False):
            for job in jobs:
                current_app.tasks[task_name(job)].apply(kwargs={"trigger": "schedule"})

    def commands(self, *commands: tuple[str, ...]) -> None:
        with time_machine.travel(self.now, tick=False):
            for name, *words in commands:
                said = io.StringIO()
                with redirect_stdout(said), redirect_stderr(said):
                    try:
                        call_command(name, *words)
                    except CommandError as error:
                        said.write(str(error))
                self.ears.hear(f"command {name}", said.getvalue())

    # ------------------------------------------------------------------------------------------------------ all of them

    def open_doors_of_the_case(self, case: Case) -> None:
        for who in ("nobody", "bob", "clerk"):
            for path in (f"/api/cases/{case.pk}", "/api/cases", f"/api/cases/{case.pk}/arguments"):
                self.get(who, path)
        for who in ("clerk", "moderator"):
            self.get(who, reverse("admin:rewards_case_change", args=[case.pk]))

    def open_every_door(self, case: Case) -> None:
        with CaptureQueriesContext(connection) as captured:
            self.open_the_api(case)
            self.open_the_admin(case)
        self.open_commands(case)  # among them a job, which compares the verdict with its hash
        for query in captured.captured_queries:
            self.ears.hear("statement", " ".join(column for column in COLUMNS if column in query["sql"]))
        for table, rows in every_row().items():
            if table != SEALED:
                self.ears.hear(f"table {table}", rows)
        for sent in mail.outbox:
            self.ears.hear("mail", f"{sent.subject} {sent.body} {sent.alternatives}")

    def open_the_api(self, case: Case) -> None:
        self.get("nobody", "/api/schema?format=json")
        for path in readable_paths(case):
            for who in ("nobody", "bob", "machine", "clerk"):
                self.get(who, path)
        for who in ("nobody", "bob", "machine", "clerk"):
            self.post(who, f"/api/cases/{case.pk}/vote", side="MAYBE")
            self.post(who, f"/api/cases/{case.pk}/vote", side="YES")
            self.post(who, f"/api/cases/{case.pk}/arguments", side="YES", text="Because.")
            self.post(who, "/api/distributions/preview", programme="case", period_key=f"case:{case.pk}")
            self.post(who, "/profile/rewards/claim", reward_ids=[1], wallet_address="0x0")

    def open_the_admin(self, case: Case) -> None:
        for model in NEAR_CASES:
            base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            rows = list(model._default_manager.order_by("-pk")[:ROWS_OPENED])
            pages = [address(f"{base}_{view}") for view in ("changelist", "add")]
            pages += [address(f"{base}_{view}", row.pk) for row in rows for view in ("change", "history", "delete")]
            for path in filter(None, pages):
                self.get("clerk", path)
        self.get("clerk", reverse("admin:index"))
        for action in ("approve", "edit", "reject", "void"):
            self.get("moderator", case_page(case, action))
        for who in ("clerk", "moderator", "alice"):
            assert self.submits_form(who, case_page(case, "unseal")).status_code in (302, 403)
        for lookup in ("sealed__verdict=YES", "sealed__reasoning__contains=a", "sealed__nonce__gt=0"):
            assert self.get("clerk", f"{reverse('admin:rewards_case_changelist')}?{lookup}").status_code != 200

    def open_commands(self, case: Case) -> None:
        known = get_commands()
        said = [
            ("check_ledger",),
            ("verify_audit",),
            ("verify_chain",),
            ("periods",),
            ("preview", "case", f"case:{case.pk}"),
            ("verify_distribution", "--all"),
            ("export_rewards", "--programme", "case"),
            ("close_cases", "--dry-run"),
            ("check_verdicts", "--at", self.now.isoformat()),
            ("monitor_transactions", "--at", self.now.isoformat()),
        ]
        self.commands(*[words for words in said if words[0] in known])


def readable_paths(case: Case) -> list[str]:
    """Every address of the API that can be read, with the numbers of the case wherever one has to stand."""
    argument = Argument.objects.filter(case=case).values_list("pk", flat=True).first() or 1
    values = {"{id}": case.pk, "{argument_id}": argument, "{slug}": "points-all-time", "{deployment_id}": UUID(int=0)}
    paths = []
    for path in PATHS:
        for name, value in values.items():
            path = path.replace(name, str(value))
        assert "{" not in path, path
        paths.append(path)
    return [*paths, "/api/cases?status=active", "/api/cases/999999", "/readyz", "/metrics", "/problems", "/api/no"]


def address(name: str, *args: object) -> str | None:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return None


def case_page(case: Case, action: str) -> str:
    return reverse("admin:rewards_case_change", args=[case.pk]).replace("/change/", f"/{action}/")


# ------------------------------------------------------------------------------------------------------------ the story


@pytest.fixture
def ears(settings: Any) -> Iterator[Ears]:
    settings.ADMINS = [("Root", "root@example.org")]
    current_app.loader.import_default_modules()
    ears = Ears()

    def hear_task(task: Any = None, args: Any = (), kwargs: Any = None, **more: Any) -> None:
        ears.hear(f"task {task.name}", f"{args} {kwargs}")

    task_prerun.connect(hear_task)
    with redirect_stdout(io.StringIO()):
        call_command("setup_defaults")
    with listening(ears):
        yield ears
    task_prerun.disconnect(hear_task)


def test_nothing_tells_what_a_case_hides_until_it_is_closed(ears: Ears) -> None:
    house = House(ears)
    case = approved(house)
    sealed = SealedVerdict.objects.get(case=case)
    assert (sealed.reasoning, str(sealed.confidence)) == (REASONING, CONFIDENCE)
    secrets = (WORD, CONFIDENCE, sealed.nonce, sealed.nonce[:16], *COLUMNS)

    house.open_doors_of_the_case(case)  # not open yet
    house.now += timedelta(minutes=3)
    house.runs("check_verdicts")
    assert Case.objects.get().status == "active"
    take_part(house, case)
    house.open_every_door(case)
    house.now += timedelta(hours=25)
    house.open_doors_of_the_case(case)  # due
    with refused("rewards_case", "UPDATE", "NEW.status = 'closed'"):
        for _ in range(3):
            house.runs("close_cases", "mail_alerts")
    assert Alert.objects.filter(code="case_failed").exists()
    house.open_every_door(case)  # due, and its closing fails
    assert JobRun.objects.filter(job="close_cases", failures=1).count() == 3
    assert len(ears.heard) > 1_000
    assert {"log", "table", "command", "task", "mail", "clerk", "nobody"} <= {
        door.partition(" ")[0].rstrip(":") for door, _ in ears.heard
    }
    assert ears.leaks(*secrets) == []

    # What is searched in this way is found once it may be known.
    ears.heard.clear()
    house.runs("close_cases")
    house.get("nobody", f"/api/cases/{case.pk}")
    for table, rows in every_row().items():
        ears.hear(f"table {table}", rows)
    found = ears.leaks(REASONING, sealed.nonce)
    assert [line.partition("/")[0] for line in found if line.startswith("nobody")] == ["nobody: GET "] * 2
    assert {line.partition(":")[0] for line in found if line.startswith("table")} == {
        "table rewards_case",
        f"table {SEALED}",
    }


def approved(house: House) -> Case:
    """Submitted by Alice; the moderator slips twice, once the database fails him, and then the case is approved."""
    assert house.post("alice", "/api/cases", title="The last seat", context="Two are waiting.").status_code == 201
    case = Case.objects.get()
    page, verdict = case_page(case, "approve"), {"verdict": "NO", "reasoning": REASONING, "confidence": CONFIDENCE}
    for slip in ({"confidence": f"1{CONFIDENCE}"}, {"verdict": "MAYBE"}, {"reasoning": f"{WORD}\x00"}):
        assert house.submits_form("moderator", page, **verdict | slip).status_code == 200
    for table in ("rewards_auditevent", SEALED, "rewards_chaintransaction"):
        with refused(table):
            answer = house.submits_form("moderator", page, **verdict)
        assert answer.status_code in (302, 500)
        assert not SealedVerdict.objects.exists()
    assert mail.outbox  # what Django mails of an answer 500, with what was posted
    assert house.submits_form("clerk", page, **verdict).status_code in (302, 403)
    assert house.submits_form("moderator", page, **verdict).status_code == 302
    return Case.objects.get()


def take_part(house: House, case: Case) -> None:
    for who, side in (("bob", "YES"), ("carol", "NO")):
        assert house.post(who, f"/api/cases/{case.pk}/vote", side=side).status_code == 201
        house.post(who, f"/api/cases/{case.pk}/arguments", side=side, text="Because.")


# --------------------------------------------------------------------------------------------------- what cannot happen


@pytest.mark.once
def test_no_task_is_given_more_than_what_poked_it() -> None:
    current_app.loader.import_default_modules()
    for job in JOBS:
        assert list(signature(current_app.tasks[task_name(job)].run).parameters) == ["trigger"], job


def test_what_is_sealed_has_no_page_no_history_and_no_words(ears: Ears) -> None:
    case = Case.objects.create(title="One", context="Two")
    sealed = SealedVerdict.objects.create(
        case=case, verdict="NO", reasoning=REASONING, confidence=CONFIDENCE, nonce="a" * 64
    )
    assert SealedVerdict not in admin.site._registry
    assert not hasattr(SealedVerdict, "history")
    assert {"verdict", "reasoning", "confidence", "nonce"}.isdisjoint(
        field.name for field in Case.history.model._meta.get_fields()
    )
    for text in (str(sealed), repr(sealed), repr([sealed])):
        assert text.strip("[]") == f"Sealed verdict of case {case.pk}"
    written = next_dilemma()
    assert written.reasoning not in repr(written)
    assert written.reasoning not in str(written)
