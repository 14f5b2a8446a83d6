"""A client of the rewards API that may repeat whatever it does: copy it, it needs the standard library only.

    client = RewardsClient("https://rewards.example.org", api_key="rwk_…")
    claim = client.claim("pve_victory", {"enemy_id": "wolf", "encounter_id": "e-77"}, user="alice")

Every request that moves value carries a key that names the deed, so it can be sent again when nobody knows whether it
arrived. Make that key once, keep it with the deed (in your database, before the first attempt), and use it again after
a crash. Never make it from the clock.
"""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

TRY_AGAIN = {429, 502, 503, 504}
LONGEST_PAUSE_SECONDS = 30.0


class Refused(Exception):
    """The API said no, and would say it again: `problem` is its answer, `code` is stable."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status, self.code, self.problem = status, str(problem.get("code")), problem


class Unanswered(Exception):
    """No answer in time: whether it was done is not known. Send it again later, with the same key."""


@dataclass(frozen=True)
class Amount:
    user: str
    currency: str
    amount: Decimal


@dataclass(frozen=True)
class Claim:
    """A deed that was rewarded. `repeated`: it had been before this call, or by an attempt whose answer was lost."""

    claim_id: int
    claim_key: str
    credits: list[Amount]
    debits: list[Amount]
    balances: dict[str, Decimal]
    repeated: bool


class RewardsClient:
    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        token: str = "",
        timeout_seconds: float = 10,
        patience_seconds: float = 60,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """An API key of a machine, or a user's token. `patience_seconds`: when no further attempt is made."""
        self.base_url = base_url.rstrip("/")
        self.credential = {"x-api-key": api_key} if api_key else {"Authorization": f"Bearer {token}"}
        self.timeout_seconds, self.patience_seconds, self.sleep = timeout_seconds, patience_seconds, sleep

    def claim(self, claim_type: str, context: Mapping[str, Any], *, claim_key: str = "", user: str = "") -> Claim:
        """Claim a deed, once however often this is called. `claim_key` where the context does not give it."""
        body = {"context": dict(context), **_if_given(claim_key=claim_key, user=user)}
        path = f"/api/claims/{quote(claim_type, safe='')}"
        try:
            found, repeated = self._send("POST", path, body), False
        except Refused as refusal:
            if refusal.code != "already_claimed" or "claim" not in refusal.problem:
                raise
            found, repeated = refusal.problem["claim"], True
        balances = {code: Decimal(amount) for code, amount in found["balances"].items()}
        credits, debits = (_amounts(found[side]) for side in ("credits", "debits"))
        return Claim(found["claim_id"], found["claim_key"], credits, debits, balances, repeated)

    def transfer(self, to: str, currency: str, amount: Decimal, *, key: str, note: str = "") -> dict[str, Any]:
        """Send an amount to another user. The same `key` again gives the first answer and moves nothing."""
        body = {"to": to, "currency": currency, "amount": f"{amount:f}", **_if_given(note=note)}
        return self._send("POST", "/api/transfers", body, key=key)

    def profile(self) -> dict[str, Any]:
        return self._send("GET", "/profile")

    def statement(self, currency: str) -> Iterator[dict[str, Any]]:
        """The user's lines in a currency, newest first, page by page as they are asked for."""
        query = urlencode({"currency": currency, "limit": 500})
        while query:
            page = self._send("GET", f"/profile/statement?{query}")
            yield from page["results"]
            query = urlsplit(page["next"] or "").query

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str = "") -> dict[str, Any]:
        """Send it until it is answered. Raises `Refused`, `Unanswered`."""
        headers = {"Content-Type": "application/json", **self.credential, **({"Idempotency-Key": key} if key else {})}
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.base_url + path, content, headers, method=method)
        give_up_at, attempt = time.monotonic() + self.patience_seconds, 0
        while True:
            wait_at_least = 0.0
            try:
                status, answer_headers, answer = self._ask(request)
                if status < 300:
                    found: dict[str, Any] = json.loads(answer)
                    return found
                if status not in TRY_AGAIN and not (status == 409 and "Retry-After" in answer_headers):
                    raise Refused(status, _problem(answer))
                trouble, wait_at_least = f"status {status}", _seconds(answer_headers.get("Retry-After"))
            except (OSError, http.client.HTTPException, ValueError) as error:  # no answer, or half of one
                trouble = str(error) or type(error).__name__
            pause = max(wait_at_least, random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.2 * 2**attempt)))
            attempt += 1
            if time.monotonic() + pause > give_up_at:
                raise Unanswered(f"{method} {path}: {trouble}, {attempt} attempts.")
            self.sleep(pause)

    def _ask(self, request: Request) -> tuple[int, Message, bytes]:
        try:
            with urlopen(request, timeout=self.timeout_seconds) as answer:
                return answer.status, answer.headers, answer.read()
        except HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, refusal.read()


def _if_given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _amounts(lines: list[dict[str, str]]) -> list[Amount]:
    return [Amount(line["user"], line["currency"], Decimal(line["amount"])) for line in lines]


def _problem(answer: bytes) -> dict[str, Any]:
    """The problem in an answer; of one that is none, such as a proxy's page, its first words."""
    try:
        return dict(json.loads(answer))
    except (ValueError, TypeError):
        return {"code": "", "detail": answer[:200].decode(errors="replace")}


def _seconds(retry_after: str | None) -> float:
    """Retry-After is a number of seconds or a date."""
    if not retry_after:
        return 0.0
    if retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0
