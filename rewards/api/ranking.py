"""The month's ranking rewards under /api/ranking/monthly-rewards: start a month, look at its job; a user's own."""

from __future__ import annotations

from typing import Any

from django.db.models import F
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from rewards.access.models import Right
from rewards.api.permissions import STAFF, USER, machine
from rewards.api.serializers import PageQuery, StrictSerializer, WholeNumberField
from rewards.api.views import ApiView
from rewards.distributions.models import Reward
from rewards.distributions.own import own_rewards
from rewards.jobs.services import poke_aside
from rewards.monthly.models import PROGRAMME, MonthlyRewardJob, no_results
from rewards.monthly.queries import newest_job, previous_month, slug_of, tier_of
from rewards.monthly.services import start_job

JOB = "monthly_rewards"
JOBS_SHOWN = 12

Status = MonthlyRewardJob.Status

# ------------------------------------------------------------------------------------------------------- what is asked


class MonthRequest(StrictSerializer):
    """A month with its year; without both the month before this one."""

    month = WholeNumberField(required=False, help_text="1 to 12")
    year = WholeNumberField(required=False, help_text="Of four digits")

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        missing = {"month", "year"} - asked.keys()
        if len(missing) == 1:
            raise ValidationError({missing.pop(): ["Say both month and year, or neither."]})
        return asked


class JobsQuery(StrictSerializer):
    limit = WholeNumberField(min_value=1, max_value=500, default=JOBS_SHOWN, help_text="How many, newest month first")


# ---------------------------------------------------------------------------------------------------- what is answered


class CategoryResultSerializer(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="Of its distribution")
    distribution = serializers.IntegerField(help_text="Its id")
    participants = serializers.IntegerField()
    rewardsAwarded = serializers.IntegerField()
    coinsAwarded = serializers.FloatField()
    amount = serializers.CharField(help_text="The same, exact: decimal text in currency units")
    currency = serializers.CharField()


class CategoryErrorSerializer(serializers.Serializer[Any]):
    category = serializers.CharField()
    error = serializers.CharField()


class ResultsSerializer(serializers.Serializer[Any]):
    totalRewardsAwarded = serializers.IntegerField()
    totalCoinsAwarded = serializers.FloatField()
    categories = serializers.DictField(child=CategoryResultSerializer(), help_text="By the slug of the category")
    errors = CategoryErrorSerializer(many=True)  # type: ignore[assignment]


class JobSerializer(serializers.Serializer[Any]):
    jobId = serializers.IntegerField()
    month = serializers.IntegerField()
    year = serializers.IntegerField()
    status = serializers.ChoiceField(Status.choices)
    startedAt = serializers.DateTimeField()
    completedAt = serializers.DateTimeField(allow_null=True, help_text="When it was completed or failed")
    duration = serializers.FloatField(allow_null=True, help_text="Seconds")
    results = ResultsSerializer()


class StartedJobSerializer(JobSerializer):
    note = serializers.CharField()


class JobLineSerializer(serializers.Serializer[Any]):
    jobId = serializers.IntegerField()
    month = serializers.IntegerField()
    year = serializers.IntegerField()
    status = serializers.ChoiceField(Status.choices)
    startedAt = serializers.DateTimeField()
    completedAt = serializers.DateTimeField(allow_null=True)
    duration = serializers.FloatField(allow_null=True, help_text="Seconds")
    totalRewards = serializers.IntegerField()
    totalCoins = serializers.FloatField()
    hasErrors = serializers.BooleanField()


class JobLinesSerializer(serializers.Serializer[Any]):
    jobs = JobLineSerializer(many=True)
    total = serializers.IntegerField(help_text="How many jobs there are")


class StartAnswer(serializers.Serializer[Any]):
    success = serializers.BooleanField(help_text="false: the job has failed, and an operator is to retry it")
    message = serializers.CharField()
    data = StartedJobSerializer()  # type: ignore[assignment]


class StatusAnswer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    message = serializers.CharField()
    data = JobSerializer()  # type: ignore[assignment]


class JobsAnswer(serializers.Serializer[Any]):
    success = serializers.BooleanField()
    message = serializers.CharField()
    data = JobLinesSerializer()  # type: ignore[assignment]


