"""Where everything in the picture of a chart lies: panels below each other, and what a value is in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tracelab.views.chart import Axis, Bars, Cells, Chart, Floats, Layer, Line, Panel, Points, RowBars, Spans
from tracelab.views.rate_picture import CHAR, ticks

WIDTH, LEGEND = 1000, 190
TOP, ROW, HEIGHT = 26, 22, 190  #: above the first panel, of a row, of a panel without rows
AXIS, BETWEEN = 38, 24  #: below a panel with the names of its x axis, above one
MAX_NAME = 24  #: characters of a row's name


@dataclass(frozen=True)
class Scale:
    """Values of an axis as pixels."""

    axis: Axis
    low: float
    high: float
    first: float  #: where `low` lies, px
    last: float

    def at(self, values: Floats | float) -> Floats:
        """Pixels of values, those beyond the ends at the ends; NaN stays."""
        given = np.asarray(values, float)
        low, high = self.low, self.high
        if self.axis.log:
            given, low, high = np.log10(np.maximum(given, self.low)), math.log10(low), math.log10(high)
        place: Floats = np.clip((given - low) / (high - low), 0, 1) * (self.last - self.first) + self.first
        return place

    def ticks(self) -> list[float]:
        """Round values between the ends."""
        if self.axis.log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            found = [10.0**p for p in powers]
            room = max(2, int(abs(self.last - self.first) / (70 if self.last > self.first else 32)))
            return found[:: -(-len(found) // room)] if found else [self.low, self.high]
        wanted = max(2, int(abs(self.last - self.first) / (100 if self.last > self.first else 40)))
        step = ticks(self.high - self.low, wanted)[1]
        count = math.floor(self.high / step + 1e-9) - math.ceil(self.low / step - 1e-9) + 1
        return [round((math.ceil(self.low / step - 1e-9) + i) * step, 12) for i in range(count)]


@dataclass(frozen=True)
class Place:
    """A panel in the picture."""

    panel: Panel
    left: float
    top: float
    width: float
    height: float
    x: Scale
    y: Scale
    names_x: bool  #: whether the x axis has its numbers here

    @property
    def base(self) -> float:
        """Lower edge, px."""
        return self.top + self.height

    def row(self, number: int) -> tuple[float, float]:
        """Upper edge and height of a row, px."""
        height = self.height / max(1, len(self.panel.rows))
        return self.top + number * height + 2, height - 4


def placed(chart: Chart) -> list[Place]:
    """The panels of a chart, top to bottom."""
    longest = max((min(len(name), MAX_NAME) for p in chart.panels for name in p.rows), default=0)
    left = max(84.0, 14 + longest * CHAR)
    width = WIDTH - left - LEGEND
    bounds = [_x_bounds(chart, panel) for panel in chart.panels]
    together = min(b[0] for b in bounds), max(b[1] for b in bounds)
    found, top = [], float(TOP)
    for i, (panel, own) in enumerate(zip(chart.panels, bounds, strict=True)):
        names_x = not chart.shared or i == len(chart.panels) - 1
        top += BETWEEN
        height = float(panel.height or (ROW * len(panel.rows) if panel.rows else HEIGHT))
        low, high = together if chart.shared else own
        x = Scale(chart.panels[0].x if chart.shared else panel.x, low, high, left, left + width)
        y_low, y_high = _y_bounds(panel)
        y = Scale(panel.y, y_low, y_high, top + height, top)
        found.append(Place(panel, left, top, width, height, x, y, names_x))
        top += height + (AXIS if names_x else 0)
    return found


def stacked(panel: Panel) -> dict[int, tuple[Floats, Floats]]:
    """Lower and upper edge of the bars, by number of the layer."""
    found: dict[int, tuple[Floats, Floats]] = {}
    below: Floats | None = None
    for i, layer in enumerate(panel.layers):
        if isinstance(layer, Bars):
            start = below if panel.stacked and below is not None else np.zeros(len(layer.y))
            found[i] = start, start + layer.y
            below = start + np.nan_to_num(layer.y)
    return found


def _x_bounds(chart: Chart, panel: Panel) -> tuple[float, float]:
    values: list[Floats] = []
    for layer in panel.layers:
        values += _x_values(layer)
    if chart.shared:
        values += [np.array([band.start, band.end]) for band in chart.bands]
    zero = any(isinstance(layer, RowBars) for layer in panel.layers)
    return _bounds(chart.panels[0].x if chart.shared else panel.x, values, zero=zero)


def _x_values(layer: Layer) -> list[Floats]:
    if isinstance(layer, (Bars, Spans)):
        return [layer.start, layer.end]
    return [layer.values] if isinstance(layer, RowBars) else [layer.x]


def _y_bounds(panel: Panel) -> tuple[float, float]:
    values: list[Floats] = [upper for _, upper in stacked(panel).values()]
    values += [layer.y for layer in panel.layers if isinstance(layer, (Line, Points, Cells))]
    cells = any(isinstance(layer, Cells) for layer in panel.layers)
    low, high = _bounds(panel.y, values, zero=not panel.y.log and not cells)
    if panel.y.log and not cells:
        return (low / 1.3 if panel.y.low is None else low), (high * 1.3 if panel.y.high is None else high)
    if panel.y.high is not None or cells:
        return low, high
    return low, float(ticks(high)[-1]) if low >= 0 else high


def _bounds(axis: Axis, values: list[Floats], *, zero: bool) -> tuple[float, float]:
    known = np.concatenate([np.ravel(v) for v in values]) if values else np.empty(0)
    known = known[np.isfinite(known) & ((known > 0) | (not axis.log))]
    low, high = (float(known.min()), float(known.max())) if len(known) else (1.0, 10.0) if axis.log else (0.0, 1.0)
    low = min(low, 0.0) if zero else low
    low, high = low if axis.low is None else axis.low, high if axis.high is None else axis.high
    return (low, high) if high > low else (low / 2, low * 2) if axis.log else (low, low + 1)
