"""Whole numbers of many rows come as columns, the same on both engines."""

from __future__ import annotations

import numpy as np
import pytest
from django.db import DatabaseError, transaction

from rewards.common.columns import read_columns
from rewards.common.errors import InvariantBroken

pytestmark = pytest.mark.django_db

NUMBERS = "SELECT CAST(%s AS bigint) AS a, CAST(%s AS bigint) AS b UNION ALL SELECT 3, 4 ORDER BY a"


def test_rows_come_as_columns_of_whole_numbers():
    first, second = read_columns(NUMBERS, [-(2**63), 2**63 - 1], 2)
    assert first.tolist() == [-(2**63), 3]
    assert second.tolist() == [2**63 - 1, 4]
    assert first.dtype == second.dtype == np.int64


def test_no_rows_are_empty_columns():
    first, second = read_columns(f"SELECT * FROM ({NUMBERS}) numbers WHERE a = 17", [1, 2], 2)
    assert (len(first), len(second)) == (0, 0)


def test_a_null_is_refused():
    with pytest.raises((TypeError, InvariantBroken)), transaction.atomic():
        read_columns("SELECT CAST(NULL AS bigint)", [], 1)


def test_an_error_of_the_database_is_one_of_djangos():
    with pytest.raises(DatabaseError), transaction.atomic():
        read_columns("SELECT no_such_column", [], 1)
