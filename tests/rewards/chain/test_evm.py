"""The chain of a node with a real EVM, asked over HTTP."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from rewards.chain.backends import backend, evm
from rewards.chain.errors import ChainMisconfigured, ChainUnavailable, InvalidRecipient, NotRetryable, WrongNetwork
from rewards.chain.models import ChainSender, ChainTransaction
from rewards.chain.services import broadcast, look_at, mined_earlier_try, node_payload, prepare, submit
from rewards.common.errors import InvariantBroken
from rewards.common.hidden import Hidden
from tests.rewards.chain.node import KEY, REFUSING_CONTRACT, SECRET_PATH, SENDER, Node, running_node

pytestmark = [pytest.mark.django_db, pytest.mark.chain, pytest.mark.once]

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
DAY = timedelta(hours=24)
VERDICT, REWARD = ChainTransaction.Purpose
PAYLOAD, OTHER = "ab" * 32, "cd" * 32
ALICE = "0x742d35Cc6634C0532925a3b844Bc454e4438f44e"


@pytest.fixture(scope="module")
def shared_node() -> Iterator[Node]:
    with running_node() as node:
        yield node


@pytest.fixture
def node(shared_node: Node, settings: Any) -> Iterator[Node]:
    """The node of the settings, as it was before any test."""
    before = shared_node.snapshot()
    settings.CHAIN_BACKEND = "evm"
    settings.CHAIN_RPC_URL = Hidden(shared_node.url)
    settings.CHAIN_PRIVATE_KEY = Hidden(KEY)
    yield shared_node
    shared_node.misbehaviour = lambda method: None
    shared_node.revert(before)


def forget_all(node: Node) -> None:
    """The node has never heard of what is sent to it from now on, and takes none of it."""
    refusal = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "insufficient funds for gas"}}'
    node.misbehaviour = lambda method: (200, refusal) if method == "eth_sendRawTransaction" else None


def given_up(node: Node, payload: str = PAYLOAD, recipient: str = "") -> ChainTransaction:
    """A transaction that is signed, was taken by no node, and has failed a day later."""
    forget_all(node)
    tx = submit(REWARD, payload, at=NOON, recipient=recipient)
    assert tx.tx_hash is not None
    tx = look_at(tx, NOON + DAY)
    assert tx.status == "failed"
    node.misbehaviour = lambda method: None
    return tx


def _sent_by_hand(node: Node) -> str:
    fields = {"type": 2, "nonce": 0, "to": ALICE, "value": 1, "gas": 21_000, "chainId": node.web3.eth.chain_id}
    fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1}
    return node.take(bytes(Account.from_key(KEY).sign_transaction(fields | fees).raw_transaction))


def mined(node: Node, tx: ChainTransaction, blocks: int = 12) -> ChainTransaction:
    node.mine(blocks)
    return look_at(tx, NOON + DAY)


# ---------------------------------------------------------------------------------------------------- the way it goes


def test_a_commitment_is_confirmed_by_the_blocks_after_it(node: Node) -> None:
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    assert (tx.status, tx.nonce, tx.error) == ("submitted", 0, "")
    tx = look_at(tx, NOON)
    assert (tx.status, tx.confirmations, tx.error) == ("submitted", 0, "")
    for confirmations in range(1, 12):
        node.mine()
        tx = look_at(tx, NOON)
        assert (tx.status, tx.confirmations) == ("submitted", confirmations)
    node.mine()
    tx = look_at(tx, NOON)
    assert (tx.status, tx.confirmations) == ("confirmed", 12)
    assert node_payload(tx.tx_hash) == PAYLOAD
    mined = node.web3.eth.get_transaction(tx.tx_hash)
    assert mined["from"] == mined["to"] == SENDER == backend().sender
    assert bytes(mined["input"]) == b"RWD1" + bytes.fromhex(PAYLOAD)
    assert mined["type"] == 2


def test_a_reward_goes_to_the_address_of_the_user(node: Node) -> None:
    tx = submit(REWARD, PAYLOAD, at=NOON, recipient=ALICE.lower())
    assert tx.recipient == ALICE
    node.mine()
    assert look_at(tx, NOON).confirmations == 1
    sent = node.web3.eth.get_transaction(tx.tx_hash)
    assert (sent["to"], sent["value"]) == (ALICE, 0)


@pytest.mark.parametrize("address", ["alice", "0x1234", ALICE.replace("Cc", "cC"), ALICE + "00"])
def test_an_address_that_is_none_is_refused_and_leaves_no_row(node: Node, address: str) -> None:
    with pytest.raises(InvalidRecipient):
        submit(REWARD, PAYLOAD, at=NOON, recipient=address)
    assert not ChainTransaction.objects.exists()


def test_nonces_go_on_one_by_one(node: Node) -> None:
    transactions = [submit(VERDICT, PAYLOAD, at=NOON) for _ in range(3)]
    assert [tx.nonce for tx in transactions] == [0, 1, 2]
    assert [mined(node, tx, blocks=0).confirmations for tx in transactions] == [0, 0, 0]
    node.mine()
    assert [mined(node, tx, blocks=0).confirmations for tx in transactions] == [1, 1, 1]


def test_a_sender_that_has_sent_before_goes_on_where_the_chain_is(node: Node) -> None:
    submit(VERDICT, PAYLOAD, at=NOON)
    node.mine()
    ChainTransaction.objects.all().delete()
    ChainSender.objects.all().delete()
    assert submit(VERDICT, PAYLOAD, at=NOON).nonce == 1


def test_preparing_asks_no_node_and_what_asks_one_refuses_a_transaction(node: Node) -> None:
    node.asked.clear()
    with transaction.atomic():
        tx = prepare(VERDICT, PAYLOAD, at=NOON)
        for asks in (lambda: broadcast(tx), lambda: look_at(tx, NOON), lambda: submit(VERDICT, PAYLOAD, at=NOON)):
            with pytest.raises((InvariantBroken, RuntimeError)):
                asks()
    assert (node.asked, tx.tx_hash, tx.nonce, str(tx)) == (
        [],
        None,
        None,
        f"verdict_commitment {tx.pk} (not signed yet)",
    )
    assert look_at(tx, NOON).nonce == 0  # nobody broadcast it: the next look signs and sends it
    assert mined(node, tx).status == "confirmed"


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_a_block_that_vanishes_takes_its_confirmations_back_and_the_transaction_is_sent_again(node: Node) -> None:
    before = node.snapshot()
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    tx_hash = tx.tx_hash
    assert mined(node, tx).status == "confirmed"

    node.revert(before)
    tx = look_at(tx, NOON + DAY)
    assert (tx.status, tx.confirmations, tx.error) == ("submitted", 0, "")
    node.mine(3)
    tx = look_at(tx, NOON + DAY)
    assert (tx.tx_hash, tx.status, tx.confirmations) == (tx_hash, "submitted", 3)
    assert mined(node, tx, blocks=9).status == "confirmed"


def test_a_day_counts_from_when_it_was_last_seen(node: Node) -> None:
    before = node.snapshot()
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    node.mine()
    look_at(tx, NOON + DAY)
    node.revert(before)
    forget_all(node)
    assert look_at(tx, NOON + 2 * DAY - timedelta(seconds=1)).status == "submitted"
    assert look_at(tx, NOON + 2 * DAY).status == "failed"


def test_what_no_node_knows_for_a_day_has_failed_with_the_nodes_last_word(node: Node) -> None:
    forget_all(node)
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    assert (tx.status, tx.error) == ("submitted", "The node refuses it: insufficient funds for gas")
    tx = look_at(tx, NOON + DAY - timedelta(seconds=1))
    assert (tx.status, tx.checked_at) == ("submitted", NOON + DAY - timedelta(seconds=1))
    tx = look_at(tx, NOON + DAY)
    assert (tx.status, tx.nonce_spent) == ("failed", False)
    assert tx.error == "No node has known it for 24 hours. The node refuses it: insufficient funds for gas"


def test_a_refusal_that_passes_is_forgotten(node: Node) -> None:
    forget_all(node)
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    node.misbehaviour = lambda method: None
    tx = look_at(tx, NOON + timedelta(hours=1))
    assert tx.error == ""
    assert mined(node, tx).status == "confirmed"


ANSWERS = {
    "500": (500, b"the proxy is tired"),
    "not JSON": (200, b"<html>"),
    "nothing": (200, b""),
    "a list": (200, b"[]"),
    "no result": (200, b"{}"),
    "an odd result": (200, b'{"jsonrpc": "2.0", "id": 1, "result": "0xzz"}'),
    "an error": (200, b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "rate limited"}}'),
    "an odd error": (200, b'{"jsonrpc": "2.0", "id": 1, "error": "no"}'),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_node_that_answers_nonsense_loses_nothing(node: Node, answer: str) -> None:
    node.misbehaviour = lambda method: ANSWERS[answer]
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    assert (tx.status, tx.tx_hash) == ("submitted", None)
    assert tx.error.startswith("The node ")
    with pytest.raises(ChainUnavailable):
        look_at(tx, NOON + 2 * DAY)
    tx.refresh_from_db()
    assert (tx.status, tx.checked_at) == ("submitted", NOON + 2 * DAY)  # its time did not run meanwhile

    node.misbehaviour = lambda method: None
    assert look_at(tx, NOON + 2 * DAY).error == ""
    with_answers = mined(node, tx)
    assert with_answers.status == "confirmed"
    node.misbehaviour = lambda method: ANSWERS[answer]
    with pytest.raises(ChainUnavailable):
        look_at(tx, NOON + 3 * DAY)
    with pytest.raises(ChainUnavailable):
        node_payload(tx.tx_hash or "")
    tx.refresh_from_db()
    assert (tx.status, tx.confirmations) == ("confirmed", 12)


def test_a_node_that_is_down_loses_nothing(node: Node, settings: Any) -> None:
    settings.CHAIN_RPC_URL = Hidden("http://127.0.0.1:9/key-of-the-node")
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    assert (tx.status, tx.tx_hash) == ("submitted", None)
    assert tx.error == "The node does not answer as it should (ConnectionError). It is tried again."
    settings.CHAIN_RPC_URL = Hidden(node.url)
    assert look_at(tx, NOON).tx_hash is not None
    assert mined(node, tx).status == "confirmed"


def test_a_node_that_is_slow_is_not_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(evm, "READ_SECONDS", 0.05)
    settings.CHAIN_RPC_URL = Hidden(node.url + "-slowly")

    def slowly(method: str) -> None:
        time.sleep(0.2)

    node.misbehaviour = slowly
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    assert (tx.status, tx.error) == (
        "submitted",
        "The node does not answer as it should (ReadTimeout). It is tried again.",
    )


def test_an_answer_that_is_lost_after_the_node_has_taken_it(node: Node) -> None:
    def cut(method: str) -> tuple[int, bytes] | None:
        if method != "eth_sendRawTransaction":
            return None
        node.take(bytes(ChainTransaction.objects.get().raw))
        return 502, b""

    with transaction.atomic():
        tx = prepare(VERDICT, PAYLOAD, at=NOON)
    node.misbehaviour = cut
    broadcast(tx, NOON)
    assert tx.error.startswith("The node does not answer")
    node.misbehaviour = lambda method: None
    assert broadcast(tx, NOON).error == ""  # it is known already, which is fine
    node.mine()
    assert "nonce too low" in broadcast(tx, NOON).error
    tx = look_at(tx, NOON)
    assert (tx.confirmations, tx.error) == (1, "")


def test_a_block_that_is_not_on_the_chain_any_more_confirms_nothing(node: Node) -> None:
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    node.mine()
    other = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"number": "0x1", "hash": "0x" + "77" * 32}}).encode()
    node.misbehaviour = lambda method: (200, other) if method == "eth_getBlockByNumber" else None
    tx = look_at(tx, NOON)
    assert (tx.status, tx.confirmations) == ("submitted", 0)


def test_the_node_of_another_network_is_not_believed(node: Node) -> None:
    tx = given_up(node)
    ChainSender.objects.update(chain_id=1)
    with pytest.raises(WrongNetwork):
        look_at(tx, NOON + DAY)
    again = submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=tx)
    assert again.tx_hash is None
    assert "The node serves the network" in again.error


# ------------------------------------------------------------------------------------------------------- second tries


def test_a_second_try_has_the_nonce_of_the_first_and_pays_more(node: Node) -> None:
    first = given_up(node, recipient=ALICE)
    second = submit(REWARD, PAYLOAD, at=NOON + DAY, recipient=ALICE, nonce_of=first)
    assert (second.nonce, second.error) == (first.nonce, "")
    assert second.tx_hash != first.tx_hash
    assert mined(node, second).status == "confirmed"
    offered = node.web3.eth.get_transaction(second.tx_hash)
    before = TypedTransaction.from_bytes(HexBytes(first.raw)).as_dict()
    for fee in ("maxFeePerGas", "maxPriorityFeePerGas"):
        assert offered[fee] >= before[fee] * 1.1


def test_what_may_be_mined_is_not_tried_again(node: Node) -> None:
    tx = submit(REWARD, PAYLOAD, at=NOON)
    with pytest.raises(NotRetryable):
        submit(REWARD, PAYLOAD, at=NOON, nonce_of=tx)
    first = given_up(node, OTHER)
    submit(REWARD, OTHER, at=NOON, nonce_of=first)
    with pytest.raises(NotRetryable):  # its second try is under way
        submit(REWARD, OTHER, at=NOON, nonce_of=first)
    assert ChainTransaction.objects.count() == 3


def test_one_given_up_that_is_mined_after_another_had_its_nonce_is_not_paid_again(node: Node) -> None:
    first = given_up(node)
    another = submit(REWARD, OTHER, at=NOON + DAY)
    assert another.nonce == first.nonce == 0
    node.pool = {}
    node.take(bytes(first.raw))
    node.mine(13)

    another = look_at(another, NOON + DAY)
    first.refresh_from_db()
    assert (another.status, first.status) == ("failed", "confirmed")
    with pytest.raises(NotRetryable):
        submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=first)


def test_of_two_tries_one_is_mined_and_when_it_is_the_first_that_is_seen(node: Node) -> None:
    first = given_up(node)
    forget_all(node)
    second = submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=first)
    node.misbehaviour = lambda method: None
    node.take(bytes(first.raw))  # some node had it after all
    node.mine()
    assert look_at(second, NOON + DAY).status == "submitted"  # the block of the first may still vanish
    second = mined(node, second, blocks=11)
    assert (second.status, second.nonce_spent) == ("failed", True)
    assert second.error == "Another transaction with its nonce 0 was mined."
    first.refresh_from_db()
    assert (first.status, first.confirmations) == ("confirmed", 12)
    assert mined_earlier_try(second) == first
    with pytest.raises(NotRetryable):
        submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=second)


def test_what_somebody_else_with_the_key_has_replaced_gets_a_new_nonce(node: Node) -> None:
    first = given_up(node)
    _sent_by_hand(node)
    assert mined(node, first, blocks=11).nonce_spent is False
    assert mined(node, first, blocks=1).nonce_spent is True
    second = submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=first)
    assert second.nonce == 1
    assert mined(node, second).status == "confirmed"


def test_a_nonce_that_was_given_up_does_not_hold_up_the_others_and_is_not_lost_for_its_second_try(node: Node) -> None:
    first = given_up(node)
    other = submit(VERDICT, OTHER, at=NOON + DAY)
    assert other.nonce == first.nonce == 0
    second = submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=first)
    assert (second.tx_hash, second.status) == (None, "submitted")
    assert second.error.startswith("It waits until another transaction")
    node.mine()
    assert look_at(second, NOON + DAY).tx_hash is None  # the other one may still vanish, and the first one come back
    assert mined(node, other, blocks=11).status == "confirmed"
    assert look_at(second, NOON + DAY).nonce == 1
    assert mined(node, second).status == "confirmed"


def test_a_wallet_that_takes_no_data_is_refused_before_it_costs_anything(node: Node) -> None:
    tx = submit(REWARD, PAYLOAD, at=NOON, recipient=REFUSING_CONTRACT)
    assert (tx.status, tx.tx_hash) == ("submitted", None)
    assert tx.error.startswith("The recipient does not take it")
    tx = look_at(tx, NOON + DAY)
    assert (tx.status, tx.nonce) == ("failed", None)
    second = submit(REWARD, PAYLOAD, at=NOON + DAY, recipient=ALICE, nonce_of=tx)
    assert second.nonce == 0
    assert mined(node, second).status == "confirmed"


def test_what_is_mined_and_reverted_fails_for_good_and_gets_a_new_nonce(node: Node) -> None:
    node.misbehaviour = lambda method: (
        (200, b'{"jsonrpc": "2.0", "id": 1, "result": "0xc350"}') if method == "eth_estimateGas" else None
    )
    tx = submit(REWARD, PAYLOAD, at=NOON, recipient=REFUSING_CONTRACT)
    node.mine()
    tx = look_at(tx, NOON)
    assert (tx.status, tx.error) == ("submitted", "The chain has taken it and reverted it.")
    tx = mined(node, tx, blocks=11)
    assert (tx.status, tx.nonce_spent) == ("failed", True)
    second = submit(REWARD, PAYLOAD, at=NOON, recipient=ALICE, nonce_of=tx)
    assert second.nonce == 1
    assert mined(node, second).status == "confirmed"


def test_a_transaction_with_another_payload_is_told(node: Node) -> None:
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    ChainTransaction.objects.update(payload_hash=OTHER)
    tx = mined(node, tx)
    assert (tx.status, tx.error) == ("failed", "The chain carries another payload than was submitted.")
    assert node_payload(tx.tx_hash or "") == PAYLOAD


def test_a_transaction_that_is_none_of_ours_has_no_payload(node: Node) -> None:
    sent = _sent_by_hand(node)
    assert node_payload(sent) is None
    node.mine()
    assert node_payload(sent) is None
    assert node_payload("0x" + "ab" * 32) is None


# ------------------------------------------------------------------------------------------------- key, node, settings


def test_neither_the_key_nor_the_nodes_address_is_ever_seen(
    node: Node, settings: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # as LOGGING in the settings has it
    logging.getLogger("web3").setLevel(logging.WARNING)
    mined(node, submit(VERDICT, PAYLOAD, at=NOON))
    node.misbehaviour = lambda method: (500, b"")
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    with pytest.raises(ChainUnavailable) as failed:
        look_at(tx, NOON)
    call_command("diffsettings", all=True)
    chain = backend()
    printed = capsys.readouterr().out
    assert "CHAIN_PRIVATE_KEY = '********'" in printed
    rows = [str(vars(each)) for each in ChainTransaction.objects.all()]
    seen = "\n".join([caplog.text, printed, str(failed.value), str(failed.getrepr(style="long")), *rows])
    seen += f"{chain!r} {vars(chain)} {settings.CHAIN_PRIVATE_KEY} {settings.CHAIN_RPC_URL!r:>20}"
    assert KEY not in seen
    assert SECRET_PATH not in seen


@pytest.mark.parametrize("key", ["", "hush-hush", KEY[:-1], "0" * 64, "f" * 64])
def test_a_key_that_is_none_is_not_repeated(node: Node, settings: Any, key: str) -> None:
    settings.CHAIN_PRIVATE_KEY = Hidden(key)
    with pytest.raises(ChainMisconfigured) as refused:
        submit(VERDICT, PAYLOAD, at=NOON)
    assert not key or key not in str(refused.getrepr(style="short"))
    assert not ChainTransaction.objects.exists()


def test_a_key_that_has_changed_signs_no_second_try(node: Node, settings: Any) -> None:
    first = given_up(node)
    settings.CHAIN_PRIVATE_KEY = Hidden(KEY[::-1])
    second = submit(REWARD, PAYLOAD, at=NOON + DAY, nonce_of=first)
    assert (second.tx_hash, second.sender) == (None, first.sender)
    assert second.error == "CHAIN_PRIVATE_KEY has changed: this one waits for the key before it."
    settings.CHAIN_PRIVATE_KEY = Hidden(KEY)
    assert look_at(second, NOON + DAY).nonce == first.nonce


def test_what_was_put_on_the_local_chain_is_looked_for_there(node: Node, settings: Any) -> None:
    settings.CHAIN_BACKEND = "local"
    tx = submit(VERDICT, PAYLOAD, at=NOON)
    settings.CHAIN_BACKEND = "evm"
    assert look_at(tx, NOON + timedelta(minutes=1)).status == "confirmed"
    assert node_payload(tx.tx_hash or "") == PAYLOAD
