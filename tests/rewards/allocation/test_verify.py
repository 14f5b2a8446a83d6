"""The verifier that outsiders run: right, wrong, or not a file it can read; never a traceback."""

from __future__ import annotations

import copy
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rewards.allocation.canonical import canonical_json
from rewards.allocation.leaves import header_leaf, row_leaf
from rewards.allocation.merkle import inclusion_proof, leaf_hash, root_of
from rewards.allocation.verify import main

HEADER = {
    "programme": "pool_hourly",
    "period_key": "2026-11-21T07",
    "currency": "points",
    "source": "pool:hourly",
    "amount": "100.00",
    "rule": {"rule": "slices", "slices": [{"name": "top1"}, {"name": "all"}]},
}
ROWS = [
    {
        "position": 1,
        "user": "alice",
        "score": "9",
        "amount": "66.67",
        "breakdown": {"top1": "50.00", "all": "16.67"},
        "salt": "a1",
    },
    {"position": 2, "user": "böb\n", "score": "8", "amount": "16.67", "breakdown": {"all": "16.67"}, "salt": "b2"},
    {"position": 3, "user": "carol", "score": "7", "amount": "0.00", "breakdown": {}, "salt": "c3"},
]


def leaves() -> list[bytes]:
    return [header_leaf(**HEADER), *(row_leaf(**row) for row in ROWS)]


def proof(index: int) -> dict:
    hashed = [leaf_hash(leaf) for leaf in leaves()]
    return {
        "root": root_of(hashed).hex(),
        "tree_size": len(hashed),
        "leaf_index": index,
        "leaf": json.loads(leaves()[index]),
        "path": [entry.hex() for entry in inclusion_proof(hashed, index)],
    }


def distribution() -> dict:
    digest = root_of(leaf_hash(leaf) for leaf in leaves())
    return {"header": copy.deepcopy(HEADER), "rows": copy.deepcopy(ROWS), "digest": digest.hex()}


@pytest.fixture
def check(tmp_path, capsys):
    """Runs the verifier on a document; gives the exit code and what it printed."""

    def run(document: object, name: str = "file.json") -> tuple[int, str]:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        path = tmp_path / name
        path.write_bytes(data)
        code = main([str(path)])
        printed = capsys.readouterr()
        assert len((printed.out + printed.err).splitlines()) == 1
        return code, printed.out + printed.err

    return run


@pytest.mark.parametrize("index", range(4))
def test_every_leaf_of_a_distribution_can_be_proved(check, index):
    code, line = check(proof(index))
    assert (code, line.startswith("RIGHT:")) == (0, True)


def test_the_line_says_who_got_what(check):
    assert '"alice" was allocated 66.67, leaf 1 of 4' in check(proof(1))[1]
    assert '"b\\u00f6b\\n" was allocated 16.67' in check(proof(2))[1]


def test_the_leaf_may_be_its_canonical_text(check):
    for index in range(4):
        assert check(proof(index) | {"leaf": leaves()[index].decode()})[0] == 0


def test_text_that_is_not_canonical_is_wrong(check):
    code, line = check(proof(1) | {"leaf": json.dumps(ROWS[0])})
    assert (code, "not canonical" in line) == (1, True)


def tampered_proofs() -> dict[str, dict]:
    good = proof(1)
    leaf = good["leaf"]
    return {
        "amount": good | {"leaf": leaf | {"amount": "66.68", "breakdown": {"top1": "50.01", "all": "16.67"}}},
        "user": good | {"leaf": leaf | {"user": "mallory"}},
        "score": good | {"leaf": leaf | {"score": "10"}},
        "salt": good | {"leaf": leaf | {"salt": "a2"}},
        "position": good | {"leaf": leaf | {"position": 2}},
        "index": good | {"leaf_index": 2},
        "index and position": good | {"leaf_index": 2, "leaf": leaf | {"position": 2}},
        "index outside": good | {"leaf_index": 4, "leaf": leaf | {"position": 4}},
        "negative index": good | {"leaf_index": -1, "leaf": leaf | {"position": -1}},
        "size": good | {"tree_size": 5},
        "path": good | {"path": good["path"][::-1]},
        "short path": good | {"path": good["path"][:-1]},
        "root": good | {"root": "0" * 64},
        "another leaf's path": good | {"path": proof(2)["path"]},
        "a row's key is missing": good | {"leaf": {key: leaf[key] for key in leaf if key != "salt"}},
        "breakdown": good | {"leaf": leaf | {"breakdown": {"top1": "50.00", "all": "16.66"}}},
        "position as text": good | {"leaf": leaf | {"position": "1"}},
        "position true": good | {"leaf": leaf | {"position": True}},
        "amount as a number": good | {"leaf": leaf | {"amount": 66}},
        "the header's place": good | {"leaf": json.loads(leaves()[0])},
    }


