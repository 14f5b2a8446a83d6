"""CSV files in: good lines are written, bad ones reported with number and reason, a file that is no good refused."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from rewards.activity import csv_import
from rewards.activity.checks import Reason
from rewards.activity.csv_import import VOTES, import_lines, open_csv
from rewards.activity.models import ActivityEvent, Counter
from rewards.activity.services import close_stretch, record_checked
from rewards.common.csv_lines import NOT_CSV, WRONG_WIDTH
from rewards.users.models import User
from tests.rewards.activity.conftest import NOON, counters, instant, total

pytestmark = pytest.mark.django_db

HEADER = "event_id,partner,cc_amount,vote_type,occurred_at"
GOOD_VOTES = [
    "v1,alice,2.5,regular,2026-03-10T07:15:00",
    "v2,bob,1,premium,2026-03-10T08:15:00+01:00",
    "v3,alice,0.25,regular,2026-03-10 07:59:59.999999Z",
]


@pytest.fixture
def votes_file(tmp_path: Path) -> Callable[..., Path]:
    """A file of these lines under the usual first line; bytes are written as they are."""

    def write(*lines: str, header: str = HEADER, name: str = "votes.csv", end: str = "\n") -> Path:
        path = tmp_path / name
        path.write_bytes("".join(line + end for line in (header, *lines)).encode())
        return path

    return write


def run(command: str, path: Path | str, *arguments: str) -> list[str]:
    """What a command printed, line by line."""
    out = io.StringIO()
    call_command(command, str(path), *arguments, stdout=out)
    return out.getvalue().splitlines()


def figures(printed: Sequence[str]) -> str:
    """The closing line without the seconds."""
    return printed[-1].rpartition("; ")[0]


def refusal(path: Path | str, *arguments: str, command: str = "import_votes") -> str:
    """The one sentence with which a command ends; nothing was written."""
    with pytest.raises(CommandError) as caught:
        run(command, path, *arguments)
    assert caught.value.returncode == 1
    assert not ActivityEvent.objects.exists()
    assert not User.objects.exists()
    return str(caught.value)


# -------------------------------------------------------------------------------------------------------- good files


def test_a_file_of_votes_is_written_and_its_partners_created(votes_file):
    printed = run("import_votes", votes_file(*GOOD_VOTES))

    assert figures(printed) == "Read 3: accepted 3, duplicates 0, late 0, refused 0; partners created 2"
    assert (total("alice"), total("bob")) == (Decimal("2.75"), 1)
    vote = ActivityEvent.objects.get(event_id="v2")
    assert (vote.metric, vote.quantity, vote.attributes) == ("cc_vote", 1, {"vote_type": "premium"})
    assert vote.occurred_at == instant("2026-03-10T07:15")
    assert ActivityEvent.objects.get(event_id="v1").occurred_at == instant("2026-03-10T07:15")


def test_importing_a_file_twice_changes_nothing(votes_file):
    path = votes_file(*GOOD_VOTES)
    run("import_votes", path)
    before = counters()

    printed = run("import_votes", path)

    assert figures(printed) == "Read 3: accepted 0, duplicates 3, late 0, refused 0; partners created 0"
    assert counters() == before


def test_a_line_that_stands_twice_in_a_file_counts_once(votes_file, monkeypatch):
    monkeypatch.setattr(csv_import, "LINES_PER_TRANSACTION", 2)

    printed = run("import_votes", votes_file(GOOD_VOTES[0], GOOD_VOTES[0], GOOD_VOTES[1], GOOD_VOTES[0]))

    assert figures(printed) == "Read 4: accepted 2, duplicates 2, late 0, refused 0; partners created 2"
    assert total("alice") == Decimal("2.5")


def test_other_names_other_order_more_columns_quotes_and_line_ends(votes_file):
    path = votes_file(
        '2026-03-10T07:15:00,note,"1.5","United Kingdom, ""North""",alice,v1',
        header="\ufeffat, remark ,amount_pence,country,customer_id,event_id",
        end="\r\n",
    )

    names = ["partner=customer_id", "cc_amount=amount_pence", "vote_type=country", "occurred_at=at"]
    run("import_votes", path, "--map", *names)

    vote = ActivityEvent.objects.get()
    assert (vote.event_id, vote.user.username, vote.quantity) == ("v1", "alice", Decimal("1.5"))
    assert vote.attributes == {"vote_type": 'United Kingdom, "North"'}


