"""Which nonce a transaction gets, and signing it: under the lock of its sender, without asking anyone.

Of all transactions of a sender with one nonce, one can ever be mined. That is why a second try of a failed transaction
has its nonce, for as long as the nonce is not used up: two of them can never both pay.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from rewards.chain.backends.base import Chain, Order, Terms
from rewards.chain.errors import ChainRefused, DuplicateTransaction, NotRetryable, WrongNetwork
from rewards.chain.models import ChainSender, ChainTransaction
from rewards.common.database import require_transaction

Status = ChainTransaction.Status
LIVE = (Status.SUBMITTED, Status.CONFIRMED)


def sign(tx: ChainTransaction, chain: Chain, terms: Terms) -> None:
    """Give it a nonce and sign it. Leaves alone what is signed, and what has to wait: its `error` says for what.

    Raises `WrongNetwork`, `DuplicateTransaction`.
    """
    require_transaction()
    sender = ChainSender.objects.select_for_update().get(pk=tx.sender_id)
    tx.refresh_from_db()
    if tx.tx_hash is not None or tx.status != Status.SUBMITTED:
        return
    require_network(sender, terms.chain_id)
    if earlier := mined_earlier_try(tx):
        note(tx, status=Status.FAILED, error=f"The try before it, {earlier.tx_hash}, may be mined after all.")
        return
    nonce = _nonce_for(tx, sender, terms)
    if nonce is None:
        note(tx, error="It waits until another transaction, with the nonce of the try before it, is confirmed.")
        return
    _sign_with(nonce, tx, chain, terms)
    ChainSender.objects.filter(pk=sender.pk).update(
        next_nonce=max(sender.next_nonce, nonce + 1), chain_id=terms.chain_id
    )


def _sign_with(nonce: int, tx: ChainTransaction, chain: Chain, terms: Terms) -> None:
    before = ChainTransaction.objects.filter(sender=tx.sender_id, nonce=nonce).order_by("-id").first()
    replaces = bytes(before.raw) if before else b""
    signed = chain.sign(Order(nonce, tx.recipient, tx.payload_hash, replaces), terms)
    try:
        with transaction.atomic():
            note(tx, nonce=nonce, tx_hash=signed.tx_hash, raw=signed.raw, error="")
    except IntegrityError as error:
        raise DuplicateTransaction(tx_hash=signed.tx_hash) from error


def require_key(tx: ChainTransaction, chain: Chain) -> None:
    """Raise `ChainRefused` for what another key has to sign."""
    if tx.sender.address != chain.sender:
        raise ChainRefused("CHAIN_PRIVATE_KEY has changed: this one waits for the key before it.")


def require_network(sender: ChainSender, chain_id: int | None) -> None:
    """Raise `WrongNetwork` for a node of another network: what it knows says nothing about this sender's nonces."""
    if sender.chain_id is not None and sender.chain_id != chain_id:
        raise WrongNetwork(
            f"The node serves the network {chain_id}, but the nonces of {sender.address} count on {sender.chain_id}. "
            "Look at CHAIN_RPC_URL, or use another key there."
        )


# -------------------------------------------------------------------------------------------------------------- nonces


def _nonce_for(tx: ChainTransaction, sender: ChainSender, terms: Terms) -> int | None:
    """The nonce of the try before it as long as that is not used up; None while that is not known."""
    before = bound_by(tx)
    if before is not None and before.nonce is not None:
        others = list(others_of_nonce(before))
        if any(each.status == Status.SUBMITTED for each in others):
            return None
        if not any(each.status == Status.CONFIRMED or each.nonce_spent for each in others):
            return before.nonce
    return _fresh_nonce(sender, terms)


def _fresh_nonce(sender: ChainSender, terms: Terms) -> int:
    """The lowest one that failed transactions left unused, where that would hold up all others; else the next one."""
    if terms.keeps_order:
        failed = ChainTransaction.objects.filter(
            sender=sender, status=Status.FAILED, nonce_spent=False, nonce__gte=terms.next_nonce
        )
        for left in failed.order_by("nonce", "id"):
            if left.nonce is not None and not any(
                each.status in LIVE or each.nonce_spent for each in others_of_nonce(left)
            ):
                return left.nonce
    return max(sender.next_nonce, terms.next_nonce)


def others_of_nonce(tx: ChainTransaction) -> QuerySet[ChainTransaction]:
    return ChainTransaction.objects.filter(sender=tx.sender_id, nonce=tx.nonce).exclude(pk=tx.pk)


# --------------------------------------------------------------------------------------------------------------- tries


def earlier_tries(tx: ChainTransaction) -> Iterator[ChainTransaction]:
    """Those that it tries again, the newest first."""
    while tx.instead_of is not None:
        tx = tx.instead_of
        yield tx


def mined_earlier_try(tx: ChainTransaction) -> ChainTransaction | None:
    """The try before it that the chain has taken after all, though it was given up: that one counts, not `tx`."""
    return next((each for each in earlier_tries(tx) if each.status in LIVE), None)


def bound_by(tx: ChainTransaction) -> ChainTransaction | None:
    """The try before it whose nonce is not known to be used up: as long as it is not, `tx` has to have that nonce."""
    signed = next((each for each in earlier_tries(tx) if each.nonce is not None), None)
    return signed if signed is not None and not signed.nonce_spent else None


def newest_failed_try(tx: ChainTransaction) -> ChainTransaction:
    """The newest try of what this one was to do, locked. Raises `NotRetryable` when any of them may be mined."""
    locked = ChainTransaction.objects.select_for_update().get(pk=tx.pk)
    while newer := ChainTransaction.objects.select_for_update().filter(instead_of=locked).first():
        locked = newer
    if locked.status != Status.FAILED or mined_earlier_try(locked) is not None:
        raise NotRetryable
    return locked


def note(tx: ChainTransaction, **facts: object) -> None:
    """Write these fields of the row, and on the object."""
    for name, value in facts.items():
        setattr(tx, name, value)
    tx.save(update_fields=list(facts))
