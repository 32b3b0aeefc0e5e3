"""How full eBPF maps and ring buffers were over time, and the memory that is charged for them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tracelab.views import palette
from tracelab.views.chart import Axis, Line, Panel
from tracelab.views.chart_view import ChartView
from tracelab.views.over_time import readings_view, time_axis
from tracelab.views.wording import amount, digits, percent, visible

MOST = 6  #: maps in a panel
COLOURS = [colour for colour in palette.SERIES if colour != "#F0E442"]  # yellow is no line on white
HALF = 0.5  #: from this fill on, the axis goes to the capacity
NOTHING = "no eBPF map was loaded whose fill can be told"


def map_fill(
    readings: pd.DataFrame,
    peaks: pd.DataFrame,
    *,
    own: bool = False,
    window: tuple[float, float],
    marks: pd.DataFrame | None = None,
    title: str = "Fill of eBPF maps",
    notes: Sequence[str] = (),
) -> ChartView:
    """Entries in use and bytes unread, as shares of the capacity, and memory charged, at each reading.

    `readings` and `peaks` are the tables of analysis.occupancy. The recorder's own maps are left out, and said, unless
    `own`. The fullest are named with their peak; estimates are marked as such.
    """
    others = peaks if own else peaks[~peaks["own"].astype(bool)]
    panels = [
        _panel(readings, others[others["unit"] == unit], title_of, window)
        for unit, title_of in (
            ("entries", "entries in use"),
            ("bytes", "unread in ring buffers"),
        )
    ]
    if len(others):
        panels.append(_memory(readings, own, window))
    said = [*notes, *_notes(others)]
    if not own and (left_out := len(peaks) - len(others)):
        charged = amount(float(peaks.loc[peaks["own"].astype(bool), "memlock_bytes"].sum()), "bytes")
        said.append(f"left out: the recorder's own, {left_out} maps with {charged}; own=True shows them")
    return readings_view(readings, panels, window=window, marks=marks, title=title, notes=said, nothing=NOTHING)


def _panel(readings: pd.DataFrame, peaks: pd.DataFrame, title: str, window: tuple[float, float]) -> Panel:
    known = peaks[peaks["used_share"].notna()].head(MOST)
    layers = []
    for i, peak in enumerate(known.itertuples(index=False)):
        its = readings[readings["map_id"] == peak.map_id]
        name = _name(peak.name, peak.map_id) + (" (estimated)" if its["estimated"].any() else "")
        values = its["used_share"].to_numpy(float)
        layers.append(Line(name, its["time_s"].to_numpy(float), values, colour=COLOURS[i % len(COLOURS)]))
    full = bool(len(known)) and float(known["used_share"].max()) > HALF
    axis = Axis("of the capacity", "share", high=1.0 if full else None)
    alone = f": {layers[0].name}" if len(layers) == 1 else ""  # one layer has no legend
    return Panel(time_axis(window), axis, tuple(layers), title + alone)


def _memory(readings: pd.DataFrame, own: bool, window: tuple[float, float]) -> Panel:
    layers = []
    for mine, name, colour in ((False, "maps of others", COLOURS[0]), (True, "the recorder's own", COLOURS[1])):
        its = readings[readings["own"].astype(bool) == mine]
        if len(its) and (own or not mine):
            total = its.groupby("time_s")["memlock_bytes"].sum()
            layers.append(Line(name, total.index.to_numpy(float), total.to_numpy(float), colour=colour))
    return Panel(time_axis(window), Axis("memory", "bytes"), tuple(layers), "memory charged to maps")


def _notes(peaks: pd.DataFrame) -> list[str]:
    """The fullest map and ring, and what cannot be told or is not drawn."""
    said = []
    for unit, what in (("entries", "map"), ("bytes", "ring buffer")):
        known = peaks[(peaks["unit"] == unit) & peaks["used_share"].notna()]
        if len(known):
            top = known.iloc[0]
            said.append(
                f"fullest {what}: {_name(top['name'], top['map_id'])} with {percent(float(top['used_share']))} "
                f"({digits(float(top['used']))} of {digits(float(top['max_entries']))} {unit}"
                f"{', estimated' if top['estimated'] else ''}) at {digits(round(float(top['time_s']), 3))} s"
            )
        if len(known) > MOST:
            said.append(f"not drawn: {len(known) - MOST} emptier {what}s; .table has them all")
    untold = int(peaks["used_share"].isna().sum())
    if untold:
        said.append(f"maps whose use cannot be told, such as arrays, which are always whole: {untold}")
    if (peaks["unit"] == "bytes").any():
        said.append("a ring buffer is read at one moment of a second, and may have been fuller in between")
    return said


def _name(name: object, number: object) -> str:
    return f"{visible(str(name), 30)} (map {number})"
