"""The log of the local chain: how an entry is chained to the one before it, and whether all of them still are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import sha256

from django.db.models import Exists, OuterRef

from rewards.allocation.canonical import canonical_json
from rewards.chain.models import ChainTransaction, LocalEntry

GENESIS = "0" * 64
BATCH = 500


@dataclass
class LocalVerdict:
    """What `verify_local_chain` found. `head` is the hash of the last entry: keep it elsewhere and expect it later."""

    head: str = GENESIS
    entries: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        return not self.findings


def last_entry() -> LocalEntry | None:
    """The head. An entry is written after the one it follows is committed, so ids grow along the chain."""
    return LocalEntry.objects.order_by("-id").first()


def entry_hash(entry: LocalEntry) -> str:
    """SHA-256 (hex) over the canonical JSON of all that an entry says, and of the hash of the entry before it."""
    content = {
        "previous_hash": entry.previous_hash,
        "tx_hash": entry.tx_hash,
        "sender": entry.sender,
        "nonce": str(entry.nonce),
        "recipient": entry.recipient,
        "payload_hash": entry.payload_hash,
        "recorded_at": entry.recorded_at.astimezone(UTC).isoformat(timespec="microseconds"),
    }
    return sha256(canonical_json(content)).hexdigest()


def hash_stands(entry: LocalEntry) -> bool:
    """Whether the entry is what was recorded. Forged values that cannot be hashed are not."""
    try:
        return entry_hash(entry) == entry.entry_hash
    except (AttributeError, TypeError, ValueError):
        return False


def verify_local_chain(expect: str | None = None) -> LocalVerdict:
    """Walk the log from its beginning: each entry has its hash, and follows the one before it.

    Finds entries that were edited, removed, slipped in or reordered. Entries cut off at the end show by the
    transactions that were confirmed by them, or against a head kept elsewhere: `expect`, the hash of one of them.
    """
    verdict, expected_seen = LocalVerdict(), expect in (None, GENESIS)
    for entry_id, entry in _entries():
        verdict.entries += 1
        verdict.findings += _check_entry(entry_id, entry, verdict.head)
        verdict.head = entry.entry_hash if entry else "unreadable"
        expected_seen = expected_seen or verdict.head == expect
    verdict.findings += _transactions_not_in_it()
    if not expected_seen:
        verdict.findings.append(f"The expected head {expect} is not on the chain: entries were cut off or rewritten.")
    return verdict


def _entries() -> Iterator[tuple[int, LocalEntry | None]]:
    """Each entry by its id; None when it cannot even be read: SQLite lets a forger write anything into a column."""
    last = None
    while ids := _ids_after(last):
        entries = _readable(ids)
        yield from ((entry_id, entries.get(entry_id)) for entry_id in ids)
        last = ids[-1]


def _ids_after(last: int | None) -> list[int]:
    entries = LocalEntry.objects.order_by("id").values_list("id", flat=True)
    return list((entries if last is None else entries.filter(id__gt=last))[:BATCH])


def _readable(ids: list[int]) -> dict[int, LocalEntry]:
    try:
        return LocalEntry.objects.in_bulk(ids)
    except (ValueError, TypeError):  # one of them cannot be read: find out which
        if len(ids) == 1:
            return {}
        return {entry_id: entry for each in ids for entry_id, entry in _readable([each]).items()}


def _check_entry(entry_id: int, entry: LocalEntry | None, head: str) -> Iterator[str]:
    if entry is None or not hash_stands(entry):
        yield f"Entry {entry_id} is not what was recorded: it was edited."
    elif entry.previous_hash != head:
        yield f"Entry {entry_id} ({entry.tx_hash}) does not follow the one before it: one was removed, or slipped in."


def _transactions_not_in_it() -> Iterator[str]:
    """Transactions that the log had taken, and that it does not have, or has with another payload."""
    recorded = LocalEntry.objects.filter(tx_hash=OuterRef("tx_hash"), payload_hash=OuterRef("payload_hash"))
    taken = ChainTransaction.objects.filter(sender__chain="local", confirmations__gt=0).order_by("id")
    for tx_hash in taken.exclude(Exists(recorded)).values_list("tx_hash", flat=True):
        yield f"The transaction {tx_hash} was recorded, and is not in the log any more as it was."
