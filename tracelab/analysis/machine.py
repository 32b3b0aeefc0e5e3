"""What the machine did meanwhile: its CPUs, memory, load and context switches."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.analysis.readings import bin_edges, growth, in_bins
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

WHOLE = -1  #: cpu of the rows that are of the whole machine
KINDS = ("user", "system", "irq", "steal", "idle")
NO_PRESSURE = "pressure (PSI) was not recorded: this version does not read it"


def cpu_time(tables: Tables, bin_s: float | None = None) -> pd.DataFrame:
    """How the time of each CPU was spent over time: a row per CPU and bin.

    Columns: time_s (begin of the bin, s since the recording began), cpu, and user_share (nice included), system_share,
    irq_share (hard and soft interrupts), steal_share (what the hypervisor gave to others) and idle_share (waiting for
    IO included), which add up to 1; NaN for a bin without readings, which are a second apart. The kernel counts in
    ticks of 10 ms, so that a share of one second is known to a per cent. `attrs` has bin_s and end_s.

    Raises MissingTable, and UsageError for a `bin_s` that makes no sense. Source: /proc/stat.
    """
    edges = bin_edges(tables, bin_s)
    cpus = tables.selection.cpus
    grown = growth(tables, "host", "cpu", [f"{kind}_ns" for kind in KINDS], Selection(cpus=cpus))
    grown = grown[grown["cpu"] != WHOLE]
    spent = grown[[f"{kind}_ns" for kind in KINDS]].sum(axis=1)
    shares = [f"{kind}_share" for kind in KINDS]
    for kind, share in zip(KINDS, shares, strict=True):
        grown[share] = grown[f"{kind}_ns"] / spent.where(spent > 0)
    found = in_bins(grown, "cpu", shares, edges)
    found["time_s"] = (edges[found["bin"].to_numpy(np.int64)] - tables.start_ns) / 1e9
    table = documented(found, "time of CPUs", time_s="s", cpu="number", **dict.fromkeys(shares, "1"))
    table.attrs.update(bin_s=(edges[1] - edges[0]) / 1e9, end_s=(edges[-1] - tables.start_ns) / 1e9)
    return table


def machine(tables: Tables) -> pd.DataFrame:
    """Memory, load and context switches of the whole machine, at each reading of the selected time.

    Columns: time_s (s since the recording began), mem_used_bytes (what could not be had without swapping),
    mem_available_bytes, mem_total_bytes, load1 (load average over a minute, of tasks) and context_switches_per_s
    (since the reading before; NaN at the first). Pressure is not recorded. Raises MissingTable.
    """
    selected = type(tables)(tables.store, Selection(tables.selection.window_ns), tables.engine)
    rows = kernels.rows(selected, "host")
    rows = rows[rows["cpu"] == WHOLE].sort_values("time_ns", kind="stable")
    grown = growth(tables, "host", "cpu", ["context_switches"], Selection(cpus=(WHOLE,)))
    rate = grown["context_switches"] / ((grown["until_ns"] - grown["from_ns"]) / 1e9)
    by_time = dict(zip(grown["until_ns"], rate, strict=True))
    for column in ("mem_total_bytes", "mem_available_bytes"):
        rows[column] = rows[column].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    rows["time_s"] = (rows["time_ns"] - tables.start_ns) / 1e9
    rows["mem_used_bytes"] = rows["mem_total_bytes"] - rows["mem_available_bytes"]
    rows["context_switches_per_s"] = rows["time_ns"].map(by_time).astype(float)
    return documented(
        rows,
        "the machine over time",
        time_s="s",
        mem_used_bytes="bytes",
        mem_available_bytes="bytes",
        mem_total_bytes="bytes",
        load1="tasks",
        context_switches_per_s="switches/s",
    )