@pytest.mark.parametrize("name", ["votes.csv.gz", "compressed-whatever-its-name"])
def test_a_compressed_file(votes_file, name):
    path = votes_file(*GOOD_VOTES)
    compressed = path.with_name(name)
    compressed.write_bytes(gzip.compress(path.read_bytes()))

    assert "accepted 3" in run("import_votes", compressed)[-1]


def test_empty_lines_count_for_the_numbers_alone_and_the_last_line_needs_no_end(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(f"{HEADER}\n\n{GOOD_VOTES[0]}\n\nv9,bob,x,,2026-03-10T07:15:00")

    printed = run("import_votes", path)

    assert "Read 2: accepted 1" in printed[-1]
    assert printed[0] == f"Line 5: {Reason.NOT_A_NUMBER}"


def test_a_file_without_lines_is_no_trouble(votes_file):
    assert figures(run("import_votes", votes_file())).startswith("Read 0: accepted 0")


def test_votes_for_a_closed_hour_are_late(votes_file):
    close_stretch("cc_vote", instant("2026-03-10T07:00"), instant("2026-03-10T07:30"))

    assert "accepted 3, duplicates 0, late 2" in run("import_votes", votes_file(*GOOD_VOTES))[-1]


def test_votes_around_the_end_of_a_month_in_another_zone(votes_file, settings):
    from zoneinfo import ZoneInfo

    settings.REWARDS_TIME_ZONE = ZoneInfo("America/New_York")
    run(
        "import_votes",
        votes_file(
            "v1,alice,1,,2025-11-01T03:59:59",  # October, summer time: four hours behind
            "v2,alice,2,,2025-11-01T04:00:00",
            "v3,alice,4,,2025-12-01T04:59:59",  # November, winter time: five hours behind
            "v4,alice,8,,2025-12-01T00:00:00-05:00",
        ),
    )

    months = {month: quantity for (_, _, month), quantity in counters().items()}
    assert months == {"": 15, "2025-10": 1, "2025-11": 6, "2025-12": 8}


# ---------------------------------------------------------------------------------------------------------- bad lines

BAD_LINES = [
    (",alice,1,regular,2026-03-10T07:15:00", Reason.EVENT_ID),
    (f"{'x' * 121},alice,1,regular,2026-03-10T07:15:00", Reason.EVENT_ID),
    ("a\x00b,alice,1,regular,2026-03-10T07:15:00", Reason.EVENT_ID),
    ("b1,,1,regular,2026-03-10T07:15:00", Reason.USER),
    ("b2, alice,1,regular,2026-03-10T07:15:00", Reason.USER),
    (f"b3,{'x' * 151},1,regular,2026-03-10T07:15:00", Reason.USER),
    ("b4,alice,,regular,2026-03-10T07:15:00", Reason.NOT_A_NUMBER),
    ("b5,alice,NaN,regular,2026-03-10T07:15:00", Reason.NOT_A_NUMBER),
    ("b6,alice,1e3,regular,2026-03-10T07:15:00", Reason.NOT_A_NUMBER),
    ("b7,alice,1\x002,regular,2026-03-10T07:15:00", Reason.NOT_A_NUMBER),
    ("b8,alice,0,regular,2026-03-10T07:15:00", Reason.NOT_ABOVE_ZERO),
    ("b9,alice,-2.50,regular,2026-03-10T07:15:00", Reason.NOT_ABOVE_ZERO),
    ("c1,alice,1.2345678,regular,2026-03-10T07:15:00", Reason.TOO_MANY_DECIMALS),
    (f"c2,alice,{10**30},regular,2026-03-10T07:15:00", Reason.TOO_LARGE),
    ("c3,alice,1,regular,yesterday", Reason.NOT_AN_INSTANT),
    ("c4,alice,1,regular,", Reason.NOT_AN_INSTANT),
    ("c5,alice,1,regular,2026-02-30T07:15:00", Reason.NOT_AN_INSTANT),
    ("c6,alice,1,regular,0001-01-01T00:00:00+23:59", Reason.NOT_AN_INSTANT),
    ("c7,alice,1,regular,1969-12-31T23:59:59", Reason.BEFORE_1970),
    ("c8,alice,1,regular,2999-01-01T00:00:00", Reason.IN_THE_FUTURE),
    ("c9,alice,1,re\x00gular,2026-03-10T07:15:00", Reason.ATTRIBUTES),
    (f"d1,alice,1,{'x' * 4000},2026-03-10T07:15:00", Reason.ATTRIBUTES),
    ("d2,alice,1,regular", WRONG_WIDTH),
    ("d3,alice,1,regular,2026-03-10T07:15:00,more", WRONG_WIDTH),
    ("d4", WRONG_WIDTH),
    ('d5,alice,1,"regular,2026-03-10T07:15:00', NOT_CSV),
    ('d6,alice,1,"regular"ly,2026-03-10T07:15:00', NOT_CSV),
]


def test_every_bad_line_is_reported_and_kept_and_the_good_ones_go_in(votes_file, tmp_path):
    kept = tmp_path / "errors.csv"
    path = votes_file(GOOD_VOTES[0], *[line for line, _ in BAD_LINES], *GOOD_VOTES[1:])

    printed = run("import_votes", path, "--errors", str(kept))

    assert printed[:20] == [f"Line {number}: {reason}" for number, (_, reason) in enumerate(BAD_LINES[:20], start=3)]
    assert printed[20] == "… and 7 more"
    assert f"Refused 3: {WRONG_WIDTH}" in printed[21:]
    assert "Read 30: accepted 3, duplicates 0, late 0, refused 27; partners created 2" in printed[-1]
    with kept.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["line_number", "reason", *HEADER.split(",")]
    assert [(int(number), reason) for number, reason, *_ in rows] == [
        (number, reason) for number, (_, reason) in enumerate(BAD_LINES, start=3)
    ]
    assert rows[11][2:] == ["b9", "alice", "-2.50", "regular", "2026-03-10T07:15:00"]
    assert rows[-1][2:] == [BAD_LINES[-1][0]]


def test_the_file_of_errors_can_be_mended_and_imported(votes_file, tmp_path):
    kept = tmp_path / "errors.csv"
    run(
        "import_votes",
        votes_file(GOOD_VOTES[0], 'v4,bob,-3,"odd, but right",2026-03-10T07:15:00'),
        "--errors",
        str(kept),
    )

    kept.write_text(kept.read_text().replace(",-3,", ",3,"))

    assert "Read 1: accepted 1" in run("import_votes", kept)[-1]
    assert ActivityEvent.objects.get(event_id="v4").attributes == {"vote_type": "odd, but right"}


def test_an_open_quote_spoils_its_own_line_only(votes_file):
    printed = run("import_votes", votes_file('v0,alice,1,"regular,2026-03-10T07:15:00', *GOOD_VOTES))

    assert "accepted 3" in printed[-1]
    assert "refused 1" in printed[-1]


def test_the_file_of_errors_must_not_be_the_file_itself(votes_file):
    path = votes_file(*GOOD_VOTES)

    assert refusal(path, "--errors", str(path)) == "--errors would overwrite the file that is being imported."
    assert path.read_text().count("\n") == 4


def test_a_file_of_errors_that_cannot_be_written_stops_everything(votes_file, tmp_path):
    missing_folder = tmp_path / "missing" / "errors.csv"

    assert refusal(votes_file(*GOOD_VOTES), "--errors", str(missing_folder)).endswith(
        "cannot be written: No such file or directory."
    )


# ---------------------------------------------------------------------------------------------------------- bad files


def test_a_file_that_is_not_there(tmp_path):
    assert refusal(tmp_path / "none.csv").endswith("none.csv cannot be read: No such file or directory.")


def test_a_folder(tmp_path):
    assert refusal(tmp_path).endswith("cannot be read: Is a directory.")


def test_an_empty_file(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_bytes(b"")

    assert refusal(path).endswith("votes.csv does not begin with a line of column names.")


def test_a_first_line_that_is_not_csv(votes_file):
    assert "does not begin with a line of column names" in refusal(votes_file(header='"event_id'))


def test_a_file_that_is_cut_off(votes_file):
    path = votes_file(*[f"v{number},alice,1,regular,2026-03-10T07:15:00" for number in range(5000)])
    whole = gzip.compress(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])

    assert refusal(path).endswith("is cut off: its compressed data ends early.")


def test_a_compressed_file_that_is_damaged(votes_file):
    path = votes_file(*GOOD_VOTES)
    damaged = bytearray(gzip.compress(path.read_bytes()))
    damaged[-6] ^= 1
    path.write_bytes(damaged)

    assert "cannot be read: CRC check failed" in refusal(path)


def test_a_file_that_is_not_utf_8_even_in_its_last_line(votes_file, monkeypatch):
    monkeypatch.setattr(csv_import, "LINES_PER_TRANSACTION", 1)
    path = votes_file(*GOOD_VOTES)
    path.write_bytes(path.read_bytes() + "v4,jürgen,1,regular,2026-03-10T07:15:00\n".encode("latin-1"))

    assert refusal(path).endswith("is not UTF-8 text.")


def test_a_file_without_line_ends(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_bytes(b"x" * 1_000_000)

    assert "is not CSV: line 1 has 100000 characters or more" in refusal(path)


def test_a_file_that_lacks_a_column(votes_file):
    sentence = refusal(votes_file(*GOOD_VOTES, header="event_id,partner,amount,vote_type,occurred_at"))

    assert sentence.endswith(
        "has no column 'cc_amount'. Its columns are: event_id, partner, amount, vote_type, occurred_at."
    )


def test_a_file_with_a_column_twice(votes_file):
    assert refusal(votes_file(header=f"{HEADER},partner")).endswith("has more than one column 'partner'.")


def test_a_mapped_column_that_the_file_lacks(votes_file):
    assert "has no column 'customer'" in refusal(votes_file(*GOOD_VOTES), "--map", "partner=customer")


def test_a_map_of_a_column_that_does_not_exist(votes_file):
    assert refusal(votes_file(*GOOD_VOTES), "--map", "user=partner") == (
        "There is no column 'user' to map; the columns are event_id, partner, cc_amount, vote_type, occurred_at."
    )


def test_a_map_that_is_none(votes_file):
    assert refusal(votes_file(*GOOD_VOTES), "--map", "partner") == (
        "--map takes COLUMN=NAME such as partner=customer_id, not 'partner'."
    )


# ------------------------------------------------------------------------------------------------------------ dry run


def test_a_dry_run_says_what_an_import_would_do_and_writes_nothing(votes_file, monkeypatch):
    monkeypatch.setattr(csv_import, "LINES_PER_TRANSACTION", 2)
    run("import_votes", votes_file(GOOD_VOTES[0], name="first.csv"))
    close_stretch("cc_vote", instant("2026-03-10T07:30"), instant("2026-03-10T08:00"))
    path = votes_file(*GOOD_VOTES, GOOD_VOTES[1], "v4,bob,0,,2026-03-10T07:15:00", "v5,carol,1,,2026-03-10T07:15:00")
    events, counted, users = ActivityEvent.objects.count(), counters(), User.objects.count()

    announced = run("import_votes", path, "--dry-run")

    assert (ActivityEvent.objects.count(), counters(), User.objects.count()) == (events, counted, users)
    assert figures(announced) == (
        "Dry run, nothing was written. Read 6: accepted 3, duplicates 2, late 1, refused 1; partners created 2"
    )
    done = run("import_votes", path)
    assert f"Dry run, nothing was written. {figures(done)}" == figures(announced)


# ----------------------------------------------------------------------------------------------------- import_activity

ACTIVITY_HEADER = "event_id,user,metric,quantity,occurred_at"


def test_activity_of_any_metric_with_attributes(votes_file, alice):
    path = votes_file(
        "a1,alice,tests_completed,2,2026-03-10T07:15:00,",
        'a2,alice,correct_answers,17,2026-03-10T07:15:00,"{""test"": ""algebra"", ""marks"": [1, 2.5]}"',
        header=f"{ACTIVITY_HEADER},attributes",
    )

    printed = run("import_activity", path)

    assert figures(printed) == "Read 2: accepted 2, duplicates 0, late 0, refused 0; users created 0"
    assert (total("alice", "tests_completed"), total("alice", "correct_answers")) == (2, 17)
    assert ActivityEvent.objects.get(event_id="a1").attributes == {}
    assert ActivityEvent.objects.get(event_id="a2").attributes == {"test": "algebra", "marks": [1, 2.5]}


def test_unknown_users_are_refused_unless_they_are_to_be_created(votes_file, alice):
    path = votes_file(
        "a1,alice,logins,1,2026-03-10T07:15:00", "a2,zoe,logins,1,2026-03-10T07:15:00", header=ACTIVITY_HEADER
    )

    assert run("import_activity", path)[0] == f"Line 3: {Reason.UNKNOWN_USER}"
    assert "accepted 1, duplicates 1" in run("import_activity", path, "--create-users")[-1]
    assert total("zoe", "logins") == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("*month,1,2026-03-10T07:15:00,", Reason.METRIC),
        (",1,2026-03-10T07:15:00,", Reason.METRIC),
        ("logins,1,2026-03-10T07:15:00,[1]", Reason.ATTRIBUTES),
        ("logins,1,2026-03-10T07:15:00,{", Reason.ATTRIBUTES),
        ('logins,1,2026-03-10T07:15:00,"{""a"": NaN}"', Reason.ATTRIBUTES),
        ('logins,1,2026-03-10T07:15:00,"{""a"": ""\\u0000""}"', Reason.ATTRIBUTES),
        ('logins,1,2026-03-10T07:15:00,"{""a"": ""\\ud800""}"', Reason.ATTRIBUTES),
        (f"logins,1,2026-03-10T07:15:00,{'[' * 50_000}", Reason.ATTRIBUTES),
    ],
)
def test_bad_lines_of_activity(votes_file, alice, values, reason):
    path = votes_file(f"a1,alice,{values}", header=f"{ACTIVITY_HEADER},attributes")

    assert run("import_activity", path)[0] == f"Line 2: {reason}"
    assert not Counter.objects.exists()


