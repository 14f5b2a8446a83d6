"""Pages about one row, which their address names by its id."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern


class RowPages:
    """What is no id, such as `/admin/rewards/pool/abc/change/`, is not found by any page of the model's admin.

    To be named before the admin class. Neither the library's pages nor our own have to see to it: the `object_id` that
    they look for is one that the column could hold.
    """

    model: Any

    def get_urls(self) -> list[URLPattern]:
        patterns = super().get_urls()  # type: ignore[misc]
        for pattern in patterns:
            pattern.callback = self._for_ids_only(pattern.callback)
        return patterns

    def _for_ids_only(self, view: Any) -> Any:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if "object_id" in kwargs and not can_be_id(self.model, unquote(str(kwargs["object_id"]))):
                raise Http404
            return view(request, *args, **kwargs)

        return checked


def can_be_id(model: type[Model], text: str) -> bool:
    """Whether the column of a model's ids could hold what the text says."""
    key = model._meta.pk
    try:
        key.run_validators(key.to_python(text))
    except ValidationError:
        return False
    return True
