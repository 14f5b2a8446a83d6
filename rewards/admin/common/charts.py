"""Charts: what they show as plain data, and the options that make the axes readable in light and dark."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.admin.common.tables import Table

# One grey that can be read on white and on near-black: the canvas does not know the theme.
AXIS_COLOUR = "#78828f"
COLOURS = ["#2563eb", "#0d9488", "#d97706", "#9333ea", "#db2777", "#65a30d", "#0891b2", "#dc2626"]
DASHES: list[list[int]] = [[], [8, 4], [2, 3]]  # lines are told apart by more than their colours
LOGARITHMIC_FROM_RATIO = 50


@dataclass(frozen=True)
class Chart:
    """`data` and `options` are what Chart.js takes, as JSON; `summary` says the same in a sentence, `table` in full."""

    kind: str
    data: str
    options: str
    summary: str
    empty: bool
    table: Table | None = None


def bar_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x_title: str,
    y_title: str,
    summary: str,
    stacked: bool = False,
    shown: Callable[[float], str] | None = None,
) -> Chart:
    """Bars: one value a label in each of the named series. Values are in currency units.

    With `shown`, which writes a value, it has a table; bars that differ much then stand on a logarithmic axis.
    """
    datasets = [
        {"label": name, "data": list(values), "backgroundColor": colour, "maxBarThickness": 46, "borderRadius": 3}
        for (name, values), colour in zip(series.items(), _colours(), strict=False)
    ]
    logarithmic = shown is not None and not stacked and _wide([value for values in series.values() for value in values])
    table = value_table(labels, series, x_title, shown) if shown else None
    return _chart(
        "bar", labels, datasets, x_title, y_title, summary, stacked=stacked, logarithmic=logarithmic, table=table
    )


def curve_chart(
    labels: Sequence[str], series: Mapping[str, Sequence[float]], *, x_title: str, y_title: str, summary: str
) -> Chart:
    """Lines over labels, the first one filled, on a logarithmic axis when the values differ much."""
    datasets = [
        {
            "label": name,
            "data": list(values),
            "borderColor": colour,
            "backgroundColor": colour + "22",
            "borderWidth": 2,
            "pointRadius": 2,
            "fill": not number,
            "borderDash": DASHES[min(number, len(DASHES) - 1)],
        }
        for number, ((name, values), colour) in enumerate(zip(series.items(), _colours(), strict=False))
    ]
    every_value = [value for values in series.values() for value in values]
    return _chart("line", labels, datasets, x_title, y_title, summary, logarithmic=_wide(every_value))


def time_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    x_title: str,
    y_title: str,
    summary: str,
    shown: Callable[[float], str],
) -> Chart:
    """Lines over time, each with dashes of its own so that colour is not all that tells them apart; None is a gap."""
    datasets = [
        {
            "label": name,
            "data": list(values),
            "borderColor": colour,
            "backgroundColor": colour,
            "borderWidth": 2,
            "borderDash": [6, 4] if number % 2 else [],
            "pointRadius": 1,
            "stepped": True,
        }
        for number, ((name, values), colour) in enumerate(zip(series.items(), _colours(), strict=False))
    ]
    table = value_table(labels, series, x_title, shown)
    return _chart("line", labels, datasets, x_title, y_title, summary, table=table)


def value_table(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    first: str,
    shown: Callable[[float], str],
) -> Table:
    """What a chart draws, newest or last first: a row a label, a column a series."""
    rows = [
        (label, *("–" if value is None else shown(value) for value in values))
        for label, *values in zip(labels, *series.values(), strict=True)
    ]
    return Table([first, *series], rows[::-1], frozenset(series))


def _chart(
    kind: str,
    labels: Sequence[str],
    datasets: list[dict[str, Any]],
    x_title: str,
    y_title: str,
    summary: str,
    *,
    stacked: bool = False,
    logarithmic: bool = False,
    table: Table | None = None,
) -> Chart:
    y_axis = _axis(y_title) | {"beginAtZero": True, "stacked": stacked}
    if logarithmic:
        y_axis["type"] = "logarithmic"
    options = {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {
                "display": len(datasets) > 1,
                "align": "start",
                "labels": {"color": AXIS_COLOUR, "boxWidth": 12, "boxHeight": 12},
            }
        },
        "scales": {"x": _axis(x_title, grid=False) | {"stacked": stacked}, "y": y_axis},
    }
    data = {"labels": list(labels), "datasets": datasets}
    empty = not any(dataset["data"] for dataset in datasets)
    return Chart(kind, json.dumps(data), json.dumps(options), summary, empty=empty, table=table)


def _axis(title: str, *, grid: bool = True) -> dict[str, Any]:
    return {
        "title": {"display": True, "text": title, "color": AXIS_COLOUR},
        "ticks": {"color": AXIS_COLOUR, "maxRotation": 45, "autoSkip": True},
        "grid": {"display": grid, "color": AXIS_COLOUR + "33"},
        "border": {"color": AXIS_COLOUR + "66"},
    }


def _colours() -> list[str]:
    return COLOURS * 4


def _wide(values: Sequence[float]) -> bool:
    above_zero = [value for value in values if value > 0]
    return (
        len(above_zero) > 1
        and len(above_zero) == len(values)
        and max(above_zero) > (LOGARITHMIC_FROM_RATIO * min(above_zero))
    )
