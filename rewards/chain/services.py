"""Putting something on the chain, and looking after it. The row stands first, and is never lost.

tx = submit(purpose, payload_hash, at=at)           # row, then sent; or, where the caller has a row of his own:

with transaction.atomic():
    tx = prepare(purpose, payload_hash, at=at)      # row only
    …
    broadcast_after_commit(tx, at)

look_at(tx, later)                                  # again and again, until it is confirmed or has failed
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from rewards.chain.backends import backend, chain_of
from rewards.chain.backends.base import Chain, Found
from rewards.chain.errors import ChainRefused, ChainUnavailable
from rewards.chain.local_log import verify_local_chain
from rewards.chain.models import ChainSender, ChainTransaction
from rewards.chain.signing import (
    LIVE,
    Status,
    bound_by,
    mined_earlier_try,
    newest_failed_try,
    note,
    others_of_nonce,
    require_key,
    require_network,
    sign,
)
from rewards.common.database import require_transaction
from rewards.common.errors import ensure
from rewards.parameters.services import param

__all__ = [
    "backend",
    "broadcast",
    "broadcast_after_commit",
    "look_at",
    "mined_earlier_try",
    "node_payload",
    "prepare",
    "required_confirmations",
    "submit",
    "verify_local_chain",
]

_PAYLOAD = re.compile(r"[0-9a-f]{64}")

# ---------------------------------------------------------------------------------------------------------- putting on


def submit(
    purpose: str,
    payload_hash: str,
    *,
    at: datetime,
    recipient: str = "",
    nonce_of: ChainTransaction | None = None,
) -> ChainTransaction:
    """Write the row of a transaction, commit it, and send it; takes what `prepare` takes, raises what it raises.

    Refuses to run inside a transaction. What a node says or does not say raises nothing: see `broadcast`.
    """
    with transaction.atomic(durable=True):
        tx = prepare(purpose, payload_hash, at=at, recipient=recipient, nonce_of=nonce_of)
    return broadcast(tx, at)


def prepare(
    purpose: str,
    payload_hash: str,
    *,
    at: datetime,
    recipient: str = "",
    nonce_of: ChainTransaction | None = None,
) -> ChainTransaction:
    """Write the row of a transaction in the caller's transaction; `broadcast` it after the commit.

    `payload_hash` is a SHA-256 in lower-case hex. `nonce_of`: a failed transaction that this one tries again: only one
    of the two can ever be mined. No node is asked: on the local chain it is signed here (and the sender's row locked
    until the commit: call it late), else `tx_hash` is empty until `broadcast` or `look_at` signs it.
    Raises `NotRetryable`, `InvalidRecipient`, `ChainMisconfigured`.
    """
    require_transaction()
    ensure(_PAYLOAD.fullmatch(payload_hash) is not None, "A payload is a SHA-256 in lower-case hex.")
    tx = ChainTransaction(purpose=purpose, payload_hash=payload_hash, submitted_at=at)
    tx.instead_of = newest_failed_try(nonce_of) if nonce_of else None
    bound = bound_by(tx)  # a nonce is its sender's, on its chain
    chain = chain_of(bound) if bound else backend()
    tx.recipient = chain.checked_recipient(recipient) if recipient else ""
    tx.sender = bound.sender if bound else _sender_on(chain)
    tx.save()
    if chain.signs_alone:
        sign(tx, chain, chain.terms(tx.recipient, payload_hash))
    return tx


def _sender_on(chain: Chain) -> ChainSender:
    return ChainSender.objects.get_or_create(chain=chain.name, address=chain.sender)[0]


def broadcast(tx: ChainTransaction, at: datetime | None = None) -> ChainTransaction:
    """Sign it, where it is not signed yet, and send it. Sending again what was sent is harmless.

    Refuses to run inside a transaction. Raises nothing that a node causes: its words are kept in `error`, the
    transaction stays `submitted`, and the next look sends it again. `at` is the instant of submission unless given.
    """
    _require_no_transaction()
    try:
        _send(tx, at or tx.submitted_at)
    except ChainUnavailable as error:
        note(tx, error=error.message)
    return tx


def broadcast_after_commit(tx: ChainTransaction, at: datetime | None = None) -> None:
    """`broadcast` once the transaction that is open has been committed; an error then is logged and not raised."""
    transaction.on_commit(lambda: broadcast(tx, at), robust=True)  # no partial: Django asks a robust one for its name


def _send(tx: ChainTransaction, at: datetime) -> None:
    """Sign and send it, as far as it can be. Raises `ChainUnavailable`; a refusal is written down and may pass."""
    chain = chain_of(tx)
    try:
        if tx.tx_hash is None:
            require_key(tx, chain)
            terms = chain.terms(tx.recipient, tx.payload_hash)
            with transaction.atomic():
                sign(tx, chain, terms)
        if tx.tx_hash is not None and tx.status in LIVE:
            chain.send(bytes(tx.raw), at)
            note(tx, error="")
    except ChainRefused as refusal:
        note(tx, error=refusal.message)


# ------------------------------------------------------------------------------------------------------- looking after


def look_at(tx: ChainTransaction, at: datetime) -> ChainTransaction:
    """Ask the chain about a transaction and write down what it says; returns it as it is now.

    Enough confirmations: confirmed. Mined and reverted, or with another payload, or its nonce used up by another one:
    failed. Not found: sent again, and failed after `chain.not_found_hours`. A block that vanished takes confirmations
    back. Refuses to run inside a transaction. Raises `ChainUnavailable` when the node does not answer (written down as
    well; whoever looks at many stops for this time).
    """
    _require_no_transaction()
    tx.refresh_from_db()
    try:
        found = chain_of(tx).find(tx.tx_hash, at) if tx.tx_hash else None
        facts = _facts_of(tx, found, at) if found else _look_for(tx, at)
    except ChainUnavailable as error:
        _note_look(tx, at, missing_since=at, error=error.message)
        raise
    _note_look(tx, at, **facts)
    return tx


def _facts_of(tx: ChainTransaction, found: Found, at: datetime) -> dict[str, Any]:
    """What is written down of a transaction that the chain knows."""
    problem = "The chain has taken it and reverted it." if found.failed else ""
    if found.payload_hash != tx.payload_hash:
        problem = "The chain carries another payload than was submitted."
    for_good = found.confirmations >= required_confirmations(tx)
    status = (Status.FAILED if problem else Status.CONFIRMED) if for_good else Status.SUBMITTED
    return {
        "status": status,
        "error": problem,
        "confirmations": found.confirmations,
        "missing_since": at,
        "nonce_spent": status == Status.FAILED,
    }


def _look_for(tx: ChainTransaction, at: datetime) -> dict[str, Any]:
    """What is to be written down of one that the chain does not know: replaced, given up, or sent again."""
    if tx.nonce is not None and _is_replaced(tx, at):
        _look_at_others_of_nonce(tx, at)
        error = f"Another transaction with its nonce {tx.nonce} was mined."
        return {"status": Status.FAILED, "error": error, "nonce_spent": True, "confirmations": 0}
    if tx.status != Status.FAILED and not _is_sent_again(tx, at):
        error = f"No node has known it for {param('chain.not_found_hours')} hours. {tx.error}".strip()
        return {"status": Status.FAILED, "error": error, "confirmations": 0}
    return {"confirmations": 0}


def _look_at_others_of_nonce(tx: ChainTransaction, at: datetime) -> None:
    """Was it one of ours? One that was given up counts if the chain has taken it after all, whatever it was to do."""
    for other in others_of_nonce(tx).exclude(tx_hash=None):
        found = chain_of(other).find(other.tx_hash or "", at)
        if found:
            _note_look(other, at, **_facts_of(other, found, at))


def _is_sent_again(tx: ChainTransaction, at: datetime) -> bool:
    """Send it again while there is time; False when there is none left.

    What is not signed yet was asked of no node: sending it shows whether one answers at all.
    """
    is_late = at - (tx.missing_since or tx.submitted_at) >= timedelta(hours=param("chain.not_found_hours"))
    if is_late and tx.tx_hash is not None:
        return False
    if tx.status == Status.CONFIRMED:
        note(tx, status=Status.SUBMITTED)
    _send(tx, at)
    return not is_late or tx.tx_hash is not None or tx.status == Status.FAILED


def _is_replaced(tx: ChainTransaction, at: datetime) -> bool:
    """Whether another one of its nonce is mined for good. Asked for again last: nodes behind one address may differ."""
    chain = chain_of(tx)
    require_network(tx.sender, chain.network())
    spent = chain.nonce_is_spent(tx.sender.address, tx.nonce or 0, required_confirmations(tx))
    return spent and chain.find(tx.tx_hash or "", at) is None


def _note_look(tx: ChainTransaction, at: datetime, **facts: Any) -> None:
    """Write what a look has found, unless somebody has looked meanwhile: then what he found counts."""
    ChainTransaction.objects.filter(pk=tx.pk, checked_at=tx.checked_at).update(checked_at=at, **facts)
    tx.refresh_from_db()


def node_payload(tx_hash: str, at: datetime | None = None) -> str | None:
    """The payload hash that the chain says a transaction carries; None when it knows of none.

    Raises `ChainUnavailable`.
    """
    tx = ChainTransaction.objects.select_related("sender").filter(tx_hash=tx_hash).first()
    found = (chain_of(tx) if tx else backend()).find(tx_hash, at or timezone.now())
    return found.payload_hash if found else None


def required_confirmations(tx: ChainTransaction) -> int:
    """How many confirmations are enough on its chain."""
    return int(param(chain_of(tx).confirmations_parameter))


def _require_no_transaction() -> None:
    """A node is not asked while rows are locked, nor before what it is asked about is committed."""
    blocks: list[Any] = connection.atomic_blocks
    own = [block for block in blocks if not block._from_testcase]  # a test case's are its frame: Django's rule as well
    ensure(not own, "The chain is asked outside of transactions: commit first.")
