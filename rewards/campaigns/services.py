"""Campaigns: create and change them, upload their lists, open their runs. The caller advances what is opened."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import QuerySet

from rewards.alerts.services import CRITICAL, raise_alert, resolve_alert
from rewards.allocation.errors import AllocationError, BudgetExceeded, NothingToWeigh, RuleError
from rewards.allocation.rules import Allocation, allocate
from rewards.audit.services import record
from rewards.campaigns.checks import check_campaign, names_amounts, needs_amounts
from rewards.campaigns.errors import (
    CampaignBegun,
    CampaignExists,
    CampaignInvalid,
    CampaignOver,
    CorrectionStays,
    EmptyList,
    NothingDue,
    NothingToCorrect,
    NothingToPay,
    NotStarted,
    OverBudget,
    TakesNoList,
    TooManyRunsDue,
    UnknownCampaign,
)
from rewards.campaigns.intake import IncomingList, Layout, OnLines, reading, stored_lines
from rewards.campaigns.lines import Listed, canonical_weight, checked_group
from rewards.campaigns.models import Campaign, CampaignParticipant, from_upload
from rewards.campaigns.queries import campaigns_started, distributions_of, has_begun, list_facts, runs_due
from rewards.campaigns.schedule import ONCE, Run
from rewards.campaigns.sources import UPLOAD, check_participants, participants_of, ranked
from rewards.common.amounts import MAX_MINOR
from rewards.common.csv_lines import CsvSource
from rewards.common.database import write_rows
from rewards.common.errors import ReasonMissing, RewardsError
from rewards.distributions.errors import NotYet
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft, Snapshot
from rewards.distributions.rows import participants_of as participants_in
from rewards.distributions.services import advance, open_distribution
from rewards.distributions.stages import require_right
from rewards.jobs.progress import Steps, Unwatched
from rewards.ledger.models import ISSUANCE, Currency
from rewards.ledger.services import system_account
from rewards.parameters.services import param
from rewards.users.models import User

__all__ = [
    "DueResult",
    "Layout",
    "Upload",
    "allocated",
    "cancel",
    "change_campaign",
    "check_campaign",
    "correction_limit",
    "create_campaign",
    "draft_of",
    "hold_corrected",
    "preview_upload",
    "require_paid",
    "run",
    "run_due",
    "store_rows",
    "upload",
]

CAMPAIGN_FAILED = "campaign_failed"
NO_AMOUNT = "All amounts are zero: there is nothing to pay."

PREPARED = ("currency", "source", "amount", "participants", "rule", "tie_policy")
"""What decides who is paid what. Whoever changes one of these, or the list, has prepared the campaign."""

SETTINGS = (*PREPARED, "starts_at", "schedule", "approval_limit")
"""What stays from the moment in which a run is opened."""

ANCHORS = ("currency", "starts_at", "schedule")
"""What a schedule keeps once it has run: its periods are named by them."""

Status = Campaign.Status

MOST_DUE_AT_ONCE = 31
"""Of a schedule that is activated: a month of days."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Upload:
    """What a list came to. `total` is the sum of its amounts in minor units; a preview has a `draft` of the run."""

    rows: int
    users_created: int
    total: int
    digest: str
    draft: Draft | None = None
    seconds: dict[str, float] = field(default_factory=dict)


# --------------------------------------------------------------------------------------------------- create and change


def create_campaign(
    *,
    slug: str,
    currency: Currency,
    title: str = "",
    source: str = ISSUANCE,
    amount: int | None = None,
    participants: dict[str, Any] | None = None,
    rule: dict[str, Any],
    tie_policy: str = "earliest",
    starts_at: datetime | None = None,
    schedule: str = "",
    approval_limit: int | None = None,
    corrects: Distribution | None = None,
    actor: User | None = None,
    at: datetime,
) -> Campaign:
    """A new campaign, a draft: `change_campaign(…, status="active")` lets it run when it is due.

    Amounts are minor units. Raises `CampaignInvalid`, and `CampaignExists` for a slug that is taken.
    """
    campaign = Campaign(
        slug=slug, currency=currency, title=title, source=source, amount=amount,
        participants=from_upload() if participants is None else participants, rule=rule, tie_policy=tie_policy,
        starts_at=starts_at, schedule=schedule, approval_limit=approval_limit, corrects=corrects, prepared_by=actor,
        created_at=at,
    )  # fmt: skip
    check_campaign(campaign)
    campaign.participants = check_participants(campaign.participants)
    if Campaign.objects.filter(slug=slug).exists():
        raise _exists(slug)
    try:
        with transaction.atomic():
            _save(campaign, actor)
    except IntegrityError as error:
        raise _exists(slug) from error
    return campaign


