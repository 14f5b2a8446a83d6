"""Lists from files: taken whole, or refused with every bad line named."""

from __future__ import annotations

import gzip
import io

import pytest
from django.db import connection

from rewards.campaigns import intake, services
from rewards.campaigns.errors import BadLines, CampaignBegun, CampaignOver, EmptyList, TakesNoList, TotalTooLarge
from rewards.campaigns.lines import Reason
from rewards.campaigns.models import Campaign, CampaignParticipant
from rewards.campaigns.services import Layout
from rewards.common.csv_lines import NOT_CSV, WRONG_WIDTH, UnreadableFile, WrongColumns
from rewards.users.models import User
from tests.rewards.campaigns.conftest import AMOUNTS, FIXED, NOON, WEIGHTS, csv_file, run, stored, upload

pytestmark = pytest.mark.django_db

ALL = Layout("user", weight="weight", amount="amount", group="group")


def bad_lines(campaign: Campaign, *lines: str, layout: Layout = WEIGHTS, **options: object) -> list[tuple[int, str]]:
    """(number, reason) with which the file is refused; it has left nothing behind."""
    before = stored(campaign), User.objects.count()
    with pytest.raises(BadLines) as refusal:
        upload(campaign, *lines, layout=layout, **options)
    assert (stored(campaign), User.objects.count()) == before
    assert refusal.value.count == len(refusal.value.lines) == refusal.value.facts["count"]
    return [(number, str(reason)) for number, reason in refusal.value.lines]


# ---------------------------------------------------------------------------------------------------- what is taken


