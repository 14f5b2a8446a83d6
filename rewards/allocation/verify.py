"""Check a proof of inclusion, or a whole exported distribution, against its Merkle root.

    python -m rewards.allocation.verify FILE

FILE is JSON, plain or gzip: either a proof `{root, tree_size, leaf_index, leaf, path: [hex]}`, its leaf the object
or its canonical text, or a distribution `{header, rows: [{position, user, score, amount, breakdown, salt}], digest}`.
Prints one line. Exit code 0: right, 1: wrong, 2: not a file this can read. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import zlib
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from itertools import chain
from typing import Any, BinaryIO, NoReturn

from rewards.allocation.canonical import canonical_json
from rewards.allocation.leaves import row_leaf
from rewards.allocation.merkle import leaf_hash, root_of, verify_inclusion

RIGHT, WRONG, UNREADABLE = 0, 1, 2

ROW_KEYS = {"position", "user", "score", "amount", "breakdown", "salt"}
PROOF_KEYS = {"root", "tree_size", "leaf_index", "leaf", "path"}
DISTRIBUTION_KEYS = {"header", "rows", "digest"}
GZIP_MAGIC = b"\x1f\x8b"

_AMOUNT = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?")
_HASH = re.compile(r"[0-9a-fA-F]{64}")
_EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])


class WrongError(Exception):
    """The file is readable and what it claims does not hold."""


class UnreadableError(Exception):
    """The file is neither a proof nor a distribution."""


@dataclass(frozen=True, slots=True)
class Row:
    """A participant's row, already checked and hashed: a million of them fit into memory."""

    position: int
    hash: bytes
    amount: Decimal
    user: str


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m rewards.allocation.verify",
        description="Check a proof of inclusion or an exported distribution against its Merkle root.",
    )
    parser.add_argument("file", help="JSON, plain or gzip")
    path = parser.parse_args(arguments).file
    try:
        print("RIGHT:", verify_file(path))
    except WrongError as error:
        print("WRONG:", error)
        return WRONG
    except UnreadableError as error:
        print("UNREADABLE:", error, file=sys.stderr)
        return UNREADABLE
    return RIGHT


def verify_file(path: str) -> str:
    """A sentence on what was found right. Raises `WrongError` or `UnreadableError`."""
    document = _read(path)
    if isinstance(document, dict) and document.keys() >= DISTRIBUTION_KEYS:
        return verify_distribution(document)
    if isinstance(document, dict) and document.keys() >= PROOF_KEYS:
        return verify_proof(document)
    raise UnreadableError(
        "This is neither a proof (root, tree_size, leaf_index, leaf, path) nor a distribution (header, rows, digest)."
    )


def verify_proof(proof: dict[str, Any]) -> str:
    """Check a proof as it was parsed by this module."""
    size, index = _count(proof, "tree_size"), _count(proof, "leaf_index")
    root = _hash(proof["root"], "root")
    path = [_hash(entry, f"path[{place}]") for place, entry in enumerate(_list(proof, "path"))]
    leaf, hashed = _leaf(proof["leaf"])
    if isinstance(leaf, Row) and leaf.position != index:
        raise WrongError(f"The row says position {leaf.position} but the proof is for leaf {index}.")
    if not isinstance(leaf, Row) and index != 0:
        raise WrongError(f"Leaf {index} must be a participant's row, and this is not one.")
    if not verify_inclusion(hashed, index, size, path, root):
        raise WrongError(f"Leaf {index} of {size} does not lead to root {root.hex()}.")
    what = f"{_shown(leaf.user)} was allocated {leaf.amount:f}" if isinstance(leaf, Row) else "the header is included"
    return f"{what}, leaf {index} of {size} under root {root.hex()}."


