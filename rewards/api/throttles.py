"""How often somebody may call, counted in the cache.

Calls are counted by slices of ten seconds, and what counts is the slice under way and the five before it. So whoever
keeps to a limit is never refused, at whatever moments he calls; and a call a minute after the one that filled the
limit is let through. Adding to a counter is one indivisible step of the cache: calls that race cannot hide behind each
other. A cache in trouble throttles nobody.
"""

from __future__ import annotations

import logging
import math
import time
from hashlib import sha256
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from rewards.api.authentication import Machine
from rewards.parameters.services import param
from rewards.users.models import User

SLICE_SECONDS = 10
SLICES = 6

SIGN_INS_PER_ADDRESS = 20
SIGN_INS_PER_USERNAME = 10
LOOKS_BACK_PER_ADDRESS = 30
LOOKS_BACK_PER_USER = 120

logger = logging.getLogger(__name__)


class CallerThrottle(BaseThrottle):
    """Users by the parameter `api.user_requests_per_minute`, machines by what their key says, nobody else."""

    seconds = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        bucket, limit = _limit_of(request.user)
        if limit is not None:
            self.seconds = count_call(bucket, limit)
        return not self.seconds

    def wait(self) -> float:
        return self.seconds


class AddressThrottle(BaseThrottle):
    """Calls from one address, for those who have no credential yet."""

    seconds = 0

    def allow_request(self, request: Request | HttpRequest, view: Any) -> bool:
        self.seconds = count_call(f"address:{_address_of(request)}", SIGN_INS_PER_ADDRESS)
        return not self.seconds

    def wait(self) -> float:
        return self.seconds


def count_sign_in(username: str) -> None:
    """Count an attempt to sign in under that name, wherever it comes from. Raises `Throttled`."""
    seconds = count_call(f"username:{_digest(username)}", SIGN_INS_PER_USERNAME)
    if seconds:
        raise Throttled(wait=seconds)


def count_sign_in_on_page(request: HttpRequest, username: str) -> None:
    """Count an attempt to sign in on a page: those of an address and of a name are limited together with those for
    tokens, or a page would let passwords be guessed that the API does not. Raises `Throttled`."""
    of_address = AddressThrottle()
    if not of_address.allow_request(request, None):
        raise Throttled(wait=of_address.wait())
    count_sign_in(username)


def count_look_back(request: Request) -> None:
    """Count a look at what has to be worked out of all that happened until an instant: nothing that is kept has it.

    Of users each has so many a minute, of all who are nobody each address; machines have what their key says. Raises
    `Throttled`.
    """
    caller = request.user
    if isinstance(caller, Machine):
        return
    if isinstance(caller, User):
        seconds = count_call(f"look_back:user:{caller.pk}", LOOKS_BACK_PER_USER)
    else:
        seconds = count_call(f"look_back:address:{_address_of(request)}", LOOKS_BACK_PER_ADDRESS)
    if seconds:
        raise Throttled(wait=seconds)


def count_call(bucket: str, limit: int) -> int:
    """Count a call of `bucket`, which has `limit` of them a minute: 0.

    Where they are used up, the seconds after which one is let through again; whoever asks before that does not make
    it longer.
    """
    try:
        return _count(bucket, limit, time.time())
    except Exception as error:  # whatever the client of a cache raises
        logger.warning("The cache did not count a call: %s", error, extra={"event": "throttle_failed"})
        return 0


def _count(bucket: str, limit: int, now: float) -> int:
    this_slice = int(now) // SLICE_SECONDS
    keys = [f"throttle:{bucket}:{number}" for number in range(this_slice - SLICES + 1, this_slice + 1)]
    found = cache.get_many(keys)
    counts = [found.get(key, 0) for key in keys]
    if sum(counts) < limit:
        cache.add(keys[-1], 0, timeout=SLICE_SECONDS * (SLICES + 1))
        counts[-1] = cache.incr(keys[-1])
        if sum(counts) <= limit:
            return 0
    return _seconds_until_free(counts, limit, this_slice, now)


def _seconds_until_free(counts: list[int], limit: int, this_slice: int, now: float) -> int:
    """When so many of the oldest slices count no longer that what is left is below the limit."""
    left, slices = sum(counts), 0
    while left >= limit and slices < SLICES:
        left -= counts[slices]
        slices += 1
    return max(1, math.ceil((this_slice + slices) * SLICE_SECONDS - now))


def _limit_of(caller: Any) -> tuple[str, int | None]:
    if isinstance(caller, Machine):
        return f"key:{caller.key.pk}", caller.key.requests_per_minute
    if isinstance(caller, User):
        return f"user:{caller.pk}", param("api.user_requests_per_minute")
    return "", None


def _address_of(request: Request | HttpRequest) -> str:
    """Where a call comes from, as a part of a cache's key. NUM_PROXIES says how it is found."""
    return _digest(BaseThrottle().get_ident(request) or "")  # type: ignore[arg-type]  # it reads what both have


def _digest(text: str) -> str:
    """Any text as a part of a cache's key."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
