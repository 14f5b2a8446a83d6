"""The programme of all campaigns, as the engine asks for it: `campaign:<slug>`."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings

from rewards.campaigns.errors import UnknownCampaign
from rewards.campaigns.models import Campaign
from rewards.campaigns.queries import all_runs_due
from rewards.campaigns.schedule import ONCE, Run, occurrence_on
from rewards.campaigns.services import draft_of, hold_corrected, require_paid
from rewards.distributions.models import Distribution
from rewards.distributions.programmes import Draft, NoPreview, Programme, Snapshot, register

NAME = "campaign"


class CampaignProgramme(Programme):
    """What a campaign pays: its amount, or with the rule `fixed` the sum of the list, which its amount may limit."""

    def amount(self, distribution: Distribution) -> int:
        return self.freeze(distribution)[0]

    def snapshot(self, distribution: Distribution) -> Snapshot:
        return self.freeze(distribution)[1]

    def freeze(self, distribution: Distribution) -> tuple[int, Snapshot]:
        """Holds the campaign: nobody changes its list until the transaction ends."""
        draft = draft_of(_campaign(distribution.programme, lock=True), _instant(distribution))
        return draft.amount, draft.snapshot

    def require_standing(self, distribution: Distribution) -> None:
        """A correction stands while the payout that it corrects is paid, which is held until the transaction ends."""
        corrected = hold_corrected(Campaign.objects.filter(slug=_slug(distribution.programme)))
        if corrected is not None:
            require_paid(corrected)

    def due_periods(self, at: datetime) -> list[Run]:
        return all_runs_due(at)

    def paid(self, distribution: Distribution) -> None:
        """A campaign that runs once is done."""
        campaign = _campaign(distribution.programme, lock=True)
        if not campaign.schedule and campaign.status != Campaign.Status.DONE:
            campaign.status = Campaign.Status.DONE
            campaign.save()

    def rejected(self, distribution: Distribution) -> None:
        """A campaign that runs once does not run again: its one period is used up."""
        campaign = _campaign(distribution.programme, lock=True)
        if not campaign.schedule:
            campaign.status = Campaign.Status.CANCELLED
            campaign.save()

    def draft(self, name: str, period_key: str, at: datetime) -> Draft:
        campaign = _campaign(name)
        return draft_of(campaign, _due_at(campaign, period_key, at))


def register_all() -> None:
    register(NAME, CampaignProgramme())


def _campaign(programme: str, *, lock: bool = False) -> Campaign:
    """Raises `UnknownCampaign`."""
    slug = _slug(programme)
    campaigns = Campaign.objects.select_related("currency")
    if lock:
        campaigns = campaigns.select_for_update(no_key=True, of=("self",))
    campaign = campaigns.filter(slug=slug).first()
    if campaign is None:
        raise UnknownCampaign(f"There is no campaign {slug!r}.")
    return campaign


def _slug(programme: str) -> str:
    return programme.partition(":")[2]


def _instant(distribution: Distribution) -> datetime:
    return distribution.starts_at or distribution.opened_at


def _due_at(campaign: Campaign, period_key: str, at: datetime) -> datetime:
    """The instant of the run of that key. Raises `NoPreview`."""
    if not campaign.schedule or campaign.starts_at is None:
        if period_key != ONCE:
            raise NoPreview(f"{campaign} runs once: its period is {ONCE!r}.")
        return campaign.starts_at or at
    instant = occurrence_on(campaign.schedule, campaign.starts_at, period_key, settings.REWARDS_TIME_ZONE)
    if instant is None:
        raise NoPreview(f"{campaign} has no run on {period_key!r}.")
    return instant
