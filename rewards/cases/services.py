"""Taking part in cases: voting, arguing, liking; and submitting a case of one's own.

The order inside is always the same: the unique row, then the counters of the user, then the row of the case. That row
is the arbiter of whether the case is open: whoever votes moves its count by an update that asks, all others lock it and
ask. So what was written before the case was closed counts, and what comes after it has never been. It is touched last,
because everybody who takes part waits for it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet

from rewards.activity.services import NewEvent, record_events
from rewards.audit.models import AuditEvent
from rewards.audit.services import record
from rewards.cases.errors import (
    AlreadyArgued,
    AlreadyLiked,
    AlreadyVoted,
    CaseNotOpen,
    InvalidArgument,
    InvalidCase,
    InvalidSide,
    KnowsTheVerdict,
    LikeFirst,
    LikesUsedUp,
    NotCounted,
    NotLiked,
    OwnArgument,
    TooManyWaiting,
    UnknownArgument,
    VoteFirst,
)
from rewards.cases.models import Argument, ArgumentLike, Case, CaseVote, Side
from rewards.cases.queries import likes_before_arguing, visible_case
from rewards.common.database import insert_if_absent, require_transaction
from rewards.parameters.services import param
from rewards.users.models import User

LONGEST_TITLE = 200
LONGEST_CONTEXT = 10_000
LONGEST_ARGUMENT = 2_000
MOST_LIKES = 3
MOST_WAITING = 5
VERDICT_SEEN = "sealed_verdict_seen"

VOTES, ARGUMENTS, PARTICIPATIONS = "votes", "arguments", "participations"


# --------------------------------------------------------------------------------------------------------------- voting


def vote(case_id: int, user: User, side: str, at: datetime) -> CaseVote:
    """The user's vote in a case, which counts once and cannot be changed.

    Raises `UnknownCase`, `InvalidSide`, `KnowsTheVerdict`, `AlreadyVoted` with the first vote (also of a case that is
    closed by now), `CaseNotOpen`, `NotCounted`; nothing is written then.
    """
    _require_side(side)
    case = visible_case(case_id, user)
    _require_innocent(case, user)
    made = CaseVote(case=case, user=user, side=side, voted_at=at)
    with transaction.atomic():
        if not insert_if_absent(made, ["case", "user"]):
            raise AlreadyVoted(**_about_vote(CaseVote.objects.get(case=case, user=user)))
        _count(case, user, {VOTES: "vote", PARTICIPATIONS: "participation"}, side, at)
        _move_votes(case, side, at)
    return made


def _move_votes(case: Case, side: str, at: datetime) -> None:
    """Raises `CaseNotOpen`. Two who vote at once wait for each other here, and so does who closes the case."""
    column = "yes_votes" if side == Side.YES else "no_votes"
    if not _open_at(case.pk, at).update(**{column: F(column) + 1}):
        raise CaseNotOpen


def _about_vote(first: CaseVote) -> dict[str, Any]:
    return {
        "message": f"You voted {first.side} in this case at {first.voted_at.isoformat(timespec='seconds')}.",
        "vote": {"side": first.side, "voted_at": first.voted_at.isoformat()},
    }


def _require_side(side: str) -> None:
    if side not in Side.values:
        raise InvalidSide


def _require_innocent(case: Case, user: User) -> None:
    """Raises `KnowsTheVerdict` for who has sealed the verdict, or has looked at it."""
    if case.moderated_by_id == user.pk:
        raise KnowsTheVerdict
    if user.is_staff and user.has_perm("rewards.view_sealedverdict"):
        seen = AuditEvent.objects.filter(event_type=VERDICT_SEEN, actor=user, data__case=case.pk)
        if seen.exists():
            raise KnowsTheVerdict


# -------------------------------------------------------------------------------------------------- arguments and likes


def argue(case_id: int, user: User, side: str, text: str, at: datetime) -> Argument:
    """The user's one argument in a case. He has voted before, and likes three of others, or all where there are fewer.

    Raises `UnknownCase`, `InvalidSide`, `InvalidArgument`, `AlreadyArgued` with the first argument, `VoteFirst`,
    `CaseNotOpen`, `LikeFirst`, `NotCounted`; nothing is written then.
    """
    _require_side(side)
    if not (text.strip() and len(text) <= LONGEST_ARGUMENT):
        raise InvalidArgument
    case = visible_case(case_id, user)
    made = Argument(case=case, user=user, side=side, text=text, created_at=at)
    with transaction.atomic():
        if not insert_if_absent(made, ["case", "user"]):
            first = Argument.objects.get(case=case, user=user)
            raise AlreadyArgued(argument={"id": first.pk, "side": first.side, "text": first.text})
        if not CaseVote.objects.filter(case=case, user=user).exists():
            raise VoteFirst
        # His participation was counted when he voted.
        _count(case, user, {ARGUMENTS: "argument"}, side, at)
        _lock_open(case, at)
        _require_likes(case, user)
    return made


def _require_likes(case: Case, user: User) -> None:
    """Raises `LikeFirst`. Under the lock of the case, so that neither likes nor arguments come or go meanwhile."""
    given, needed = likes_before_arguing(case, user, MOST_LIKES)
    if given < needed:
        raise LikeFirst(
            f"Like {needed} of the arguments of others first; so far you like {given}.", likes=given, needed=needed
        )


def like(argument_id: int, user: User, at: datetime) -> Argument:
    """Let the user like an argument of somebody else; three of a case at most. Returns it with its likes.

    Raises `UnknownArgument`, `KnowsTheVerdict`, `OwnArgument`, `AlreadyLiked`, `CaseNotOpen`, `LikesUsedUp`; nothing is
    written then.
    """
    argument = _argument(argument_id, user)
    _require_innocent(argument.case, user)
    if argument.user_id == user.pk:
        raise OwnArgument
    made = ArgumentLike(argument=argument, case=argument.case, user=user, liked_at=at)
    with transaction.atomic():
        if not insert_if_absent(made, ["argument", "user"]):
            raise AlreadyLiked
        _lock_open(argument.case, at)
        if ArgumentLike.objects.filter(case=argument.case, user=user).count() > MOST_LIKES:
            raise LikesUsedUp
        _move_likes(argument, 1)
    return argument


def unlike(argument_id: int, user: User, at: datetime) -> Argument:
    """Take a like back, as long as the case is open. Returns the argument with its likes.

    Raises `UnknownArgument`, `NotLiked`, `CaseNotOpen`; nothing is written then.
    """
    argument = _argument(argument_id, user)
    with transaction.atomic():
        taken_back, _ = ArgumentLike.objects.filter(argument=argument, user=user).delete()
        if not taken_back:
            raise NotLiked
        _lock_open(argument.case, at)
        _move_likes(argument, -1)
    return argument


def _argument(argument_id: int, user: User) -> Argument:
    found = Argument.objects.filter(pk=argument_id).first()
    if found is None:
        raise UnknownArgument(f"There is no argument {argument_id}.")
    found.case = visible_case(found.case_id, user)
    return found


def _move_likes(argument: Argument, change: int) -> None:
    """Under the lock of the case, so that the number read is that of this change."""
    Argument.objects.filter(pk=argument.pk).update(likes=F("likes") + change)
    argument.refresh_from_db(fields=["likes"])


# ----------------------------------------------------------------------------------------------------------- submitting


def submit_case(user: User, title: str, context: str, at: datetime) -> Case:
    """A case that waits for moderation; five of a user at most.

    Raises `InvalidCase`, `TooManyWaiting`; nothing is written then.
    """
    if not (title.strip() and len(title) <= LONGEST_TITLE and context.strip() and len(context) <= LONGEST_CONTEXT):
        raise InvalidCase
    with transaction.atomic():
        # Who submits two at once submits one after the other, or he would get past the limit.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        waiting = Case.objects.filter(created_by=user, status=Case.Status.PENDING_MODERATION).count()
        if waiting >= MOST_WAITING:
            raise TooManyWaiting(waiting=waiting)
        made = Case.objects.create(
            title=title,
            context=context,
            status=Case.Status.PENDING_MODERATION,
            payout=param("cases.payout"),
            created_by=user,
            created_at=at,
        )
        record("case_submitted", user=user, actor=user, data={"case": made.pk, "title": title})
    return made


# ------------------------------------------------------------------------------------------------------------- together


def _open_at(case_id: int, at: datetime) -> QuerySet[Case]:
    """The case, if it is open at that instant; else none."""
    return Case.objects.filter(pk=case_id, status=Case.Status.ACTIVE, opens_at__lte=at, closes_at__gt=at)


def _lock_open(case: Case, at: datetime) -> None:
    """Lock the row of a case that is open. Raises `CaseNotOpen`.

    Whoever closes it waits until the transaction ends; if he came first, it is not open any more.
    """
    require_transaction()
    if not list(_open_at(case.pk, at).select_for_update(no_key=True).values_list("pk")):
        raise CaseNotOpen


def _count(case: Case, user: User, deeds: dict[str, str], side: str, at: datetime) -> None:
    """One more of each metric for the user, under an event id that stands for the deed. Raises `NotCounted`."""
    events = [
        NewEvent(f"case:{case.pk}:{deed}:{user.pk}", user.username, metric, 1, at, {"case": case.pk, "side": side})
        for metric, deed in deeds.items()
    ]
    outcome = record_events(events, at=at)
    if outcome.rejected:
        _, reason = outcome.rejected[0]
        raise NotCounted(f"Your counters cannot take this: {reason}. Tell an operator; nothing was written.")
