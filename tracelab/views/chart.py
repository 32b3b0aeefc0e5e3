"""What a chart shows, told once: panels with axes and layers; chart_figure.py and chart_picture.py draw it.

A view of its own is then one function from a table to a Chart:

    chart = Chart("CPU time", (Panel(SECONDS, Axis("CPUs"), (Bars("user", start, end, cpus),)),))
    return ChartView(table, chart)

Values are plain arrays; a NaN is something that was not recorded, and is drawn as a gap. Names and texts may be
recorded ones: whoever draws them escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tracelab.views import palette
from tracelab.views.wording import amount, digits, percent, short

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LOST, NOT_RECORDED = "lost", "not recorded"  #: kinds of bands
#: from few to many, on light and on dark pages: away from the page's colour, told apart by lightness alone
HEAT = {
    "light": ("#fdd9a8", "#fdbb84", "#fc8d59", "#ef6548", "#d7301f", "#a90c0c", "#6e0000"),
    "dark": ("#5a2a1c", "#7d3520", "#a84526", "#d05f2f", "#ee8a4a", "#fbb877", "#ffe6bf"),
}


@dataclass(frozen=True)
class Axis:
    """What one direction of a panel means."""

    title: str  #: with the unit in words, if the numbers do not carry theirs: "events per second"
    unit: str = ""  #: ns and bytes get the largest unit that fits, share becomes per cent
    log: bool = False
    low: float | None = None  #: where the axis begins and ends; None for what the layers need
    high: float | None = None

    def words(self, value: float) -> str:
        """A value as it is read out.

        >>> Axis("time", "s").words(1.5), Axis("latency", "ns").words(2500), Axis("", "share").words(0.5)
        ('1.5 s', '2.50 µs', '50 %')
        """
        if self.unit == "share":
            return percent(value)
        if self.unit == "s":
            return f"{value:.7g} s"
        return amount(value, self.unit) if self.unit else digits(value)

    def tick(self, value: float) -> str:
        """A value as it stands beside the axis."""
        if self.unit in ("ns", "bytes", "share"):
            return self.words(value)
        return f"{value:.7g}" if self.unit == "s" else short(value)


SECONDS = Axis("seconds since the session began", "s")


@dataclass(frozen=True, eq=False)
class Line:
    """Values at moments; with `steps` each holds until the next."""

    name: str
    x: Floats
    y: Floats
    steps: bool = False
    colour: str = ""  #: of palette.SERIES in turn, unless it is given


@dataclass(frozen=True, eq=False)
class Bars:
    """Values of bins; they touch each other, and those of a stacked panel stand on those before."""

    name: str
    start: Floats
    end: Floats
    y: Floats
    colour: str = ""


@dataclass(frozen=True, eq=False)
class Points:
    """Single values, each with what is read out of it."""

    name: str
    x: Floats
    y: Floats
    texts: tuple[str, ...] = ()
    colour: str = ""


@dataclass(frozen=True, eq=False)
class Cells:
    """A heat map: numbers by column and row; 0 and NaN are left empty."""

    name: str  #: what is counted
    x: Floats  #: edges of the columns
    y: Floats  #: edges of the rows
    values: Floats  #: shape (rows, columns)


@dataclass(frozen=True, eq=False)
class Spans:
    """Boxes on the rows of a panel: who had a CPU, which state a thread was in."""

    row: Ints  #: number of the panel's row
    start: Floats
    end: Floats
    group: Ints  #: number of the group, which has a colour
    groups: tuple[str, ...]
    texts: tuple[str, ...] = ()  #: what is read out of each; its group and times without


@dataclass(frozen=True, eq=False)
class RowBars:
    """One bar per row of a panel, from left to right."""

    name: str
    values: Floats
    colour: str = ""


Layer: TypeAlias = "Line | Bars | Points | Cells | Spans | RowBars"


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes with what is drawn between them."""

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    title: str = ""
    stacked: bool = False  #: Bars stand on each other; they have the same bins
    rows: tuple[str, ...] = ()  #: names of the rows, top to bottom, instead of numbers upwards
    height: int = 0  #: pixels; 0 for what fits


@dataclass(frozen=True)
class Band:
    """Time that is not like the rest: events were lost, or nothing was recorded."""

    start: float
    end: float
    kind: str = NOT_RECORDED
    text: str = ""  #: "lost 40"; the kind without


@dataclass(frozen=True)
class Mark:
    """Something to know about a moment, or about a time."""

    x: float
    text: str
    until: float | None = None


@dataclass(frozen=True, eq=False)
class Chart:
    """One or more panels under a title, with what must be said below."""

    title: str
    panels: tuple[Panel, ...]
    notes: tuple[str, ...] = ()
    bands: tuple[Band, ...] = ()  #: over all panels, which are of time then
    marks: tuple[Mark, ...] = ()
    shared: bool = True  #: the panels have the x axis of the first
    empty: str = "nothing to show in this selection"


def empty(layer: Layer) -> bool:
    """Whether a layer has nothing to draw."""
    if isinstance(layer, Cells):
        return not np.nan_to_num(layer.values).any()
    numbers = {Line: "y", Bars: "y", Points: "y", Spans: "start", RowBars: "values"}
    values: Floats = getattr(layer, numbers[type(layer)])
    return not np.isfinite(values).any()


def names_of(layer: Layer) -> tuple[str, ...]:
    """The names in the legend that a layer has."""
    if isinstance(layer, Spans):
        return layer.groups
    return () if isinstance(layer, (Cells, RowBars)) else (layer.name,)


def colours_of(chart: Chart) -> dict[str, str]:
    """The colour of each name in the legend, the same in all panels; what comes after the last colour is grey."""
    found: dict[str, str] = {}
    for panel in chart.panels:
        for layer in panel.layers:
            for name in names_of(layer):
                free = [c for c in palette.SERIES if c not in found.values()]
                given = "" if isinstance(layer, (Spans, Cells)) else layer.colour
                grey = not free or name.startswith("other")
                found.setdefault(name, given or (palette.OTHER if grey else free[0]))
    return found