def change_campaign(campaign_id: int, actor: User | None, at: datetime, *, reason: str = "", **fields: Any) -> Campaign:
    """Change `title`, `status` (draft or active) or `SETTINGS`; whoever changes one of `PREPARED` has prepared it.

    Raises `UnknownCampaign`, `CampaignOver`, `CampaignInvalid`, `CorrectionStays`, `TooManyRunsDue`, `NotAllowed` for
    an active one without the right to run, and `CampaignBegun` when a run has been opened: of a schedule only while one
    is being worked out, but for `ANCHORS`, which stay once it has run.
    """
    if "participants" in fields:
        fields["participants"] = _normalised(fields["participants"])
    with transaction.atomic():
        campaign = locked(campaign_id)
        before = {name: getattr(campaign, name) for name, value in fields.items() if getattr(campaign, name) != value}
        if before:
            _refuse_change(campaign, fields, before.keys())
            _refuse_without_right(campaign, actor)
            for name in before:
                setattr(campaign, name, fields[name])
            _check_changed(campaign, actor)
            if before.keys() & {"status", "starts_at", "schedule"}:
                _refuse_too_many_runs(campaign, at)
            if before.keys() & set(PREPARED):
                campaign.prepared_by = actor or campaign.prepared_by
            _save(campaign, actor, reason)
            _tell_of_limit(campaign, before, actor)
    return campaign


def _normalised(participants: Any) -> Any:
    """As they are stored; what makes no sense stays as it is, for `check_campaign` to name."""
    try:
        return check_participants(participants)
    except RewardsError:
        return participants


def _check_changed(campaign: Campaign, actor: User | None) -> None:
    """Raises what stands against the campaign as it is now to be stored."""
    if campaign.status not in (Status.DRAFT, Status.ACTIVE):
        raise CampaignInvalid({"status": "write draft or active; to end it, cancel it"})
    _refuse_without_right(campaign, actor)
    check_campaign(campaign)


def _refuse_too_many_runs(campaign: Campaign, at: datetime) -> None:
    """Of a schedule that is activated: a slip in its start would pay it again and again. Raises `TooManyRunsDue`."""
    if campaign.schedule and campaign.status == Status.ACTIVE:
        due = len(runs_due(campaign, at))
        if due > MOST_DUE_AT_ONCE:
            raise TooManyRunsDue(
                f"{due:,} runs of {campaign} would be due at once, the first of {campaign.starts_at:%Y-%m-%d}; no more "
                f"than {MOST_DUE_AT_ONCE} may be. Move its start, or create another campaign."
            )


def _tell_of_limit(campaign: Campaign, before: dict[str, Any], actor: User | None) -> None:
    """Record that more than before may be paid without an approval; minor units."""
    was, limit = before.get("approval_limit"), campaign.approval_limit
    if was is not None and (limit is None or limit > was):
        record("approval_limit_raised", actor=actor, data={"campaign": campaign.slug, "before": was, "after": limit})


def cancel(campaign_id: int, actor: User | None, reason: str) -> Campaign:
    """Let a campaign never run again. What it has paid stays; a run that waits for approval is rejected, not cancelled.

    Raises `UnknownCampaign`, `ReasonMissing`, `CampaignOver`, `CampaignBegun`.
    """
    if not reason.strip():
        raise ReasonMissing
    with transaction.atomic():
        campaign = locked(campaign_id)
        _refuse_over(campaign)
        if not campaign.schedule and distributions_of(campaign).exclude(status="cancelled").exists():
            raise CampaignBegun(f"{campaign} has been run: reject, or reverse, what it pays.")
        if campaign.schedule and has_begun(campaign):
            raise CampaignBegun(f"A run of {campaign} is being worked out: cancel the campaign once it is allocated.")
        campaign.status = Status.CANCELLED
        _save(campaign, actor, reason)
        record("campaign_cancelled", actor=actor, reason=reason, data={"campaign": campaign.slug})
    resolve_alert(CAMPAIGN_FAILED, campaign.slug)
    return campaign


