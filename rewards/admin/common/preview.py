"""What a rule would pay, as pages show it: for distributions and for campaigns."""

from __future__ import annotations

from typing import Any

from rewards.admin.common.charts import Chart, curve_chart
from rewards.admin.common.display import amount, grouped, signed_units, units
from rewards.admin.common.tables import Table
from rewards.allocation.figures import curve_places, decimal_text
from rewards.distributions.preview import Changes, Comparison, Preview

QUANTILE_WORDS = {"min": "Least", "50": "Half", "max": "Most"}


def context_of(shown: Preview, comparison: Comparison | None = None) -> dict[str, Any]:
    """What `admin/preview_result.html` shows: figures, curve, slices, first places; with a comparison who gains."""
    code = shown.currency.code
    context: dict[str, Any] = {
        "preview": shown,
        "preview_figures": _figures(shown),
        "preview_quantiles": _quantiles(shown),
        "preview_curve": _curve(shown, comparison.before if comparison else None),
        "preview_slices": _slices(shown),
        "preview_best": _best(shown),
    }
    if comparison is not None:
        context |= {
            "comparison": comparison,
            "comparison_figures": [
                ("Gain", grouped(comparison.gaining.count), f"{_signed(comparison.gaining, shown)} {code} in all"),
                ("Lose", grouped(comparison.losing.count), f"{_signed(comparison.losing, shown)} {code} in all"),
                ("Get the same", grouped(comparison.unchanged), ""),
            ],
            "gaining": _changes(comparison.gaining, shown, "Nobody gains."),
            "losing": _changes(comparison.losing, shown, "Nobody loses."),
        }
    return context


def _figures(shown: Preview) -> list[tuple[str, str, str]]:
    figures, currency = shown.figures, shown.currency
    return [
        ("Would pay", amount(figures.total, currency), f"of {amount(shown.amount, currency)}"),
        ("Left over", amount(shown.unpaid, currency), "stays unpaid"),
        ("Recipients", grouped(figures.recipients), f"of {grouped(shown.participants)} participants"),
        ("Top 1%", _percent(decimal_text(figures.top_1_percent * 100, 2)), "of the total"),
        ("Top 10%", _percent(decimal_text(figures.top_10_percent * 100, 2)), "of the total"),
        ("Gini", decimal_text(figures.gini), "0: all get the same"),
    ]


def _percent(number: str) -> str:
    return f"{number}%"


def _quantiles(shown: Preview) -> Table:
    code = shown.currency.code
    columns = ["Recipients", f"Get at most ({code})"]
    rows = [
        (QUANTILE_WORDS.get(name, f"{name}%"), units(minor, shown.currency))
        for name, minor in shown.figures.quantiles.items()
    ]
    return Table(columns, rows if shown.figures.recipients else [], frozenset(columns[1:]), "Nobody would be paid.")


def _slices(shown: Preview) -> Table:
    code = shown.currency.code
    columns = ["Slice", "Members", f"Given ({code})", f"Paid ({code})"]
    rows = [
        (part.name, grouped(part.members), units(part.amount, shown.currency), units(part.paid, shown.currency))
        for part in shown.slices
    ]
    return Table(columns, rows, frozenset(columns[1:]))


def _best(shown: Preview) -> Table:
    columns = ["Place", "User", "Score", f"Amount ({shown.currency.code})"]
    rows = [
        (grouped(place.position), place.user, place.score, units(place.amount, shown.currency)) for place in shown.best
    ]
    return Table(columns, rows, frozenset({"Place", "Score", columns[3]}), "Nobody takes part.")


def _changes(changes: Changes, shown: Preview, empty: str) -> Table:
    currency = shown.currency
    columns = ["User", f"Before ({currency.code})", f"After ({currency.code})", "Difference"]
    rows = [
        (each.user, units(each.before, currency), units(each.after, currency), signed_units(each.difference, currency))
        for each in changes.largest
    ]
    return Table(columns, rows, frozenset(columns[1:]), empty)


def _signed(changes: Changes, shown: Preview) -> str:
    return signed_units(changes.sum, shown.currency)


def _curve(shown: Preview, before: Preview | None) -> Chart | None:
    """Both curves over the places of the longer ranking; who has no place there gets nothing."""
    lasts = [each.participants for each in (shown, before) if each is not None]
    places = curve_places(max(lasts))
    if not places:
        return None
    series = {"By this rule": _payouts(shown, places)}
    if before is not None:
        series["As it is"] = _payouts(before, places)
    first, last = shown.curve[0] if shown.curve else (1, 0), shown.curve[-1] if shown.curve else (1, 0)
    return curve_chart(
        [grouped(place) for place in places],
        series,
        x_title="Place (closer together at the top)",
        y_title=f"Payout ({shown.currency.code})",
        summary=f"The first place would get {amount(first[1], shown.currency)}, place {grouped(last[0])} "
        f"would get {amount(last[1], shown.currency)}.",
    )


def _payouts(shown: Preview, places: list[int]) -> list[float]:
    last, decimals = shown.participants, shown.currency.decimals
    return [int(shown.amounts[place - 1]) / 10**decimals if place <= last else 0.0 for place in places]
