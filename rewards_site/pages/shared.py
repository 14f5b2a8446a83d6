"""What all pages for recipients share: who may see them, the zone of their times, how a broken rule is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_cache_control, patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect

from rewards.common.errors import RewardsError
from rewards.users.models import User

View = Callable[..., HttpResponse]

# (title, name of the page, where all pages of it begin)
MENU = (
    ("My page", "pages:me", "/me/"),
    ("Leaderboards", "pages:leaderboards", "/leaderboard/"),
    ("Cases", "pages:cases", "/cases/"),
)


def open_page(view: View) -> View:
    """A page that everybody may see. Times are in the reader's zone; a broken rule is told on a page of its status.

    What it shows depends on who looks, so no cache between may keep it; and nothing that somebody signed in for is kept
    by his browser, where Back would show it to who sits there next.
    """

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with timezone.override(zone_of(request)):
            try:
                response = view(request, *args, **kwargs)
                if isinstance(response, TemplateResponse):
                    response.render()
            except RewardsError as error:
                if error.http_status >= 500 and not error.is_expected:
                    raise
                response = problem_page(request, error.message, error.http_status)
        patch_cache_control(response, private=True)
        if isinstance(request.user, User):
            patch_cache_control(response, no_store=True)
        patch_vary_headers(response, ["Cookie", "HX-Request"])
        return response

    return shown


def own_page(view: View) -> View:
    """A page for who is signed in; others are sent to sign in, and come back."""

    @wraps(view)
    @open_page
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not isinstance(request.user, User):
            return _to_sign_in(request)
        return view(request, *args, **kwargs)

    return shown


def zone_of(request: HttpRequest) -> ZoneInfo:
    """The zone that the reader chose, else the product's."""
    chosen = request.user.time_zone if isinstance(request.user, User) else ""
    return ZoneInfo(chosen) if chosen else settings.REWARDS_TIME_ZONE


def problem_page(request: HttpRequest, sentence: str, status: int) -> HttpResponse:
    """A page, or for htmx a notice, that says what cannot be done."""
    template = "pages/problem_notice.html" if is_htmx(request) else "pages/problem.html"
    heading = "Not found" if status == 404 else "That cannot be done"
    return render(request, template, {"sentence": sentence, "heading": heading}, status=status)


def is_htmx(request: HttpRequest) -> bool:
    """Whether a part of a page is asked for, not a page."""
    return bool(request.htmx) and not request.htmx.history_restore_request  # type: ignore[attr-defined]


def menu(request: HttpRequest) -> dict[str, Any]:
    """For every template: the entries of the header, and the name of the zone that times are in."""
    user = getattr(request, "user", None)  # a request that was refused early has none
    signed_in = user is not None and user.is_authenticated
    items = [
        {"title": title, "url": reverse(name), "current": _current(request.path, root)}
        for title, name, root in MENU
        if signed_in or name != "pages:me"
    ]
    if getattr(user, "is_staff", False):
        items.append({"title": "Back-office", "url": reverse("admin:index"), "current": ""})
    if not signed_in:
        login = reverse("pages:login")
        items.append({"title": "Sign in", "url": login, "current": _current(request.path, login)})
    return {"pages_menu": items, "zone_name": timezone.get_current_timezone_name()}


def _current(path: str, root: str) -> str:
    """The value of `aria-current`: this page, or one below it."""
    return "page" if path == root else "true" if path.startswith(root) else ""


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """htmx would put the page to sign in where a part was to be: it is told to leave instead, and to come back."""
    if not is_htmx(request):
        return redirect_to_login(request.get_full_path())
    here = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
    return HttpResponseClientRedirect(f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': here})}")
