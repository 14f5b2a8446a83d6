"""The form of a campaign: amounts in currency units, where the participants come from, the rule."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.urls import reverse_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from rewards.admin.common.fields import PrettyJsonField, TiePolicyField, minor_units
from rewards.admin.common.rule_form import Asks, RuleField, RuleRefused, checked_rule
from rewards.allocation.rules import RuleError
from rewards.campaigns.errors import CampaignInvalid
from rewards.campaigns.models import Campaign
from rewards.campaigns.services import check_campaign
from rewards.campaigns.sources import PREVIOUS, UPLOAD, registered_sources
from rewards.common.amounts import to_units
from rewards.ledger.models import BURN, ISSUANCE, TREASURY, Account, Currency

COUNTER, HOLDERS = "counter", "holders"
SOURCES = {UPLOAD: "An uploaded list", COUNTER: "Whoever did something", HOLDERS: "Whoever holds a currency"}
A_MONTH = "month"
MOST_ACCOUNTS = 200
PATH = re.compile(r"([a-z_]+(?:\[\d+\])?(?:\.[a-z_]+(?:\[\d+\])?)*): (.*)", re.DOTALL)
ASKS = Asks(reverse_lazy("admin:rewards_campaign_rule"))

# Fields that only one source of participants has a use for: shown when it is chosen.
CONDITIONAL = {
    "metric": f"participants_source == '{COUNTER}'",
    "period": f"participants_source == '{COUNTER}'",
    "month": f"participants_source == '{COUNTER}' && period == '{A_MONTH}'",
    "held": f"participants_source == '{HOLDERS}'",
    "source_options": f"!['{UPLOAD}', '{COUNTER}', '{HOLDERS}'].includes(participants_source)",
}


class CampaignForm(forms.ModelForm):
    amount_units = forms.CharField(
        label="Amount",
        required=False,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="To share out with each run, in currency units. Where each gets what the list says: at most this; "
        "empty: whatever the list comes to.",
    )
    source = forms.ChoiceField(
        label="Paid from", widget=UnfoldAdminSelectWidget(), help_text="The system account that pays."
    )
    approval_units = forms.CharField(
        label="Approval limit",
        required=False,
        widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
        help_text="In currency units: a payout of this much or more waits for an approver, who is neither the one who "
        "runs it nor the one who last changed it. Empty: none does.",
    )
    participants_source = forms.ChoiceField(label="Participants", widget=UnfoldAdminSelectWidget())
    metric = forms.CharField(
        required=False, widget=UnfoldAdminTextInputWidget(), help_text="Its counter is the weight, such as cc_vote."
    )
    period = forms.ChoiceField(
        label="Counted",
        required=False,
        choices=[(PREVIOUS, "in the month before the run"), (A_MONTH, "in a certain month"), ("", "over all time")],
        widget=UnfoldAdminSelectWidget(),
    )
    month = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget(), help_text="Such as 2026-10.")
    held = forms.ModelChoiceField(
        Currency.objects.order_by("code"),
        label="Held currency",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="The balance is the weight.",
    )
    source_options = PrettyJsonField(
        label="Options of the source", rows=4, required=False, help_text="As a JSON object, without the source itself."
    )
    rule = RuleField(asks=ASKS)
    tie_policy = TiePolicyField()
    status = forms.ChoiceField(
        choices=[("draft", "Draft: runs when somebody runs it"), ("active", "Active: runs by itself when it is due")],
        widget=UnfoldAdminSelectWidget(),
    )

    class Meta:
        model = Campaign
        fields = ["slug", "title", "currency", "source", "rule", "tie_policy", "starts_at", "schedule", "status"]
        help_texts = {"slug": "Names it for good: letters, digits and hyphens, such as autumn-grants."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "rule" not in self.fields:  # whoever may only look has no fields
            return
        fields: dict[str, Any] = self.fields
        fields["source"].choices = [(code, code) for code in paying_accounts(self.instance.source)]
        fields["participants_source"].choices = [(name, SOURCES.get(name, name)) for name in registered_sources()]
        if self.instance.pk:
            fields["rule"].widget.attrs["data-currency"] = self.instance.currency_id
            self.initial.update(units_of(self.instance))
        else:
            self.initial.setdefault("rule", {"rule": "proportional"})
        self.initial.update(options_in_fields(self.instance.participants))

    # ------------------------------------------------------------------------------------------------------- checked

    def clean(self) -> None:
        super().clean()
        given = self.cleaned_data
        currency = given.get("currency") or (self.instance.currency if self.instance.currency_id else None)
        if currency is None:
            return
        self._clean_units(currency)
        if "rule" in given:
            try:
                checked_rule(given["rule"], currency.decimals)
            except RuleRefused as refused:
                self.add_error("rule", refused)
        self.instance.participants = participants_in_fields(given)

    def _clean_units(self, currency: Currency) -> None:
        for field, name in (("amount_units", "amount"), ("approval_units", "approval_limit")):
            try:
                setattr(self.instance, name, minor_units(self.cleaned_data.get(field, ""), currency.decimals))
            except forms.ValidationError as error:
                self.add_error(field, error)

    def _post_clean(self) -> None:
        """What the campaign as a whole lacks, each at its field."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors or not self.instance.currency_id:
            return
        try:
            check_campaign(self.instance)
        except CampaignInvalid as error:
            for name, sentence in error.facts["errors"].items():
                self._put(name, sentence)

    def _put(self, name: str, sentence: str) -> None:
        found = PATH.fullmatch(sentence)
        if name == "rule" and found:
            self.add_error("rule", RuleRefused(RuleError(*found.groups())))
            return
        field = {
            "amount": "amount_units",
            "approval_limit": "approval_units",
            "participants": field_of_options(self.cleaned_data["participants_source"]),
        }.get(name, name)
        self.add_error(field if field in self.fields else None, as_sentence(sentence))


