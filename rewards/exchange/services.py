"""Writing the rules of an installation into one file, looking at such a file, and taking it: all of it, or nothing.

A look does what taking would do, and takes it all back: what it says is what the checks of each rule's own page say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import Error, transaction

from rewards.audit.services import record
from rewards.common.errors import ReasonMissing, RewardsError
from rewards.exchange.documents import Sections, to_text
from rewards.exchange.errors import ChangedMeanwhile, RuleRefused, RulesRefused
from rewards.exchange.kinds import Facts, Hand, Kind, kinds
from rewards.users.models import User

Outcome = Literal["create", "change", "same", "refused"]
A_LOOK = "a look at what would change"


@dataclass(frozen=True)
class Item:
    """One rule of a file: what taking it would do, or why it is refused."""

    kind: str
    key: str
    outcome: Outcome
    before: Facts | None = None
    after: Facts | None = None
    sentence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Report:
    """What a file would do, rule by rule. `untouched`: how many rules of each kind it does not name, which stay."""

    items: tuple[Item, ...]
    untouched: Mapping[str, int]

    def of(self, *outcomes: Outcome) -> list[Item]:
        return [item for item in self.items if item.outcome in outcomes]

    @property
    def changes(self) -> list[Item]:
        return self.of("create", "change")

    def digest(self) -> str:
        """Names what was looked at: another one, and the file would do something else."""
        said = [{**asdict(item), "note": ""} for item in self.items if item.outcome != "same"]
        return hashlib.sha256(_canonical(said).encode()).hexdigest()


def export_rules() -> str:
    """The rules of this installation as the text of a file: the same rules give the same text."""
    return to_text(
        {
            kind.name: {key: kind.facts(row) for key, row in kind.standing().items() if kind.is_exported(row)}
            for kind in kinds()
        }
    )


def look_at(sections: Sections, *, actor: User | None, at: datetime) -> Report:
    """What taking the rules would do, every refusal among it. Nothing is written."""
    with transaction.atomic():
        report = _take(sections, Hand(actor, A_LOOK, at))
        transaction.set_rollback(True)
    return report


def import_rules(
    sections: Sections, *, actor: User | None, reason: str, at: datetime, looked_at: str | None = None
) -> Report:
    """Take the rules: what is new is created, what differs is changed, nothing is deleted. What it did.

    `looked_at` is the digest of the report that somebody has seen. Raises `RulesRefused` with every refusal, and
    `ChangedMeanwhile`, `ReasonMissing`; nothing is written then.
    """
    if not reason.strip():
        raise ReasonMissing
    with transaction.atomic():
        report = _take(sections, Hand(actor, reason.strip(), at))
        if looked_at is not None and looked_at != report.digest():
            raise ChangedMeanwhile
        if report.of("refused"):
            raise RulesRefused(report)
        if report.changes:
            taken = {outcome: [f"{item.kind}:{item.key}" for item in report.of(outcome)] for outcome in OUTCOMES}
            record("rules_imported", actor=actor, reason=reason.strip(), data=taken | {"digest": report.digest()})
    return report


OUTCOMES: tuple[Outcome, ...] = ("create", "change")


# --------------------------------------------------------------------------------------------------------------- steps


def _take(sections: Sections, hand: Hand) -> Report:
    known = {kind.name: kind for kind in kinds()}
    items = [
        Item(name, "", "refused", sentence=f"{name!r} is no kind of rules. There are {', '.join(known)}.")
        for name in sections
        if name not in known
    ]
    untouched = {}
    for name, kind in known.items():
        given = sections.get(name, {})
        if given:
            _hold(kind)
        standing = kind.standing()
        untouched[kind.title] = sum(kind.is_exported(row) for key, row in standing.items() if key not in given)
        items += _take_kind(kind, standing, given, hand)
    return Report(tuple(items), {title: count for title, count in untouched.items() if count})


def _hold(kind: Kind) -> None:
    """Nobody changes rules of this kind meanwhile: a row is saved whole, what the file leaves out as it was read."""
    list(kind.model._default_manager.select_for_update(no_key=True).order_by("pk").values_list("pk"))


def _take_kind(kind: Kind, standing: Mapping[str, Any], given: Mapping[str, Any], hand: Hand) -> list[Item]:
    rows: dict[str, Any] = {}
    items = [_take_one(kind, key, standing.get(key), facts, hand, rows) for key, facts in sorted(given.items())]
    problems = kind.problems_together(rows)
    return [
        Item(kind.name, item.key, "refused", sentence=problems[item.key]) if item.key in problems else item
        for item in items
    ]


def _take_one(kind: Kind, key: str, row: Any, facts: Any, hand: Hand, saved: dict[str, Any]) -> Item:
    """In a savepoint of its own: what is refused leaves nothing behind, and does not keep the next from its check."""
    try:
        with transaction.atomic():
            before = kind.facts(row) if row is not None else None
            _require_known_names(kind, facts)
            row = kind.new(key) if row is None else row
            kind.fill(row, facts)
            after = kind.facts(row)
            if before is not None and _canonical(before) == _canonical(after):
                return Item(kind.name, key, "same")
            _require_right(kind, hand.actor, is_new=before is None)
            note = kind.note(before, row, hand.at)
            kind.check(row)
            kind.save(row, hand)
            saved[key] = row
            return Item(kind.name, key, "change" if before is not None else "create", before, after, note=note)
    except RewardsError as error:
        return Item(kind.name, key, "refused", sentence=sentence_of(error))
    except ValidationError as error:
        return Item(kind.name, key, "refused", sentence=_of_fields(error))
    except Error as error:  # a law of the database that no check has foreseen
        return Item(kind.name, key, "refused", sentence=f"The database refuses it: {str(error).splitlines()[0]}")


def _require_known_names(kind: Kind, facts: Any) -> None:
    if not isinstance(facts, dict):
        raise RuleRefused("Write an object with what the rule says.")
    if unknown := sorted(facts.keys() - set(kind.fields)):
        raise RuleRefused(f"{', '.join(unknown)}: {kind.title} say {', '.join(kind.fields)}, and nothing else.")


def _require_right(kind: Kind, actor: User | None, *, is_new: bool) -> None:
    right = kind.rights()[0 if is_new else 1]
    if actor is not None and not (actor.is_active and actor.has_perm(right)):
        raise RuleRefused(f"{actor} may not do this: it takes the right {right.partition('.')[2]!r}.")


def sentence_of(error: RewardsError) -> str:
    """What an error says, with what it says of each field."""
    errors = error.facts.get("errors")
    if isinstance(errors, dict) and errors:
        return "; ".join(f"{name}: {sentence}" for name, sentence in errors.items())
    return " ".join(error.message.split())


def _of_fields(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return "; ".join(
        " ".join(sentences) if name == "__all__" else f"{name}: {' '.join(sentences)}"
        for name, sentences in error.message_dict.items()
    )


def _canonical(value: Any) -> str:
    """Told apart as JSON tells apart: 1, 1.0 and true are equal to Python."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
