"""The chains there are."""

from __future__ import annotations

from django.conf import settings

from rewards.chain.backends.base import Chain
from rewards.chain.backends.evm import EvmChain
from rewards.chain.backends.local import LocalChain
from rewards.chain.errors import ChainMisconfigured
from rewards.chain.models import ChainTransaction


def backend() -> Chain:
    """The chain of the settings, on which new transactions are put. Raises `ChainMisconfigured`."""
    return _chain_named(settings.CHAIN_BACKEND)


def chain_of(tx: ChainTransaction) -> Chain:
    """The chain that a transaction was put on, also when the settings name another one by now."""
    return _chain_named(tx.sender.chain)


def _chain_named(name: str) -> Chain:
    if name == "local":
        return LocalChain()
    if name == "evm":
        return EvmChain(settings.CHAIN_RPC_URL, settings.CHAIN_PRIVATE_KEY)
    raise ChainMisconfigured(f"CHAIN_BACKEND is {name!r}: it must be local or evm.")
