"""`assign_group`."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.db.models import QuerySet
from django.utils import timezone

from rewards.audit.models import AuditEvent
from rewards.management.membership import assign
from rewards.users.models import User
from rewards.users.roles import ROLES
from tests.concurrency.racing import at_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(alice, bob, carol) -> None:
    """alice, bob and carol."""


@pytest.fixture
def listed(tmp_path) -> Callable[[str | bytes], Path]:
    """`listed("alice\\nbob\\n")`: a file that holds it."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "list"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def made_here() -> QuerySet[Group]:
    return Group.objects.exclude(name__in=ROLES)


def members(group: str = "students") -> set[str]:
    return set(User.objects.filter(groups__name=group).values_list("username", flat=True))


def test_users_join_a_group_that_is_created_for_them(people, listed, manage):
    said = manage("assign_group", "students", listed("alice\nbob\n"))

    assert "students: 2 joined, 0 were in already; users created 0" in said
    assert members() == {"alice", "bob"}
    assert not Group.objects.get(name="students").permissions.exists()


def test_again_changes_nothing_and_others_stay(people, listed, manage):
    manage("assign_group", "students", listed("alice\nbob\n"))

    said = manage("assign_group", "students", listed("bob\ncarol\nbob\n\n"))

    assert "1 joined, 1 were in already" in said
    assert members() == {"alice", "bob", "carol"}
    manage("assign_group", "teachers", listed("bob\n"))
    assert (members("students"), members("teachers")) == ({"alice", "bob", "carol"}, {"bob"})


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_column_of_a_csv_is_read(people, listed, manage, pack):
    path = listed(pack(b'\xef\xbb\xbfclass,name\n7b,alice\n"8, the best",bob\n'))

    assert "2 joined" in manage("assign_group", "students", path, "--user-column", "name")
    assert members() == {"alice", "bob"}


def test_standard_input_is_read(people, manage, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"alice\r\nbob")))

    assert "2 joined" in manage("assign_group", "students", "-")
    assert members() == {"alice", "bob"}


def test_users_are_created_when_asked(people, listed, manage):
    said = manage("assign_group", "students", listed("zoë\nalice\ndora\ndora\n"), "--create-users")

    assert "3 joined, 0 were in already; users created 2" in said
    assert members() == {"alice", "dora", "zoë"}
    dora = User.objects.get(username="dora")
    assert (dora.is_active, dora.is_staff, dora.has_usable_password()) == (True, False, False)


def test_users_leave(people, listed, manage):
    manage("assign_group", "students", listed("alice\nbob\n"))
    manage("assign_group", "teachers", listed("bob\n"))

    assert "students: 1 left, 1 were not in it" in manage(
        "assign_group", "students", listed("bob\ncarol\n"), "--remove"
    )
    assert (members("students"), members("teachers")) == ({"alice"}, {"bob"})


def test_what_changed_is_audited(people, listed, manage):
    for words in ([], [], ["--dry-run", "--remove"], ["--remove"], ["--remove"]):
        manage("assign_group", "students", listed("alice\nbob\n"), *words)

    events = AuditEvent.objects.filter(event_type="group_members_changed").order_by("pk")
    assert list(events.values_list("data", flat=True)) == [
        {"group": "students", "joined": 2},
        {"group": "students", "left": 2},
    ]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_lists_at_once_put_each_user_in_once(tmp_path):
    """They create the group, and half of the users, together."""
    files = []
    for number in (0, 1):
        files.append(tmp_path / f"list-{number}")
        files[-1].write_text("".join(f"user-{each:04}\n" for each in range(number * 1_000, number * 1_000 + 2_000)))

    answers = at_once(*[partial(assign, "students", file, create_users=True, at=timezone.now()) for file in files * 2])

    assert sum(answer.moved for answer in answers) == sum(answer.users_created for answer in answers) == 3_000
    assert len(members()) == User.objects.count() == 3_000
    assert made_here().count() == 1


