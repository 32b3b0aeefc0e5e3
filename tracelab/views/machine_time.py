"""What the machine did meanwhile: the time of its CPUs, memory, load and context switches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from tracelab.views.chart import Axis, Line, Panel, empty
from tracelab.views.over_time import TimeView, Window, bars, means_and_peaks, readings_view, time_axis

MOST_CPUS = 8  #: with a panel of their own
CPU_HEIGHT, GAUGE_HEIGHT = 110, 120  #: pixels
SHARES = {  #: in the order in which they are stacked
    "user_share": ("user", "#0072B2"),
    "system_share": ("system", "#E69F00"),
    "irq_share": ("interrupts", "#CC79A7"),
    "steal_share": ("stolen by the hypervisor", "#D55E00"),
}
GAUGES = (
    ("mem_used_bytes", "memory in use", Axis("memory", "bytes"), "#009E73"),
    ("load1", "load average over a minute", Axis("tasks"), "#0072B2"),
    ("context_switches_per_s", "context switches", Axis("switches per second"), "#D55E00"),
)
NOTHING = "no reading of the machine lies in this selection"


class MachineTime(TimeView):
    """The panels of a machine, with the readings that are of all of it in `machine`."""

    machine: pd.DataFrame


def machine_time(
    cpus: pd.DataFrame,
    machine: pd.DataFrame,
    *,
    window: Window,
    marks: pd.DataFrame | None = None,
    title: str = "The machine",
    notes: Sequence[str] = (),
) -> MachineTime:
    """The time of each CPU, stacked, what is left being idle; then memory, load and context switches.

    `cpus` and `machine` are the tables of analysis.machine. Of more than MOST_CPUS, the mean of all is drawn. The table
    behind the view is `cpus`; `machine` is in `.machine`.
    """
    panels = [*_cpu_panels(cpus, window), *_gauges(machine, window)]
    said = [*notes, *_notes(cpus)]
    made = readings_view(cpus, panels, window=window, marks=marks, title=title, notes=said, nothing=NOTHING)
    view = MachineTime(cpus, made.chart, numbers=means_and_peaks(panels))
    view.machine = machine
    return view


def _cpu_panels(cpus: pd.DataFrame, window: Window) -> list[Panel]:
    numbers, bin_s = sorted(cpus["cpu"].unique().tolist()), float(cpus.attrs["bin_s"])
    if len(numbers) <= MOST_CPUS:
        return [_cpu_panel(cpus[cpus["cpu"] == cpu], f"CPU {cpu}", bin_s, window) for cpu in numbers]
    mean = cpus.groupby("time_s", as_index=False)[list(SHARES)].mean()
    return [_cpu_panel(mean, f"mean of {len(numbers)} CPUs", bin_s, window)]


def _cpu_panel(rows: pd.DataFrame, title: str, bin_s: float, window: Window) -> Panel:
    time_s = rows["time_s"].to_numpy(float)
    layers = tuple(
        bars(name, time_s, rows[share].to_numpy(float), bin_s, window, colour)
        for share, (name, colour) in SHARES.items()
        if rows[share].max() > 0
    )
    axis = Axis("of the CPU", "share", high=1.0)
    return Panel(time_axis(window), axis, layers, title, stacked=True, height=CPU_HEIGHT)


def _gauges(machine: pd.DataFrame, window: Window) -> list[Panel]:
    time_s, panels = machine["time_s"].to_numpy(float), []
    for column, title, axis, colour in GAUGES:
        line = Line(title, time_s, machine[column].to_numpy(float), colour=colour)
        if not empty(line):
            panels.append(Panel(time_axis(window), replace(axis, low=0.0), (line,), title, height=GAUGE_HEIGHT))
    return panels


def _notes(cpus: pd.DataFrame) -> list[str]:
    said = []
    if (count := cpus["cpu"].nunique()) > MOST_CPUS:
        said.append(f"{count} CPUs: select(cpu=[...]) up to {MOST_CPUS} of them for a panel each")
    if len(cpus):
        said.append("the rest of each CPU's time was idle; the kernel counts in ticks of 10 ms")
    return said