def _refuse_change(campaign: Campaign, fields: dict[str, Any], changed: Set[str]) -> None:
    _refuse_over(campaign)
    if changed - {"title", "status", *SETTINGS}:
        raise CampaignInvalid(dict.fromkeys(changed - {"title", "status", *SETTINGS}, "cannot be changed"))
    if changed & set(SETTINGS) and campaign.corrects_id is not None:
        raise CorrectionStays
    if changed & set(SETTINGS) and has_begun(campaign):
        raise CampaignBegun
    if "currency" in changed:
        _refuse_other_currency(campaign, fields)
    if changed & set(ANCHORS) and campaign.schedule and distributions_of(campaign).exists():
        raise CampaignBegun(f"{campaign} has run: its currency and its schedule stay. Cancel it, and create another.")


def _refuse_other_currency(campaign: Campaign, fields: dict[str, Any]) -> None:
    """Minor units that stay would be read as those of another currency."""
    if campaign.rows:
        raise CampaignInvalid({"currency": "its list is written in it: create another campaign"})
    for name in ("amount", "approval_limit"):
        if getattr(campaign, name) is not None and name not in fields:
            raise CampaignInvalid({"currency": f"say with it what the {name.replace('_', ' ')} is in the new one"})


def _refuse_without_right(campaign: Campaign, actor: User | None) -> None:
    """An active campaign runs by itself: whoever changes it decides what is paid. Raises `NotAllowed`."""
    if actor is not None and campaign.status == Status.ACTIVE:
        require_right(actor, "run_distribution")


def _refuse_over(campaign: Campaign) -> None:
    if campaign.status in (Status.DONE, Status.CANCELLED):
        raise CampaignOver(f"{campaign} is {campaign.status}: it cannot be changed, and does not run again.")


def _exists(slug: str) -> CampaignExists:
    return CampaignExists(f"A campaign {slug!r} stands already. Choose another slug, or change that one.")


def locked(campaign_id: int) -> Campaign:
    """The campaign, held until the transaction ends. Raises `UnknownCampaign`."""
    related = Campaign.objects.select_related("currency", "prepared_by")
    campaign = related.select_for_update(no_key=True, of=("self",)).filter(pk=campaign_id).first()
    if campaign is None:
        raise UnknownCampaign(f"There is no campaign {campaign_id}.")
    return campaign


def _save(campaign: Campaign, actor: User | None, reason: str = "") -> None:
    campaign._history_user, campaign._change_reason = actor, reason  # type: ignore[attr-defined]  # for its history
    campaign.save()


# -------------------------------------------------------------------------------------------------------------- upload


def upload(
    campaign_id: int,
    file: CsvSource,
    layout: Layout,
    *,
    create_users: bool,
    actor: User | None,
    at: datetime,
    on_lines: OnLines | None = None,
) -> Upload:
    """Make a CSV file the list of a campaign, whole or not at all, instead of the one before.

    `file` is a path or a binary stream, plain or gzip. Raises `UnknownCampaign`, `CampaignOver`, `CampaignBegun`,
    `TakesNoList`, `CorrectionStays`, `NotAllowed` for an active one without the right to run, and what
    `intake.reading` raises.
    """
    with transaction.atomic():
        campaign = locked(campaign_id)
        _refuse_without_right(campaign, actor)
        refuse_list(campaign)
        with incoming_list(campaign, file, layout, create_users=create_users, on_lines=on_lines) as incoming:
            return take_list(campaign, incoming, actor, at)


def preview_upload(
    campaign: Campaign,
    file: CsvSource,
    layout: Layout,
    *,
    create_users: bool,
    at: datetime,
    on_lines: OnLines | None = None,
) -> Upload:
    """What `upload` would come to, with a draft of the run; nothing is written. The campaign need not be saved."""
    with (
        transaction.atomic(),
        incoming_list(campaign, file, layout, create_users=create_users, on_lines=on_lines) as incoming,
    ):
        snapshot = ranked(incoming.lines(), campaign.currency)
        return upload_of(incoming, incoming.users_missing, _draft(campaign, snapshot))