def test_a_dry_run_says_the_same_and_writes_nothing(people, listed, manage):
    words = ("assign_group", "students", listed("alice\nbob\ndora\n"))
    said = manage(*words, "--create-users", "--dry-run")

    assert "nothing was written. students: 3 joined, 0 were in already; users created 1" in said
    assert not made_here().exists()
    assert User.objects.count() == 3
    assert "students: 3 joined, 0 were in already; users created 1" in manage(*words, "--create-users")
    assert "nothing was written. students: 3 left, 0 were not in it" in manage(*words, "--remove", "--dry-run")
    assert members() == {"alice", "bob", "dora"}


def test_one_bad_line_refuses_the_file_and_each_is_listed(people, listed, capsys):
    path = listed("name,class\nalice,7b\n bob,7b\ncarol\ndora,8a\ndora,8a\n")
    with pytest.raises(CommandError, match="4 bad lines: nothing is stored"):
        call_command("assign_group", "students", str(path), user_column="name")

    assert capsys.readouterr().err.splitlines() == [
        "Line 3: the user must be 1 to 150 printable characters that neither start nor end with a space",
        "Line 4: the line has more or fewer columns than the first line",
        "Line 5: there is no user of this name",
        "Line 6: there is no user of this name",
    ]
    assert not made_here().exists()
    with pytest.raises(CommandError, match="2 bad lines"):
        call_command("assign_group", "students", str(path), user_column="name", create_users=True)
    assert User.objects.count() == 3


@pytest.mark.once
def test_of_many_bad_lines_the_first_are_listed(listed, capsys):
    with pytest.raises(CommandError, match="1,500 bad lines"):
        call_command("assign_group", "students", str(listed("nobody\n" * 1_500)))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1_001
    assert lines[-1] == "… and 500 more"


@pytest.mark.once
@pytest.mark.parametrize(
    ("content", "words", "sentence"),
    [
        ("alice,7b\n", (), "1 bad line:"),
        ("", (), "names nobody"),
        ("name\n", ("--user-column", "name"), "names nobody"),
        ("name\nalice\n", ("--user-column", "user"), "has no column 'user'"),
        (b"\xff\xfe\n", (), "is not UTF-8"),
        ("alice\n", ("--remove",), "There is no group 'students'"),
        ("alice\n", ("--remove", "--create-users"), "exclude each other"),
    ],
)
def test_a_list_that_cannot_be_taken_is_refused(people, listed, refused, content, words, sentence):
    assert sentence in refused("assign_group", "students", listed(content), *words)
    assert not made_here().exists()


@pytest.mark.once
def test_a_file_that_is_not_there_is_named(people, refused):
    assert "cannot be read: No such file" in refused("assign_group", "students", "/nowhere/list.csv")


@pytest.mark.parametrize("name", ["Administrator", "Viewer", "operator"])
@pytest.mark.parametrize("standing", [False, True])
def test_a_role_is_given_to_nobody_by_a_list(people, listed, refused, name, standing):
    if not standing:
        Group.objects.filter(name=name).delete()

    assert "hands out rights" in refused("assign_group", name, listed("alice\n"))
    assert members(name) == set()


def test_nor_is_any_other_group_that_has_rights(people, listed, refused):
    group = Group.objects.create(name="auditors")
    group.permissions.add(Permission.objects.get(codename="view_account"))
    User.objects.get(username="bob").groups.add(group)

    assert "hands out rights" in refused("assign_group", "auditors", listed("alice\n"))
    assert "hands out rights" in refused("assign_group", "auditors", listed("bob\n"), "--remove")
    assert members("auditors") == {"bob"}


@pytest.mark.once
@pytest.mark.parametrize("name", ["", " students", "a\nb", "x" * 151])
def test_a_group_has_a_name_that_can_be_read(people, listed, refused, name):
    assert "The name of a group" in refused("assign_group", name, listed("alice\n"))
