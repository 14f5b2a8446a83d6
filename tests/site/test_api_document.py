"""docs/api.md names what is there: every call, and of each problem the code and the status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

from rewards.api.problems import codes

TEXT = (Path(settings.BASE_DIR) / "docs" / "api.md").read_text()
ROW_OF_PROBLEMS = re.compile(r"^\| (\d{3}) \| ([`a-z_, ]+) \|", re.MULTILINE)


def test_it_tells_of_every_call():
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    calls = {(method.upper(), path) for path, methods in paths.items() for method in methods}

    told = {
        (method, path)
        for methods, path in re.findall(r"^\| ([A-Z, ]+) `([^`]+)` \|", TEXT, re.MULTILINE)
        for method in methods.split(", ")
    }
    assert {call for call in calls if not call[1].startswith(("/api/schema", "/api/docs"))} == told


@pytest.mark.parametrize(
    ("status", "code"),
    [(int(row[0]), code) for row in ROW_OF_PROBLEMS.findall(TEXT) for code in re.findall(r"\w+", row[1])],
)
def test_its_problems_have_their_status(status, code):
    assert codes()[code].status == status


def test_it_has_a_table_of_problems():
    assert {int(row[0]) for row in ROW_OF_PROBLEMS.findall(TEXT)} >= {400, 401, 403, 404, 409, 422, 429, 503}