class OwnMonthSerializer(serializers.Serializer[Any]):
    month = serializers.IntegerField()
    year = serializers.IntegerField()
    category = serializers.CharField()
    position = serializers.IntegerField()
    rank = serializers.IntegerField(help_text="Place in which equals share a number")
    score = serializers.CharField()
    amount = serializers.CharField(help_text="Decimal text in currency units")
    currency = serializers.CharField()
    tier = serializers.CharField(allow_null=True)
    badge = serializers.CharField(allow_null=True, help_text="The badge that comes with the tier, once it is paid")
    status = serializers.ChoiceField(Reward.Status.choices)


# ------------------------------------------------------------------------------------------------------------ examples

A_JOB = {
    "jobId": 12,
    "month": 12,
    "year": 2024,
    "status": "completed",
    "startedAt": "2025-01-01T00:05:00Z",
    "completedAt": "2025-01-01T00:05:45.320000Z",
    "duration": 45.32,
}
RESULTS = {
    "totalRewardsAwarded": 180,
    "totalCoinsAwarded": 18800,
    "categories": {
        "students": {
            "status": "paid", "distribution": 815, "participants": 180, "rewardsAwarded": 180, "coinsAwarded": 18800,
            "amount": "18800", "currency": "coins",
        },
    },
    "errors": [],
}  # fmt: skip
STARTED = A_JOB | {"status": "processing", "completedAt": None, "duration": None, "results": no_results()}
START_EXAMPLES = [
    OpenApiExample("The month before this one", request_only=True, value={}),
    OpenApiExample("A month", request_only=True, value={"month": 12, "year": 2024}),
    OpenApiExample(
        "Started",
        response_only=True,
        value={
            "success": True,
            "message": "Monthly rewards processing started for 12/2024",
            "data": STARTED | {"note": "Rewards are being processed in the background"},
        },
    ),
]
STATUS_EXAMPLE = OpenApiExample(
    "A month that is paid",
    response_only=True,
    value={"success": True, "message": "Job status retrieved successfully", "data": A_JOB | {"results": RESULTS}},
)
JOBS_EXAMPLE = OpenApiExample(
    "The only one",
    response_only=True,
    value={
        "success": True,
        "message": "Recent jobs retrieved successfully",
        "data": {
            "jobs": [A_JOB | {"totalRewards": 180, "totalCoins": 18800, "hasErrors": False}],
            "total": 1,
        },
    },
)
HISTORY_EXAMPLE = OpenApiExample(
    "A champion",
    response_only=True,
    value={
        "month": 12, "year": 2024, "category": "students", "position": 1, "rank": 1, "score": "321", "amount": "1000",
        "currency": "coins", "tier": "Champion", "badge": "Monthly Champion", "status": "paid",
    },
)  # fmt: skip

# --------------------------------------------------------------------------------------------------------------- calls


