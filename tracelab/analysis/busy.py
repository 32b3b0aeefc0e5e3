"""Who was busy in a part of a session: time on CPUs by samples, and events, of each process."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.analysis.samples import sample_index
from tracelab.query import kernels
from tracelab.query.tables import Tables


def busy(tables: Tables) -> pd.DataFrame:
    """Processes by on-CPU time, then by events: columns pid, comm, on_cpu_ns, share, events.

    `on_cpu_ns` is what the on-CPU samples stand for, `share` its part of all selected ones; both are 0 where no samples
    were recorded. `comm` is the name that the process had last. It is quick: samples are taken from the index in
    memory, and names are looked up once a session.
    """
    weights: pd.Series[float] = pd.Series(dtype=float)
    if tables.has("samples"):
        index = sample_index(tables)
        rows = index.rows(tables.selection)
        pids, number = np.unique(index.pid[rows], return_inverse=True)
        weights = pd.Series(np.bincount(number, weights=index.weight[rows], minlength=len(pids)), index=pids)
    events: pd.Series[int] = pd.Series(dtype=int)
    if tables.has("events"):
        events = kernels.event_totals(tables, "pid").groupby("pid")["count"].sum()
    both = pd.DataFrame({"on_cpu_ns": weights, "events": events}).fillna(0)
    both["pid"] = both.index.astype(np.int64)
    both["events"] = both["events"].astype(np.int64)
    both["share"] = both["on_cpu_ns"] / (float(both["on_cpu_ns"].sum()) or 1.0)
    both["comm"] = [process_names(tables).get(int(pid), "?") for pid in both["pid"]]
    both = both.sort_values(["on_cpu_ns", "events", "pid"], ascending=[False, False, True])
    return documented(
        both, "who was busy", pid="number", comm="name", on_cpu_ns="ns", share="of the selected time", events="events"
    )


def process_names(tables: Tables, *, threads: bool = False) -> dict[int, str]:
    """The last name of each process, by pid; with `threads` of each thread, by tid. Looked up once a session."""
    kept = tables.engine.kept
    key = ("names", threads)
    if key not in kept:
        names: dict[int, str] = {}
        if tables.has("tasks"):
            rows = tables.collect(tables.whole("tasks").sort("time_ns").select("tid", "pid", "comm"))
            for tid, pid, comm in zip(*(rows[c].to_pylist() for c in ("tid", "pid", "comm")), strict=True):
                if (threads or tid == pid) and comm is not None:
                    names[tid] = comm
        kept[key] = names
    found: dict[int, str] = kept[key]
    return found
