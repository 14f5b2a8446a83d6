"""The chain that needs nobody else: an append-only log in the database, each entry chained to the one before.

A block is a minute of the clock. It is complete when the minute is over, and each minute after it confirms it again.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import IntegrityError, transaction

from rewards.chain.backends.base import Found, Order, Signed, Terms
from rewards.chain.errors import ChainRefused, ChainUnavailable, InvalidRecipient
from rewards.chain.local_log import GENESIS, entry_hash, hash_stands, last_entry
from rewards.chain.models import LocalEntry
from rewards.common.database import insert_if_absent

MINUTE = timedelta(minutes=1)
LONGEST_ADDRESS = 128
MOST_TRIES = 1_000


class LocalChain:
    """The local chain, and the one account that the engine has on it."""

    name = "local"
    confirmations_parameter = "chain.confirmations_local"
    signs_alone = True
    sender = "rewards"

    def checked_recipient(self, address: str) -> str:
        """Any word will do: nothing but the record of it is sent there."""
        if len(address) > LONGEST_ADDRESS or not address.isprintable() or " " in address:
            raise InvalidRecipient
        return address

    def terms(self, recipient: str, payload_hash: str) -> Terms:
        return Terms()

    def network(self) -> None:
        return None

    def sign(self, order: Order, terms: Terms) -> Signed:
        """Nothing to sign: whoever can write into the database is who he is. The salt tells two tries apart."""
        content = {
            "sender": self.sender,
            "nonce": order.nonce,
            "recipient": order.recipient,
            "payload_hash": order.payload_hash,
            "salt": secrets.token_hex(16),
        }
        raw = json.dumps(content, sort_keys=True).encode()
        return Signed(sha256(raw).hexdigest(), raw)

    def send(self, raw: bytes, at: datetime) -> None:
        """Append it to the log, unless it stands there; refused when another one of its nonce does."""
        content = json.loads(raw)
        content.pop("salt")
        entry = LocalEntry(tx_hash=sha256(raw).hexdigest(), recorded_at=at, **content)
        for _ in range(MOST_TRIES):
            if _stands(entry):
                return
            _append(entry)
        raise ChainUnavailable("The log of the local chain took no entry: manage.py verify_chain says what is wrong.")

    def find(self, tx_hash: str, at: datetime) -> Found | None:
        """An entry that was edited carries nothing any more."""
        entry = LocalEntry.objects.filter(tx_hash=tx_hash).first()
        if entry is None:
            return None
        payload = entry.payload_hash if hash_stands(entry) else None
        return Found(payload, _blocks_since(entry.recorded_at, at))

    def nonce_is_spent(self, sender: str, nonce: int, depth: int) -> bool:
        """However deep: no entry is ever taken back."""
        return LocalEntry.objects.filter(sender=sender, nonce=nonce).exists()


def _stands(entry: LocalEntry) -> bool:
    """Whether it is in the log. Raises `ChainRefused` when another transaction of its nonce is."""
    of_its_nonce = LocalEntry.objects.filter(sender=entry.sender, nonce=entry.nonce).first()
    if of_its_nonce is not None and of_its_nonce.tx_hash != entry.tx_hash:
        raise ChainRefused(f"The nonce {entry.nonce} is used up: {of_its_nonce.tx_hash} has it.")
    return of_its_nonce is not None


def _append(entry: LocalEntry) -> None:
    """Try to be the next one: of those who follow the same entry one gets in, and the others are told to look again."""
    before = last_entry()
    entry.previous_hash = before.entry_hash if before else GENESIS
    entry.entry_hash = entry_hash(entry)
    try:
        with transaction.atomic():
            insert_if_absent(entry, ["previous_hash"])
    except IntegrityError:  # written meanwhile, or another one of its nonce: the next look tells which
        return


def _blocks_since(recorded_at: datetime, at: datetime) -> int:
    return max(0, _block(at) - _block(recorded_at))


def _block(instant: datetime) -> int:
    return int(instant.timestamp()) // 60
