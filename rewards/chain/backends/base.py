"""What a chain has to answer, so that the services need not know which one it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Terms:
    """On what terms a chain takes transactions at the moment. Fees are in its smallest unit."""

    chain_id: int | None = None
    next_nonce: int = 0
    gas: int = 0
    max_fee: int = 0
    priority_fee: int = 0
    keeps_order: bool = False  # whether a nonce that nobody uses holds up all that come after it


@dataclass(frozen=True)
class Order:
    """What is to be signed. An empty recipient is the sender itself."""

    nonce: int
    recipient: str
    payload_hash: str
    replaces: bytes = b""  # the signed transaction that had this nonce before


@dataclass(frozen=True)
class Signed:
    tx_hash: str
    raw: bytes


@dataclass(frozen=True)
class Found:
    """What a chain says of a transaction it knows. None confirms it while it waits for its block."""

    payload_hash: str | None
    confirmations: int
    failed: bool = False


class Chain(Protocol):
    """A chain and the account that sends on it. All but the names may raise `ChainUnavailable`."""

    name: str
    confirmations_parameter: str
    signs_alone: bool  # without asking anyone: in the transaction that prepares

    @property
    def sender(self) -> str:
        """The address from which is sent."""

    def checked_recipient(self, address: str) -> str:
        """The address in the form in which the chain writes it; raises `InvalidRecipient`."""

    def terms(self, recipient: str, payload_hash: str) -> Terms:
        """What has to be asked before signing. Raises `ChainRefused`."""

    def network(self) -> int | None:
        """The number of the network that is asked; None where there is only one."""

    def sign(self, order: Order, terms: Terms) -> Signed:
        """Sign without asking anyone."""

    def send(self, raw: bytes, at: datetime) -> None:
        """Hand a signed transaction over; one that is known already is fine. Raises `ChainRefused`."""

    def find(self, tx_hash: str, at: datetime) -> Found | None:
        """What the chain says of a transaction; None when it knows of none."""

    def nonce_is_spent(self, sender: str, nonce: int, depth: int) -> bool:
        """Whether a transaction of this sender's with this nonce is mined, and confirmed `depth` times."""