def test_columns_stand_in_any_order_beside_others(campaign):
    grants = campaign()
    lines = ["note,group,amount,user,weight", "x,a,1.5,alice,2", '"quoted, and ""more""",,,"bob, the builder",']

    result = upload(grants, *lines, layout=ALL)

    assert (result.rows, result.users_created, result.total) == (2, 2, 150)
    assert stored(grants) == [("alice", "2", 150, "a"), ("bob, the builder", "0", None, "")]
    grants.refresh_from_db()
    assert (grants.rows, grants.rows_digest) == (2, result.digest)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_with_and_without_byte_order_mark_plain_or_gzip_from_a_path_or_a_stream(campaign, tmp_path, encoding, compress):
    grants, content = campaign(), "user,weight\r\nZoë,1\r\n\r\n李雷,2".encode(encoding)
    content = gzip.compress(content) if compress else content
    path = tmp_path / "list.data"
    path.write_bytes(content)

    class OneByteAtATime(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(1)

    for source in (path, io.BytesIO(content), OneByteAtATime(content)):
        services.upload(grants.pk, source, WEIGHTS, create_users=True, actor=None, at=NOON)
        assert stored(grants) == [("Zoë", "1", None, ""), ("李雷", "2", None, "")]


def test_users_are_created_once_and_cannot_sign_in(campaign, alice):
    result = upload(campaign(), "user,weight", "alice,1", "bob,1")

    bob = User.objects.get(username="bob")
    assert result.users_created == 1
    assert (bob.password, bob.date_joined, bob.is_active, bob.is_staff) == ("!", NOON, True, False)
    assert upload(campaign("again"), "user,weight", "alice,1", "bob,1").users_created == 0


def test_a_new_list_takes_the_place_of_the_one_before(campaign):
    grants = campaign()
    before = upload(grants, "user,weight", "alice,1", "bob,1")
    after = upload(grants, "user,weight", "bob,2", "carol,1")

    assert [line[0] for line in stored(grants)] == ["bob", "carol"]
    assert before.digest != after.digest


def test_the_digest_is_that_of_the_lines_in_any_order_and_notation(campaign):
    grants = campaign()
    one = upload(grants, "user,weight", "alice,1", "bob,0.5")
    other = upload(grants, "weight,user", "5e-1,bob", "1.0,alice")

    assert one.digest == other.digest


def test_a_preview_says_the_same_and_writes_nothing(campaign, alice):
    grants = campaign()
    lines = "user,weight", "alice,1", "bob,3"
    preview = services.preview_upload(grants, csv_file(*lines), WEIGHTS, create_users=True, at=NOON)

    assert not CampaignParticipant.objects.exists()
    assert User.objects.count() == 1
    assert preview.draft.snapshot.usernames == ["bob", "alice"]
    assert services.allocated(preview.draft).amounts.tolist() == [75_00, 25_00]
    result = upload(grants, *lines)
    assert (result.rows, result.users_created, result.digest) == (preview.rows, preview.users_created, preview.digest)


def test_the_caller_hears_how_far_it_is(campaign, monkeypatch):
    monkeypatch.setattr(intake, "LINES_AT_ONCE", 2)
    heard: list[int] = []

    upload(campaign(), "user,weight", "a,1", "b,1", "c,1", on_lines=heard.append)

    assert heard == [2, 1]


# ------------------------------------------------------------------------------------------------------------ bad lines


def test_every_bad_line_is_named_by_its_number_and_reason(campaign, alice, bob):
    grants = campaign()
    upload(grants, "user,weight", "alice,1")

    found = bad_lines(
        grants,
        "user,weight",
        "alice,1",
        "",
        'bob,"1',
        "bob",
        "bob,1,2",
        ",1",
        " bob,1",
        "b\x00b,1",
        "bob,-1",
        "bob,NaN",
        "bob,1e400",
        "alice,2",
        "nobody,1",
        f"{'x' * 151},1",
        'bob,"0,5"',
        create_users=False,
    )

    assert found == [
        (4, NOT_CSV),
        (5, WRONG_WIDTH),
        (6, WRONG_WIDTH),
        (7, Reason.USER),
        (8, Reason.USER),
        (9, Reason.USER),
        (10, Reason.WEIGHT_NEGATIVE),
        (11, Reason.WEIGHT_NOT_A_NUMBER),
        (12, Reason.WEIGHT_DIGITS),
        (13, "the user stands in line 2 already"),
        (14, Reason.UNKNOWN_USER),
        (15, Reason.USER),
        (16, Reason.WEIGHT_NOT_A_NUMBER),
    ]


def test_a_line_that_repeats_an_unknown_user_is_bad_once(campaign):
    lines = "user,weight", "eve,1", "eve,2", "mallory,1", "eve,3"

    assert bad_lines(campaign(), *lines, create_users=False) == [
        (2, Reason.UNKNOWN_USER),
        (3, "the user stands in line 2 already"),
        (4, Reason.UNKNOWN_USER),
        (5, "the user stands in line 2 already"),
    ]


def test_users_differ_by_case_and_by_accents(campaign):
    assert upload(campaign(), "user,weight", "zoe,1", "Zoe,1", "zoë,1", "zoe\u0308,1").users_created == 4


def test_bad_amounts_and_groups(campaign):
    prizes = campaign("prizes", rule=FIXED, amount=None)
    lines = ["user,weight,amount,group", "a,,,", "b,,0.001,", "c,,-1,", "d,,1e19,", "e,,1, x", "f,,1,x", "g,,0,"]

    assert bad_lines(prizes, *lines, layout=ALL) == [
        (2, Reason.AMOUNT_MISSING),
        (3, Reason.AMOUNT_DECIMALS),
        (4, Reason.AMOUNT_NEGATIVE),
        (5, Reason.AMOUNT_TOO_LARGE),
        (6, Reason.GROUP),
    ]
    with pytest.raises(WrongColumns, match="say which column has the amounts"):
        upload(prizes, "user,weight", "a,1")


def test_all_bad_lines_are_counted_and_the_first_thousand_listed(campaign, monkeypatch):
    monkeypatch.setattr(intake, "BAD_LINES_KEPT", 3)
    with pytest.raises(BadLines) as refusal:
        upload(campaign(), "user,weight", "a,x", "b,1", "b,2", "c,1", "d,1", "e,x", create_users=False)

    assert refusal.value.count == 6
    assert [number for number, _ in refusal.value.lines] == [2, 3, 4]
    assert "6 bad lines" in refusal.value.message
    assert list(refusal.value.facts["errors"]) == ["line 2", "line 3", "line 4"]


# ------------------------------------------------------------------------------------------------------------ bad files


WHOLE = gzip.compress(b"user,weight\n" + b"".join(b"user%d,%d\n" % (each, each * 7919) for each in range(2_000)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "does not begin with a line of column names"),
        (b"\n\nuser,weight\n", "does not begin with a line of column names"),
        ("user,weight\nalice,1\n".encode("utf-16"), "not UTF-8 text"),
        ("user,weight\nalice,1\n".encode("utf-16-le"), "not UTF-8 text"),
        ("user,weight\nZoë,1\n".encode("latin-1"), "not UTF-8 text"),
        (WHOLE[: len(WHOLE) // 2], "cut off"),
        (WHOLE[:5], "cut off"),
        (WHOLE[:500] + b"\x00\xff\x00\xff" + WHOLE[504:], "cannot be read"),
        (b"user,weight\n" + b"x" * 100_001, "line 2 has 100000 characters or more"),
        (b'user,"weight\nalice,1\n', "does not begin with a line of column names: the line is not CSV"),
    ],
)
def test_a_file_that_cannot_be_read(campaign, content, sentence):
    grants = campaign()
    with pytest.raises(UnreadableFile, match=sentence):
        services.upload(grants.pk, io.BytesIO(content), WEIGHTS, create_users=True, actor=None, at=NOON)

    assert not User.objects.exists()
    upload(grants, "user,weight", "alice,1")  # and nothing is in the way of the next one


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("name,weight", "The file has no column 'user'. Its columns are: name, weight."),
        ("user;weight", "The file has no column 'user'. Its columns are: user;weight."),
        ("user,user,weight", "The file has more than one column 'user'."),
        ("user", "The file has no column 'weight'. Its columns are: user."),
    ],
)
def test_a_column_that_is_not_there_once(campaign, header, sentence):
    with pytest.raises(WrongColumns) as refusal:
        upload(campaign(), header, "alice,1")
    assert refusal.value.message == sentence


