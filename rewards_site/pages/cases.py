"""Pages of cases: the list, one case with its votes and arguments, and submitting one.

What is hidden until a case is closed is not in its row before, so no page can have it. All that is written goes through
`rewards.cases.services`; what they refuse stands beside the form, with what was typed. Every form works without
JavaScript; with htmx the part of the page below the dilemma comes back alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from rewards.admin.case_page import distribution_of, share
from rewards.admin.common.display import exact, grouped
from rewards.allocation.presets import case_rule
from rewards.api.distributions import SHOWN_TO_ALL
from rewards.api.idempotency import again_after_deadlock
from rewards.cases import services
from rewards.cases.errors import UnknownCase
from rewards.cases.models import Argument, Case, CaseVote, Side
from rewards.cases.queries import (
    argument_in,
    arguments_of,
    liked_by,
    likes_before_arguing,
    public_cases,
    visible_case,
    votes_of,
)
from rewards.common.errors import RewardsError
from rewards.distributions.queries import reward_of
from rewards.users.models import User
from rewards_site.pages.shared import is_htmx, open_page, own_page

CASES_A_PAGE = 20
ARGUMENTS_A_PAGE = 20
OPEN_SHOWN = 50
OWN_SHOWN = 10
LARGEST_ID = 2**63 - 1

Status = Case.Status


class ArgumentForm(forms.Form):
    side = forms.ChoiceField(choices=Side.choices, error_messages={"required": "Say which side it is for."})
    text = forms.CharField(
        max_length=services.LONGEST_ARGUMENT, error_messages={"required": "Write your argument first."}
    )


class CaseForm(forms.Form):
    title = forms.CharField(max_length=services.LONGEST_TITLE, error_messages={"required": "Give it a title."})
    context = forms.CharField(
        max_length=services.LONGEST_CONTEXT,
        error_messages={"required": "Tell what has happened, and what the question is."},
    )


# ------------------------------------------------------------------------------------------------------------- the list


@require_safe
@open_page
def case_list(request: HttpRequest) -> HttpResponse:
    """The open ones, those that close first at the top; what is over by pages, newest first."""
    at, before = timezone.now(), before_of(request)
    is_first = before is None
    over, next_before = page_of_cases(before)
    running = list(open_cases()[:OPEN_SHOWN]) if is_first else []
    own = own_waiting(request.user) if is_first else []
    votes = votes_of(request.user, [*running, *over]) if isinstance(request.user, User) else {}
    context = {
        "is_first": is_first,
        "open": [listed(case, votes.get(case.pk), at) for case in running],
        "over": [listed(case, votes.get(case.pk), at) for case in over],
        "own": own,
        "next_before": next_before,
    }
    return render(request, "pages/cases.html", context)


def open_cases() -> QuerySet[Case]:
    return Case.objects.filter(status=Status.ACTIVE).order_by("closes_at", "pk")


def page_of_cases(before: int | None) -> tuple[list[Case], int | None]:
    """Cases that are over, with an id below `before`; and where the next page begins, if there is one."""
    rows = public_cases().exclude(status=Status.ACTIVE).order_by("-pk")
    return cut(rows if before is None else rows.filter(pk__lt=before), CASES_A_PAGE)


def own_waiting(reader: Any) -> list[Case]:
    """The reader's newest that others do not see (yet)."""
    if not isinstance(reader, User):
        return []
    return list(Case.objects.filter(created_by=reader, opens_at=None).order_by("-pk")[:OWN_SHOWN])


def listed(case: Case, vote: CaseVote | None, at: datetime) -> dict[str, Any]:
    return {"case": case, "vote": vote, "is_open": is_open(case, at), **tally(case)}


def cut(rows: QuerySet[Any], size: int) -> tuple[list[Any], int | None]:
    """One page of rows that stand newest first, and the id below which the next one begins."""
    found = list(rows[: size + 1])
    return found[:size], found[size - 1].pk if len(found) > size else None


def before_of(request: HttpRequest) -> int | None:
    """Where the page begins; what is no number begins at the top."""
    given = request.POST.get("before") or request.GET.get("before") or ""
    number = int(given) if given.isascii() and given.isdecimal() and len(given) < 20 else 0
    return number if 0 < number <= LARGEST_ID else None


# ------------------------------------------------------------------------------------------------------------ one case


@require_safe
@open_page
def case(request: HttpRequest, pk: int) -> HttpResponse:
    return whole_page(request, seen(pk, request.user))


def whole_page(request: HttpRequest, case: Case, status: int = 200, **said: Any) -> HttpResponse:
    """The page with all of it; `said` is what a form that was sent has to say."""
    context = live_context(request, case, timezone.now(), **said) | case_context(request, case)
    return render(request, "pages/case.html", context, status=status)


def seen(pk: int, reader: Any) -> Case:
    """Raises `UnknownCase`."""
    if pk > LARGEST_ID:
        raise UnknownCase(f"There is no case {pk}.")
    return visible_case(pk, reader)


