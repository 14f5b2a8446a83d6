"""From a file to a payout in one step, again and again with the same result: what `distribute_file` does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from rewards.campaigns.checks import check_campaign, same_rule
from rewards.campaigns.errors import CampaignExists, OtherList, OtherSettings
from rewards.campaigns.intake import Layout, OnLines
from rewards.campaigns.models import Campaign
from rewards.campaigns.queries import distributions_of
from rewards.campaigns.services import (
    Upload,
    create_campaign,
    incoming_list,
    locked,
    preview_upload,
    refuse_list,
    run,
    take_list,
    upload_of,
)
from rewards.common.csv_lines import CsvSource
from rewards.distributions.models import Distribution
from rewards.ledger.services import create_missing_accounts

Settings = dict[str, Any]
"""What `create_campaign` takes. An `approval_limit` of None says nothing against the one that stands."""

COMPARED = ("currency", "amount", "source", "participants", "tie_policy", "schedule")


@dataclass(frozen=True)
class Opened:
    """The run that pays a file; `again` when it had been opened before. `upload.users_created` is then 0."""

    distribution: Distribution
    upload: Upload
    again: bool


def open_run_of_file(
    settings: Settings,
    file: CsvSource,
    layout: Layout,
    *,
    create_users: bool,
    at: datetime,
    on_lines: OnLines | None = None,
) -> Opened:
    """Create the campaign, take the file as its list and open its run, whole or not at all; the caller advances it.

    Where the campaign stands already, with the same settings and the same list or none, it goes on from there. Raises
    `OtherSettings`, `OtherList`, and what `create_campaign`, `upload` and `run` raise; nothing is changed then.
    """
    try:
        return _open(settings, file, layout, create_users, at, on_lines)
    except CampaignExists:  # somebody created it meanwhile, and has committed
        return _open(settings, file, layout, create_users, at, on_lines)


def preview_run_of_file(
    settings: Settings,
    file: CsvSource,
    layout: Layout,
    *,
    create_users: bool,
    at: datetime,
    on_lines: OnLines | None = None,
) -> tuple[Upload, Distribution | None]:
    """What the file would come to, and the run that stands already. Nothing is written. Raises like opening it."""
    campaign = _standing(settings)
    if campaign is not None:
        _refuse_other_settings(campaign, settings)
    else:
        campaign = Campaign(**settings)
        check_campaign(campaign)
    preview = preview_upload(campaign, file, layout, create_users=create_users, at=at, on_lines=on_lines)
    _refuse_other_list(campaign, preview.digest)
    return preview, distributions_of(campaign).first() if campaign.pk else None


def _open(
    settings: Settings, file: CsvSource, layout: Layout, create_users: bool, at: datetime, on_lines: OnLines | None
) -> Opened:
    with transaction.atomic():
        campaign = _standing(settings)
        if campaign is None:
            campaign = create_campaign(**settings, at=at)
        else:
            campaign = locked(campaign.pk)
            _refuse_other_settings(campaign, settings)
        with incoming_list(campaign, file, layout, create_users=create_users, on_lines=on_lines) as incoming:
            _refuse_other_list(campaign, incoming.listed.digest)
            if campaign.rows_digest:
                upload = upload_of(incoming, 0)
            else:
                refuse_list(campaign)
                upload = take_list(campaign, incoming, None, at)
                likely_paid = campaign.lines.exclude(amount=0).exclude(weight="0")
                create_missing_accounts(likely_paid.values("user_id"), campaign.currency)
        again = distributions_of(campaign).exists()
        return Opened(run(campaign.pk, None, at), upload, again)


def _standing(settings: Settings) -> Campaign | None:
    return Campaign.objects.select_related("currency").filter(slug=settings["slug"]).first()


def _refuse_other_settings(campaign: Campaign, settings: Settings) -> None:
    wanted = {"participants": {"source": "upload"}, "schedule": ""} | settings
    other = [name for name in COMPARED if getattr(campaign, name) != wanted[name]]
    if not same_rule(campaign.rule, wanted["rule"], campaign.currency.decimals):
        other.append("rule")
    # Once it is paid, from where on somebody approves it makes no difference.
    if campaign.status != Campaign.Status.DONE and wanted.get("approval_limit") not in (None, campaign.approval_limit):
        other.append("approval_limit")
    if other:
        fields = ", ".join(name.replace("_", " ") for name in other)
        raise OtherSettings(f"A campaign {campaign} stands already with another {fields}: nothing is changed.")


def _refuse_other_list(campaign: Campaign, digest: str) -> None:
    if campaign.rows_digest not in ("", digest):
        raise OtherList(f"The campaign {campaign} stands already with another list: nothing is changed.")
