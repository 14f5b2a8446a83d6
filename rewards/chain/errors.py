"""What can go wrong between the engine and a chain, one class each."""

from __future__ import annotations

from rewards.common.errors import RewardsError


class ChainUnavailable(RewardsError):
    """The node of the chain cannot be asked now. Nothing is lost: it is tried again by itself."""

    code = "chain_unavailable"
    http_status = 503
    is_expected = True


class ChainRefused(RewardsError):
    """The chain does not take this transaction as it is."""

    code = "chain_refused"


class WrongNetwork(ChainUnavailable):
    """The node serves another network than the one on which the sender's nonces count. Look at CHAIN_RPC_URL."""

    code = "wrong_network"


class ChainMisconfigured(ChainUnavailable):
    """The settings of the chain are incomplete. See docs/chain.md for CHAIN_BACKEND and what it needs."""

    code = "chain_misconfigured"


class NotRetryable(RewardsError):
    """Only a transaction that has failed can be tried again: this one may still be mined."""

    code = "not_retryable"
    http_status = 409


class DuplicateTransaction(ChainRefused):
    """Exactly this transaction stands already: a chain would take it once. Nothing is changed."""

    code = "duplicate_transaction"
    http_status = 409


class InvalidRecipient(RewardsError):
    """This is not an address of the chain. Check it, and send it again."""

    code = "invalid_recipient"
    http_status = 400