def case_context(request: HttpRequest, case: Case) -> dict[str, Any]:
    """What does not change by what the reader does: commitment, verdict once it is revealed, payout."""
    is_revealed = case.status == Status.CLOSED and bool(case.verdict)
    return {
        "commitment": case.commitment,
        "is_revealed": is_revealed,
        "confidence": exact(case.confidence) if is_revealed and case.confidence is not None else "",
        "verdict_data": verdict_data(case) if is_revealed else None,
        "payout": payout_of(case, request.user) if is_revealed else None,
        "reason": case.reason if case.status == Status.VOID and is_author(case, request.user) else "",
    }


def verdict_data(case: Case) -> dict[str, str]:
    """What the browser hashes, and what it compares with."""
    commitment = case.commitment
    return {
        "verdict": case.verdict,
        "reasoning": case.reasoning,
        "nonce": case.nonce,
        "verdict_hash": case.verdict_hash,
        "tx_hash": (commitment.tx_hash or "") if commitment else "",
        "payload_hash": commitment.payload_hash if commitment else "",
    }


def payout_of(case: Case, reader: Any) -> dict[str, Any] | None:
    """Where its pool went, once it is paid; with what the reader got."""
    distribution = distribution_of(case)
    if distribution is None or distribution.status not in SHOWN_TO_ALL:
        return None
    own = reward_of(distribution, reader) if isinstance(reader, User) else None
    units = distribution.currency.to_units
    return {
        "distribution": distribution,
        "amount": grouped(units(distribution.paid_amount)),
        "currency": distribution.currency.code,
        "recipients": grouped(distribution.recipients),
        "own": grouped(units(own.amount)) if own else "",
    }


def is_open(case: Case, at: datetime) -> bool:
    return (
        case.status == Status.ACTIVE
        and case.opens_at is not None
        and case.closes_at is not None
        and case.opens_at <= at < case.closes_at
    )


def is_author(case: Case, reader: Any) -> bool:
    return isinstance(reader, User) and case.created_by_id == reader.pk


def tally(case: Case) -> dict[str, Any]:
    """The votes in numbers and shares; `yes_percent` is the length of a bar."""
    votes = case.yes_votes + case.no_votes
    return {
        "votes": grouped(votes),
        "yes": grouped(case.yes_votes),
        "no": grouped(case.no_votes),
        "yes_share": share(case.yes_votes, votes),
        "no_share": share(case.no_votes, votes),
        "yes_percent": round(100 * case.yes_votes / votes) if votes else None,
    }


# -------------------------------------------------------------------------------------------- what taking part changes


def live_context(request: HttpRequest, case: Case, at: datetime, **said: Any) -> dict[str, Any]:
    """Votes and arguments as the reader sees them, what he may do next, and what a form that was sent has to say."""
    before, reader = before_of(request), request.user
    arguments, next_before = cut(newest_arguments(case, before), ARGUMENTS_A_PAGE)
    best = best_arguments(case) if before is None else []
    taken = taking_part(case, reader, [*best, *arguments])
    return {
        "case": case,
        "is_open": is_open(case, at),
        "before": before,
        "next_before": next_before,
        **tally(case),
        **taken,
        "best": best,
        "arguments": arguments,
        "sides": Side.values,
        "argued_side": said["typed"]["side"].value() if said.get("typed") else taken["vote"] and taken["vote"].side,
        "percent": {part["name"]: part["weight"] for part in case_rule()["slices"]},
        **said,
    }


def newest_arguments(case: Case, before: int | None) -> QuerySet[Argument]:
    rows = arguments_of(case).order_by("-pk")
    return rows if before is None else rows.filter(pk__lt=before)


def best_arguments(case: Case) -> list[Argument]:
    """The three that have a place, once the case is closed."""
    if case.status != Status.CLOSED:
        return []
    return list(arguments_of(case).filter(top_place__isnull=False).order_by("top_place"))


def taking_part(case: Case, reader: Any, arguments: list[Argument]) -> dict[str, Any]:
    if not isinstance(reader, User):
        return {"vote": None, "own_argument": None, "liked": set()}
    own_argument = arguments_of(case).filter(user=reader).first()
    given, needed = likes_before_arguing(case, reader, services.MOST_LIKES)
    return {
        "vote": votes_of(reader, [case]).get(case.pk),
        "own_argument": own_argument,
        "liked": liked_by(reader, arguments),
        "likes_given": given,
        "likes_needed": needed,
        "likes_missing": max(0, needed - given),
        "most_likes": services.MOST_LIKES,
        "longest_argument": services.LONGEST_ARGUMENT,
        "knows_the_verdict": case.moderated_by_id == reader.pk,
    }


# --------------------------------------------------------------------------------------------------------------- acting


