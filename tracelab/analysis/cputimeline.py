"""Who had each CPU, and when; and for what threads waited meanwhile."""

from __future__ import annotations

import pandas as pd

from tracelab.analysis.busy import process_names
from tracelab.analysis.documented import documented
from tracelab.analysis.losses import loss_notes
from tracelab.analysis.rates import bin_length_ns
from tracelab.errors import MissingTable
from tracelab.query import kernels, lives
from tracelab.query.tables import Tables

#: bits of the kernel's task state, as include/linux/sched.h has them; the first that is set names a wait
STATES = {0x400: "idle kernel thread", 1: "sleeping", 2: "uninterruptible", 4: "stopped", 8: "traced", 64: "parked"}


def cpu_spans(tables: Tables) -> tuple[pd.DataFrame, bool]:
    """Who had which CPU from when until when: cpu, tid, comm, from_s, until_s; and whether that is known exactly.

    It is exact from context switches (probe switches). Else a sample stands for its time up to its own moment. Raises
    MissingTable without either.
    """
    exact = "switches" in tables.store.manifest.probes and tables.has("events")
    if exact:
        rows = kernels.event_spans(tables, "switches").rename(columns={"value": "length"})
    elif tables.has("samples"):
        found = kernels.sample_rows(tables, "on-CPU")
        rows = found.rename(columns={"time_ns": "until_ns", "weight": "length"})[["cpu", "tid", "until_ns", "length"]]
    else:
        raise MissingTable("who had a CPU", "record with --events switches, or oncpu")
    first, _ = tables.window_ns
    begin = (rows["until_ns"] - rows["length"]).clip(lower=first)
    names = process_names(tables, threads=True)
    rows["comm"] = [names.get(int(tid), lives.UNKNOWN) for tid in rows["tid"]]
    rows["from_s"] = (begin - tables.start_ns) / 1e9
    rows["until_s"] = (rows["until_ns"] - tables.start_ns) / 1e9
    rows = rows[rows["tid"] != 0].sort_values(["cpu", "from_s"])
    units = {"cpu": "number", "tid": "number", "comm": "name", "from_s": "s", "until_s": "s"}
    table = documented(rows, "who had which CPU", **units)
    table.attrs["notes"] = loss_notes(tables, "switches" if exact else "oncpu")
    return table, exact


def waits(tables: Tables, bin_s: float | None = None) -> pd.DataFrame:
    """For what threads waited, over time: time_s (begin of a bin), state, off_cpu_s (of all threads, ended in the bin).

    Waits are those of probe offcpu, told at their ends. Raises MissingTable without.
    """
    if "offcpu" not in tables.store.manifest.probes or not tables.has("samples"):
        raise MissingTable("off-CPU samples", "record with --events offcpu")
    bin_ns = bin_length_ns(tables, bin_s)
    found = kernels.values_by_key(tables, "off-CPU", bin_ns)
    found["time_s"] = (tables.window_ns[0] - tables.start_ns + found["bin"] * bin_ns) / 1e9
    found["state"] = [_state(int(key)) for key in found["key"]]
    rows: pd.DataFrame = found.groupby(["time_s", "state"])["weight"].sum().reset_index()
    rows["off_cpu_s"] = rows["weight"] / 1e9
    table = documented(rows, "off-CPU time by state", time_s="s", state="name", off_cpu_s="s")
    table.attrs.update(bin_s=bin_ns / 1e9, notes=loss_notes(tables, "offcpu"))
    return table


def _state(key: int) -> str:
    names = [name for bit, name in STATES.items() if key > 0 and key & bit]
    return names[0] if names else "other"
