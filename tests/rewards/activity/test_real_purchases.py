"""Thirteen months of purchases of a shop, imported as votes: returns are refused lines."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter as Tally
from pathlib import Path

import pytest
from django.core.management import call_command

from rewards.activity.models import ActivityEvent
from rewards.activity.services import rebuild_counters
from rewards.users.models import User
from tests.rewards.activity.conftest import counters

PURCHASES = Path(__file__).resolve().parents[4] / "shared" / "data" / "retail_activity" / "events.csv.gz"
NAMES = ["partner=customer_id", "cc_amount=amount_pence", "vote_type=country", "occurred_at=at"]

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not PURCHASES.exists(), reason="needs the purchases in ../shared/data/retail_activity"),
]


def test_every_purchase_counts_once_and_every_return_is_kept_apart(tmp_path):
    out, kept = io.StringIO(), tmp_path / "errors.csv"
    call_command("import_votes", str(PURCHASES), "--map", *NAMES, "--errors", str(kept), stdout=out)

    assert (
        "Read 406,829: accepted 397,880, duplicates 0, late 0, refused 8,949; partners created 4,338" in out.getvalue()
    )
    assert User.objects.count() == 4_338
    assert len(kept.read_text().splitlines()) == 1 + 8_949
    sums, countries = counted_by_hand()
    assert counters() == sums
    assert (
        Tally(votes["vote_type"] for votes in ActivityEvent.objects.values_list("attributes", flat=True)) == countries
    )
    assert rebuild_counters() == 0


def counted_by_hand() -> tuple[dict[tuple[str, str, str], int], dict[str, int]]:
    """Pence per customer in all and per month, and purchases per country."""
    sums: Tally[tuple[str, str, str]] = Tally()
    countries: Tally[str] = Tally()
    with gzip.open(PURCHASES, "rt") as file:
        for row in csv.DictReader(file):
            pence = int(row["amount_pence"])
            if pence > 0:
                countries[row["country"]] += 1
                for month in ("", row["at"][:7]):
                    sums[row["customer_id"], "cc_vote", month] += pence
    return sums, countries
