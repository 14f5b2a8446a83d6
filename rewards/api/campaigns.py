"""Campaigns under /api/campaigns: create one, send its list as CSV, run it."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Mapping
from decimal import Decimal
from io import BytesIO
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from django.core.validators import RegexValidator
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, UnsupportedMediaType, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.allocation.language import check_rule
from rewards.api.currencies import currency_named, minor_units
from rewards.api.distributions import DistributionSerializer, TiePolicyField, paid_along, shown
from rewards.api.parsers import UTF_8, charset_of
from rewards.api.permissions import staff
from rewards.api.problems import rule_stands_at
from rewards.api.serializers import (
    AmountField,
    FlagField,
    InstantField,
    LimitField,
    ObjectField,
    PageQuery,
    StrictSerializer,
    TextField,
)
from rewards.api.views import ApiView, own_or_404
from rewards.campaigns import services
from rewards.campaigns.lines import parse_scale
from rewards.campaigns.models import Campaign
from rewards.campaigns.services import Layout
from rewards.common.amounts import InvalidAmount
from rewards.common.csv_lines import numbered_lines, read_header
from rewards.ledger.models import ISSUANCE
from rewards.users.models import User

MOST_LIST_BYTES = 500_000_000
BYTES_AT_ONCE = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"
COLUMNS = ("user", "weight", "amount", "group")

WITH_PEOPLE = Campaign.objects.select_related("currency", "prepared_by")

SLUG = OpenApiParameter(
    "slug",
    {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$", "maxLength": 60},
    OpenApiParameter.PATH,
    examples=[OpenApiExample("A round of grants", value="grants-2026-11")],
)

# ------------------------------------------------------------------------------------------------------- what is asked


class NewCampaign(StrictSerializer):
    slug = TextField(
        max_length=60,
        validators=[RegexValidator(r"\A[-a-zA-Z0-9_]+\Z", "A slug is ASCII letters, digits, hyphens and underscores.")],
    )
    title = TextField(required=False, allow_blank=True, max_length=200)
    currency = TextField(max_length=40, help_text="Its code")
    source = TextField(required=False, max_length=80, default=ISSUANCE, help_text="The system account that pays")  # type: ignore[assignment]
    amount = AmountField(required=False, help_text="Needed by every rule but `fixed`, where it is a ceiling")
    participants = ObjectField(required=False, help_text="Where the list comes from; without it a list is uploaded")
    rule = ObjectField(help_text="As docs/campaigns.md has it")
    tie_policy = TiePolicyField(required=False)
    starts_at = InstantField(required=False, help_text="Not run before")
    schedule = serializers.ChoiceField(Campaign.Schedule.choices, required=False, allow_blank=True)
    approval_limit = LimitField(required=False, help_text="From this amount on a person approves")
    status = serializers.ChoiceField(
        ["draft", "active"], required=False, help_text="active: it runs when it is due, which takes the right to run"
    )


class ListQuery(StrictSerializer):
    create_users = FlagField(default=False, help_text="Create users who are not known, instead of refusing the file")
    user_column = TextField(required=False, max_length=200, help_text="Without it `user`")
    weight_column = TextField(required=False, max_length=200, help_text="Without it `weight`, if the file has it")
    amount_column = TextField(required=False, max_length=200, help_text="Without it `amount`, if the file has it")
    group_column = TextField(required=False, max_length=200, help_text="Without it `group`, if the file has it")
    amount_scale = TextField(
        required=False, max_length=80, help_text="What one of the file's amounts is in currency units, such as 1e-18"
    )

    def validate_amount_scale(self, text: str) -> Decimal:
        try:
            return parse_scale(text)
        except InvalidAmount as error:
            raise ValidationError(error.message) from error


class CsvFile(BaseParser):
    """The body of a request as a file: streamed into a temporary one, whatever its size."""

    media_type = "text/csv"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        """Raises `UnsupportedMediaType` for a charset other than UTF-8, `RequestDataTooBig`."""
        if media_type is not None and charset_of(media_type) not in UTF_8:
            raise UnsupportedMediaType(media_type, "A list is sent as UTF-8: leave the charset out.")
        refuse_beyond_limit(int(parser_context["request"].META.get("CONTENT_LENGTH") or 0))
        file, size = tempfile.TemporaryFile(), 0  # noqa: SIM115  whoever asks for the body closes it
        while block := stream.read(BYTES_AT_ONCE):
            size += len(block)
            refuse_beyond_limit(size)
            file.write(block)
        file.seek(0)
        return file


class Unpacked:
    """What a gzip file holds, as a stream of limited length: a small file can hold more than any disk."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.size = gzip.GzipFile(fileobj=file), 0

    def read(self, size: int) -> bytes:
        block = self.file.read(size)
        self.size += len(block)
        refuse_beyond_limit(self.size)
        return block