@require_POST
@open_page
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    """A vote is final: the first press of a button asks, the second one votes."""
    side = request.POST.get("side", "")
    if isinstance(request.user, User) and side in Side.values and "sure" not in request.POST:
        return answer(request, seen(pk, request.user), 200, ask_side=side)
    return act(
        request,
        pk,
        "vote",
        lambda user, at: services.vote(pk, user, side, at),
        f"You voted {side}. Your vote is counted.",
    )


@require_POST
@open_page
def argue(request: HttpRequest, pk: int) -> HttpResponse:
    typed = ArgumentForm({"side": request.POST.get("side"), "text": one_line_end(request.POST.get("text", ""))})
    if isinstance(request.user, User) and not typed.is_valid():
        return answer(request, seen(pk, request.user), 400, error=first_error(typed), error_at="argue", typed=typed)
    return act(
        request,
        pk,
        "argue",
        lambda user, at: services.argue(pk, user, **typed.cleaned_data, at=at),
        "Your argument stands below.",
        typed=typed,
    )


@require_POST
@open_page
def like(request: HttpRequest, pk: int, argument_id: int) -> HttpResponse:
    return about_argument(request, pk, argument_id, services.like, "You like this argument.")


@require_POST
@open_page
def unlike(request: HttpRequest, pk: int, argument_id: int) -> HttpResponse:
    return about_argument(request, pk, argument_id, services.unlike, "You took your like back.")


def about_argument(
    request: HttpRequest, pk: int, argument_id: int, do: Callable[[int, User, datetime], Any], done: str
) -> HttpResponse:
    return act(request, pk, argument_id, lambda user, at: do(argument_seen(pk, argument_id, user).pk, user, at), done)


def argument_seen(pk: int, argument_id: int, reader: User) -> Argument:
    """Raises `UnknownCase`, `UnknownArgument`."""
    return argument_in(seen(pk, reader).pk, min(argument_id, LARGEST_ID), reader)


def act(
    request: HttpRequest,
    pk: int,
    where: str | int,
    do: Callable[[User, datetime], Any],
    done: str,
    typed: forms.Form | None = None,
) -> HttpResponse:
    """Do it as the reader, and show what has become of the case; what is refused is said at the form `where`, which is
    `vote`, `argue` or the id of an argument.

    Who is not signed in is sent to sign in, and comes back to the page of the case.
    """
    case, at = seen(pk, request.user), timezone.now()
    if not isinstance(request.user, User):
        return to_sign_in(request, case)
    user = request.user
    try:
        again_after_deadlock(lambda: do(user, at))
    except RewardsError as error:
        if error.http_status >= 500:
            raise
        return answer(request, case, error.http_status, error=error.message, error_at=where, typed=typed)
    return answer(request, seen(pk, user), 200, done=done, done_at=where)


def answer(request: HttpRequest, case: Case, status: int, **said: Any) -> HttpResponse:
    """For htmx the part that has changed (with 200, or it would not be put in); else the page: after something was
    done by a redirect, so that loading it again does nothing twice."""
    if is_htmx(request):
        return render(request, "pages/case_live.html", live_context(request, case, timezone.now(), **said))
    if "done" in said:
        messages.success(request, said["done"])
        before, where = before_of(request), said["done_at"]
        anchor = f"like-{where}" if isinstance(where, int) else where
        return redirect(f"{address(case)}{f'?before={before}' if before else ''}#{anchor}")
    return whole_page(request, case, status, **said)


def to_sign_in(request: HttpRequest, case: Case) -> HttpResponse:
    to_login = redirect_to_login(address(case))
    return HttpResponseClientRedirect(to_login["Location"]) if is_htmx(request) else to_login


def address(case: Case) -> str:
    return reverse("pages:case", args=[case.pk])


def one_line_end(text: str) -> str:
    """Browsers send a line end as two characters, and count it as one."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def first_error(form: forms.Form) -> str:
    return next(str(error) for errors in form.errors.values() for error in errors)


# ----------------------------------------------------------------------------------------------------------- submitting


@require_http_methods(["GET", "HEAD", "POST"])
@own_page
def new_case(request: HttpRequest) -> HttpResponse:
    """Submit a case to moderation."""
    part = {each["name"]: each["weight"] for each in case_rule()["slices"]}["creator"]
    if request.method != "POST":
        return render(request, "pages/case_new.html", {"form": CaseForm(), "part": part})
    title, context = (one_line_end(request.POST.get(name, "")) for name in ("title", "context"))
    typed, status, refused = CaseForm({"title": title, "context": context}), 400, ""
    if typed.is_valid():
        try:
            made = services.submit_case(request.user, **typed.cleaned_data, at=timezone.now())  # type: ignore[arg-type]
        except RewardsError as error:
            status, refused = error.http_status, error.message
        else:
            messages.success(request, "Your case waits for a moderator. You see here what becomes of it.")
            return redirect(address(made))
    return render(request, "pages/case_new.html", {"form": typed, "part": part, "refused": refused}, status=status)
