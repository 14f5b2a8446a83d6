"""The OpenAPI schema: what every endpoint shares is added here, so that views describe only what is their own."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_doc
from drf_spectacular.utils import OpenApiParameter

from rewards.api.permissions import Anyone, Machines, callers_of
from rewards.api.problems import PROBLEM_JSON
from rewards.api.serializers import ProblemSerializer, StrictSerializer
from rewards.api.views import ApiView

PROBLEMS = {
    "400": "Malformed: see `errors`",
    "401": "No credentials, or none that are valid",
    "403": "This caller may not do this",
    "404": "Not there, or not this caller's",
    "406": "Answers are JSON only",
    "409": "It happened before, or the balance does not allow it",
    "422": "A rule, key or value does not fit",
    "429": "Too many requests: see Retry-After",
    "503": "Try again in a moment: see Retry-After",
}
PROBLEMS_OF_BODIES = {
    "411": "The length of the body is missing",
    "413": "The body is too large",
    "415": "The body is not of the media type shown, in UTF-8",
}
RETRY_AFTER = {"Retry-After": {"required": True, "description": "Seconds", "schema": {"type": "integer"}}}
CHALLENGE = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
HEADERS = {"401": CHALLENGE, "429": RETRY_AFTER, "503": RETRY_AFTER}

IDEMPOTENCY_KEY = (
    "1 to 255 visible ASCII characters, random, the same again when the request is repeated: the repetition gets the "
    "first answer, with `Idempotent-Replayed: true`. Keys belong to the caller and the endpoint and live 30 days."
)


class Schema(AutoSchema):
    """Adds to each operation of an `ApiView` its callers, the common problems, and the Idempotency-Key."""

    view: Any

    @property
    def is_ours(self) -> bool:
        return isinstance(self.view, ApiView)

    def get_description(self) -> str:  # type: ignore[override]
        """Of the handler alone: the words of a view are for who reads the code."""
        return get_doc(getattr(self.view, self.method.lower())) if self.is_ours else super().get_description()

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is not None and self.is_ours:
            callers = " or ".join(kind.words for kind in callers_of(self.view, self.method))
            operation["description"] = f"{operation.get('description', '')}\n\nFor {callers}.".strip()
        return operation

    def get_tags(self) -> list[str]:
        """The first noun of the path: `/api/claims/{claim_type}` is about claims."""
        parts = self.path.strip("/").split("/")
        return [parts[1] if parts[0] == "api" and len(parts) > 1 else parts[0]]

    def get_auth(self) -> list[Any]:
        """Of the view's credentials those that open this method."""
        known = super().get_auth()
        if not self.is_ours:
            return known
        callers = callers_of(self.view, self.method)
        machines = any(isinstance(kind, Machines) for kind in callers)
        people = any(not isinstance(kind, Machines) for kind in callers)
        opens = [each for each in known if machines if "apiKey" in each]
        opens += [each for each in known if people if "apiKey" not in each]
        return [*opens, {}] if any(isinstance(kind, Anyone) for kind in callers) else opens

    def get_override_parameters(self) -> list[Any]:
        parameters = list(super().get_override_parameters())
        if self.is_ours and self.view.idempotency_key and self.method == "POST":
            required = self.view.idempotency_key == "required"
            parameters.append(
                OpenApiParameter(
                    "Idempotency-Key",
                    {"type": "string", "pattern": r"^[\x21-\x7e]+$", "minLength": 1, "maxLength": 255},
                    OpenApiParameter.HEADER,
                    required=required,
                    description=IDEMPOTENCY_KEY,
                )
            )
        return parameters

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        responses = super()._get_response_bodies(direction)
        if self.is_ours:
            problems = PROBLEMS | (PROBLEMS_OF_BODIES if self.method in ("POST", "PUT", "PATCH") else {})
            for code, description in sorted(problems.items()):
                told = self._get_response_for_code(ProblemSerializer, code, [PROBLEM_JSON], direction)
                told |= {"headers": HEADERS[code]} if code in HEADERS else {}
                responses.setdefault(code, told | {"description": description})
        return responses

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)
        if isinstance(serializer, StrictSerializer):
            schema["additionalProperties"] = False
            if not type(serializer).__doc__:
                # The words of the base class are for who reads the code.
                schema.pop("description", None)
        return schema


def each_path_once(endpoints: list[Any]) -> list[Any]:
    """Every path stands with and without a slash at the end; the schema shows the one without."""
    return [endpoint for endpoint in endpoints if not endpoint[0].endswith("/")]