def test_a_list_of_nobody(campaign):
    with pytest.raises(EmptyList):
        upload(campaign(), "user,weight")


def test_amounts_that_together_are_too_large(campaign):
    prizes = campaign("prizes", rule=FIXED, amount=None)
    with pytest.raises(TotalTooLarge):
        upload(prizes, "user,amount", f"a,{2**62 // 100}", f"b,{2**62 // 100}.99", layout=AMOUNTS)


def test_what_interrupts_reading_is_raised_as_it_is(campaign):
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                raise KeyboardInterrupt
            return super().read(12)

    source = Interrupted(b"user,weight\nalice,1\n")
    with pytest.raises(KeyboardInterrupt):
        services.upload(campaign().pk, source, WEIGHTS, create_users=True, actor=None, at=NOON)
    assert not User.objects.exists()


# ------------------------------------------------------------------------------------------------- when it is too late


def test_no_list_once_a_run_has_begun_or_for_other_participants(campaign, bob):
    grants = campaign()
    upload(grants, "user,weight", "alice,1")
    services.run(grants.pk, None, NOON)
    with pytest.raises(CampaignBegun):
        upload(grants, "user,weight", "bob,1")
    run(grants)
    with pytest.raises(CampaignOver):
        upload(grants, "user,weight", "bob,1")

    holders = campaign("holders", participants={"source": "holders", "currency": "coins"})
    with pytest.raises(TakesNoList):
        upload(holders, "user,weight", "bob,1")


def test_rows_that_another_part_of_the_product_has_made(campaign, alice, bob):
    one, other = campaign("one", rule=FIXED, amount=None), campaign("other", rule=FIXED, amount=None)
    rows = services.store_rows(one.pk, [(alice.pk, "", 150, ""), (bob.pk, "", 5, "late")], actor=None, at=NOON)
    lines = "user,amount,group", "bob,0.05,late", "alice,1.5,"
    from_file = upload(other, *lines, layout=Layout("user", amount="amount", group="group"))

    assert rows.digest == from_file.digest
    assert stored(one) == stored(other) == [("alice", "", 150, ""), ("bob", "", 5, "late")]


def test_the_temporary_table_is_gone_afterwards(campaign):
    upload(campaign(), "user,weight", "alice,1")

    with connection.cursor() as cursor:
        assert intake.TABLE not in connection.introspection.table_names(cursor)
