"""Uploading the list of a campaign in two steps: what it would change, then taking it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from rewards.admin.common.confirm import sentence_of
from rewards.admin.common.display import admin_url, amount, grouped
from rewards.admin.common.kept_files import KEPT_SECONDS, forget_file, keep, kept_file
from rewards.admin.common.tables import Table
from rewards.allocation.rules import Measure
from rewards.campaigns.errors import BadLines
from rewards.campaigns.lines import parse_scale
from rewards.campaigns.models import Campaign
from rewards.campaigns.services import Layout, Upload, allocated, preview_upload, upload
from rewards.common.amounts import InvalidAmount
from rewards.common.csv_lines import numbered_lines, read_header
from rewards.common.errors import RewardsError
from rewards.distributions.programmes import Draft, Snapshot
from rewards.distributions.rows import decimal_texts
from rewards.users.models import User

LARGEST_BYTES = 50_000_000
FIRST_ROWS = 10
BAD_LINES_SHOWN = 100
COLUMNS = ("weight", "amount", "group")
SALT = "campaign-upload"


class FileGone(RewardsError):
    """The file is not here any more: it was kept for an hour, on one machine. Upload it again."""

    code = "file_gone"
    http_status = 410


class UploadForm(forms.Form):
    file = forms.FileField(
        widget=UnfoldAdminFileFieldWidget(), help_text="CSV in UTF-8 with a line of column names, plain or gzip."
    )
    user = forms.CharField(label="Column of usernames", initial="user", widget=UnfoldAdminTextInputWidget())
    weight = forms.CharField(
        label="Column of weights", required=False, widget=UnfoldAdminTextInputWidget({"placeholder": "weight"})
    )
    amount = forms.CharField(
        label="Column of amounts", required=False, widget=UnfoldAdminTextInputWidget({"placeholder": "amount"})
    )
    group = forms.CharField(
        label="Column of groups",
        required=False,
        widget=UnfoldAdminTextInputWidget({"placeholder": "group"}),
        help_text="Left empty, weight, amount and group are the columns of these names, where the file has them.",
    )
    amount_scale = forms.CharField(
        initial="1",
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="What the amounts of the file are written in: 1 for currency units, 0.01 for hundredths, 1e-18.",
    )
    create_users = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Create whoever is not known. Otherwise an unknown user makes a bad line.",
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_BYTES:
            raise forms.ValidationError(
                f"It has {grouped(file.size)} bytes: beyond {grouped(LARGEST_BYTES)} use manage.py distribute_file."
            )
        return file

    def clean_amount_scale(self) -> Any:
        try:
            return parse_scale(self.cleaned_data["amount_scale"])
        except InvalidAmount as error:
            raise forms.ValidationError(error.message, code=error.code) from error


@dataclass(frozen=True)
class Kept:
    """A file that was looked at and may be taken: where it is kept, how it is read, for which campaign, by whom."""

    name: str
    layout: Layout
    create_users: bool
    campaign_id: int
    user_id: int

    def signed(self) -> str:
        return signing.dumps(
            {**asdict(self), "layout": {**asdict(self.layout), "amount_scale": str(self.layout.amount_scale)}},
            salt=SALT,
        )

    def path(self) -> Path:
        """Raises `FileGone`."""
        found = kept_file(self.name)
        if found is None:
            raise FileGone
        return found


def kept_of(signed: str, campaign: Campaign, user: User) -> Kept:
    """Raises `FileGone`, also for what is another campaign's or somebody else's."""
    try:
        facts = signing.loads(signed, salt=SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature as error:
        raise FileGone from error
    layout = facts["layout"]
    kept = Kept(**{**facts, "layout": Layout(**{**layout, "amount_scale": parse_scale(layout["amount_scale"])})})
    if (kept.campaign_id, kept.user_id) != (campaign.pk, user.pk):
        raise FileGone
    return kept


def upload_pages(request: HttpRequest, campaign: Campaign, context: dict[str, Any], at: datetime) -> HttpResponse:
    """The form, then what the file would change, then back to the campaign."""
    if "kept" in request.POST:
        return _take_or_discard(request, campaign, at)
    form = UploadForm(request.POST or None, request.FILES or None)
    page = context | {
        "title": f"Upload the list of {campaign}",
        "form": form,
        "explanation": "Nothing is stored yet: the next page shows what the file would change.",
        "button": "Look at it",
        "back": admin_url(campaign),
    }
    if request.method == "POST" and form.is_valid():
        kept = _keep(form, campaign, cast(User, request.user))
        try:
            found = _look_at(kept, campaign, at)
            return TemplateResponse(request, "admin/campaign_upload.html", page | _what_would_change(*found, campaign))
        except RewardsError as error:
            forget_file(kept.name)
            page |= _refused(form, error)
        except BaseException:
            forget_file(kept.name)
            raise
    return TemplateResponse(request, "admin/form_page.html", page)


# --------------------------------------------------------------------------------------------------------------- steps


def _keep(form: UploadForm, campaign: Campaign, user: User) -> Kept:
    given = form.cleaned_data
    columns = {name: given[name].strip() or None for name in COLUMNS}
    layout = Layout(user=given["user"].strip(), amount_scale=given["amount_scale"], **columns)
    return Kept(keep(given["file"].chunks()), layout, given["create_users"], campaign.pk, user.pk)


def _look_at(kept: Kept, campaign: Campaign, at: datetime) -> tuple[Kept, Upload]:
    """The file with the columns that it has, and what it would come to. Nothing is written."""
    with kept.path().open("rb") as file:
        header = read_header(numbered_lines(file), "The file")
        found: dict[str, Any] = {
            name: name for name in COLUMNS if getattr(kept.layout, name) is None and name in header
        }
        kept = replace(kept, layout=replace(kept.layout, **found))
        file.seek(0)
        return kept, preview_upload(campaign, file, kept.layout, create_users=kept.create_users, at=at)


def _take_or_discard(request: HttpRequest, campaign: Campaign, at: datetime) -> HttpResponse:
    user = cast(User, request.user)
    try:
        kept = kept_of(request.POST["kept"], campaign, user)
        try:
            if "discard" not in request.POST:
                with kept.path().open("rb") as file:
                    taken = upload(campaign.pk, file, kept.layout, create_users=kept.create_users, actor=user, at=at)
                created = f", {grouped(taken.users_created)} users created" if taken.users_created else ""
                messages.success(request, f"{campaign}: {grouped(taken.rows)} lines are its list now{created}.")
        finally:
            forget_file(kept.name)
    except RewardsError as error:
        messages.error(request, sentence_of(error))
        return HttpResponseRedirect(reverse("admin:rewards_campaign_upload", args=[campaign.pk]))
    return HttpResponseRedirect(admin_url(campaign))


# ------------------------------------------------------------------------------------------------------- what is shown


def _refused(form: UploadForm, error: RewardsError) -> dict[str, Any]:
    """The form again; the bad lines of the file in a table above it."""
    if not isinstance(error, BadLines):
        form.add_error(None, sentence_of(error))
        return {}
    more = f" The first {BAD_LINES_SHOWN} of them:" if error.count > BAD_LINES_SHOWN else ""
    noun = "bad line" if error.count == 1 else "bad lines"
    form.add_error(None, f"{grouped(error.count)} {noun}: nothing is stored. Mend the file and upload it again.{more}")
    rows = [(grouped(number), reason) for number, reason in error.lines[:BAD_LINES_SHOWN]]
    return {"explanation": "", "table": Table(["Line", "What is wrong with it"], rows)}


def _what_would_change(kept: Kept, found: Upload, campaign: Campaign) -> dict[str, Any]:
    draft = cast(Draft, found.draft)
    layout = kept.layout
    columns = ", ".join(filter(None, [layout.user, layout.weight, layout.amount, layout.group]))
    return {
        "title": f"The list of {campaign}",
        "kept": kept.signed(),
        "figures": [
            ("Lines", grouped(found.rows), f"now {grouped(campaign.rows)}" if campaign.rows else "no list yet"),
            ("Users to create", grouped(found.users_created), "not known yet" if found.users_created else "all known"),
            (
                "Amounts together",
                amount(found.total, campaign.currency) if layout.amount else "–",
                f"in units of {layout.amount_scale}" if layout.amount else "the file has none",
            ),
            *_would_pay(draft),
        ],
        "columns": columns,
        "same": found.digest == campaign.rows_digest,
        "first_rows": _first_rows(draft.snapshot, campaign),
        "more": grouped(found.rows - FIRST_ROWS) if found.rows > FIRST_ROWS else "",
    }


def _would_pay(draft: Draft) -> list[tuple[str, str, str]]:
    try:
        allocation = allocated(draft)
    except RewardsError as error:
        return [("A run would pay", "nothing", sentence_of(error))]
    recipients = int((allocation.amounts > 0).sum())
    paid = amount(draft.amount - allocation.unpaid, draft.currency)
    return [("A run would pay", paid, f"to {grouped(recipients)} recipients")]


def _first_rows(snapshot: Snapshot, campaign: Campaign) -> Table:
    scores = Measure(snapshot.scores.values[:FIRST_ROWS], snapshot.scores.decimals)
    users = snapshot.usernames[:FIRST_ROWS]
    amounts = ["–"] * len(users) if snapshot.amounts is None else [
        amount(int(minor), campaign.currency) for minor in snapshot.amounts[:FIRST_ROWS]
    ]  # fmt: skip
    groups = [""] * len(users) if snapshot.groups is None else snapshot.groups[:FIRST_ROWS]
    rows = [
        (grouped(place), user, score, units, group or "–")
        for place, (user, score, units, group) in enumerate(
            zip(users, decimal_texts(scores), amounts, groups, strict=True), start=1
        )
    ]
    columns = ["Place", "User", "Weight", "Amount", "Group"]
    return Table(columns, rows, frozenset({"Place", "Weight", "Amount"}))