class MonthlyRewards(ApiView):
    access = {"POST": [machine(Right.MONTHLY_RUN)]}

    @extend_schema(
        operation_id="start_monthly_rewards",
        summary="Pay the ranking rewards of a month",
        request=MonthRequest,
        responses={200: StartAnswer},
        examples=START_EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        """Of the month before this one in the product's time zone, or of the one that is named. A worker does it. The
        month is paid once, so the call may be repeated: the answer then says how far it is."""
        asked, now = self.body(MonthRequest), timezone.now()
        month = previous_month(now)
        year_and_month = (asked["year"], asked["month"]) if asked else (month.year, month.month)
        job, created = start_job(*year_and_month, by=str(request.user), at=now)
        if created:
            poke_aside(JOB)  # committed by now; if nobody hears it, the schedule finds the row
        return Response(said_of(job, created))


class MonthlyRewardsStatus(ApiView):
    access = {"GET": [STAFF, machine(Right.READ), machine(Right.MONTHLY_RUN)]}

    @extend_schema(
        operation_id="monthly_rewards_status",
        summary="The job of a month",
        parameters=[MonthRequest],
        responses=StatusAnswer,
        examples=[STATUS_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        """The one of the newest month, or of the month that is named; 404 when there is none."""
        asked = self.query(MonthRequest)
        job = MonthlyRewardJob.objects.filter(**asked).first() if asked else newest_job()
        if job is None:
            raise Http404
        return Response(told("Job status retrieved successfully", shown_job(job) | {"results": results_of(job)}))


class MonthlyRewardsJobs(ApiView):
    access = {"GET": [STAFF, machine(Right.READ), machine(Right.MONTHLY_RUN)]}

    @extend_schema(
        operation_id="monthly_rewards_jobs",
        summary="The jobs of the last months, newest first",
        parameters=[JobsQuery],
        responses=JobsAnswer,
        examples=[JOBS_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        limit, jobs = self.query(JobsQuery)["limit"], MonthlyRewardJob.objects.all()
        data = {"jobs": [shown_line(job) for job in jobs[:limit]], "total": jobs.count()}
        return Response(told("Recent jobs retrieved successfully", data))


class MonthlyRewardsHistory(ApiView):
    access = {"GET": [USER]}

    @extend_schema(
        operation_id="monthly_rewards_history",
        summary="The user's own monthly rewards, newest month first",
        parameters=[PageQuery],
        responses=OwnMonthSerializer(many=True),
        examples=[HISTORY_EXAMPLE],
    )
    def get(self, request: Request) -> Response:
        self.query(PageQuery)
        monthly = own_rewards(request.user).filter(distribution__programme__startswith=f"{PROGRAMME}:")  # type: ignore[arg-type]
        rows = monthly.annotate(period_key=F("distribution__period_key")).select_related("distribution__currency")
        return self.page(rows, shown_month, ("-period_key", "-id"))


# ---------------------------------------------------------------------------------------------------- as it is answered


def told(message: str, data: dict[str, Any], *, success: bool = True) -> dict[str, Any]:
    return {"success": success, "message": message, "data": data}


def said_of(job: MonthlyRewardJob, created: bool) -> dict[str, Any]:
    """The answer to who would start a month: whether it was started, and how far it is."""
    data = shown_job(job) | {"results": results_of(job)}
    if created:
        note = "Rewards are being processed in the background"
        return told(f"Monthly rewards processing started for {job.name()}", data | {"note": note})
    if job.status == Status.PROCESSING:
        note = "Nothing was started: rewards are being processed in the background."
        return told("Processing is already underway", data | {"note": note})
    if job.status == Status.COMPLETED:
        return told("Monthly rewards already processed", data | {"note": "Nothing was started: they are paid."})
    note = "Nothing was started. An operator retries it in the admin; it then continues where it stopped."
    failed = f"Monthly rewards processing failed for {job.name()}"
    return told(failed, data | {"note": note}, success=False)


def shown_job(job: MonthlyRewardJob) -> dict[str, Any]:
    return {
        "jobId": job.pk,
        "month": job.month,
        "year": job.year,
        "status": job.status,
        "startedAt": job.started_at,
        "completedAt": job.completed_at,
        "duration": job.duration,
    }


def results_of(job: MonthlyRewardJob) -> dict[str, Any]:
    """In the order of the schema, which the database does not keep."""
    return no_results() | job.results


def shown_line(job: MonthlyRewardJob) -> dict[str, Any]:
    """With the totals in the place of all results."""
    results = results_of(job)
    return shown_job(job) | {
        "totalRewards": results["totalRewardsAwarded"],
        "totalCoins": results["totalCoinsAwarded"],
        "hasErrors": bool(results["errors"]),
    }


def shown_month(reward: Reward) -> dict[str, Any]:
    distribution = reward.distribution
    year, month = map(int, distribution.period_key.split("-"))
    tier = tier_of(reward) or None
    status = reward.seen_as  # type: ignore[attr-defined]
    return {
        "month": month,
        "year": year,
        "category": slug_of(distribution.programme),
        "position": reward.position,
        "rank": reward.rank,
        "score": reward.score,
        "amount": distribution.currency.to_units(reward.amount),
        "currency": distribution.currency.code,
        "tier": tier,
        "badge": f"Monthly {tier}" if tier and status == Reward.Status.PAID else None,
        "status": status,
    }
