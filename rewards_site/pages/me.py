"""/me/: what a user has, why, and what is next."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from rewards_site.pages.shared import own_page


@require_safe
@own_page
def me(request: HttpRequest) -> HttpResponse:
    return render(request, "pages/me.html")
