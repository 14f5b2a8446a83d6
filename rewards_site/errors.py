"""Errors that no view answers: problem+json for the API, pages for people; and the page of each problem."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from rewards.api.problems import PROBLEM_JSON, codes, explanation, problem, title

API_ROOTS = ("/api/", "/profile/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem("invalid_request") if _is_api(request) else defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem("permission_denied") if _is_api(request) else defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem("not_found") if _is_api(request) else defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    return _problem("internal_error") if _is_api(request) else defaults.server_error(request)


@csrf_exempt
def nothing_here(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """Any address of the API that is none. A route of its own, for DEBUG would show its own page instead."""
    return _problem("not_found")


def _is_api(request: HttpRequest) -> bool:
    return f"{request.path}/".startswith(API_ROOTS)


def _problem(code: str) -> HttpResponse:
    status = explanation(code).status
    return JsonResponse(problem(code, status), status=status, content_type=PROBLEM_JSON)


# --------------------------------------------------------------------------------------------------- pages of problems


@require_safe
def problem_list(request: HttpRequest) -> HttpResponse:
    """Every code, with its status and sentence."""
    rows = [{"code": code, "status": kind.status, "sentence": kind.sentence} for code, kind in codes().items()]
    return render(request, "problems.html", {"problems": rows})


@require_safe
def problem_page(request: HttpRequest, code: str) -> HttpResponse:
    """Where the `type` of a problem leads."""
    kind = codes().get(code)
    if kind is None:
        raise Http404
    about = {"code": code, "title": title(code), "status": kind.status, "sentence": kind.sentence}
    return render(request, "problem.html", about)
