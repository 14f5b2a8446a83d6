"""Any chain with an EVM, through a node's JSON-RPC. What is committed travels as the data of a transaction.

web3 is imported when it is used: the product runs without it (requirements-chain.txt). No message of an error carries
what a library says of the node's address, and none comes near the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from rewards.chain.backends.base import Found, Order, Signed, Terms
from rewards.chain.errors import ChainMisconfigured, ChainRefused, ChainUnavailable, InvalidRecipient
from rewards.common.errors import RewardsError
from rewards.common.hidden import Hidden

PREFIX = b"RWD1"
"""Before the 32 bytes of the hash: it tells a transaction of the engine from any other."""

CONNECT_SECONDS, READ_SECONDS = 5, 10
GAS_MARGIN = 2  # what is not used is not paid; some nodes estimate too little for data
LONGEST_ANSWER = 300  # characters of a node's own words that are kept

_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_KNOWN_ALREADY = ("already known", "known transaction", "alreadyknown", "already imported", "already in the mempool")


class EvmChain:
    """The node at `rpc_url`, and the account of `private_key` on it."""

    name = "evm"
    confirmations_parameter = "chain.confirmations_evm"
    signs_alone = False

    def __init__(self, rpc_url: Hidden, private_key: Hidden) -> None:
        self._rpc_url = rpc_url
        self._private_key = private_key

    @property
    def sender(self) -> str:
        return str(_account(self._private_key).address)

    def checked_recipient(self, address: str) -> str:
        """The address with its checksum; one that has capitals has to have the right ones."""
        web3 = _imported()
        given = _ADDRESS.fullmatch(address) is not None
        if not given or not (address[2:].islower() or web3.Web3.is_checksum_address(address)):
            raise InvalidRecipient("This is not an address such as 0x and 40 hex digits. Check it, and send it again.")
        return str(web3.Web3.to_checksum_address(address))

    def terms(self, recipient: str, payload_hash: str) -> Terms:
        """The network, the first nonce that is not mined yet, gas, and fees that last for some full blocks.

        Raises `ChainRefused` when the recipient, a contract, does not take the data.
        """
        call = {"from": self.sender, "to": recipient or self.sender, "data": _data(payload_hash), "value": 0}
        with _node_asked(may_refuse=True):
            base_fee = self._eth.get_block("latest").get("baseFeePerGas")
            priority_fee = self._eth.max_priority_fee
            return Terms(
                chain_id=self._eth.chain_id,
                next_nonce=self._eth.get_transaction_count(self.sender),
                gas=GAS_MARGIN * int(self._eth.estimate_gas(call)),
                max_fee=(self._eth.gas_price if base_fee is None else 2 * base_fee) + priority_fee,
                priority_fee=priority_fee,
                keeps_order=True,
            )

    def network(self) -> int:
        with _node_asked():
            return int(self._eth.chain_id)

    def sign(self, order: Order, terms: Terms) -> Signed:
        account = _account(self._private_key)
        max_fee, priority_fee = _fees(order, terms)
        signed = account.sign_transaction(
            {
                "type": 2,
                "chainId": terms.chain_id,
                "nonce": order.nonce,
                "to": order.recipient or account.address,
                "value": 0,
                "data": _data(order.payload_hash),
                "gas": terms.gas,
                "maxFeePerGas": max_fee,
                "maxPriorityFeePerGas": priority_fee,
            }
        )
        return Signed(signed.hash.to_0x_hex(), bytes(signed.raw_transaction))

    def send(self, raw: bytes, at: datetime) -> None:
        try:
            with _node_asked(may_refuse=True):
                self._eth.send_raw_transaction(raw)
        except ChainRefused as refusal:
            if not any(words in refusal.message.lower() for words in _KNOWN_ALREADY):
                raise

    def find(self, tx_hash: str, at: datetime) -> Found | None:
        """Mined in a block that is on the chain still: confirmed by it and those after it. Else it waits for one."""
        not_found = _imported().exceptions.TransactionNotFound
        with _node_asked():
            try:
                transaction = self._eth.get_transaction(tx_hash)
            except not_found:
                return None
            payload = _payload(bytes(transaction["input"]))
            try:
                receipt = self._eth.get_transaction_receipt(tx_hash)
            except not_found:
                return Found(payload, 0)
            return Found(payload, self._confirmations(receipt), failed=receipt["status"] == 0)

    def _confirmations(self, receipt: Any) -> int:
        """head - block + 1; none when another block stands in its place by now."""
        number = receipt["blockNumber"]
        head = self._eth.block_number
        try:
            stands = self._eth.get_block(number)["hash"] == receipt["blockHash"]
        except _imported().exceptions.BlockNotFound:
            stands = False
        return max(0, head - number + 1) if stands else 0

    def nonce_is_spent(self, sender: str, nonce: int, depth: int) -> bool:
        with _node_asked():
            block = self._eth.block_number - depth + 1
            return block >= 0 and int(self._eth.get_transaction_count(sender, block)) > nonce

    @property
    def _eth(self) -> Any:
        return _client(self._rpc_url).eth


def _data(payload_hash: str) -> bytes:
    return PREFIX + bytes.fromhex(payload_hash)


def _payload(data: bytes) -> str | None:
    """The hash that the data carries; None when it is no data of ours."""
    ours = data.startswith(PREFIX) and len(data) == len(PREFIX) + 32
    return data[len(PREFIX) :].hex() if ours else None


def _fees(order: Order, terms: Terms) -> tuple[int, int]:
    """The fees of the moment. What takes the place of another one pays an eighth more than that one: nodes ask it."""
    if not order.replaces:
        return terms.max_fee, terms.priority_fee
    from eth_account.typed_transactions import TypedTransaction
    from hexbytes import HexBytes

    before = TypedTransaction.from_bytes(HexBytes(order.replaces)).as_dict()
    more = {name: int(before[name]) * 9 // 8 + 1 for name in ("maxFeePerGas", "maxPriorityFeePerGas")}
    return max(terms.max_fee, more["maxFeePerGas"]), max(terms.priority_fee, more["maxPriorityFeePerGas"])


# ------------------------------------------------------------------------------------------------ libraries, node, key


def _imported() -> Any:
    """web3, now that it is needed. Raises `ChainMisconfigured` where it is not installed."""
    try:
        import web3
        import web3.exceptions
    except ImportError:
        raise ChainMisconfigured(
            "CHAIN_BACKEND=evm needs web3: pip install -r requirements-chain.txt, then start again."
        ) from None
    return web3


@lru_cache(maxsize=4)
def _client(rpc_url: Hidden) -> Any:
    web3 = _imported()
    if not rpc_url:
        raise ChainMisconfigured("CHAIN_RPC_URL is not set: it is the address of a node.")
    from web3.middleware import ExtraDataToPOAMiddleware

    request = {"timeout": (CONNECT_SECONDS, READ_SECONDS)}
    provider = web3.Web3.HTTPProvider(rpc_url.reveal(), request_kwargs=request, exception_retry_configuration=None)
    client = web3.Web3(provider)
    client.middleware_onion.inject(
        ExtraDataToPOAMiddleware, layer=0
    )  # networks with known signers write more into blocks
    return client


@lru_cache(maxsize=4)
def _account(private_key: Hidden) -> Any:
    """The account that signs. Raises `ChainMisconfigured`; the key is looked at here, for libraries would show it."""
    _imported()
    from eth_account import Account

    if not _KEY.fullmatch(private_key.reveal()):
        raise ChainMisconfigured("CHAIN_PRIVATE_KEY must be 64 hex digits.")
    try:
        return Account.from_key(private_key.reveal())
    except Exception:  # zero, or beyond the order of the curve
        raise ChainMisconfigured("CHAIN_PRIVATE_KEY is no private key.") from None


@contextmanager
def _node_asked(*, may_refuse: bool = False) -> Iterator[None]:
    """Put what goes wrong with a node into words of ours; libraries would tell its address, with the key in it.

    What the node answers as an error is `ChainRefused` where it may refuse, else `ChainUnavailable`, as is everything
    that keeps it from answering.
    """
    exceptions = _imported().exceptions
    try:
        yield
    except RewardsError:
        raise
    except exceptions.Web3RPCError as error:
        words = _words_of(error)
        if may_refuse and not _is_passing(error):
            raise ChainRefused(f"The node refuses it: {words}") from None
        raise ChainUnavailable(f"The node answers with an error: {words}") from None
    except exceptions.ContractLogicError as error:
        raise ChainRefused(f"The recipient does not take it: {str(error)[:LONGEST_ANSWER]}") from None
    except Exception as error:  # of the connection, or of a library that cannot read what the node has answered
        name = type(error).__name__
        raise ChainUnavailable(f"The node does not answer as it should ({name}). It is tried again.") from None


def _words_of(error: Any) -> str:
    answer = (error.rpc_response or {}).get("error") or {}
    words = answer.get("message") if isinstance(answer, dict) else None
    return str(words or "no reason given")[:LONGEST_ANSWER]


def _is_passing(error: Any) -> bool:
    """Whether the node has only had enough questions for now."""
    answer = (error.rpc_response or {}).get("error") or {}
    return isinstance(answer, dict) and answer.get("code") in (-32005, 429)
