"""Charts: what they show as plain data, and the options that make the axes readable in light and dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# One grey that can be read on white and on near-black: the canvas does not know the theme.
AXIS_COLOUR = "#78828f"
COLOURS = ["#2563eb", "#0d9488", "#d97706", "#9333ea", "#db2777", "#65a30d", "#0891b2", "#dc2626"]
LOGARITHMIC_FROM_RATIO = 50


@dataclass(frozen=True)
class Chart:
    """`data` and `options` are what Chart.js takes, as JSON; `summary` says the same in a sentence."""

    kind: str
    data: str
    options: str
    summary: str
    empty: bool


def bar_chart(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    x_title: str,
    y_title: str,
    summary: str,
    stacked: bool = False,
) -> Chart:
    """Bars: one value a label in each of the named series. Values are in currency units."""
    datasets = [
        {"label": name, "data": list(values), "backgroundColor": colour, "maxBarThickness": 46, "borderRadius": 3}
        for (name, values), colour in zip(series.items(), _colours(), strict=False)
    ]
    return _chart("bar", labels, datasets, x_title, y_title, summary, stacked=stacked)


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
            "borderDash": [6, 4] if number else [],
        }
        for number, ((name, values), colour) in enumerate(zip(series.items(), _colours(), strict=False))
    ]
    every_value = [value for values in series.values() for value in values]
    return _chart("line", labels, datasets, x_title, y_title, summary, logarithmic=_wide(every_value))


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
    return Chart(kind, json.dumps(data), json.dumps(options), summary, empty=not any(d["data"] for d in datasets))


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