@pytest.mark.parametrize("what", tampered_proofs())
def test_a_tampered_proof_is_wrong(check, what):
    code, line = check(tampered_proofs()[what])
    assert (code, line.startswith("WRONG:")) == (1, True)


def test_a_whole_distribution_plain_and_gzip(check):
    plain = check(distribution())
    assert plain[0] == 0
    assert "3 rows add up to 83.34 of 100.00" in plain[1]
    packed = check(gzip.compress(json.dumps(distribution()).encode()), "export.json.gz")
    assert packed == plain


def test_an_empty_distribution_is_right(check):
    digest = root_of([leaf_hash(header_leaf(**HEADER))]).hex()
    assert check({"header": HEADER, "rows": [], "digest": digest})[0] == 0


def test_further_keys_of_an_export_do_no_harm(check):
    assert check(distribution() | {"status": "paid", "recipients": 3})[0] == 0


def tampered_distributions() -> dict[str, dict]:
    wrong = {}
    for what, change in {
        "a unit moved": lambda d: d["rows"][2].update(amount="0.01", breakdown={"all": "0.01"}),
        "breakdown": lambda d: d["rows"][0].update(breakdown={"top1": "50.00"}),
        "a row dropped": lambda d: d["rows"].pop(),
        "a row dropped in the middle": lambda d: d["rows"].pop(1),
        "rows swapped": lambda d: d["rows"].reverse(),
        "positions from zero": lambda d: [row.update(position=row["position"] - 1) for row in d["rows"]],
        "more than there was": lambda d: d["header"].update(amount="83.33"),
        "the header's source": lambda d: d["header"].update(source="treasury"),
        "the header's amount missing": lambda d: d["header"].pop("amount"),
        "the digest": lambda d: d.update(digest="f" * 64),
        "a negative amount": lambda d: d["rows"][2].update(amount="-1", breakdown={"all": "-1"}),
        "not a number": lambda d: d["rows"][2].update(amount="NaN", breakdown={"all": "NaN"}),
        "a surrogate": lambda d: d["rows"][2].update(user="\ud800"),
        "a user that is no text": lambda d: d["rows"][2].update(user=None),
        "a number no canonical form has": lambda d: d["header"].update(more=2**60),
    }.items():
        document = distribution()
        change(document)
        wrong[what] = document
    return wrong


@pytest.mark.parametrize("what", tampered_distributions())
def test_a_tampered_distribution_is_wrong(check, what):
    code, line = check(tampered_distributions()[what])
    assert (code, line.startswith("WRONG:")) == (1, True)


# What follows hashes to its digest: an operator who cheats can do that, and is found out by the rules themselves.


def signed(header: dict, rows: list[dict]) -> dict:
    """A distribution with the digest that belongs to it, however wrong it is."""
    digest = root_of(leaf_hash(canonical_json(leaf)) for leaf in (header, *rows))
    return {"header": header, "rows": rows, "digest": digest.hex()}


def test_signed_rows_are_right(check):
    assert check(signed(HEADER, ROWS))[0] == 0


def test_gaps_in_signed_positions_are_wrong(check):
    code, line = check(signed(HEADER, [ROWS[0], ROWS[2]]))
    assert (code, "Row 2 says position 3" in line) == (1, True)


def test_paying_more_than_there_was_is_wrong_though_it_is_signed(check):
    code, line = check(signed(HEADER | {"amount": "83.33"}, ROWS))
    assert (code, "The rows add up to 83.34, more than the 83.33" in line) == (1, True)


