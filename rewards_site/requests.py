"""Requests whose header Content-Type nobody can read."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest


class _AnyContentType(HttpRequest):
    """Django reads the header before there is a view or an error page, and would answer 500: `x*=nonsense''%41`.

    Here such a header counts as empty: an address that takes a body answers 415.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]  # not in the stubs
        except (ValueError, LookupError):
            meta["CONTENT_TYPE"] = self.content_type = ""
            self.content_params = {}


class WsgiRequest(_AnyContentType, WSGIRequest):
    pass


class AsgiRequest(_AnyContentType, ASGIRequest):
    pass
