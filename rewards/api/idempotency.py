"""A request with an `Idempotency-Key` happens once, however often it is sent.

The answer's row is written first, in the transaction of the effect: a duplicate waits for it, then reads the answer. An
error takes the row back with everything else, so a request that failed may be sent again under its key.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import OperationalError, connection, transaction
from django.utils import timezone
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.access.models import IdempotentAnswer
from rewards.access.services import ANSWERS_KEPT
from rewards.api.authentication import Machine
from rewards.api.database_errors import RETRIED, sqlstate
from rewards.common.database import insert_if_absent, is_postgresql
from rewards.common.errors import RewardsError
from rewards.ledger.errors import IdempotencyConflict

DUPLICATES_WAIT_SECONDS = 5
ATTEMPTS = 5
LONGEST_PAUSE_SECONDS = 0.05
REPLAYED = "Idempotent-Replayed"

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")
_LOCK_NOT_AVAILABLE = "55P03"

Answer = TypeVar("Answer")


class InvalidIdempotencyKey(RewardsError):
    """An Idempotency-Key is 1 to 255 visible ASCII characters."""

    code = "invalid_idempotency_key"
    http_status = 400


class IdempotencyKeyRequired(RewardsError):
    """Send the header Idempotency-Key: something random, and the same again whenever you repeat the request."""

    code = "idempotency_key_required"
    http_status = 400


class RequestInProgress(APIException):
    """Not of `RewardsError`: those know no Retry-After."""

    status_code = 409
    default_code = "request_in_progress"
    default_detail = "The first request with this Idempotency-Key is still running. Repeat it later."
    wait = 2


class _Refused(Exception):
    """An answer that is an error: nothing of its transaction stays."""

    def __init__(self, response: Response) -> None:
        self.response = response


def key_of(request: Request) -> str | None:
    """The caller's key; None without the header. Raises `InvalidIdempotencyKey`."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and not _VISIBLE_ASCII.fullmatch(key):
        raise InvalidIdempotencyKey
    return key


def new_answer(request: Request, key: str) -> IdempotentAnswer:
    """The row of this request, not written yet."""
    caller = request.user
    return IdempotentAnswer(
        caller=f"key:{caller.key.pk}" if isinstance(caller, Machine) else f"user:{caller.pk}",
        endpoint=f"{request.method} {request.path.rstrip('/')}",
        key=key,
        body_hash=body_hash(request.data),
        created_at=timezone.now(),
    )


def body_hash(data: Any) -> str:
    """SHA-256 of the body as canonical JSON: the order of keys and white space do not matter."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def answer_once(answer: IdempotentAnswer, work: Callable[[], Response]) -> Response:
    """The first answer to this request: `work`'s, or the one kept from then.

    Raises `IdempotencyConflict` where the key came with another body, `RequestInProgress` where the first request still
    runs after some seconds.
    """

    def attempt() -> Response:
        kept = _begin(answer)
        if kept is not None:
            return _replayed(kept, answer.body_hash)
        response = work()
        keep(answer, response)
        return response

    return in_transaction(attempt)


def in_transaction(work: Callable[[], Response]) -> Response:
    """Run `work` in one transaction, which an answer of 400 and above takes back; again after a deadlock."""

    def attempt() -> Response:
        try:
            with transaction.atomic():
                response = work()
                if response.status_code >= 400:
                    raise _Refused(response)
                return response
        except _Refused as refused:
            return refused.response

    return again_after_deadlock(attempt)


def again_after_deadlock(attempt: Callable[[], Answer]) -> Answer:
    """What `attempt` answers, which is a transaction of its own.

    Again, from the start, when PostgreSQL chose it to end a deadlock: five times, then the error goes on.
    """
    attempts = 1 if connection.in_atomic_block else ATTEMPTS
    for left in reversed(range(attempts)):
        try:
            return attempt()
        except OperationalError as error:
            if not left or sqlstate(error) not in RETRIED:
                raise
        time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))
    raise AssertionError("the last attempt has answered or raised")


def _begin(answer: IdempotentAnswer) -> IdempotentAnswer | None:
    """Write the row, or find the one that stands; one that is too old makes room."""
    oldest = answer.created_at - ANSWERS_KEPT
    while not _insert(answer):
        kept = IdempotentAnswer.objects.filter(caller=answer.caller, endpoint=answer.endpoint, key=answer.key).first()
        if kept is not None and kept.created_at > oldest:
            return kept
        if kept is not None:
            IdempotentAnswer.objects.filter(pk=kept.pk).delete()
    return None


def _insert(answer: IdempotentAnswer) -> bool:
    """Waits for a request with the same key that is still running, but not for ever."""
    try:
        _limit_waiting(f"'{DUPLICATES_WAIT_SECONDS}s'")
        inserted = insert_if_absent(answer, ["caller", "endpoint", "key"])
        _limit_waiting("DEFAULT")
        return inserted
    except OperationalError as error:
        if sqlstate(error) == _LOCK_NOT_AVAILABLE:
            raise RequestInProgress from error
        raise


def _limit_waiting(duration: str) -> None:
    """How long this transaction waits for a lock, as SQL. SQLite waits for the writer before it begins."""
    if is_postgresql():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {duration}")


def _replayed(kept: IdempotentAnswer, sent_hash: str) -> Response:
    if kept.body_hash != sent_hash:
        raise IdempotencyConflict
    # The text, not what it says: jsonb would give its keys in another order than the first answer had.
    body = None if kept.body is None else json.loads(kept.body)
    return Response(body, status=kept.status, headers={REPLAYED: "true"})


def is_replayed(response: Response) -> bool:
    return REPLAYED in response.headers


def keep(answer: IdempotentAnswer, response: Response) -> None:
    """Store what repetitions are answered with; an answer of 400 and above is not."""
    if response.status_code >= 400:
        return
    body = None if response.data is None else JSONRenderer().render(response.data).decode()
    IdempotentAnswer.objects.filter(pk=answer.pk).update(status=response.status_code, body=body)
