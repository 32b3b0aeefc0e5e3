"""Who had each CPU over time, and for what threads waited."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tracelab.views import palette
from tracelab.views.chart import Axis, Panel, Spans
from tracelab.views.chart_view import ChartView
from tracelab.views.over_time import bars, readings_view, time_axis
from tracelab.views.wording import visible

PIXELS = 1500  #: moments of a CPU's row that a picture can show
GROUPS = len(palette.SERIES)  #: names with a colour of their own
Window = tuple[float, float]


def cpu_timeline(
    spans: pd.DataFrame,
    exact: bool,
    *,
    window: Window,
    marks: pd.DataFrame | None,
    title: str,
    notes: Sequence[str] = (),
) -> ChartView:
    """A row per CPU with a box for whoever had it; `spans` is analysis.cputimeline.cpu_spans.

    Of what is too short to be seen, each moment shows who had most of it.
    """
    cpus = sorted(spans["cpu"].unique().tolist())
    drawn, merged = _seen(spans, window)
    time = (spans["until_s"] - spans["from_s"]).groupby(spans["comm"]).sum().sort_values(ascending=False, kind="stable")
    named = [str(name) for name in time.index[:GROUPS]]
    groups = (*(visible(name, 40) for name in named), *(["other"] if len(time) > GROUPS else []))
    place = {name: i for i, name in enumerate(named)}
    layer = Spans(
        row=drawn["cpu"].map({cpu: i for i, cpu in enumerate(cpus)}).to_numpy(np.int64),
        start=drawn["from_s"].to_numpy(float),
        end=drawn["until_s"].to_numpy(float),
        group=np.array([place.get(comm, len(named)) for comm in drawn["comm"]], np.int64),
        groups=groups,
        texts=tuple(
            f"{visible(comm, 60)}, {start:.6f} s to {end:.6f} s"
            for comm, start, end in zip(drawn["comm"], drawn["from_s"], drawn["until_s"], strict=True)
        ),
    )
    rows = tuple(f"CPU {cpu}" for cpu in cpus)
    panel = Panel(time_axis(window), Axis(""), (layer,) if len(drawn) else (), rows=rows)
    said = [*notes, *spans.attrs.get("notes", ())]
    if merged:
        turns = f"{merged:,} of {len(spans):,} turns"
        said.append(f"{turns} are too short to be drawn: each moment shows who had most of it")
    if not exact:
        said.append("from samples: a box is the time that one stands for; --events switches records all turns")
    return readings_view(
        spans,
        [panel],
        window=window,
        marks=marks,
        title=title,
        notes=said,
        nothing="nothing ran in this selection",
        numbers=_times(spans),
    )


def waits(
    table: pd.DataFrame, *, window: Window, marks: pd.DataFrame | None, title: str, notes: Sequence[str] = ()
) -> ChartView:
    """Off-CPU time of all threads by the state that they waited in, stacked; `table` is analysis.cputimeline.waits."""
    bin_s = float(table.attrs["bin_s"])
    grid = table.pivot_table(index="state", columns="time_s", values="off_cpu_s", fill_value=0.0)
    order = grid.sum(axis=1).sort_values(ascending=False, kind="stable").index
    count = max(1, round((window[1] - window[0]) / bin_s))
    starts = np.asarray(window[0] + np.arange(count) * bin_s, np.float64)
    whole = grid.T.reindex(starts, method="nearest", tolerance=bin_s / 4).fillna(0.0).T if len(grid) else grid
    layers = [bars(str(s), starts, whole.loc[s].to_numpy(float) / bin_s, bin_s, window) for s in order]
    panel = Panel(time_axis(window), Axis("threads that waited"), tuple(layers), stacked=True)
    said = [*notes, *table.attrs["notes"], "a wait is told at its end: long ones stand out where they ended"]
    return readings_view(
        table, [panel], window=window, marks=marks, title=title, notes=said, nothing="no waits in this selection"
    )


def _times(spans: pd.DataFrame) -> pd.DataFrame:
    """On-CPU time and turns of each name, most first."""
    length = (spans["until_s"] - spans["from_s"]) * 1e9
    table = length.groupby(spans["comm"]).agg(["sum", "size"]).reset_index()
    table.columns = pd.Index(["comm", "on_cpu_ns", "turns"])
    return table.sort_values("on_cpu_ns", ascending=False, ignore_index=True)


def _seen(spans: pd.DataFrame, window: Window) -> tuple[pd.DataFrame, int]:
    """Spans that are long enough to be seen, and for each pixel of the rest the comm with most of its time."""
    pixel = max((window[1] - window[0]) / PIXELS, 1e-9)
    length = spans["until_s"] - spans["from_s"]
    if len(spans) <= PIXELS:
        return spans, 0
    short = spans[length < pixel]
    place = ((short["from_s"] - window[0]) // pixel).astype(int)
    used = (short["until_s"] - short["from_s"]).groupby([short["cpu"], place, short["comm"]]).sum().reset_index()
    used.columns = pd.Index(["cpu", "place", "comm", "used"])
    most = used.sort_values("used", ascending=False, kind="stable").drop_duplicates(["cpu", "place"])
    begin = window[0] + most["place"] * pixel
    drawn = pd.DataFrame({"cpu": most["cpu"], "comm": most["comm"], "from_s": begin, "until_s": begin + pixel})
    both = pd.concat([drawn, spans[length >= pixel][["cpu", "comm", "from_s", "until_s"]]], ignore_index=True)
    return _joined(both.sort_values(["cpu", "from_s"], ignore_index=True), pixel), len(short)


def _joined(spans: pd.DataFrame, gap: float) -> pd.DataFrame:
    """Neighbours of the same comm as one."""
    before = spans.shift(1)
    new = (spans["cpu"] != before["cpu"]) | (spans["comm"] != before["comm"])
    new |= spans["from_s"] > before["until_s"] + gap / 2
    return spans.groupby(new.cumsum(), as_index=False).agg(
        cpu=("cpu", "first"), comm=("comm", "first"), from_s=("from_s", "min"), until_s=("until_s", "max")
    )
