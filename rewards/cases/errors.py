"""The broken rules of cases, one class each."""

from rewards.common.errors import RewardsError

# -------------------------------------------------------------------------------------------------------- what is there


class UnknownCase(RewardsError):
    """There is no such case."""

    code = "unknown_case"
    http_status = 404


class UnknownArgument(RewardsError):
    """There is no such argument in this case."""

    code = "unknown_argument"
    http_status = 404


class CaseNotOpen(RewardsError):
    """This case is not open. Votes, arguments and likes count only between its opening and its closing."""

    code = "case_not_open"
    http_status = 409


# --------------------------------------------------------------------------------------------------------------- voting


class InvalidSide(RewardsError):
    """A side is YES or NO."""

    code = "invalid_side"
    http_status = 400


class AlreadyVoted(RewardsError):
    """You have voted in this case; the answer carries your vote. It cannot be changed."""

    code = "already_voted"
    http_status = 409


class KnowsTheVerdict(RewardsError):
    """Whoever moderated a case knows its verdict, and takes no part in it."""

    code = "knows_the_verdict"
    http_status = 403


class NotCounted(RewardsError):
    """Your counters cannot take this. Tell an operator; nothing was written."""

    code = "not_counted"


# -------------------------------------------------------------------------------------------------- arguments and likes


class InvalidArgument(RewardsError):
    """An argument is 1 to 2,000 characters, and more than white space."""

    code = "invalid_argument"
    http_status = 400


class VoteFirst(RewardsError):
    """Vote in this case first: whoever argues has taken a side."""

    code = "vote_first"
    http_status = 409


class LikeFirst(RewardsError):
    """Like three arguments of others first, or all of them where there are fewer."""

    code = "like_first"
    http_status = 409


class AlreadyArgued(RewardsError):
    """You have argued in this case; the answer carries your argument. There is one for each user."""

    code = "already_argued"
    http_status = 409


class OwnArgument(RewardsError):
    """This argument is your own: like those of others."""

    code = "own_argument"
    http_status = 403


class AlreadyLiked(RewardsError):
    """You like this argument already. Nothing is left to do."""

    code = "already_liked"
    http_status = 409


class NotLiked(RewardsError):
    """You do not like this argument, so there is nothing to take back."""

    code = "not_liked"
    http_status = 409


class LikesUsedUp(RewardsError):
    """You like three arguments of this case already. Take one like back to give another."""

    code = "likes_used_up"
    http_status = 409


# ----------------------------------------------------------------------------------------------------------- submitting


class InvalidCase(RewardsError):
    """A case has a title of 1 to 200 characters and a context of 1 to 10,000, both more than white space."""

    code = "invalid_case"
    http_status = 400


class TooManyWaiting(RewardsError):
    """Five of your cases wait for moderation already. Submit another one when one of them has been decided."""

    code = "too_many_waiting"
    http_status = 409


# ----------------------------------------------------------------------------------------------------------- moderation


class OwnCase(RewardsError):
    """You submitted this case yourself: ask another moderator."""

    code = "own_case"
    http_status = 403


class NotWaiting(RewardsError):
    """This case does not wait for moderation (any more). Nothing was changed."""

    code = "not_waiting"
    http_status = 409


class CannotVoid(RewardsError):
    """Only a draft or an open case is made void: what waits is rejected, and what is closed stays."""

    code = "cannot_void"
    http_status = 409


# -------------------------------------------------------------------------------------------------------------- closing


class CaseNotClosed(RewardsError):
    """This case is not closed: nobody knows yet who is paid what."""

    code = "case_not_closed"
    http_status = 409


class VerdictMismatch(RewardsError):
    """The sealed verdict is not the one that was committed. The case stays open; find out what changed."""

    code = "verdict_mismatch"
    http_status = 409


class NotRevealed(RewardsError):
    """The database did not take the verdict. The case stays open; what it said is kept out of the log with it."""

    code = "not_revealed"
    http_status = 500


class CaseNotPaid(RewardsError):
    """The pool of this case could not be shared out. It is tried again."""

    code = "case_not_paid"
    http_status = 409


class ResultsNotCounted(RewardsError):
    """Some counters could not take the result of this case. It is tried again."""

    code = "results_not_counted"
    http_status = 409
