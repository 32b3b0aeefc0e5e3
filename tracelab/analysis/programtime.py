"""What eBPF programs cost over time, and beside them the processes that hold them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.analysis.cost import TRACING_TYPES, described, floor_ns
from tracelab.analysis.documented import documented
from tracelab.analysis.readings import Integers, bin_edges, growth, in_bins
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

NO_FLOOR = "the floor of the measurement was not calibrated: cpu_share contains some ten ns per run too much"


def program_time(tables: Tables, bin_s: float | None = None) -> pd.DataFrame:
    """What each eBPF program cost over time: a row per program and bin, the dearest program first.

    Columns: time_s (begin of the bin, s since the recording began), prog_id, name, type, owner (comm of the process
    that holds it), own (whether it belongs to this recording), runs_per_s, net_ns_per_run (less the calibrated floor,
    never below 0; NaN where it did not run) and cpu_share (net time in it, of one CPU). Runs are read about once a
    second, and counted for a part of it: a bin has the mean of that. NaN for a bin in which the program was not read.
    `attrs` has bin_s and end_s, and notes where the floor was not calibrated.

    Programs run in the context of whatever causes their events: a selection by process does not narrow them. Raises
    MissingTable, and UsageError for a `bin_s` that makes no sense.
    """
    edges = bin_edges(tables, bin_s)
    grown = growth(tables, "bpf_prog_stats", "prog_id", ("run_cnt", "run_time_ns", "counted_ns"))
    counted = grown["counted_ns"].fillna((grown["until_ns"] - grown["from_ns"]).astype(float))
    counted_s = counted.where(counted > 0) / 1e9
    floor = floor_ns(tables)
    grown["runs_per_s"] = grown["run_cnt"] / counted_s
    net = (grown["run_time_ns"] - (floor or 0.0) * grown["run_cnt"]).clip(lower=0)
    grown["cpu_share"] = net / 1e9 / counted_s
    found = in_bins(grown, "prog_id", ("runs_per_s", "cpu_share"), edges)
    found["net_ns_per_run"] = found["cpu_share"] * 1e9 / found["runs_per_s"].where(found["runs_per_s"] > 0)
    found = found.merge(described(tables), on="prog_id", how="left")
    found["own"] = found["own"].fillna(False).astype(bool)
    table = documented(
        _dearest_first(_timed(tables, found, edges), "prog_id"),
        "CPU time of eBPF programs over time",
        time_s="s",
        prog_id="number",
        **dict.fromkeys(("name", "type", "owner"), "name"),
        own="yes or no",
        runs_per_s="runs/s",
        net_ns_per_run="ns",
        cpu_share="CPUs",
    )
    table.attrs.update(_grid(tables, edges), notes=[NO_FLOOR] if floor is None else [])
    return table


def owner_time(tables: Tables, bin_s: float | None = None) -> pd.DataFrame:
    """CPU time over time of the processes that hold eBPF programs for tracing, in the bins of `program_time`.

    Columns: time_s, pid, comm, own (whether it is the recorder), user_share and system_share (of one CPU). The process
    that used most user time comes first; NaN for a bin in which it was not read. Source: /proc/PID/stat.

    Raises MissingTable, and UsageError for a `bin_s` that makes no sense.
    """
    edges = bin_edges(tables, bin_s)
    held = kernels.rows(tables, "bpf_progs")
    held = held[held["type"].isin(TRACING_TYPES)]
    pids = {int(pid) for pids in held["owner_pids"].dropna() for pid in pids}
    recorder = tables.store.manifest.recorder.get("pid")
    if isinstance(recorder, int):
        pids.add(recorder)
    only = Selection(pids=tuple(sorted(pids)))
    grown = growth(tables, "procs", "pid", ("user_ns", "system_ns"), only)
    seconds = (grown["until_ns"] - grown["from_ns"]) / 1e9
    for share, counter in (("user_share", "user_ns"), ("system_share", "system_ns")):
        grown[share] = grown[counter] / 1e9 / seconds
    found = in_bins(grown, "pid", ("user_share", "system_share"), edges)
    rows = kernels.rows(type(tables)(tables.store, only, tables.engine), "procs")
    names = rows.sort_values("time_ns").groupby("pid")["comm"].last()
    found["comm"] = found["pid"].map(names).fillna("?").astype("str")
    found["own"] = found["pid"] == recorder
    table = documented(
        _dearest_first(_timed(tables, found, edges), "pid", "user_share"),
        "CPU time of processes that hold eBPF programs",
        time_s="s",
        pid="number",
        comm="name",
        own="yes or no",
        user_share="CPUs",
        system_share="CPUs",
    )
    table.attrs.update(_grid(tables, edges))
    return table


def _timed(tables: Tables, found: pd.DataFrame, edges: Integers) -> pd.DataFrame:
    return found.assign(time_s=(edges[found["bin"].to_numpy(np.int64)] - tables.start_ns) / 1e9)


def _grid(tables: Tables, edges: Integers) -> dict[str, float]:
    return {"bin_s": float(edges[1] - edges[0]) / 1e9, "end_s": float(edges[-1] - tables.start_ns) / 1e9}


def _dearest_first(found: pd.DataFrame, key: str, by: str = "cpu_share") -> pd.DataFrame:
    total = found.groupby(key)[by].transform("sum")
    order = pd.DataFrame({"total": -total, key: found[key], "bin": found["bin"]})
    return found.loc[order.sort_values(["total", key, "bin"]).index]
