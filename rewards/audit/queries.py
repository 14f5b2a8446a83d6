"""Checking the chain, and how far behind the sealing is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.models import Count, Min
from django.utils import timezone

from rewards.audit.chain import GENESIS, SEALED_COLUMNS, Place, event_hash, last_seal, seal_hash
from rewards.audit.models import AuditEvent, AuditSeal
from rewards.common.database import in_batches

LOOKUP_ROWS = 500
MOST_NAMED = 100  # events named per seal, where a flood of them was slipped in


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was sealed. `kind` is stable; `sentence` is for people."""

    kind: str
    sentence: str
    seal: int | None = None
    event: int | None = None


@dataclass
class Verdict:
    """What `verify_chain` found. `head` is the hash of the last seal: keep it elsewhere and `expect` it later."""

    head: str = GENESIS
    seals: int = 0
    sealed_events: int = 0
    unsealed_events: int = 0
    lag_seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        return not self.findings


def verify_chain(expect: str | None = None) -> Verdict:
    """Walk all seals in chain order and compare every sealed event with its hash.

    Finds edited, removed and slipped-in events, and edited, removed and reordered seals. Seals cut off at the end show
    only against a head kept elsewhere: `expect` (hex) must be one of the chain. Memory stays at one seal.
    """
    verdict, before, expected_seen = Verdict(), None, expect in (None, GENESIS)
    bases = sorted(AuditSeal.objects.values_list("base_event", flat=True).distinct())
    for seal_id in _seal_ids():
        seal = _read_seal(seal_id)
        verdict.seals += 1
        verdict.findings += _check_seal(seal_id, seal, before, bases, first=verdict.seals == 1)
        if seal is not None:
            verdict.sealed_events += len(seal.entries)
            verdict.head = seal.hash
            expected_seen = expected_seen or seal.hash == expect
        before = seal
    verdict.unsealed_events, verdict.lag_seconds = _unsealed_after(before)
    if not expected_seen:
        sentence = f"The expected head {expect} is not on the chain: seals were cut off, or the chain was rewritten."
        verdict.findings.append(Finding("head_missing", sentence))
    return verdict


def seal_lag() -> tuple[int, float]:
    """How many events are not sealed yet, and the age of the oldest of them in seconds."""
    return _unsealed_after(last_seal())


def _unsealed_after(seal: AuditSeal | None) -> tuple[int, float]:
    return unsealed_after(Place.after_seal(seal))


def unsealed_after(place: Place, at_most: int | None = None) -> tuple[int, float]:
    """How many events come after a place, of the first so many, and the age of the oldest of them in seconds."""
    later = AuditEvent.objects.filter(place.before()).order_by("transaction_number", "id")
    waiting = later[:at_most].aggregate(n=Count("id"), oldest=Min("timestamp"))
    seconds = (timezone.now() - waiting["oldest"]).total_seconds() if waiting["oldest"] else 0.0
    return waiting["n"], max(0.0, seconds)


# --------------------------------------------------------------------------------------------------------- one seal


def _seal_ids() -> Iterator[int]:
    last = 0
    while batch := list(AuditSeal.objects.filter(id__gt=last).order_by("id").values_list("id", flat=True)[:1000]):
        yield from batch
        last = batch[-1]


def _read_seal(seal_id: int) -> AuditSeal | None:
    """None when the row cannot even be read: SQLite lets a forger write anything into a column."""
    try:
        seal = AuditSeal.objects.get(pk=seal_id)
        seal_hash(seal)
    except (ValueError, TypeError, AttributeError):
        return None
    return seal


def _check_seal(
    seal_id: int, seal: AuditSeal | None, before: AuditSeal | None, bases: list[int], *, first: bool
) -> list[Finding]:
    if seal is None or seal_hash(seal) != seal.hash:
        return [Finding("seal_edited", f"Seal {seal_id} is not what was written: it was edited.", seal=seal_id)]
    if not first and before is None:
        return []  # the seal before is unreadable and reported: nothing to follow
    # Both, so that a changed hash is reported at the seal that carries it and not at its successor as well.
    predecessors = {before.hash, seal_hash(before)} if before else {GENESIS}
    if seal.previous_hash not in predecessors:
        what = f"seal {before.pk}" if before else "the beginning"
        sentence = f"Seal {seal_id} does not follow {what}: a seal between them was removed, or they were reordered."
        return [Finding("seal_missing", sentence, seal=seal_id)]
    return [*_changed_events(seal), *_slipped_in(seal, Place.after_seal(before), bases)]


def _changed_events(seal: AuditSeal) -> Iterator[Finding]:
    for entries in in_batches(seal.entries, LOOKUP_ROWS):
        found = _hashes_of([row for row, _ in entries])
        for row, sealed in entries:
            if row not in found:
                yield Finding("event_removed", f"Event {row} was sealed and is gone.", seal.pk, row)
            elif found[row] != sealed:
                sentence = f"Event {row} ({_event_id(row)}) is not what was sealed: it was edited."
                yield Finding("event_edited", sentence, seal.pk, row)


def _slipped_in(seal: AuditSeal, place: Place, bases: list[int]) -> Iterator[Finding]:
    """Events that stand where this seal and the one before it leave no room.

    `bases`: each marks the last id that one database server numbered; what another one numbered is not compared.
    """
    stretch = AuditEvent.objects.filter(place.before())
    if seal.base_event == place.base_event:
        stretch = stretch.filter(Place.after_seal(seal).reaches())
    end_of_server = next((base for base in bases if base > place.base_event), None)
    if end_of_server is not None:
        stretch = stretch.filter(id__lte=end_of_server)
    sealed = {row for row, _ in seal.entries}
    rows = stretch.order_by("id").values_list("id", flat=True)[: len(sealed) + MOST_NAMED]
    for row in rows:
        if row not in sealed:
            sentence = (
                f"Event {row} ({_event_id(row)}) stands among sealed events and is in no seal: it was slipped in."
            )
            yield Finding("event_slipped_in", sentence, seal.pk, row)


def _hashes_of(rows: list[int]) -> dict[int, str]:
    try:
        events = AuditEvent.objects.filter(pk__in=rows).values("id", *SEALED_COLUMNS)
        return {event["id"]: event_hash(event) for event in events}
    except (ValueError, TypeError, AttributeError):  # a forged value that cannot be read: find out whose
        if len(rows) == 1:
            return {rows[0]: "unreadable"}
        return {row: found for each in rows for row, found in _hashes_of([each]).items()}


def _event_id(row: int) -> str:
    try:
        return str(AuditEvent.objects.values_list("event_id", flat=True).get(pk=row))
    except ValueError:
        return "unreadable id"