def store_rows(
    campaign_id: int,
    rows: Iterable[tuple[int, str, int | None, str]],
    *,
    actor: User | None,
    at: datetime,
) -> Upload:
    """Make (user id, weight as text, minor units, group) the list of a campaign, as `upload` does with a file."""
    with transaction.atomic():
        campaign = locked(campaign_id)
        _refuse_without_right(campaign, actor)
        refuse_list(campaign)
        CampaignParticipant.objects.filter(campaign=campaign).delete()
        write_rows(
            CampaignParticipant._meta.db_table,
            ("campaign_id", "user_id", "weight", "amount", "group"),
            (
                (campaign.pk, user_id, weight and canonical_weight(weight), amount, checked_group(group))
                for user_id, weight, amount, group in rows
            ),
        )
        listed = Listed()
        for _, username, weight, amount, group in stored_lines(campaign):
            listed.add(username, weight, amount, group)
        _note_list(campaign, listed, actor)
    return Upload(listed.rows, 0, listed.total, listed.digest)


def incoming_list(
    campaign: Campaign, file: CsvSource, layout: Layout, *, create_users: bool, on_lines: OnLines | None = None
) -> AbstractContextManager[IncomingList]:
    """`intake.reading` as the campaign's currency and rule need it."""
    return reading(
        file,
        layout,
        campaign.currency,
        create_users=create_users,
        amounts_needed=needs_amounts(campaign.rule),
        on_lines=on_lines,
    )


def take_list(campaign: Campaign, incoming: IncomingList, actor: User | None, at: datetime) -> Upload:
    """Make it the campaign's list; the caller holds the campaign."""
    users_created = incoming.take(campaign, at)
    _note_list(campaign, incoming.listed, actor)
    return upload_of(incoming, users_created)


def refuse_list(campaign: Campaign) -> None:
    """Raises `CampaignOver`, `TakesNoList`, `CorrectionStays` for one that has its list, `CampaignBegun`."""
    _refuse_over(campaign)
    if campaign.corrects_id is not None and campaign.rows:
        raise CorrectionStays
    if campaign.participants.get("source") != UPLOAD:
        raise TakesNoList
    if has_begun(campaign):
        raise CampaignBegun


def upload_of(incoming: IncomingList, users_created: int, draft: Draft | None = None) -> Upload:
    """What the caller is told of it."""
    listed = incoming.listed
    return Upload(listed.rows, users_created, listed.total, listed.digest, draft, incoming.seconds)


def _note_list(campaign: Campaign, listed: Listed, actor: User | None) -> None:
    if campaign.rows_digest != listed.digest:
        campaign.prepared_by = actor or campaign.prepared_by
    campaign.rows, campaign.rows_digest = listed.rows, listed.digest
    _save(campaign, actor, f"List of {listed.rows:,} lines, {listed.digest}")


# ----------------------------------------------------------------------------------------------------------------- run


def draft_of(campaign: Campaign, at: datetime) -> Draft:
    """What a run of the campaign at `at` would freeze. A pure read."""
    return _draft(campaign, participants_of(campaign, at))


def _draft(campaign: Campaign, snapshot: Snapshot) -> Draft:
    amount = campaign.amount or 0
    if names_amounts(campaign.rule):
        needed = 0 if snapshot.amounts is None else sum(map(int, snapshot.amounts))
        amount = needed if campaign.amount is None else min(needed, campaign.amount)
    return Draft(campaign.currency, amount, snapshot, campaign.rule, campaign.tie_policy)


def run(campaign_id: int, actor: User | None, at: datetime) -> Distribution:
    """Open the run that is due; the caller advances it. A one-off run that is opened already is returned.

    A schedule's run is the oldest that is due and not opened. Raises `UnknownCampaign`, `NotAllowed`, `CampaignOver`,
    `NotStarted`, `NothingDue`, `NotYet` (the run before is not allocated), `CampaignInvalid`, `EmptyList`,
    `NothingToPay`, `OverBudget`, `NothingToCorrect` for a correction of what is not paid any more; nothing is opened
    then.
    """
    if actor is not None:
        require_right(actor, "run_distribution")
    with transaction.atomic():
        hold_corrected(Campaign.objects.filter(pk=campaign_id))
        campaign = locked(campaign_id)
        opened = None if campaign.schedule else distributions_of(campaign).first()
        return opened or _open(campaign, _run_to_open(campaign, at), at, actor, campaign.prepared_by)


