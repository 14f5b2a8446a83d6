"""The dilemmas that ship with the product (`dilemmas.json`), one after the other.

Whoever reads that file knows their verdicts. It is for trying things out, and for where nobody is that curious.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from django.db.models import Count, Max
from django.views.decorators.debug import sensitive_variables

from rewards.cases.generator.written import WrittenCase
from rewards.cases.models import Case


@sensitive_variables()
def next_dilemma() -> WrittenCase:
    """The first one of the file that no case was made of; when there is none left, the one used longest ago.

    Two callers at once get the same one with the same `dilemma_use`, which the database takes once.
    """
    used = {
        row["dilemma"]: row
        for row in Case.objects.exclude(dilemma="").values("dilemma").annotate(uses=Count("pk"), last=Max("pk"))
    }
    never = {"uses": 0, "last": 0}
    chosen = min(dilemmas(), key=lambda dilemma: used.get(dilemma["key"], never)["last"])
    return WrittenCase(
        title=chosen["title"],
        context=chosen["context"],
        verdict=chosen["verdict"],
        reasoning=chosen["reasoning"],
        confidence=Decimal(chosen["confidence"]),
        dilemma=chosen["key"],
        dilemma_use=used.get(chosen["key"], never)["uses"] + 1,
    )


@lru_cache(maxsize=1)
def dilemmas() -> tuple[dict[str, str], ...]:
    """All of them, read when they are first asked for: key, title, context, verdict, reasoning, confidence."""
    return tuple(json.loads(Path(__file__).with_name("dilemmas.json").read_text(encoding="utf-8")))
