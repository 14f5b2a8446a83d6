"""Lists, page by page: `results`, `next`, `previous`. A cursor names the last row seen, so rows that come and go
meanwhile neither repeat nor hide others."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class Pages(CursorPagination):
    """`limit` and `cursor` of the query. Views read them with a `PageQuery`, which refuses whatever else is there.

    `ordering` names a field that never changes and is unique, or nearly so; a second one decides between equals.
    """

    page_size = DEFAULT_LIMIT
    max_page_size = MAX_LIMIT
    page_size_query_param = "limit"
    ordering: str | tuple[str, ...] = "-id"

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= MAX_LIMIT):
            raise ValidationError({"limit": [f"The limit is a whole number from 1 to {MAX_LIMIT}."]})
        return int(text)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """One page. Raises `ValidationError` for a limit or cursor that cannot be."""
        try:
            return super().paginate_queryset(queryset, request, view) or []
        except (NotFound, ValueError, OverflowError, DjangoValidationError, DataError) as error:
            # A cursor can hold anything: what the field cannot be compared with ends here.
            message = "This is no cursor: take it from `next` or `previous`, or leave it out."
            raise ValidationError({"cursor": [message]}) from error

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})

    def get_paginated_response_schema(self, schema: Any) -> Any:
        link = {"type": "string", "nullable": True, "format": "uri"}
        following = {**link, "example": "https://rewards.example.org/api/…?cursor=cD04MTU%3D"}
        properties = {"results": schema, "next": following, "previous": {**link, "example": None}}
        return {"type": "object", "required": ["results", "next", "previous"], "properties": properties}
