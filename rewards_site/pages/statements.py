"""/me/statement/: the reader's own ledger lines in a currency, newest first."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from rest_framework.exceptions import ValidationError

from rewards.admin.common.display import grouped
from rewards.ledger.models import Account
from rewards.users.models import User
from rewards_site.pages.shared import own_page, problem_page
from rewards_site.profile.statement import statement_page

PAGE = 30


@require_safe
@own_page
def own_statement(request: HttpRequest) -> HttpResponse:
    """A page of lines; `cursor` leads to older ones. A currency that the reader never had is not found."""
    user: User = request.user  # type: ignore[assignment]
    accounts = Account.objects.filter(user=user, code="").select_related("currency").order_by("currency__code")
    balances = {account.currency.code: account.currency.to_units(account.balance) for account in accounts}
    code = request.GET.get("currency") or next(iter(balances), "")
    if code and code not in balances:
        raise Http404
    try:
        lines, older = statement_page(user, code, PAGE, request.GET.get("cursor")) if code else ([], None)
    except ValidationError:
        return problem_page(request, "This page of the statement does not exist. Begin with the newest lines.", 400)
    context = {
        "currencies": list(balances),
        "currency": code,
        "balance": grouped(balances.get(code, "0")),
        "lines": [shown_line(line) for line in lines],
        "older": older,
        "first_page": "cursor" not in request.GET,
    }
    return render(request, "pages/statement.html", context)


def shown_line(line: dict[str, Any]) -> dict[str, Any]:
    """A line as the table has it: what it is in words, its change with a sign."""
    change = line["change"]
    return line | {
        "what": line["reason"] or line["kind"].replace("_", " ").capitalize(),
        "is_plus": not change.startswith("-"),
        "change": f"−{grouped(change[1:])}" if change.startswith("-") else f"+{grouped(change)}",
        "balance": grouped(line["balance"]),
    }
