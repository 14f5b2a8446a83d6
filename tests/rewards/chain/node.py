"""A node with a real EVM, in this process, that speaks JSON-RPC over HTTP as any node does, and can be made to fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import BlockNotFound, TransactionNotFound
from eth_utils import keccak, to_canonical_address
from hexbytes import HexBytes
from web3 import EthereumTesterProvider, Web3

KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
SENDER = Account.from_key(KEY).address
SECRET_PATH = "/v3/c0ffee-is-the-key-of-the-node"
REFUSING_CONTRACT = "0x" + "00" * 19 + "aa"
PUSH_0_DUP_REVERT = bytes.fromhex("600080fd")
ETHER = 10**18

Misbehaviour = Callable[[str], tuple[int, bytes] | None]
"""What a method is answered with instead of the truth (status, body); None: the truth."""


class Refused(Exception):
    pass


class Node:
    """An EVM with a sender that has ether, a contract that takes nothing, and a pool; blocks are mined when told to."""

    def __init__(self) -> None:
        nothing = {"nonce": 0, "storage": {}, "code": b"", "balance": 0}
        genesis = {
            to_canonical_address(SENDER): nothing | {"balance": ETHER},
            to_canonical_address(REFUSING_CONTRACT): nothing | {"code": PUSH_0_DUP_REVERT},
        }
        self.tester = EthereumTester(PyEVMBackend(genesis_state=genesis))
        self.web3 = Web3(EthereumTesterProvider(self.tester))
        self.pool: dict[str, bytes] = {}
        self.misbehaviour: Misbehaviour = lambda method: None
        self.url = ""
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def take(self, raw: bytes) -> str:
        """Put a signed transaction into the pool. Raises `Refused`, in the words of geth."""
        tx_hash, fields = "0x" + keccak(raw).hex(), _fields_of(raw)
        if tx_hash in self.pool:
            raise Refused("already known")
        if fields["nonce"] < self.web3.eth.get_transaction_count(Account.recover_transaction(raw)):
            raise Refused("nonce too low")
        self.pool[tx_hash] = raw
        return tx_hash

    def mine(self, blocks: int = 1) -> None:
        """All of the pool, of each nonce the first one, goes into the next block; the others are empty."""
        used: set[int] = set()
        for raw in sorted(self.pool.values(), key=lambda raw: int(_fields_of(raw)["nonce"])):
            nonce = _fields_of(raw)["nonce"]
            if nonce not in used:
                self.tester.backend.send_raw_transaction(raw)
                used.add(nonce)
        self.pool = {}
        if blocks:
            self.tester.mine_blocks(blocks)

    def snapshot(self) -> Any:
        return self.tester.take_snapshot()

    def revert(self, snapshot: Any) -> None:
        """The blocks since then have never been, and nobody remembers what was in them."""
        self.tester.revert_to_snapshot(snapshot)
        self.pool = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        method, about = request["method"], {"jsonrpc": "2.0", "id": request["id"]}
        self.asked.append(method)
        with self._lock:
            try:
                return about | {"result": _as_json(self._result_of(method, request["params"]))}
            except (BlockNotFound, TransactionNotFound):
                return about | {"result": None}
            except Exception as error:
                return about | {"error": {"code": -32000, "message": str(error)}}

    def _result_of(self, method: str, params: list[Any]) -> Any:
        if method == "eth_sendRawTransaction":
            return self.take(bytes.fromhex(params[0][2:]))
        if method == "eth_getTransactionByHash" and params[0] in self.pool:
            fields = _fields_of(self.pool[params[0]])
            return {"hash": params[0], "blockHash": None, "nonce": fields["nonce"], "input": bytes(fields["data"])}
        answer = self.web3.manager._make_request(method, params)
        if "error" in answer:
            raise Refused(answer["error"]["message"] if isinstance(answer["error"], dict) else answer["error"])
        return answer["result"]


def _fields_of(raw: bytes) -> dict[str, Any]:
    return dict(TypedTransaction.from_bytes(HexBytes(raw)).as_dict())


def _as_json(value: Any) -> Any:
    """The provider answers in numbers and mappings of its own; nodes in hex."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    return {name: _as_json(each) for name, each in value.items()} if hasattr(value, "items") else value


@contextmanager
def running_node() -> Iterator[Node]:
    """A node at a free port of this machine, for as long as the block runs."""
    node = Node()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            instead = node.misbehaviour(request["method"])
            status, body = instead or (200, json.dumps(node.answer(request)).encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    node.url = f"http://127.0.0.1:{server.server_address[1]}{SECRET_PATH}"
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
