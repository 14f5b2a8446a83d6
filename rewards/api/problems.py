"""Errors as `application/problem+json` (RFC 9457), made in one place.

A problem has `type` (a page that explains it), `code`, `title`, `status`, `detail`, for bad fields `errors`
({path: [sentences]}), and whatever facts its error carries.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from django.core import exceptions as django_errors
from django.db import Error as DatabaseError
from django.http import Http404
from django.http.request import RawPostDataException, UnreadablePostError
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.settings import api_settings

from rewards.allocation.errors import AllocationError, RuleError, SumMismatch
from rewards.api.database_errors import explain_database_error, is_unstorable_text
from rewards.common.errors import RewardsError

logger = logging.getLogger(__name__)

Broken = TypeVar("Broken", RewardsError, AllocationError)

PROBLEM_JSON = "application/problem+json"
MOST_ERRORS = 100
UNPROCESSABLE = 422
RETRY_AFTER_SECONDS = 2


class Kind(NamedTuple):
    """What stands on the page of a code."""

    status: int
    sentence: str


# Those that no `RewardsError` stands for.
BUILT_IN = {
    "invalid_request": Kind(400, "A field or parameter is missing, unknown or not as it must be: see `errors`."),
    "malformed_json": Kind(400, "The body is not JSON that can be read in one way only and kept as it is."),
    "not_authenticated": Kind(401, "Send an API key (x-api-key) or a token (Authorization: Bearer …), or sign in."),
    "authentication_failed": Kind(401, "These credentials are not valid. Check them, or ask for new ones."),
    "permission_denied": Kind(403, "This caller may not do this."),
    "not_found": Kind(404, "There is nothing at this address, or nothing that this caller may see."),
    "method_not_allowed": Kind(405, "This address takes other methods: see the header Allow."),
    "not_acceptable": Kind(406, "Answers are JSON only: accept application/json."),
    "conflict": Kind(409, "Something like it stands already. Read what is there, then decide."),
    "request_in_progress": Kind(409, "The first request with this Idempotency-Key is still running. Repeat it later."),
    "length_required": Kind(411, "Say how long the body is: send Content-Length, not chunks."),
    "too_large": Kind(413, "The body is larger than this address takes. Send it in several parts."),
    "unsupported_media_type": Kind(
        415, "Bodies are JSON in UTF-8: send Content-Type: application/json. The list of a campaign is text/csv."
    ),
    "rule_broken": Kind(422, "The values do not fit together, or name something that is gone."),
    "throttled": Kind(429, "Too many requests. Wait as long as the header Retry-After says."),
    "internal_error": Kind(500, "It was our fault, and it has been logged. Nothing was half done."),
    "unavailable": Kind(503, "This cannot be answered right now; nothing was done. Repeat the request in a moment."),
}

_CODES: dict[type[Exception], str] = {
    drf.ValidationError: "invalid_request",
    drf.ParseError: "malformed_json",
    drf.NotAuthenticated: "not_authenticated",
    drf.AuthenticationFailed: "authentication_failed",
    drf.PermissionDenied: "permission_denied",
    drf.NotFound: "not_found",
    drf.MethodNotAllowed: "method_not_allowed",
    drf.NotAcceptable: "not_acceptable",
    drf.UnsupportedMediaType: "unsupported_media_type",
    drf.Throttled: "throttled",
    Http404: "not_found",
    django_errors.PermissionDenied: "permission_denied",
    django_errors.RequestDataTooBig: "too_large",
    django_errors.SuspiciousOperation: "invalid_request",
    django_errors.BadRequest: "invalid_request",
    django_errors.ValidationError: "invalid_request",
    RawPostDataException: "invalid_request",
    UnreadablePostError: "invalid_request",
}


# ------------------------------------------------------------------------------------------------------------- answers


def problem(code: str, status: int, detail: str = "", /, **more: Any) -> dict[str, Any]:
    """The members of a problem; `more` are facts, which never take the place of a standard member but `errors`."""
    detail = detail or explanation(code).sentence
    standard = {"type": f"/problems/{code}", "code": code, "title": title(code), "status": status, "detail": detail}
    return standard | {name: value for name, value in more.items() if name not in standard}


def problem_response(
    code: str, status: int, detail: str = "", /, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    members = problem(code, status, detail, **more)
    return Response(members, status=status, headers=headers, content_type=PROBLEM_JSON)


def title(code: str) -> str:
    """`Insufficient funds` of `insufficient_funds`."""
    return code.replace("_", " ").capitalize()


# --------------------------------------------------------------------------------------------------- from an exception


def handle(error: Exception, context: Mapping[str, Any] | None = None) -> Response:
    """The answer to any exception that a view raised. It never raises itself."""
    if isinstance(error, RewardsError):
        return _of_broken_rule(error)
    if isinstance(error, drf.APIException):
        return _of_framework(error)
    if isinstance(error, AllocationError) and not isinstance(error, SumMismatch):
        return _of_rule(error)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is not None:
        return problem_response(code, explanation(code).status, _detail_of_django_error(error))
    if isinstance(error, DatabaseError):
        return _of_database(error)
    if is_unstorable_text(error):
        return problem_response("invalid_request", 400, "A text contains characters that cannot be stored.")
    return _of_our_fault(error)


def _of_broken_rule(error: RewardsError) -> Response:
    if error.http_status >= 500 and not error.is_expected:
        return _of_our_fault(error, error.code)
    return problem_response(error.code, error.http_status, error.message, **_facts(error.facts))


def _of_rule(error: AllocationError) -> Response:
    """What cannot be shared out as the rule of a request says; `errors` names the place in it."""
    facts: dict[str, Any] = {}
    if isinstance(error, RuleError):
        facts["errors"] = {error.path or "rule": [error.sentence]}
    return problem_response(error.code, UNPROCESSABLE, str(error), **facts)


@contextmanager
def rule_stands_at(path: str) -> Iterator[None]:
    """An error of a rule names its place in the body, not in the rule alone."""
    try:
        yield
    except RuleError as error:
        error.path = f"{path}.{error.path}" if error.path else path
        raise


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """With `errors`, if they are among them, as all problems have them: {path: [sentences]}."""
    if "errors" not in facts:
        return {**facts}
    return {**facts, "errors": {path: [*_sentences(told)] for path, told in facts["errors"].items()}}


def _sentences(told: Any) -> Iterator[str]:
    yield from [told] if isinstance(told, str) else map(str, told)


def _of_framework(error: drf.APIException) -> Response:
    code = _code_of(error)
    if isinstance(error, drf.ValidationError):
        errors = dict(list(flattened(error.detail).items())[:MOST_ERRORS])
        path, sentences = next(iter(errors.items()), ("", [explanation(code).sentence]))
        return problem_response(
            code, error.status_code, f"{path}: {sentences[0]}" if path else sentences[0], errors=errors
        )
    headers = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
    if getattr(error, "wait", None) is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.wait)))  # type: ignore[attr-defined]
    # The framework's own sentence gives way to the one that says what to do.
    detail = "" if error.detail == error.default_detail else str(error.detail)
    return problem_response(code, error.status_code, detail, headers=headers)


def _code_of(error: drf.APIException) -> str:
    """The code it was raised with where that has a page, else the one of its class."""
    own = error.get_codes()
    if isinstance(own, str) and own in codes():
        return own
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), "invalid_request")


def _of_database(error: DatabaseError) -> Response:
    found = explain_database_error(error)
    if found is None:
        return _of_our_fault(error)
    code, status = found
    # The sentence of a database names tables and values: it is for the log.
    logger.warning("The database refused a request: %s", error, extra={"event": "database_refused", "code": code})
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return problem_response(code, status, headers=headers)


def _detail_of_django_error(error: Exception) -> str:
    """What was written for whoever sent the request; what Django says of a host or a form is not."""
    return str(error) if isinstance(error, django_errors.RequestDataTooBig | django_errors.BadRequest) else ""


def _of_our_fault(error: Exception, code: str = "internal_error") -> Response:
    logger.error("A request failed: %r", error, exc_info=error, extra={"event": "request_failed"})
    return problem_response(code, 500, BUILT_IN["internal_error"].sentence)


def flattened(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Errors of a serializer as {path: sentences}: `events[3].quantity`, or `body` for the whole."""
    if isinstance(detail, Mapping):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            found |= flattened(inner, _joined(path, name))
        return found
    if isinstance(detail, Sequence) and not isinstance(detail, str) and any(_is_nested(each) for each in detail):
        return flattened({place: each for place, each in enumerate(detail) if each}, path)
    return {path or "body": [*_sentences(detail)]}


