"""The base of all views of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl

from django.db.models import QuerySet
from django.http import Http404
from rest_framework.exceptions import APIException, NotAcceptable, NotFound, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.mediatypes import media_type_matches
from rest_framework.views import APIView

from rewards.access.models import IdempotentAnswer
from rewards.api.authentication import CHALLENGE, ApiKeyAuthentication, SessionAuthentication, TokenAuthentication
from rewards.api.idempotency import (
    IdempotencyKeyRequired,
    answer_once,
    in_transaction,
    is_replayed,
    keep,
    key_of,
    new_answer,
)
from rewards.api.pagination import Pages
from rewards.api.parsers import StrictJSONParser
from rewards.api.permissions import Callers, DeclaredAccess
from rewards.api.problems import PROBLEM_JSON
from rewards.api.serializers import FROM_QUERY, StrictSerializer
from rewards.api.throttles import CallerThrottle

MAX_PATH_LENGTH = 190
MAX_QUERY_PARAMETERS = 50

_renderer = JSONRenderer()


class LengthRequired(APIException):
    """Django reads as many bytes as Content-Length says: of a body in chunks none, and it would count as empty."""

    status_code = 411
    default_code = "length_required"
    default_detail = "Say how long the body is: send Content-Length, not chunks."


class JsonOnly(DefaultContentNegotiation):
    """Answers are JSON, whatever a parameter `format` says; 406 for who takes none."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        if request.META.get("HTTP_ACCEPT", "*/*") not in ("*/*", "application/json"):
            answers = (_renderer.media_type, PROBLEM_JSON)
            if not any(media_type_matches(kind, each) for each in self.get_accept_list(request) for kind in answers):
                raise NotAcceptable(available_renderers=renderers)
        return _renderer, _renderer.media_type


class ApiView(APIView):
    """A view says who may call each of its methods; what it does not say is refused.

        class Things(ApiView):
            access = {"GET": [USER], "POST": [machine(Right.CLAIMS_WRITE), USER]}

    A handler reads its body with `self.body(SomeSerializer)`, its query with `self.query(SomeSerializer)`, and runs
    what moves value through `self.once(request, work)`. Errors are raised, never answered by hand.
    """

    access: ClassVar[Mapping[str, Sequence[Callers]]] = {}
    # Whether POSTs take an Idempotency-Key; a view that uses `once` says so, and the schema with it.
    idempotency_key: ClassVar[Literal["", "optional", "required"]] = ""
    body_limit_bytes: ClassVar[int] = 100_000

    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    authentication_classes = [ApiKeyAuthentication, TokenAuthentication, SessionAuthentication]
    permission_classes = [DeclaredAccess]
    throttle_classes = [CallerThrottle]
    parser_classes = [StrictJSONParser]
    renderer_classes = [JSONRenderer]
    content_negotiation_class = JsonOnly
    pagination_class = Pages  # for the schema: an answer of many is a page
    metadata_class = None
    options = None  # type: ignore[assignment]

    kept_answer: IdempotentAnswer | None = None
    """The row of this request while `once` runs its work, if it came with a key; its id names the request."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if len(request.path) > MAX_PATH_LENGTH or "\x00" in request.path:
            raise NotFound
        if "HTTP_TRANSFER_ENCODING" in request.META:
            raise LengthRequired
        super().initial(request, *args, **kwargs)

    def get_authenticate_header(self, request: Request) -> str:
        return CHALLENGE

    # ------------------------------------------------------------------------------------------------------ reading

    def body(self, serializer_class: type[StrictSerializer]) -> dict[str, Any]:
        """What the request's body says. Raises `ValidationError` with the errors of each field."""
        serializer = serializer_class(data=self.request.data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def query(self, serializer_class: type[StrictSerializer]) -> dict[str, Any]:
        """What the query says. A parameter that is unknown, repeated or no UTF-8 is a `ValidationError`."""
        serializer = serializer_class(data=query_parameters(self.request), context={FROM_QUERY: True})
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    # ------------------------------------------------------------------------------------------------------ writing

    def once(
        self,
        request: Request,
        work: Callable[[], Response],
        required: bool = False,
        then: Callable[[], Response] | None = None,
    ) -> Response:
        """Run `work` in one transaction; with an Idempotency-Key once, answering repetitions with the first answer.

        Nothing of it stays when it raises or answers 400 and above. It may run again from the start, after a deadlock.
        `then` goes on after that transaction, in others of its own, and its answer takes the place of the first.
        """
        key = key_of(request)
        if key is not None:
            self.kept_answer = new_answer(request, key)
            answer = answer_once(self.kept_answer, work)
        elif required or self.idempotency_key == "required":
            raise IdempotencyKeyRequired
        else:
            answer = in_transaction(work)
        if then is None or answer.status_code >= 400 or is_replayed(answer):
            return answer
        answer = then()
        if self.kept_answer is not None:
            keep(self.kept_answer, answer)
        return answer

    # ------------------------------------------------------------------------------------------------------- lists

    def page(
        self, rows: QuerySet[Any], represent: Callable[[Any], Any], ordering: str | tuple[str, ...] = "-id"
    ) -> Response:
        """One page of the rows, each as `represent` gives it. The query is read by a `PageQuery` before."""
        return self.whole_page(rows, lambda found: [represent(row) for row in found], ordering)

    def whole_page(
        self,
        rows: QuerySet[Any],
        represent: Callable[[list[Any]], list[Any]],
        ordering: str | tuple[str, ...] = "-id",
    ) -> Response:
        """Like `page`; `represent` is given all rows of the page together."""
        pages = Pages()
        pages.ordering = ordering
        return pages.get_paginated_response(represent(pages.paginate_queryset(rows, self.request, self)))


def query_parameters(request: Request) -> dict[str, str]:
    """The query as text by name. Django would take the last of several, and put U+FFFD where it cannot decode."""
    raw = request.META.get("QUERY_STRING", "")
    if not raw:
        return {}
    try:
        text = raw.encode("latin-1").decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_PARAMETERS)
    except ValueError as error:
        message = f"The query must be UTF-8, with at most {MAX_QUERY_PARAMETERS} parameters."
        raise ValidationError({"query": [message]}) from error
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValidationError({name: ["This parameter stands twice."] for name in names if names.count(name) > 1})
    return found


def own_or_404(rows: QuerySet[Any], **which: Any) -> Any:
    """The one of these rows, which are the caller's own. Somebody else's and none at all answer the same."""
    try:
        return rows.get(**which)
    except (rows.model.DoesNotExist, ValueError, OverflowError) as error:
        raise Http404 from error