def refuse_beyond_limit(size: int) -> None:
    if size > MOST_LIST_BYTES:
        raise RequestDataTooBig(f"A list has at most {MOST_LIST_BYTES:,} bytes, unpacked.")


# ---------------------------------------------------------------------------------------------------- what is answered


class CampaignSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField()
    title = serializers.CharField()
    programme = serializers.CharField(help_text="What its distributions are found by")
    currency = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    amount = serializers.CharField(allow_null=True, help_text="Decimal text in currency units")
    participants = serializers.DictField()
    rule = serializers.DictField()
    tie_policy = serializers.CharField()
    status = serializers.ChoiceField(Campaign.Status.choices)
    starts_at = serializers.DateTimeField(allow_null=True)
    schedule = serializers.CharField(help_text="Empty: once")
    approval_limit = serializers.CharField(allow_null=True)
    rows = serializers.IntegerField(help_text="Lines of the uploaded list")
    rows_digest = serializers.CharField(help_text="The same for the same lines in any order")
    prepared_by = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class UploadSerializer(serializers.Serializer[Any]):
    slug = serializers.CharField()
    rows = serializers.IntegerField()
    users_created = serializers.IntegerField()
    currency = serializers.CharField()
    total = serializers.CharField(help_text="Of its amounts; decimal text in currency units")
    digest = serializers.CharField(help_text="The same for the same lines in any order")


GRANTS = {
    "slug": "grants-2026-11",
    "title": "Grants of November",
    "currency": "coins",
    "amount": "25000",
    "rule": {"rule": "proportional", "max_share": "0.05"},
    "approval_limit": "10000",
}
GRANTS_MADE = OpenApiExample(
    "A round of grants",
    response_only=True,
    value={
        **GRANTS,
        "programme": "campaign:grants-2026-11",
        "source": "issuance",
        "amount": "25000.00",
        "participants": {"source": "upload"},
        "tie_policy": "earliest",
        "status": "draft",
        "starts_at": None,
        "schedule": "",
        "approval_limit": "10000.00",
        "rows": 0,
        "rows_digest": "",
        "prepared_by": "anna",
        "created_at": "2026-11-21T07:30:00Z",
        "updated_at": "2026-11-21T07:30:00Z",
    },
)


# --------------------------------------------------------------------------------------------------------------- views


class Campaigns(ApiView):
    access = {"GET": [staff("rewards.view_campaign")], "POST": [staff("rewards.add_campaign")]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="campaigns",
        summary="Campaigns, newest first",
        parameters=[PageQuery],
        responses=CampaignSerializer(many=True),
        examples=[GRANTS_MADE],
    )
    def get(self, request: Request) -> Response:
        self.query(PageQuery)
        return self.page(WITH_PEOPLE.all(), shown_campaign)

    @extend_schema(
        operation_id="create_campaign",
        summary="A new campaign",
        description=(
            "It is a draft until it is run. 422 `campaign_invalid` says of each field what does not fit, "
            "`rule_invalid` where in the rule it is."
        ),
        request=NewCampaign,
        responses={201: CampaignSerializer},
        examples=[OpenApiExample("A round of grants", request_only=True, value=GRANTS), GRANTS_MADE],
    )
    def post(self, request: Request) -> Response:
        asked, actor = self.body(NewCampaign), request.user
        if asked.get("status") == "active" and not actor.has_perm("rewards.run_distribution"):
            raise PermissionDenied("A campaign that is active runs by itself: it takes the right to run distributions.")
        return self.once(request, lambda: create(asked, actor))  # type: ignore[arg-type]


class OneCampaign(ApiView):
    access = {"GET": [staff("rewards.view_campaign")]}

    @extend_schema(
        operation_id="campaign",
        summary="A campaign",
        parameters=[SLUG],
        responses=CampaignSerializer,
        examples=[GRANTS_MADE],
    )
    def get(self, request: Request, slug: str) -> Response:
        return Response(shown_campaign(own_or_404(WITH_PEOPLE, slug=slug)))