def _run_by_schedule(campaign_id: int, due: Run, at: datetime) -> Distribution:
    """Open a run that was seen to be due. Nobody has opened or prepared it: any approver may approve it.

    Raises `NothingDue` when it is due no more: it is opened, or the campaign has been stopped, moved or cancelled.
    """
    with transaction.atomic():
        hold_corrected(Campaign.objects.filter(pk=campaign_id))
        campaign = locked(campaign_id)
        if campaign.status != Status.ACTIVE or due not in runs_due(campaign, at):
            raise NothingDue
        return _open(campaign, due, at, None, None)


def _run_to_open(campaign: Campaign, at: datetime) -> Run:
    _refuse_over(campaign)
    if campaign.starts_at is not None and campaign.starts_at > at:
        raise NotStarted(f"{campaign} starts at {campaign.starts_at:%Y-%m-%d %H:%M} UTC: it is not to be run before.")
    if not campaign.schedule:
        return Run(campaign.programme, ONCE, campaign.starts_at or at)
    if campaign.status == Status.DRAFT:
        raise NotStarted(f"{campaign} is a draft: make it active, and it runs by its schedule.")
    due = runs_due(campaign, at)
    if not due:
        raise NothingDue(f"No run of {campaign} is due that has not been opened.")
    return due[0]


def _open(campaign: Campaign, due: Run, at: datetime, actor: User | None, prepared_by: User | None) -> Distribution:
    """Open a run in the caller's transaction, which holds the campaign, once it is known that it can be paid."""
    if campaign.schedule:
        _refuse_before_its_turn(campaign, due)
    if campaign.corrects is not None:
        require_paid(campaign.corrects)
        campaign.approval_limit = correction_limit(campaign.currency)
    check_campaign(campaign)
    _try(campaign, due)
    campaign.status = Status.ACTIVE
    _save(campaign, actor)
    version = campaign.history.order_by("-history_id").first()
    distribution, _ = open_distribution(
        due.programme,
        due.key,
        starts_at=due.due_at,
        ends_at=due.due_at,
        currency=campaign.currency,
        source_account=system_account(campaign.source, campaign.currency),
        rule=campaign.rule,
        at=at,
        rule_version=version and version.history_id,
        tie_policy=campaign.tie_policy,
        approval_limit=campaign.approval_limit,
        actor=actor,
        prepared_by=prepared_by,
    )
    return distribution


def hold_corrected(campaigns: QuerySet[Campaign]) -> Distribution | None:
    """The payout that this campaign corrects, held until the transaction ends; the campaign itself is held after it."""
    corrected = Distribution.objects.filter(corrections__in=campaigns)
    return corrected.select_for_update(no_key=True, of=("self",)).first()


def require_paid(corrected: Distribution) -> None:
    """Raises `NothingToCorrect`."""
    if corrected.status != Distribution.Status.PAID:
        raise NothingToCorrect(f"{corrected} is {corrected.status}: only what is paid is corrected.")


def correction_limit(currency: Currency) -> int:
    """Minor units from which a person approves a correction, by the parameter `corrections.approval_limit`."""
    return min(param("corrections.approval_limit") * 10**currency.decimals, MAX_MINOR)


def _refuse_before_its_turn(campaign: Campaign, due: Run) -> None:
    waiting = distributions_of(campaign).filter(allocated_at=None).first()
    if waiting is not None:
        raise NotYet(f"{campaign} {due.key} waits: {waiting.period_key} is not allocated yet.")


def _try(campaign: Campaign, due: Run) -> None:
    """Raise what the run would fail with: opened, it would hold the campaign and could not be mended."""
    if campaign.participants.get("source") == UPLOAD:
        _try_list(campaign)
        if names_amounts(campaign.rule) and campaign.corrects_id is None:  # a correction may leave some lines out
            return
    draft = draft_of(campaign, due.due_at)
    if not len(draft.snapshot) and not campaign.schedule:
        raise EmptyList("Nobody takes part: there is nobody to pay.")
    allocated(draft)


def _try_list(campaign: Campaign) -> None:
    facts = list_facts(campaign)
    if not facts.lines:
        raise EmptyList
    if needs_amounts(campaign.rule) and facts.with_amount < facts.lines:
        raise CampaignInvalid({"rule": "it pays each line its own amount, and some lines have none"})
    if names_amounts(campaign.rule):
        if not facts.total:
            raise NothingToPay(NO_AMOUNT)
        if campaign.amount is not None and facts.total > campaign.amount:
            raise _over_budget(campaign.currency, facts.total, campaign.amount)


