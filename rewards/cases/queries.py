"""Reading cases: who sees which, and what he has to do with them. Nothing here knows a verdict that is hidden."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Q, QuerySet

from rewards.cases.errors import UnknownArgument, UnknownCase
from rewards.cases.models import Argument, ArgumentLike, Case, CaseVote
from rewards.users.models import User

Status = Case.Status

PUBLIC = Q(status__in=[Status.ACTIVE, Status.CLOSED]) | Q(status=Status.VOID, opens_at__isnull=False)
"""The cases that everybody sees. One that was made void before it ever opened, such as a submission that was rejected,
is not among them."""


def public_cases() -> QuerySet[Case]:
    """Those that are open, closed, or were open and are void."""
    return Case.objects.filter(PUBLIC)


def visible_cases(reader: Any) -> QuerySet[Case]:
    """The public ones, and what the reader (a user, or somebody else) has submitted himself."""
    if isinstance(reader, User):
        return Case.objects.filter(PUBLIC | Q(created_by=reader))
    return public_cases()


def visible_case(case_id: int, reader: Any) -> Case:
    """The case, with its commitment at hand. Raises `UnknownCase`, also for one that the reader does not see."""
    found = visible_cases(reader).select_related("commitment").filter(pk=case_id).first()
    if found is None:
        raise UnknownCase(f"There is no case {case_id}.")
    return found


def argument_in(case_id: int, argument_id: int, reader: Any) -> Argument:
    """An argument of a case, with the case. Raises `UnknownCase`, `UnknownArgument`."""
    case = visible_case(case_id, reader)
    found = case.arguments.filter(pk=argument_id).first()
    if found is None:
        raise UnknownArgument(f"There is no argument {argument_id} in case {case_id}.")
    found.case = case
    return found


def arguments_of(case: Case) -> QuerySet[Argument]:
    """With their users, in no order."""
    return case.arguments.select_related("user")


def votes_of(user: User, cases: Collection[Case]) -> dict[int, CaseVote]:
    """The user's votes in these cases, by the id of the case."""
    return {vote.case_id: vote for vote in CaseVote.objects.filter(user=user, case__in=[case.pk for case in cases])}


def likes_before_arguing(case: Case, user: User, most: int) -> tuple[int, int]:
    """How many arguments of the case the user likes, and how many he has to like before he argues: `most`, or all of
    others where there are fewer."""
    needed = case.arguments.exclude(user=user)[:most].count()
    return ArgumentLike.objects.filter(case=case, user=user).count(), needed


def liked_by(user: User, arguments: Collection[Argument]) -> set[int]:
    """The ids of those of these arguments that the user likes."""
    likes = ArgumentLike.objects.filter(user=user, argument__in=[argument.pk for argument in arguments])
    return {*likes.values_list("argument_id", flat=True)}