# -------------------------------------------------------------------------------------------- between rows and fields


def units_of(campaign: Campaign) -> dict[str, str]:
    """Its amounts as they stand in the form."""
    decimals = campaign.currency.decimals
    amounts = {"amount_units": campaign.amount, "approval_units": campaign.approval_limit}
    return {field: "" if minor is None else to_units(minor, decimals) for field, minor in amounts.items()}


def options_in_fields(participants: dict[str, Any]) -> dict[str, Any]:
    """What `participants` says, by the fields that say it."""
    source, month = participants.get("source", UPLOAD), participants.get("month", "")
    shown: dict[str, Any] = {"participants_source": source, "period": PREVIOUS}
    if source == COUNTER:
        certain = month not in ("", PREVIOUS)
        shown |= {
            "metric": participants.get("metric"),
            "period": A_MONTH if certain else month,
            "month": month if certain else "",
        }
    elif source == HOLDERS:
        shown["held"] = Currency.objects.filter(code=participants.get("currency")).first()
    elif source != UPLOAD:
        shown["source_options"] = {name: value for name, value in participants.items() if name != "source"}
    return shown


def participants_in_fields(given: dict[str, Any]) -> dict[str, Any]:
    """The other way round."""
    source = given.get("participants_source", UPLOAD)
    if source == UPLOAD:
        return {"source": source}
    if source == COUNTER:
        period = given.get("period", "")
        month = given.get("month", "").strip() if period == A_MONTH else period
        return {"source": source, "metric": given.get("metric", "").strip(), "month": month}
    if source == HOLDERS:
        held = given.get("held")
        return {"source": source, "currency": held.code if held else ""}
    options = given.get("source_options")
    return {**(options if isinstance(options, dict) else {}), "source": source}


def field_of_options(source: str) -> str:
    """Where the mistake in the options of a source is shown."""
    return {UPLOAD: "participants_source", COUNTER: "metric", HOLDERS: "held"}.get(source, "source_options")


def paying_accounts(chosen: str) -> list[str]:
    """Codes of the system accounts that may pay, the usual ones first."""
    standing = Account.objects.filter(user=None).exclude(code=BURN).order_by("code").values_list("code", flat=True)
    return list(dict.fromkeys([ISSUANCE, TREASURY, *filter(None, [chosen]), *standing.distinct()[:MOST_ACCOUNTS]]))


def as_sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
