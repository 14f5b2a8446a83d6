"""What a rule would pay, as pages show it: for distributions and for campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rewards.admin.common.charts import Chart, bar_chart, curve_chart
from rewards.admin.common.display import amount, grouped, signed_units, units
from rewards.admin.common.tables import Table
from rewards.allocation.figures import curve_places, decimal_text, gini, lorenz
from rewards.distributions.preview import Changes, Comparison, Preview

QUANTILE_WORDS = {"min": "Least", "50": "Half", "max": "Most"}
CHANGES_LISTED = 10
NOW, EDITED, EQUALITY = "Now", "As edited", "All the same"


def context_of(shown: Preview, comparison: Comparison | None = None) -> dict[str, Any]:
    """What `admin/preview_result.html` shows: figures, curves, slices, first places; with a comparison who gains."""
    before = comparison.before if comparison else None
    context: dict[str, Any] = {
        "preview": shown,
        "preview_figures": _figures(shown),
        "preview_quantiles": _quantiles(shown),
        "preview_curve": _curve(shown, before),
        "preview_lorenz": lorenz_of(shown, before),
        "preview_slices": _slices(shown),
        "preview_best": _best(shown),
    }
    if comparison is not None:
        code = shown.currency.code
        context |= {
            "comparison": comparison,
            "side_by_side": side_by_side(comparison),
            "comparison_figures": [
                ("▲ Gain", grouped(comparison.gaining.count), f"{_signed(comparison.gaining, shown)} {code} in all"),
                ("▼ Lose", grouped(comparison.losing.count), f"{_signed(comparison.losing, shown)} {code} in all"),
                ("Get the same", grouped(comparison.unchanged), ""),
            ],
            "changes_chart": _changes_chart(comparison),
            "gaining": _changes(comparison.gaining, shown, "Nobody gains."),
            "losing": _changes(comparison.losing, shown, "Nobody loses."),
        }
    return context


def side_by_side(comparison: Comparison) -> Table:
    """The figures of both rules, and by how much the second ones are more or less."""
    before, after = comparison.before, comparison.after
    currency = after.currency
    was, would_be = before.figures, after.figures

    def money(name: str, one: int, other: int) -> tuple[str, ...]:
        return (
            f"{name} ({currency.code})", units(one, currency), units(other, currency),
            with_arrow(signed_units(other - one, currency), other - one),
        )  # fmt: skip

    def share(name: str, one: Fraction, other: Fraction, places: int = 3) -> tuple[str, ...]:
        difference = other - one
        sign = "+" if difference > 0 else "−" if difference < 0 else ""
        return (
            name, decimal_text(one, places), decimal_text(other, places),
            with_arrow(f"{sign}{decimal_text(abs(difference), places)}", difference),
        )  # fmt: skip

    count = would_be.recipients - was.recipients
    signed = f"{'+' if count > 0 else '−' if count < 0 else ''}{grouped(abs(count))}"
    rows = [
        ("Recipients", grouped(was.recipients), grouped(would_be.recipients), with_arrow(signed, count)),
        money("Paid", was.total, would_be.total),
        money("Carried over", before.unpaid, after.unpaid),
        money("Median of the recipients", was.quantiles["50"], would_be.quantiles["50"]),
        share("Top 1% gets (%)", was.top_1_percent * 100, would_be.top_1_percent * 100, 2),
        share("Top 10% gets (%)", was.top_10_percent * 100, would_be.top_10_percent * 100, 2),
        share("Gini of the recipients", was.gini, would_be.gini),
        share("Gini of all participants", gini(before.amounts), gini(after.amounts)),
    ]
    return Table(["Figure", NOW, EDITED, "Difference"], rows, frozenset({NOW, EDITED, "Difference"}))


def with_arrow(text: str, difference: int | Fraction) -> str:
    """More or less, so that it is told by more than a colour."""
    return f"▲ {text}" if difference > 0 else f"▼ {text}" if difference < 0 else "same"


# -------------------------------------------------------------------------------------------------------- Lorenz curves


def lorenz_of(shown: Preview, before: Preview | None = None) -> Chart | None:
    """How evenly it is spread over all participants, beside how it is now; nothing where nothing is paid."""
    curves = {EDITED if before else "Payout": lorenz(shown.amounts)}
    summary = evenness_in_words(curves[EDITED if before else "Payout"], gini(shown.amounts))
    if before is not None:
        curves[NOW] = lorenz(before.amounts)
        summary = f"As edited: {summary} Now: {evenness_in_words(curves[NOW], gini(before.amounts))}"
    return lorenz_chart(curves, summary)


def lorenz_chart(curves: dict[str, list[Fraction]], summary: str) -> Chart | None:
    """The curves, in as many steps, beside the line on which all get the same. Those without points are left out."""
    drawn = {name: [round(float(share) * 100, 2) for share in curve] for name, curve in curves.items() if curve}
    if not drawn:
        return None
    steps = len(next(iter(drawn.values()))) - 1
    percents = [100 * point / steps for point in range(steps + 1)]
    return curve_chart(
        [f"{percent:g}%" for percent in percents],
        drawn | {EQUALITY: percents},
        x_title="Participants, who gets least first",
        y_title="Part of what is paid (%)",
        summary=summary,
    )


def evenness_in_words(curve: Sequence[Fraction], index: Fraction) -> str:
    """`The half that gets least gets 12.50% of it, the tenth that gets most 41.00%; Gini 0.425.`"""
    if not curve:
        return "Nothing is paid."
    half, top = curve[len(curve) // 2], 1 - curve[(len(curve) - 1) * 9 // 10]
    return (
        f"The half that gets least gets {_percent(decimal_text(half * 100, 2))} of it, the tenth that gets most "
        f"{_percent(decimal_text(top * 100, 2))}; Gini {decimal_text(index, 3)} (0: all get the same, 1: one gets all)."
    )


# ------------------------------------------------------------------------------------------------------ figures, tables


def _figures(shown: Preview) -> list[tuple[str, str, str]]:
    figures, currency = shown.figures, shown.currency
    return [
        ("Would pay", amount(figures.total, currency), f"of {amount(shown.amount, currency)}"),
        ("Left over", amount(shown.unpaid, currency), "stays unpaid"),
        ("Recipients", grouped(figures.recipients), f"of {grouped(shown.participants)} participants"),
        ("Top 1%", _percent(decimal_text(figures.top_1_percent * 100, 2)), "of the total"),
        ("Top 10%", _percent(decimal_text(figures.top_10_percent * 100, 2)), "of the total"),
        ("Gini", decimal_text(figures.gini, 3), "of the recipients; 0: all get the same"),
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
        (
            each.user, units(each.before, currency), units(each.after, currency),
            with_arrow(signed_units(each.difference, currency), each.difference),
        )
        for each in changes.largest[:CHANGES_LISTED]
    ]  # fmt: skip
    return Table(columns, rows, frozenset(columns[1:]), empty)


def _changes_chart(comparison: Comparison) -> Chart | None:
    """Those who gain most, and those who lose most, as bars up and down."""
    currency = comparison.after.currency
    most = [*comparison.gaining.largest[:CHANGES_LISTED], *reversed(comparison.losing.largest[:CHANGES_LISTED])]
    if not most:
        return None
    differences = [each.difference / 10**currency.decimals for each in most]
    return bar_chart(
        [each.user for each in most],
        {
            "▲ Gains": [max(difference, 0) for difference in differences],
            "▼ Loses": [min(difference, 0) for difference in differences],
        },
        x_title="Who gains most, who loses most",
        y_title=f"Difference ({currency.code})",
        summary=f"{grouped(comparison.gaining.count)} gain {_signed(comparison.gaining, comparison.after)}, "
        f"{grouped(comparison.losing.count)} lose {_signed(comparison.losing, comparison.after)} {currency.code} "
        "in all; those of the largest differences are shown.",
        stacked=True,
    )


def _signed(changes: Changes, shown: Preview) -> str:
    return signed_units(changes.sum, shown.currency)


def _curve(shown: Preview, before: Preview | None) -> Chart | None:
    """Both curves over the places of the longer ranking; who has no place there gets nothing."""
    lasts = [each.participants for each in (shown, before) if each is not None]
    places = curve_places(max(lasts))
    if not places:
        return None
    series = {EDITED if before else "Payout": _payouts(shown, places)}
    if before is not None:
        series[NOW] = _payouts(before, places)
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