def verify_distribution(document: dict[str, Any]) -> str:
    """Check a whole distribution as it was parsed by this module."""
    header, rows, digest = document["header"], _list(document, "rows"), _hash(document["digest"], "digest")
    if not isinstance(header, dict):
        raise UnreadableError("The header is not an object.")
    for position, row in enumerate(rows, start=1):
        if not isinstance(row, Row):
            raise UnreadableError(f"Row {position} is not an object with {', '.join(sorted(ROW_KEYS))}.")
        if row.position != position:
            raise WrongError(f"Row {position} says position {row.position}: positions must run from 1 without gaps.")
    amount = _amount(header.get("amount"), "The header's amount")
    total = _sum(row.amount for row in rows)
    if total > amount:
        raise WrongError(f"The rows add up to {total:f}, more than the {amount:f} there was to distribute.")
    root = root_of(chain([leaf_hash(_canonical(header))], (row.hash for row in rows)))
    if root != digest:
        raise WrongError(f"Header and rows hash to {root.hex()}, not to the digest {digest.hex()}.")
    return f"{len(rows)} rows add up to {total:f} of {amount:f} and hash to the digest {root.hex()}."


# --- reading ---------------------------------------------------------------------------------------------------


def _read(path: str) -> Any:
    try:
        with open(path, "rb") as file, _plain(file) as plain:
            return _parse(plain.read().decode())
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableError(f"{_shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{_shown(path)} is not UTF-8 text, plain or gzip.") from error


def _plain(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    start = file.read(len(GZIP_MAGIC))
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if start == GZIP_MAGIC else file


def _parse(text: str) -> Any:
    """JSON whose rows become `Row` as soon as they are read, so that no more than their hashes is kept."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_float=_refuse_number, parse_constant=_refuse_number)
    except RecursionError as error:
        raise UnreadableError("The JSON is nested too deeply.") from error
    except ValueError as error:
        raise UnreadableError(f"This is not JSON: {error}.") from error


def _refuse_number(text: str) -> NoReturn:
    raise UnreadableError(f"The number {text[:40]} is not whole; amounts and scores are written as text.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Row:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise WrongError("An object has the same key twice, so it could be read in two ways.")
    return _row(value) if value.keys() == ROW_KEYS else value


def _row(row: dict[str, Any]) -> Row:
    position, breakdown = row["position"], row["breakdown"]
    if isinstance(position, bool) or not isinstance(position, int) or not isinstance(breakdown, dict):
        raise WrongError("A row needs a whole position and a breakdown object.")
    amount = _amount(row["amount"], f"The amount at position {position}")
    parts = _sum(_amount(part, f"The breakdown at position {position}") for part in breakdown.values())
    if parts != amount:
        raise WrongError(f"At position {position} the breakdown adds up to {parts:f}, not to the amount {amount:f}.")
    try:
        data = row_leaf(position, row["user"], row["score"], row["amount"], breakdown, row["salt"])
    except (TypeError, ValueError) as error:
        raise WrongError(f"The row at position {position} has no canonical form: {error}.") from error
    return Row(position, leaf_hash(data), amount, row["user"])


def _leaf(leaf: Any) -> tuple[Any, bytes]:
    """The leaf, parsed where it is text, and the hash of its canonical bytes."""
    parsed = _parse(leaf) if isinstance(leaf, str) else leaf
    if not isinstance(parsed, Row | dict):
        raise UnreadableError("The leaf is neither an object nor its text.")
    hashed = parsed.hash if isinstance(parsed, Row) else leaf_hash(_canonical(parsed))
    if isinstance(leaf, str) and leaf_hash(leaf.encode("utf-8", "replace")) != hashed:
        raise WrongError("The leaf's text is not canonical JSON.")
    return parsed, hashed


def _canonical(value: Any) -> bytes:
    try:
        return canonical_json(value)
    except (TypeError, ValueError) as error:
        raise WrongError(f"The header or leaf has no canonical form: {error}") from error


def _amount(value: Any, what: str) -> Decimal:
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise WrongError(f"{what} is not a plain decimal number written as text.")
    return Decimal(value)


def _sum(amounts: Any) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def _count(document: dict[str, Any], key: str) -> int:
    value = document[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnreadableError(f"{key} is not a whole number.")
    return value


def _list(document: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(document[key], list):
        raise UnreadableError(f"{key} is not a list.")
    return document[key]


def _hash(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise UnreadableError(f"{what} is not 64 hexadecimal digits.")
    return bytes.fromhex(value)


def _shown(text: str) -> str:
    """Text quoted so that it cannot play tricks on a terminal."""
    return json.dumps(text)


if __name__ == "__main__":
    sys.exit(main())