def _is_nested(detail: Any) -> bool:
    return not isinstance(detail, str) and isinstance(detail, Mapping | Sequence)


def _joined(path: str, name: Any) -> str:
    if name == api_settings.NON_FIELD_ERRORS_KEY:
        return path
    if isinstance(name, int):
        return f"{path or 'body'}[{name}]"
    return f"{path}.{name}" if path else str(name)


# --------------------------------------------------------------------------------------------------------- their pages


def codes() -> dict[str, Kind]:
    """Every code there is. Where several errors share one, the sentence of the first."""
    rules: list[type[AllocationError]] = [AllocationError, *_broken_rules(AllocationError)]
    rules.remove(SumMismatch)
    found = {error.code: Kind(UNPROCESSABLE, inspect.getdoc(error) or "") for error in rules}
    found |= {error.code: Kind(error.http_status, inspect.getdoc(error) or "") for error in _broken_rules(RewardsError)}
    return dict(sorted((found | BUILT_IN).items()))


def _broken_rules(base: type[Broken]) -> Iterator[type[Broken]]:
    for error in base.__subclasses__():
        yield from _broken_rules(error)
        yield error


def explanation(code: str) -> Kind:
    return BUILT_IN.get(code) or codes().get(code) or Kind(400, title(code) + ".")
