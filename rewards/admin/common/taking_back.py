"""What taking something back asks and shows: who has spent it, and what becomes of what is missing."""

from __future__ import annotations

from django import forms
from unfold.widgets import UnfoldAdminRadioSelectWidget

from rewards.admin.common.confirm import ReasonForm
from rewards.admin.common.display import amount, grouped, units
from rewards.admin.common.tables import Table
from rewards.ledger.debts import LEND, REFUSE, Clawback
from rewards.ledger.models import WRITE_OFF, Currency

CHOICES = {REFUSE: "Refuse", LEND: "Lend it to them", WRITE_OFF: "Write it off"}


class ReverseForm(ReasonForm):
    missing = forms.ChoiceField(
        label="What to do about what is missing",
        choices=list(CHOICES.items()),
        initial=REFUSE,
        required=False,
        widget=UnfoldAdminRadioSelectWidget(),
        help_text="Refused, nothing is taken back from anybody. Lent, it becomes their debt, which they repay later. "
        "Written off, it is given up and nobody owes anything.",
    )


def figures_of(found: Clawback, currency: Currency) -> list[tuple[str, str, str]]:
    return [
        ("Recipients", grouped(found.recipients), f"{grouped(found.already_reversed)} reversed already"),
        ("Goes back", amount(found.total, currency), "to the source"),
        ("Have spent it", grouped(found.short), "would go below zero"),
        ("Missing", amount(found.missing_total, currency), "to be lent or written off"),
    ]


def short_table(found: Clawback, currency: Currency) -> Table:
    """Who lacks how much of what he would give back."""
    columns = ["User", f"Would give back ({currency.code})", f"Has ({currency.code})", f"Missing ({currency.code})"]
    rows = [
        (each.user, units(each.amount, currency), units(each.balance, currency), units(each.missing, currency))
        for each in found.rows
    ]
    return Table(columns, rows, frozenset(columns[1:]), "Everybody still has what would be taken back.")