def test_a_signed_breakdown_that_does_not_add_up_is_wrong(check):
    code, line = check(signed(HEADER, [ROWS[0] | {"breakdown": {"top1": "50.00"}}]))
    assert (code, "adds up to 50.00, not to the amount 66.67" in line) == (1, True)


def test_a_row_that_can_be_read_in_two_ways_is_wrong(check):
    text = json.dumps(signed(HEADER, [ROWS[0]])).replace('"user": "alice"', '"user": "mallory", "user": "alice"')
    code, line = check(text.encode())
    assert (code, "same key twice" in line) == (1, True)


def signed_proof(leaf: dict, index: int, size: int) -> dict:
    """A proof that leads to its root, for any object at any place."""
    hashed = [leaf_hash(b"another")] * size
    hashed[index] = leaf_hash(canonical_json(leaf))
    path = [entry.hex() for entry in inclusion_proof(hashed, index)]
    return {"root": root_of(hashed).hex(), "tree_size": size, "leaf_index": index, "leaf": leaf, "path": path}


def test_a_row_at_another_leaf_than_its_position_is_wrong(check):
    assert check(signed_proof(ROWS[0], 1, 4))[0] == 0
    code, line = check(signed_proof(ROWS[0], 2, 4))
    assert (code, "says position 1 but the proof is for leaf 2" in line) == (1, True)


def test_something_else_than_a_row_among_the_rows_is_wrong(check):
    assert check(signed_proof(HEADER, 0, 4))[0] == 0
    code, line = check(signed_proof(HEADER, 1, 4))
    assert (code, "must be a participant's row" in line) == (1, True)


UNREADABLE = {
    "empty": b"",
    "not JSON": b"user,amount\nalice,5\n",
    "not UTF-8": b"\xff\xfe\x00",
    "half a gzip file": gzip.compress(b"{}" * 500)[:-10],
    "not what gzip says": b"\x1f\x8b nothing",
    "neither kind": b'{"rows": []}',
    "a list": b"[1, 2]",
    "floats": b'{"header": {"amount": 1.5}, "rows": [], "digest": "00"}',
    "not a number": b'{"header": {"amount": NaN}, "rows": [], "digest": "00"}',
    "nested beyond reason": b"[" * 100_000,
    "a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "rows that are no rows": json.dumps(distribution() | {"rows": ["alice"]}).encode(),
    "rows that are no list": json.dumps(distribution() | {"rows": "alice"}).encode(),
    "a header that is no object": json.dumps(distribution() | {"header": []}).encode(),
    "a digest that is no hash": json.dumps(distribution() | {"digest": "abc"}).encode(),
    "a path that is no hash": json.dumps(proof(1) | {"path": ["zz"]}).encode(),
    "a path that is no list": json.dumps(proof(1) | {"path": None}).encode(),
    "a size that is no number": json.dumps(proof(1) | {"tree_size": "4"}).encode(),
    "a leaf that is no object": json.dumps(proof(1) | {"leaf": 7}).encode(),
    "a leaf that is text of text": json.dumps(proof(1) | {"leaf": '"alice"'}).encode(),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_gets_a_sentence(check, what):
    code, line = check(UNREADABLE[what])
    assert (code, line.startswith("UNREADABLE:")) == (2, True)


def test_a_file_that_is_not_there(capsys):
    assert main(["nowhere/to be found.json"]) == 2
    assert "No such file" in capsys.readouterr().err


def test_it_runs_with_the_bare_standard_library(tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof(1)))
    root = Path(__file__).resolve().parents[3]
    # -S and -I: neither site-packages nor the environment; NumPy and Django cannot be found
    command = "import sys; sys.path.insert(0, sys.argv.pop(1)); import runpy; sys.argv[0] = 'verify'; "
    command += "runpy.run_module('rewards.allocation.verify', run_name='__main__')"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", command, str(root), str(path)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("RIGHT:")


def test_it_runs_as_the_module_that_the_handbook_names(tmp_path):
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(tampered_proofs()["amount"]))
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-O", "-m", "rewards.allocation.verify", str(path)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.startswith("WRONG:")