# ----------------------------------------------------------------------------------------------------- after a crash


class PowerCut(Exception):
    """The machine went down."""


@pytest.mark.parametrize("batches_before", [0, 1, 2])
def test_an_import_that_dies_in_the_middle_is_finished_by_importing_again(votes_file, monkeypatch, batches_before):
    monkeypatch.setattr(csv_import, "LINES_PER_TRANSACTION", 3)
    lines = [f"v{number},partner-{number % 4},{number + 1},regular,2026-03-10T07:15:00" for number in range(9)]
    path = votes_file(*lines)
    done = []

    def write_until_the_power_is_cut(events):
        with transaction.atomic():
            outcome = record_checked(events, create_users=True, at=NOON)
            if len(done) == batches_before:
                raise PowerCut
        done.append(outcome)
        return outcome

    with pytest.raises(PowerCut):
        import_lines(open_csv(path, VOTES, {}), write_until_the_power_is_cut, at=NOON, report=lambda *_: None)
    assert ActivityEvent.objects.count() == 3 * batches_before
    assert sum(Counter.objects.filter(month="").values_list("quantity", flat=True)) == sum(
        range(1, 3 * batches_before + 1)
    )

    run("import_votes", path)

    assert ActivityEvent.objects.count() == 9
    assert {user: total(f"partner-{user}") for user in range(4)} == {0: 1 + 5 + 9, 1: 2 + 6, 2: 3 + 7, 3: 4 + 8}
