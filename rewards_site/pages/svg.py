"""A curve drawn by the server: coordinates for `pages/curve.html`, which is plain SVG and says the same in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 14, 44
LOGARITHMIC_FROM_RATIO = 50
TICKS = 4


@dataclass(frozen=True)
class Tick:
    """A labelled line of the grid, at a coordinate of the drawing."""

    at: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Curve:
    """What the template draws. `line`, `area` and `reference` are paths; a single point is a dot."""

    title: str
    summary: str
    x_title: str
    y_title: str
    line: str
    area: str
    reference: str
    dots: list[tuple[float, float]]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    mark: tuple[float, float] | None
    logarithmic: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def curve(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    summary: str,
    x_title: str,
    y_title: str,
    shown_x: Callable[[float], str] = lambda value: f"{value:,.0f}",
    shown_y: Callable[[float], str] = lambda value: f"{value:,.0f}",
    mark: tuple[float, float] | None = None,
    reference: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Curve | None:
    """A curve through points (in the order of x), with `mark` told apart, such as the reader's own; None for no points.

    `reference` is a straight line to compare it with, dashed: where that begins and ends.

    An axis is logarithmic when its values are all above zero and differ by more than fifty times; `shown_…` write a
    value of it.
    """
    if not points:
        return None
    across = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT, from_zero=False)
    up = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP, from_zero=True)
    places = [(across.place(x), up.place(y)) for x, y in points]
    line, bottom = _path(places), HEIGHT - BOTTOM
    x_ticks = [Tick(across.place(value), shown_x(value)) for value in across.ticks(whole=True)]
    return Curve(
        title=title,
        summary=summary,
        x_title=x_title,
        y_title=y_title,
        line=line,
        area=_path([(places[0][0], bottom), *places, (places[-1][0], bottom)]) + " Z",
        reference=_path([(across.place(x), up.place(y)) for x, y in reference]) if reference else "",
        dots=places if len(places) == 1 else [],
        x_ticks=[Tick(tick.at, tick.label, _anchor(tick.at)) for tick in x_ticks],
        y_ticks=[Tick(up.place(value), shown_y(value)) for value in up.ticks()],
        mark=(across.place(mark[0]), up.place(mark[1])) if mark else None,
        logarithmic=up.logarithmic or across.logarithmic,
    )


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x:g} {y:g}" for x, y in places)


def _anchor(at: float) -> str:
    """A label at the edge of the drawing grows inwards."""
    return "end" if at > WIDTH - RIGHT - 20 else "middle"


class _Axis:
    """Values on a line from one coordinate to another."""

    def __init__(self, values: Sequence[float], first: float, last: float, *, from_zero: bool) -> None:
        self.first, self.last = first, last
        self.low, self.high = min(values), max(values)
        self.logarithmic = self.low > 0 and self.high > LOGARITHMIC_FROM_RATIO * self.low
        if from_zero and not self.logarithmic:
            self.low = min(0.0, self.low)

    def place(self, value: float) -> float:
        low, high, value = self.low, self.high, max(self.low, min(self.high, value))
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.first + share * (self.last - self.first), 1)

    def ticks(self, *, whole: bool = False) -> list[float]:
        """Round values: powers of ten on a logarithmic axis, else steps of 1, 2 or 5 times one."""
        if self.high == self.low:
            return [self.low]
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            every = max(1, math.ceil(len(powers) / (TICKS + 1)))
            return [10.0**power for power in powers[::every]] or [self.low, self.high]
        rough = (self.high - self.low) / TICKS
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * each for each in (1, 2, 5, 10) if size * each >= rough - 1e-12)
        step = max(step, 1.0) if whole else step
        start = math.ceil(self.low / step - 1e-9)
        return [step * number for number in range(start, math.floor(self.high / step + 1e-9) + 1)]