class CampaignParticipants(ApiView):
    access = {"POST": [staff("rewards.change_campaign")]}
    parser_classes = [CsvFile]

    @extend_schema(
        operation_id="upload_participants",
        summary="The list of a campaign, instead of the one before",
        description=(
            f"CSV in UTF-8, plain or gzip, of at most {MOST_LIST_BYTES:,} bytes, with a first line of column names, "
            "`user,weight` or `user,amount,group`. It is taken whole or not at all: one bad line refuses it, with "
            "422 `bad_lines`, in `errors` what is wrong with the first 1,000 and in `count` how many there are."
        ),
        parameters=[SLUG, ListQuery],
        request={"text/csv": {"type": "string"}},
        responses={200: UploadSerializer},
        examples=[
            OpenApiExample(
                "Two of them", request_only=True, media_type="text/csv", value="user,weight\nalice,2\nbob,1\n"
            )
        ],
    )
    def post(self, request: Request, slug: str) -> Response:
        asked, now = self.query(ListQuery), timezone.now()
        campaign = own_or_404(WITH_PEOPLE, slug=slug)
        with file_of(request) as file:
            layout = layout_of(file, asked)
            uploaded = services.upload(
                campaign.pk,
                unpacked(file),  # type: ignore[arg-type]
                layout,
                create_users=asked["create_users"],
                actor=request.user,  # type: ignore[arg-type]
                at=now,
            )
        return Response(
            {
                "slug": campaign.slug,
                "rows": uploaded.rows,
                "users_created": uploaded.users_created,
                "currency": campaign.currency.code,
                "total": campaign.currency.to_units(uploaded.total),
                "digest": uploaded.digest,
            }
        )


class RunCampaign(ApiView):
    access = {"POST": [staff("rewards.run_distribution")]}
    idempotency_key = "optional"

    @extend_schema(
        operation_id="run_campaign",
        summary="Run a campaign",
        description=(
            "The answer is the distribution. One that runs once is opened once, however often this is called; of a "
            "schedule the oldest run that is due. It is worked on for some seconds before the answer; a worker goes on "
            "with what is left then."
        ),
        parameters=[SLUG],
        request=None,
        responses={200: DistributionSerializer},
    )
    def post(self, request: Request, slug: str) -> Response:
        self.body(StrictSerializer)
        campaign, now = own_or_404(WITH_PEOPLE, slug=slug), timezone.now()
        opened: list[int] = []

        def run() -> Response:
            distribution = services.run(campaign.pk, request.user, now)  # type: ignore[arg-type]
            opened.append(distribution.pk)
            return Response(shown(distribution, True))

        return self.once(request, run, then=lambda: paid_along(opened[-1]))


# --------------------------------------------------------------------------------------------------------------- steps


def create(asked: Mapping[str, Any], actor: User) -> Response:
    currency = currency_named(asked["currency"])
    with rule_stands_at("rule"):
        check_rule(asked["rule"], currency.decimals)
    amounts = {name: minor_units(currency, asked[name], name) for name in ("amount", "approval_limit") if name in asked}
    now, wanted = timezone.now(), {**asked, **amounts, "currency": currency}
    status = wanted.pop("status", Campaign.Status.DRAFT)
    campaign = services.create_campaign(**wanted, actor=actor, at=now)
    if status != campaign.status:
        campaign = services.change_campaign(campaign.pk, actor, now, status=status)
    return Response(shown_campaign(campaign), status=201)


def file_of(request: Request) -> IO[bytes]:
    """The body. Without one there is nothing to parse, and an empty mapping stands in."""
    sent: Any = request.data
    return sent if hasattr(sent, "read") else BytesIO()


def unpacked(file: IO[bytes]) -> IO[bytes] | Unpacked:
    """The file from its start, a compressed one as what it holds."""
    file.seek(0)
    is_packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    return Unpacked(file) if is_packed else file


def layout_of(file: IO[bytes], asked: Mapping[str, Any]) -> Layout:
    """The columns that the query names, else those of the usual names that the file has. Raises `UnreadableFile`."""
    header = read_header(numbered_lines(unpacked(file)), "The file")  # type: ignore[arg-type]
    columns = {name: asked.get(f"{name}_column", name if name in header else None) for name in COLUMNS}
    return Layout(
        **{**columns, "user": asked.get("user_column", "user")}, amount_scale=asked.get("amount_scale", Decimal(1))
    )


def shown_campaign(campaign: Campaign) -> dict[str, Any]:
    def units(minor: int | None) -> str | None:
        return None if minor is None else campaign.currency.to_units(minor)

    return {
        "slug": campaign.slug,
        "title": campaign.title,
        "programme": campaign.programme,
        "currency": campaign.currency.code,
        "source": campaign.source,
        "amount": units(campaign.amount),
        "participants": campaign.participants,
        "rule": campaign.rule,
        "tie_policy": campaign.tie_policy,
        "status": campaign.status,
        "starts_at": campaign.starts_at,
        "schedule": campaign.schedule,
        "approval_limit": units(campaign.approval_limit),
        "rows": campaign.rows,
        "rows_digest": campaign.rows_digest,
        "prepared_by": campaign.prepared_by and campaign.prepared_by.username,
        "created_at": campaign.created_at,
        "updated_at": campaign.updated_at,
    }
