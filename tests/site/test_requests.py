"""A header that nobody can read is the caller's mistake."""

from __future__ import annotations

import json
from io import BytesIO
from wsgiref.util import setup_testing_defaults

import pytest

from rewards_site.asgi import application as asgi
from rewards_site.wsgi import application as wsgi

UNREADABLE = ["application/json; x*=nonsense''%41", "multipart/form-data; boundary*=nonsense''x", "a/b; charset=\x00"]


def environ(content_type: str) -> dict:
    asked = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/tokens", "CONTENT_TYPE": content_type}
    body = b'{"username": "alice", "password": "secret"}'
    found = asked | {"CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body), "HTTP_HOST": "localhost"}
    setup_testing_defaults(found)
    return found


@pytest.mark.parametrize("content_type", UNREADABLE)
def test_it_is_a_media_type_that_is_not_taken(content_type: str) -> None:
    answer = wsgi.get_response(wsgi.request_class(environ(content_type)))
    assert answer.status_code == 415
    assert json.loads(answer.content)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("content_type", UNREADABLE)
def test_it_counts_as_empty_in_the_other_interface_too(content_type: str) -> None:
    headers = [(b"content-type", content_type.encode())]
    request = asgi.request_class({"path": "/", "method": "POST", "headers": headers, "query_string": b""}, BytesIO())
    assert (request.content_type, request.META["CONTENT_TYPE"]) == ("", "")


def test_what_can_be_read_stays() -> None:
    request = wsgi.request_class(environ("application/json; charset=utf-8"))
    assert (request.content_type, request.content_params) == ("application/json", {"charset": "utf-8"})
