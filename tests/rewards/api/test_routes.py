"""Every route of the API: it says who may call it, stands in the schema, and answers with and without a slash."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client, override_settings
from django.urls import URLPattern, get_resolver
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from rewards.api.permissions import Anyone, Machines
from rewards.api.problems import PROBLEM_JSON, codes
from rewards.api.schema import PROBLEMS
from rewards.api.urls import endpoint
from rewards.api.views import ApiView
from rewards_site.errors import nothing_here

METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
DOCUMENTATION = (SpectacularAPIView, SpectacularSwaggerView)


def routes(patterns: list[Any] | None = None) -> Iterator[tuple[str, Any]]:
    """(path, view class or function) of everything under /api and /profile, whatever includes it."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if not isinstance(pattern, URLPattern):
            yield from routes(pattern.url_patterns) if not str(pattern.pattern) else ()
        elif str(pattern.pattern).startswith(("api", "profile", "^(?:api|profile)")):
            yield str(pattern.pattern), getattr(pattern.callback, "cls", pattern.callback)


def as_documented(path: str) -> str:
    """`/api/claims/{claim_type}` of `api/claims/<str:claim_type>`."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


VIEWS = {view for _, view in routes() if view not in (nothing_here, *DOCUMENTATION)}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def test_there_is_something_to_test() -> None:
    assert {"api/transfers", "api/activity", "api/claims/<str:claim_type>", "api/tokens", "profile"} <= {
        path for path, _ in routes()
    }


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_every_view_is_ours_and_says_who_may_call_it(view: Any) -> None:
    assert issubclass(view, ApiView)
    handled = {method for method in METHODS if getattr(view, method.lower(), None)}
    assert handled == view.access.keys()
    assert all(view.access.values())


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)
def test_whoever_keeps_answers_says_so_in_the_schema(view: Any) -> None:
    uses_once = ".once(" in inspect.getsource(view)

    assert bool(view.idempotency_key) is uses_once


def test_every_path_answers_with_and_without_a_slash() -> None:
    paths = {path for path, view in routes() if view is not nothing_here}

    assert paths
    assert {path.rstrip("/") for path in paths} == {path for path in paths if not path.endswith("/")}
    assert {f"{path.rstrip('/')}/" for path in paths} == {path for path in paths if path.endswith("/")}


def test_what_is_no_address_comes_last() -> None:
    *_, (_, last) = routes()

    assert last is nothing_here


def test_every_operation_stands_in_the_schema(schema: dict[str, Any]) -> None:
    documented = {(path, method.upper()) for path, operations in schema["paths"].items() for method in operations}
    declared = {
        (as_documented(path), method)
        for path, view in routes()
        if view in VIEWS and not path.endswith("/")
        for method in view.access
    }

    assert documented == declared


def operations(schema: dict[str, Any]) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    by_path = {as_documented(path): view for path, view in routes() if view in VIEWS and not path.endswith("/")}
    for path, by_method in schema["paths"].items():
        for method, operation in by_method.items():
            yield by_path[path], method.upper(), operation


def test_every_operation_tells_its_callers_and_its_problems(schema: dict[str, Any]) -> None:
    names = []
    for view, method, operation in operations(schema):
        names.append(operation["operationId"])
        security = {name for each in operation.get("security", [{}]) for name in each or {"": ()}}
        callers = view.access[method]
        assert ("apiKey" in security) is any(isinstance(kind, Machines) for kind in callers)
        assert ("" in security) is any(isinstance(kind, Anyone) for kind in callers)
        assert all(kind.words in operation["description"] for kind in callers)
        assert PROBLEMS.keys() <= operation["responses"].keys()
        assert [*operation["responses"]["409"]["content"]] == [PROBLEM_JSON]
        keyed = {each["name"]: each.get("required", False) for each in operation.get("parameters", [])}
        if method == "POST" and view.idempotency_key:
            assert keyed["Idempotency-Key"] is (view.idempotency_key == "required")
        else:
            assert "Idempotency-Key" not in keyed
    assert len(names) == len({*names})


@pytest.mark.parametrize("path", ["/api/schema", "/api/schema/", "/api/docs", "/api/docs/"])
def test_schema_and_docs(db: None, path: str) -> None:
    answer = Client().get(path)

    assert answer.status_code == 200
    assert "Rewards" in answer.content.decode()


def test_the_docs_need_nobody_elses_server(db: None) -> None:
    page = Client().get("/api/docs/").content.decode()

    assert "//cdn" not in page
    assert "https://" not in page
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page


class Careless(ApiView):
    def get(self, request: Any) -> None:
        raise AssertionError("nobody may call this")


urlpatterns = endpoint("api/careless", Careless)


@override_settings(ROOT_URLCONF=__name__)
def test_a_view_that_says_nothing_is_for_nobody(as_user: Any, as_machine: Any, make_user: Any) -> None:
    root = make_user("root", is_staff=True, is_superuser=True)
    for client in (as_user(root), as_machine()):
        for path in ("/api/careless", "/api/careless/"):
            assert client.get(path).status_code == 403


def test_codes_are_words() -> None:
    assert all(code.replace("_", "").isalnum() and code.islower() for code in codes())
