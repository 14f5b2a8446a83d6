"""What a secret looks like, and what is kept of it.

A secret is its kind and 256 random bits. The kind lets a scanner of repositories and logs recognise one that leaked.
There is nothing to guess in so many random bits, so SHA-256 is right where a password would need a slow hash.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256

API_KEY = "rwk_"
TOKEN = "rwt_"

RANDOM_BYTES = 32
LENGTH_SHOWN = 8  # 48 of the 256 bits
_RANDOM_PART = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret(kind: str) -> str:
    return kind + secrets.token_urlsafe(RANDOM_BYTES)


def looks_right(secret: str, kind: str) -> bool:
    """Whether it can be a secret of that kind at all: what cannot be one is asked of no database."""
    return secret.startswith(kind) and _RANDOM_PART.fullmatch(secret, len(kind)) is not None


def hash_of(secret: str) -> str:
    """SHA-256 of the whole secret, in hex."""
    return sha256(secret.encode()).hexdigest()


def shown_part(secret: str) -> str:
    """The kind and the first characters after it: enough to recognise a secret by, and no use to anyone else."""
    return secret[: len(API_KEY) + LENGTH_SHOWN]
