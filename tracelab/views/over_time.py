"""What views of readings over time have in common: their time axis, the mean and peak of each layer, the marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tracelab.views.chart import Axis, Bars, Chart, Floats, Line, Mark, Panel
from tracelab.views.chart_figure import chart_figure
from tracelab.views.chart_reduce import reduced
from tracelab.views.chart_view import FIGURE_POINTS, ChartView
from tracelab.views.marking import LABEL, markings, marks_note
from tracelab.views.wording import digits, escaped, visible

READING_S = 1.05  #: so far are readings apart, at most; longer bins are means of several
MOST_MARKS = 200  #: of a chart; more are neither seen nor read
MARK = "#5b2a86"
NAME = 44  #: characters of a layer's name in a table
Window = tuple[float, float]


class TimeView(ChartView):
    """A chart over time; its figure has the marks of all panels at once.

    plotly draws a line through subplots one by one, and looks at all before for each: 200 marks took half a minute.
    """

    @property
    def figure(self) -> Any:
        """The chart as a plotly Figure (not a widget)."""
        figure = chart_figure(reduced(replace(self.chart, marks=()), FIGURE_POINTS))
        place = {"xref": "x", "yref": "paper"}
        shapes = [
            {
                "type": "line" if mark.until is None else "rect",
                **place,
                "x0": mark.x,
                "x1": mark.x if mark.until is None else mark.until,
                "y0": 0,
                "y1": 1,
                "line": {"color": MARK, "width": 1 if mark.until is None else 0},
                "fillcolor": MARK,
                "opacity": 1 if mark.until is None else 0.15,
            }
            for mark in self.chart.marks
        ]
        texts = [
            {"text": escaped(mark.text, LABEL), "x": mark.x, "y": 1, **place, "yshift": 14, "yanchor": "bottom"}
            | {"xanchor": "left", "showarrow": False, "font": {"color": MARK}}
            for mark in self.chart.marks
        ]
        figure.update_layout(
            shapes=[*figure.layout.shapes, *shapes], annotations=[*figure.layout.annotations, *texts]
        )
        return figure


def time_axis(window: Window) -> Axis:
    """The time of a window, all of it, also where nothing was read."""
    return Axis("seconds since the session began", "s", low=window[0], high=window[1])


def bars(name: str, time_s: Floats, values: Floats, bin_s: float, window: Window, colour: str = "") -> Bars:
    """Bins of one length that end with the window."""
    return Bars(name, time_s, np.minimum(time_s + bin_s, window[1]), values, colour)


def readings_view(
    table: pd.DataFrame,
    panels: Sequence[Panel],
    *,
    window: Window,
    marks: pd.DataFrame | None,
    title: str,
    notes: Sequence[str],
    nothing: str,
    numbers: pd.DataFrame | None = None,
) -> TimeView:
    """A view of panels over time, with the mean and peak of each layer as its numbers, unless it has others.

    A panel without layers is left out; `nothing` is said where none is left.
    """
    shown = tuple(panel for panel in panels if panel.layers)
    set_marks = markings(marks, window)
    chart = Chart(
        title,
        shown or (Panel(time_axis(window), Axis(""), ()),),
        notes=(*notes, *_means(shown), *marks_note(set_marks), *_undrawn(len(set_marks))),
        marks=tuple(Mark(mark.time_s, mark.text, mark.until_s) for mark in set_marks[:MOST_MARKS]),
        empty=nothing,
    )
    return TimeView(table, chart, numbers=means_and_peaks(shown) if numbers is None else numbers)


def means_and_peaks(panels: Sequence[Panel]) -> pd.DataFrame:
    """Mean and peak of each layer, in words, and when the peak was: panel, layer, mean, peak, at."""
    rows = []
    for panel in panels:
        for layer in panel.layers:
            if isinstance(layer, (Bars, Line)):
                time_s = layer.start if isinstance(layer, Bars) else layer.x
                peak, at = _peak(time_s, layer.y)
                when = "–" if math.isnan(at) else f"{digits(round(at, 3))} s"
                names = (visible(panel.title or panel.y.title, NAME), visible(layer.name, NAME))
                rows.append((*names, _words(panel, mean_of(layer)), _words(panel, peak), when))
    return pd.DataFrame(rows, columns=["panel", "layer", "mean", "peak", "at"])


def mean_of(layer: Bars | Line) -> float:
    """The mean of the values that are known, of bins by their length; NaN when none is."""
    known = np.isfinite(layer.y)
    if not known.any():
        return math.nan
    lengths = (layer.end - layer.start)[known] if isinstance(layer, Bars) else None
    return float(np.average(layer.y[known], weights=lengths))


def _peak(time_s: Floats, values: Floats) -> tuple[float, float]:
    if not np.isfinite(values).any():
        return math.nan, math.nan
    at = int(np.nanargmax(values))
    return float(values[at]), float(time_s[at])


def _words(panel: Panel, value: float) -> str:
    return "–" if math.isnan(value) else panel.y.words(value)


def _undrawn(marks: int) -> list[str]:
    return [f"not drawn: the last {marks - MOST_MARKS} marks; s.marks() has all"] if marks > MOST_MARKS else []


def _means(panels: Sequence[Panel]) -> list[str]:
    """That bins which are longer than readings are apart are means of several."""
    lengths = [float((b.end - b.start).max(initial=0)) for p in panels for b in p.layers if isinstance(b, Bars)]
    longest = max(lengths, default=0.0)
    return [f"each bin is the mean of {digits(round(longest, 3))} s"] if longest > READING_S else []
