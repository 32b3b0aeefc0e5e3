"""What eBPF programs cost over time, and the processes that hold them: stacked shares of one CPU."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tracelab.views import palette
from tracelab.views.chart import Axis, Bars, Panel
from tracelab.views.chart_view import ChartView
from tracelab.views.over_time import bars, readings_view, time_axis
from tracelab.views.wording import percent

MOST_PROGRAMS, MOST_OWNERS = 5, 3  #: with a colour of their own
NOTHING = "no eBPF program but the recorder's own was loaded"
FINENESS = "programs and processes are read once a second: nothing finer is known"


def program_time(
    programs: pd.DataFrame,
    owners: pd.DataFrame,
    *,
    own: bool = False,
    window: tuple[float, float],
    marks: pd.DataFrame | None = None,
    title: str = "CPU time of eBPF programs",
    notes: Sequence[str] = (),
) -> ChartView:
    """Net run time of programs in the kernel, and user time of their owners, stacked, once a second.

    `programs` and `owners` are the tables of analysis.programtime. The recorder's own are left out, and said, unless
    `own`. The table behind the view has both: time_s, series (name and number of a program,
    or "user:", name and pid of a process), kind ("program" or "user time"), owner, own and cpu_share.
    """
    table = _together(programs, owners)
    shown = table if own else table[~table["own"]]
    bin_s, of_programs = float(programs.attrs["bin_s"]), shown[shown["kind"] == "program"]
    layers = (
        *_layers(shown, "program", MOST_PROGRAMS, 0, bin_s, window),
        *_layers(shown, "user time", MOST_OWNERS, MOST_PROGRAMS, bin_s, window),
    )
    axis = Axis("share of one CPU", "share")
    panel = Panel(time_axis(window), axis, layers if len(of_programs) else (), stacked=True)
    said = [*notes, *programs.attrs.get("notes", ())]
    if not own and (left_out := _own(table, bin_s, window[1])):
        said.append(f"left out: the recorder's own, {left_out}; own=True shows them")
    if len(of_programs):
        said.append(FINENESS)
    return readings_view(table, [panel], window=window, marks=marks, title=title, notes=said, nothing=NOTHING)


def _together(programs: pd.DataFrame, owners: pd.DataFrame) -> pd.DataFrame:
    name = programs["name"].fillna("?").astype("str")
    number = programs["prog_id"].astype("str")
    first = pd.DataFrame(
        {
            "time_s": programs["time_s"],
            "series": name + " #" + number,
            "kind": "program",
            "owner": programs["owner"].fillna("?").astype("str"),
            "own": programs["own"],
            "cpu_share": programs["cpu_share"],
        }
    )
    second = pd.DataFrame(
        {
            "time_s": owners["time_s"],
            "series": "user: " + owners["comm"].astype("str") + " " + owners["pid"].astype("str"),
            "kind": "user time",
            "owner": owners["comm"].astype("str"),
            "own": owners["own"],
            "cpu_share": owners["user_share"],
        }
    )
    parts = [part for part in (first, second) if len(part)]
    table = pd.concat(parts, ignore_index=True) if parts else first
    units = {"time_s": "s", "series": "name", "kind": "name", "owner": "name"}
    units |= {"own": "yes or no", "cpu_share": "CPUs"}
    table.attrs = {"about": "CPU time of eBPF programs and of those who hold them", "units": units}
    return table


def _layers(
    table: pd.DataFrame, kind: str, most: int, first_colour: int, bin_s: float, window: tuple[float, float]
) -> list[Bars]:
    """A layer for each of the dearest series, and one for all others together."""
    rows = table[table["kind"] == kind]
    grid = rows.pivot_table(index="series", columns="time_s", values="cpu_share", dropna=False, sort=True)
    order = grid.sum(axis=1).sort_values(ascending=False, kind="stable").index
    time_s = grid.columns.to_numpy(float)
    layers = [
        bars(str(name), time_s, grid.loc[name].to_numpy(float), bin_s, window, palette.SERIES[first_colour + i])
        for i, name in enumerate(order[:most])
    ]
    if len(rest := order[most:]):
        values = grid.loc[rest].sum(axis=0, min_count=1).to_numpy(float)
        what = "programs" if kind == "program" else "user times"
        layers.append(bars(f"{len(rest)} other {what}", time_s, values, bin_s, window, palette.OTHER))
    return layers


def _own(table: pd.DataFrame, bin_s: float, until_s: float) -> str:
    """What the recorder's own programs and process took on average; empty when there are none."""
    rows = table[table["own"] & table["cpu_share"].notna()]
    length_s = (until_s - rows["time_s"]).clip(0, bin_s)
    mean = (rows["cpu_share"] * length_s).groupby([rows["kind"], rows["series"]]).sum()
    mean = mean / length_s.groupby([rows["kind"], rows["series"]]).sum()
    words = []
    for kind, what in (("program", "programs"), ("user time", "process")):
        if kind in mean.index.get_level_values(0):
            of_kind = mean[kind]
            count = f"{len(of_kind)} " if kind == "program" else ""
            words.append(f"{count}{what} with {percent(float(of_kind.sum()))} of a CPU")
    return " and ".join(words)