def allocated(draft: Draft) -> Allocation:
    """What a draft would pay. Raises `NothingToPay`, `OverBudget`, `CampaignInvalid`."""
    if names_amounts(draft.rule) and not draft.amount:
        raise NothingToPay(NO_AMOUNT)
    try:
        return allocate(
            draft.rule, draft.amount, participants_in(draft.snapshot), decimals=draft.currency.decimals,
            tie_policy=draft.tie_policy,
        )  # fmt: skip
    except AllocationError as error:
        raise explained(error, draft.currency) from error


def explained(error: AllocationError, currency: Currency) -> RewardsError:
    """What the maths refuses, as an error of campaigns."""
    if isinstance(error, NothingToWeigh):
        return NothingToPay("All weights are zero: there is nobody to share with.")
    if isinstance(error, BudgetExceeded):
        return _over_budget(currency, error.needed_minor, error.available_minor)
    if isinstance(error, RuleError):
        return CampaignInvalid({"rule": str(error)})
    return CampaignInvalid({"rule": f"it cannot be worked out: {error}"})


def _over_budget(currency: Currency, needed: int, available: int) -> OverBudget:
    units = currency.to_units
    return OverBudget(
        f"This pays {units(needed)} {currency}, but no more than {units(available)} are there: "
        "raise the amount, or pay less.",
        needed=units(needed), available=units(available),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------- what is due


@dataclass
class DueResult:
    """What a run of all that is due did."""

    opened: int = 0
    paid: int = 0
    waiting: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    paused: bool = False
    unfinished: bool = False

    def figures(self) -> dict[str, object]:
        """For the row of the job: JSON."""
        return {
            "opened": self.opened,
            "paid": self.paid,
            "waiting_for_approval": self.waiting,
            "failures": self.failures,
            "paused": self.paused,
        }


def run_due(at: datetime, *, progress: Steps | None = None) -> DueResult:
    """Open and advance the runs of active campaigns that are due at `at`, each campaign's oldest first.

    Never raises for a campaign that cannot be run: the result names it, an alert is raised, the others go on.
    """
    progress, result = progress or Unwatched(), DueResult()
    for campaign in campaigns_started(at):
        for due in runs_due(campaign, at):
            result.paused = bool(param("payouts_paused"))
            result.unfinished = not result.paused and not progress.keep_going()
            if result.paused or result.unfinished:
                return result
            done = _run_one(campaign, due, at, result, progress.keep_going)
            progress.step(successes=int(done), failures=int(not done))
            if not done:
                break
    return result


def _run_one(campaign: Campaign, due: Run, at: datetime, result: DueResult, keep_going: Callable[[], bool]) -> bool:
    """Whether the next run of the campaign may follow."""
    try:
        distribution = _run_by_schedule(campaign.pk, due, at)
    except NothingDue:  # somebody was faster
        return False
    except Exception as error:
        sentence = error.message if isinstance(error, RewardsError) else f"{type(error).__name__}: {error}"
        unexpected = None if isinstance(error, RewardsError) and error.http_status < 500 else error
        logger.error("%s: %s", campaign, sentence, exc_info=unexpected, extra={"event": CAMPAIGN_FAILED})
        raise_alert(CAMPAIGN_FAILED, campaign.slug, sentence, CRITICAL)
        result.failures.append(f"{campaign} {due.key}: {sentence}")
        return False
    resolve_alert(CAMPAIGN_FAILED, campaign.slug)
    result.opened += 1
    return _advance(distribution, result, keep_going)


def _advance(distribution: Distribution, result: DueResult, keep_going: Callable[[], bool]) -> bool:
    try:
        distribution = advance(distribution.pk, keep_going)
    except OperationalError as error:  # a deadlock, say: it is continued by the sweep
        logger.warning("%s: %s", distribution, error, exc_info=error, extra={"event": "distribution_waits"})
        result.failures.append(f"{distribution}: {error}")
        return False
    if distribution.status == Distribution.Status.PAID:
        result.paid += 1
    elif distribution.status == Distribution.Status.FAILED:
        result.failures.append(f"{distribution}: {distribution.error}")
    else:
        result.waiting.append(str(distribution))
    return distribution.allocated_at is not None
