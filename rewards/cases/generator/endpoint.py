"""One question to an OpenAI-compatible endpoint over HTTP, and what comes back of it: bounded in time and in size.

Nothing that is raised here has the key in it, nor a word of the answer. Redirects are not followed, for the key would
go along.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Timer
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.views.decorators.debug import sensitive_variables

from rewards.cases.generator.written import GeneratorFailed
from rewards.common.hidden import Hidden

LARGEST_ANSWER = 64 * 1024  # bytes
LOOPBACK = ("localhost", "127.0.0.1", "::1")
WORTH_ANOTHER_TRY = (408, 409, 425, 429)  # and everything from 500 on


class EndpointMisconfigured(GeneratorFailed):
    """The settings of the case generator are incomplete: see CASE_AI_BASE_URL, CASE_AI_KEY and CASE_AI_MODEL."""

    code = "generator_misconfigured"


class NotAnswered(GeneratorFailed):
    """The endpoint gave no usable answer this time."""

    code = "generator_not_answered"


@sensitive_variables()
def question(base_url: str, key: Hidden, body: dict[str, Any], *, timeout_seconds: float) -> bytes:
    """POST `body` to `<base_url>/chat/completions`; the body of the answer.

    `timeout_seconds` is for all of it, however slowly it drips. Raises `NotAnswered` for what may go better the next
    time, `GeneratorFailed` for what will not, `EndpointMisconfigured`.
    """
    address = _checked_address(base_url, key)
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    if key:
        headers["Authorization"] = f"Bearer {_checked_key(key)}"
    path = address.path.rstrip("/") + "/chat/completions"
    failure = ""
    try:
        with _connection(address, timeout_seconds) as connection:
            connection.request("POST", path, json.dumps(body).encode(), headers)
            response = connection.getresponse()
            status, answer = response.status, response.read(LARGEST_ANSWER + 1)
    except (OSError, HTTPException, ValueError) as error:
        failure = type(error).__name__
    if failure:  # raised here, it does not carry along what the connection held
        raise NotAnswered(f"The endpoint of the case generator did not answer in good order: {failure}.")
    _require_success(status)
    if len(answer) > LARGEST_ANSWER:
        raise NotAnswered(f"The endpoint of the case generator answered more than {LARGEST_ANSWER:,} bytes.")
    return answer


def _checked_address(base_url: str, key: Hidden) -> SplitResult:
    try:
        address = urlsplit(base_url)
        host, _ = address.hostname, address.port
    except ValueError:
        host, address = None, urlsplit("")
    if not host or address.scheme not in ("http", "https") or address.query or address.fragment or address.username:
        raise EndpointMisconfigured("CASE_AI_BASE_URL is no address such as https://api.example.com/v1.")
    if key and address.scheme == "http" and host not in LOOPBACK:
        raise EndpointMisconfigured("CASE_AI_KEY is sent over https only: change CASE_AI_BASE_URL.")
    return address


def _checked_key(key: Hidden) -> str:
    """The key, when a header can carry it: the complaint of the library would quote it."""
    secret = key.reveal()
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise EndpointMisconfigured("CASE_AI_KEY has characters in it that no key has. Look for a stray line end.")
    return secret


@contextmanager
def _connection(address: SplitResult, timeout_seconds: float) -> Iterator[HTTPConnection]:
    """A connection that is cut when the time is up, whatever it is doing then."""
    host = str(address.hostname)
    connection: HTTPConnection
    if address.scheme == "https":
        context = ssl.create_default_context()
        connection = HTTPSConnection(host, address.port, timeout=timeout_seconds, context=context)
    else:
        connection = HTTPConnection(host, address.port, timeout=timeout_seconds)
    until = monotonic() + timeout_seconds
    watchdog = None
    try:
        connection.connect()
        watchdog = Timer(until - monotonic(), _cut, [connection.sock])
        watchdog.daemon = True
        watchdog.start()
        yield connection
    finally:
        if watchdog:
            watchdog.cancel()
        connection.close()


def _cut(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which another thread is reading
    except OSError:
        return  # it has come to its end by itself


def _require_success(status: int) -> None:
    if 200 <= status < 300:
        return
    refusal = f"The endpoint of the case generator answered {status}."
    if status >= 500 or status in WORTH_ANOTHER_TRY:
        raise NotAnswered(refusal)
    raise GeneratorFailed(f"{refusal} Look at CASE_AI_BASE_URL, CASE_AI_KEY and CASE_AI_MODEL.")
