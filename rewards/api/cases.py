"""Cases under /api/cases: read by all; submitted, voted in and argued about by users.

What is hidden until a case is closed is not in its row before, so no answer can have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.api.idempotency import in_transaction
from rewards.api.permissions import ANYONE, USER
from rewards.api.serializers import PageQuery, StrictSerializer, TextField
from rewards.api.views import ApiView
from rewards.cases import services
from rewards.cases.models import Argument, Case, CaseVote, Side
from rewards.cases.queries import (
    argument_in,
    arguments_of,
    liked_by,
    public_cases,
    visible_case,
    votes_of,
)
from rewards.common.amounts import canonical_decimal
from rewards.users.models import User

PUBLIC_STATUSES = [Case.Status.ACTIVE, Case.Status.CLOSED, Case.Status.VOID]
BODY_LIMIT_BYTES = 200_000
"""Of a submission: each of the 10,000 characters of a context may come as 12 bytes, where JSON is kept to ASCII."""

ID = OpenApiParameter(
    "id",
    {"type": "integer", "minimum": 1},
    OpenApiParameter.PATH,
    examples=[OpenApiExample("A case", value=12)],
)
ARGUMENT_ID = OpenApiParameter(
    "argument_id",
    {"type": "integer", "minimum": 1},
    OpenApiParameter.PATH,
    examples=[OpenApiExample("One of its arguments", value=815)],
)

# ------------------------------------------------------------------------------------------------------- what is asked


@extend_schema_field({"type": "string", "pattern": r"\S", "minLength": 1})
class WordsField(TextField):
    """More than white space."""

    default_error_messages = {"blank_words": "Write something: white space alone is not enough."}

    def to_internal_value(self, data: Any) -> str:
        words = super().to_internal_value(data)
        if not words.strip():
            self.fail("blank_words")
        return words


class CasesQuery(PageQuery):
    status = serializers.ChoiceField(PUBLIC_STATUSES, required=False, help_text="Only those; without it all")


class CaseRequest(StrictSerializer):
    title = WordsField(max_length=services.LONGEST_TITLE)
    context = WordsField(max_length=services.LONGEST_CONTEXT, help_text="What has happened, and the question")  # type: ignore[assignment]


class VoteRequest(StrictSerializer):
    side = serializers.ChoiceField(Side.choices)


class ArgumentRequest(StrictSerializer):
    side = serializers.ChoiceField(Side.choices)
    text = WordsField(max_length=services.LONGEST_ARGUMENT)


# ---------------------------------------------------------------------------------------------------- what is answered


class CommitmentSerializer(serializers.Serializer[Any]):
    tx_hash = serializers.CharField(allow_null=True, help_text="Null until it is signed")
    confirmations = serializers.IntegerField()


class OwnVoteSerializer(serializers.Serializer[Any]):
    side = serializers.ChoiceField(Side.choices)
    voted_at = serializers.DateTimeField()


class CaseSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    title = serializers.CharField()
    context = serializers.CharField()  # type: ignore[assignment]
    status = serializers.ChoiceField(Case.Status.choices)
    opens_at = serializers.DateTimeField(allow_null=True)
    closes_at = serializers.DateTimeField(allow_null=True)
    yes_votes = serializers.IntegerField()
    no_votes = serializers.IntegerField()
    verdict_hash = serializers.CharField(help_text="SHA-256 of verdict|reasoning|nonce in hex; empty before it is made")
    commitment = CommitmentSerializer(allow_null=True, help_text="The transaction that carries the hash")
    verdict = serializers.ChoiceField(Side.choices, required=False, help_text="Once it is closed")
    reasoning = serializers.CharField(required=False, help_text="Once it is closed")
    confidence = serializers.CharField(
        required=False, allow_null=True, help_text="Once it is closed: 0 to 1, decimal text"
    )
    nonce = serializers.CharField(required=False, help_text="Once it is closed: 64 hex digits")
    reason = serializers.CharField(required=False, help_text="For its author: why it was rejected or made void")
    own_vote = OwnVoteSerializer(
        required=False, allow_null=True, help_text="For users: the reader's own; null: he has not voted"
    )


class VoteSerializer(OwnVoteSerializer):
    case = serializers.IntegerField()


class ArgumentSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    user = serializers.CharField()
    side = serializers.ChoiceField(Side.choices)
    text = serializers.CharField()
    likes = serializers.IntegerField()
    top_place = serializers.IntegerField(allow_null=True, help_text="1 to 3, once the case is closed")
    created_at = serializers.DateTimeField()
    liked = serializers.BooleanField(required=False, help_text="For users: whether the reader likes it")


class LikeSerializer(serializers.Serializer[Any]):
    argument = serializers.IntegerField()
    likes = serializers.IntegerField(help_text="How many it has now")


OPEN = {
    "id": 12,
    "title": "The promise to a friend who has died",
    "context": "Ada promised her friend to burn his letters. …",
    "status": "active",
    "opens_at": "2026-11-21T06:00:00Z",
    "closes_at": "2026-11-22T06:00:00Z",
    "yes_votes": 41,
    "no_votes": 17,
    "verdict_hash": "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
    "commitment": {
        "tx_hash": "0x6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
        "confirmations": 14,
    },
}
AN_OPEN_CASE = OpenApiExample("Open for votes, as nobody in particular sees it", response_only=True, value=OPEN)

# --------------------------------------------------------------------------------------------------------------- calls


class Cases(ApiView):
    access = {"GET": [ANYONE], "POST": [USER]}
    idempotency_key = "optional"
    body_limit_bytes = BODY_LIMIT_BYTES

    @extend_schema(
        operation_id="cases",
        summary="Cases, newest first",
        parameters=[CasesQuery],
        responses=CaseSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Those that are open, closed, or were open and are void. One that waits to be opened is not among them."""
        asked, rows = self.query(CasesQuery), public_cases().select_related("commitment")
        if "status" in asked:
            rows = rows.filter(status=asked["status"])
        return self.whole_page(rows, lambda found: shown(found, request.user))

    @extend_schema(
        operation_id="submit_case",
        summary="Submit a case to moderation",
        request=CaseRequest,
        responses={201: CaseSerializer},
        examples=[
            OpenApiExample(
                "A dilemma",
                request_only=True,
                value={"title": OPEN["title"], "context": OPEN["context"]},
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """Nobody but who submitted it sees it before it opens. Five of a user may wait at once."""
        asked, at = self.body(CaseRequest), timezone.now()

        def work() -> Response:
            made = services.submit_case(request.user, at=at, **asked)  # type: ignore[arg-type]
            return Response(shown([made], request.user)[0], status=201)

        return self.once(request, work)


class OneCase(ApiView):
    access = {"GET": [ANYONE]}

    @extend_schema(
        operation_id="case", summary="A case", parameters=[ID], responses=CaseSerializer, examples=[AN_OPEN_CASE]
    )
    def get(self, request: Request, id: int) -> Response:
        """Verdict, reasoning, confidence and nonce come with its closing: then `verdict_hash` can be worked out again.
        What is not open yet is there for who submitted it alone."""
        return Response(shown([visible_case(id, request.user)], request.user)[0])


class CaseVotes(ApiView):
    access = {"POST": [USER]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="vote",
        summary="Vote in a case",
        parameters=[ID],
        request=VoteRequest,
        responses={201: VoteSerializer},
    )
    def post(self, request: Request, id: int) -> Response:
        """Once, for good, as long as the case is open. Again is 409 `already_voted`, and in `vote` the first one."""
        asked, at = self.body(VoteRequest), timezone.now()

        def work() -> Response:
            made = services.vote(id, request.user, asked["side"], at)  # type: ignore[arg-type]
            return Response({"case": made.case_id, **vote_shown(made)}, status=201)

        return self.once(request, work)


class CaseArguments(ApiView):
    access = {"GET": [ANYONE], "POST": [USER]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="arguments",
        summary="The arguments in a case, newest first",
        parameters=[ID, PageQuery],
        responses=ArgumentSerializer(many=True),
    )
    def get(self, request: Request, id: int) -> Response:
        """`top_place` says which were the best: most likes first, of equals the earlier."""
        self.query(PageQuery)
        rows = arguments_of(visible_case(id, request.user))
        return self.whole_page(rows, lambda found: arguments_shown(found, request.user))

    @extend_schema(
        operation_id="argue",
        summary="Argue in a case",
        parameters=[ID],
        request=ArgumentRequest,
        responses={201: ArgumentSerializer},
    )
    def post(self, request: Request, id: int) -> Response:
        """Once, after voting (409 `vote_first`) and liking three arguments of others, or all where there are fewer (409
        `like_first`). Again is 409 `already_argued`."""
        asked, at = self.body(ArgumentRequest), timezone.now()

        def work() -> Response:
            made = services.argue(id, request.user, at=at, **asked)  # type: ignore[arg-type]
            return Response(arguments_shown([made], request.user)[0], status=201)

        return self.once(request, work)


class ArgumentLikes(ApiView):
    access = {"POST": [USER], "DELETE": [USER]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="like_argument",
        summary="Like an argument",
        parameters=[ID, ARGUMENT_ID],
        request=None,
        responses={201: LikeSerializer},
    )
    def post(self, request: Request, id: int, argument_id: int) -> Response:
        """Three of a case, none of one's own. Again is 409 `already_liked`."""
        self.body(StrictSerializer)
        at = timezone.now()

        def work() -> Response:
            liked = services.like(argument_in(id, argument_id, request.user).pk, request.user, at)  # type: ignore[arg-type]
            return Response({"argument": liked.pk, "likes": liked.likes}, status=201)

        return self.once(request, work)

    @extend_schema(
        operation_id="unlike_argument", summary="Take a like back", parameters=[ID, ARGUMENT_ID], responses={204: None}
    )
    def delete(self, request: Request, id: int, argument_id: int) -> Response:
        """As long as the case is open. Where there is none it is 409 `not_liked`."""
        at = timezone.now()

        def work() -> Response:
            services.unlike(argument_in(id, argument_id, request.user).pk, request.user, at)  # type: ignore[arg-type]
            return Response(status=204)

        return in_transaction(work)


# -------------------------------------------------------------------------------------------------------------- answers


def shown(cases: Sequence[Case], reader: Any) -> list[dict[str, Any]]:
    """The cases as the reader sees them: a user with his own votes."""
    if not isinstance(reader, User):
        return [case_shown(case) for case in cases]
    votes = votes_of(reader, cases)
    own = [votes.get(case.pk) for case in cases]
    return [
        {**case_shown(case), **_told_its_author(case, reader), "own_vote": vote_shown(vote) if vote else None}
        for case, vote in zip(cases, own, strict=True)
    ]


def _told_its_author(case: Case, reader: User) -> dict[str, Any]:
    is_over = case.status == Case.Status.VOID and case.created_by_id == reader.pk
    return {"reason": case.reason} if is_over else {}


def case_shown(case: Case) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": case.pk,
        "title": case.title,
        "context": case.context,
        "status": case.status,
        "opens_at": case.opens_at,
        "closes_at": case.closes_at,
        "yes_votes": case.yes_votes,
        "no_votes": case.no_votes,
        "verdict_hash": case.verdict_hash,
        "commitment": case.commitment
        and {"tx_hash": case.commitment.tx_hash, "confirmations": case.commitment.confirmations},
    }
    if case.status == Case.Status.CLOSED:
        told |= {
            "verdict": case.verdict,
            "reasoning": case.reasoning,
            "confidence": None if case.confidence is None else canonical_decimal(case.confidence),
            "nonce": case.nonce,
        }
    return told


def vote_shown(vote: CaseVote) -> dict[str, Any]:
    return {"side": vote.side, "voted_at": vote.voted_at}


def arguments_shown(arguments: Sequence[Argument], reader: Any) -> list[dict[str, Any]]:
    """The arguments as the reader sees them: a user with what he likes."""
    told = [argument_shown(argument) for argument in arguments]
    if isinstance(reader, User):
        liked = liked_by(reader, arguments)
        told = [{**each, "liked": each["id"] in liked} for each in told]
    return told


def argument_shown(argument: Argument) -> dict[str, Any]:
    return {
        "id": argument.pk,
        "user": argument.user.username,
        "side": argument.side,
        "text": argument.text,
        "likes": argument.likes,
        "top_place": argument.top_place,
        "created_at": argument.created_at,
    }
