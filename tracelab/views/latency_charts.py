"""How long things took: histogram, heat map over time, and percentiles over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tracelab.analysis.latencytime import Floats, LatencyGrid
from tracelab.views.chart import Axis, Bars, Cells, Chart, Line, Panel
from tracelab.views.chart_view import ChartView
from tracelab.views.over_time import readings_view, time_axis
from tracelab.views.wording import visible

MOST_EVENTS = 6  #: with a colour of their own
NOTHING = "no events with a value in this selection"
Window = tuple[float, float]


def latency_histogram(grid: LatencyGrid, *, title: str, notes: Sequence[str] = ()) -> ChartView:
    """Events by how long they took, stacked by event; buckets of an eighth of a doubling."""
    table = grid.histogram()
    totals = table.groupby("event")["count"].sum().sort_values(ascending=False, kind="stable")
    edges, _ = grid.cells()
    layers = [_layer(table, str(name), [str(name)], edges) for name in totals.index[:MOST_EVENTS]]
    if len(rest := totals.index[MOST_EVENTS:]):
        layers.append(_layer(table, f"other ({len(rest)} more)", [str(name) for name in rest], edges))
    panel = Panel(Axis("how long it took", grid.unit, log=True), Axis("events"), tuple(layers), stacked=True)
    chart = Chart(title, (panel,), notes=(*grid.notes, *notes), shared=False, empty=NOTHING)
    return ChartView(table, chart, numbers=_quantiles(grid))


def latency_heatmap(
    grid: LatencyGrid, *, window: Window, marks: pd.DataFrame | None, title: str, notes: Sequence[str] = ()
) -> ChartView:
    """Events by moment and by how long they took; the darker, the more."""
    edges, counts = grid.cells(per_doubling=2)
    times = np.append(grid.time_s, grid.time_s[-1] + grid.bin_s)
    cells = Cells("events", times, edges, np.where(counts > 0, counts, np.nan))
    panel = Panel(time_axis(window), Axis("how long it took", grid.unit, log=True), (cells,), height=300)
    found = grid.percentiles()
    return readings_view(
        found,
        [panel],
        window=window,
        marks=marks,
        title=title,
        notes=(*grid.notes, *notes),
        nothing=NOTHING,
        numbers=_quantiles(grid),
    )


def percentiles(
    grid: LatencyGrid, *, window: Window, marks: pd.DataFrame | None, title: str, notes: Sequence[str] = ()
) -> ChartView:
    """The median, p90, p99 and the longest of each moment, on a logarithmic axis."""
    table = grid.percentiles()
    whole = pd.DataFrame({"time_s": grid.time_s}).merge(table, on="time_s", how="left") if len(table) else table
    names = ("p50", "p90", "p99", "max")
    lines = tuple(Line(n, whole["time_s"].to_numpy(float), whole[n].to_numpy(float), steps=True) for n in names)
    axis = Axis("how long it took", grid.unit, log=True)
    panel = Panel(time_axis(window), axis, lines if len(table) else (), height=280)
    return readings_view(
        table, [panel], window=window, marks=marks, title=title, notes=(*grid.notes, *notes), nothing=NOTHING
    )


def _layer(table: pd.DataFrame, name: str, events: list[str], edges: Floats) -> Bars:
    counts = np.zeros(len(edges) - 1)
    rows = table[table["event"].isin(events)]
    place = np.searchsorted(edges, rows["from"].to_numpy(float) * (1 + 1e-9), "right") - 1
    np.add.at(counts, place, rows["count"].to_numpy(float))
    return Bars(visible(name, 60), edges[:-1], edges[1:], counts)


def _quantiles(grid: LatencyGrid) -> pd.DataFrame:
    """Count and percentiles of each event over all of the time."""
    from tracelab.analysis.latency import QUANTILES, quantiles_of

    if grid.rows.empty:
        return pd.DataFrame(columns=["event", "count"])
    found = quantiles_of(grid.rows, ["event"], QUANTILES)
    counts = grid.rows.groupby("event", as_index=False)["count"].sum()
    table: pd.DataFrame = counts.merge(found, on="event")
    table = table.sort_values("count", ascending=False, ignore_index=True)
    unit = f"_{grid.unit}" if grid.unit in ("ns", "bytes") else ""
    table.columns = pd.Index([f"{name}{unit}" if name.startswith("p") else name for name in table.columns])
    return table
