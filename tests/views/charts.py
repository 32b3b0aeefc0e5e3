"""Small charts with something of everything, for the tests of what draws them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.views.chart import (
    LOST,
    SECONDS,
    Axis,
    Band,
    Bars,
    Cells,
    Chart,
    Line,
    Mark,
    Panel,
    Points,
    RowBars,
    Spans,
)
from tracelab.views.chart_view import ChartView
from views import hostile

STARTS = np.arange(4.0)


def bars() -> Chart:
    """Four seconds of two stacked series; the third second was not recorded, and in the last something was lost."""
    layers = (
        Bars("read", STARTS, STARTS + 1, np.array([100.0, 0, np.nan, 200])),
        Bars("write", STARTS, STARTS + 1, np.array([50.0, 0, np.nan, 10])),
    )
    panel = Panel(SECONDS, Axis("events per second", "events/s"), layers, stacked=True)
    bands = (Band(2, 3), Band(3, 4, LOST, "lost 40"))
    return Chart("Events", (panel,), notes=("lost 40 events",), bands=bands, marks=(Mark(1, "deploy"),))


def everything() -> Chart:
    """One panel of each kind of layer."""
    line = Line("p99", STARTS, np.array([1e3, 1e6, np.nan, 2e3]), steps=True)
    points = Points("slow", np.array([1.5]), np.array([5e5]), ("openat\n/etc/passwd",))
    cells = Cells("events", np.arange(5.0), np.array([1e3, 1e4, 1e5]), np.array([[1.0, 0, 0, 9], [0, 1000, 0, 0]]))
    spans = Spans(np.array([0, 1, 0]), np.array([0, 0.5, 2]), np.array([1, 3, 4.0]), np.array([0, 1, 1]), ("sh", "cc"))
    panels = (
        Panel(SECONDS, Axis("latency", "ns", log=True), (line, points), title="percentiles"),
        Panel(SECONDS, Axis("latency", "ns", log=True), (cells,), title="heat"),
        Panel(SECONDS, Axis("CPU"), (spans,), title="who ran", rows=("CPU 0", "CPU 1")),
    )
    return Chart("Everything", panels)


def rows() -> Chart:
    """Bars from left to right."""
    bars = RowBars("p99", np.array([2e3, 5e6]))
    panel = Panel(Axis("time", "ns", low=0.0), Axis(""), (bars,), rows=("read", "write"))
    return Chart("Rows", (panel,), shared=False)


def hostile_chart() -> Chart:
    """Every text of a chart is one that a page must not obey."""
    texts, count = hostile.STORABLE, len(hostile.STORABLE)
    starts, evil = np.arange(float(count)), hostile.SCRIPT
    series = tuple(Bars(text, starts, starts + 1, starts + 1) for text in texts)
    spans = Spans(np.zeros(count, int), starts, starts + 1, np.arange(count), texts, texts)
    cells = Cells(evil, np.arange(3.0), np.arange(3.0), np.ones((2, 2)))
    panels = (
        Panel(Axis(evil), Axis(evil, evil), series, evil, stacked=True),
        Panel(SECONDS, Axis(evil), (spans,), evil, rows=texts),
        Panel(SECONDS, Axis(evil, evil), (Line(evil + "!", starts, starts), Points("p", starts, starts, texts))),
        Panel(SECONDS, Axis(evil, evil), (cells,)),
        Panel(SECONDS, Axis(evil, evil), (RowBars(evil, starts),), rows=texts),
    )
    bands = (Band(1, 2, LOST, evil), Band(3, 4, text=evil))
    return Chart(evil, panels, notes=texts, bands=bands, marks=(Mark(2, evil), Mark(3, evil, 5)), empty=evil)


def view(chart: Chart) -> ChartView:
    """A chart with a small table."""
    return ChartView(pd.DataFrame({"series": ["read", "write"], "p99_ns": [2000, 5e6]}), chart)
