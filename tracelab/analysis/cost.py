"""What tracing costs: eBPF programs in the kernel, and processes in user space."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.errors import UsageError
from tracelab.query import kernels
from tracelab.query.tables import Tables

#: Types of programs that observe; others route packets or grant access, as systemd's do.
TRACING_TYPES = (
    "kprobe",
    "tracepoint",
    "perf_event",
    "raw_tracepoint",
    "raw_tracepoint_writable",
    "tracing",
    "lsm",
)
COUNTERS = ("run_cnt", "run_time_ns", "misses", "counted_ns")


def programs(tables: Tables) -> pd.DataFrame:
    """What each eBPF program cost in the window, dearest first.

    Columns: prog_id, name, type, attach (where it was last attached), owner (comm of the process that holds it),
    owner_pids, own (whether it belongs to this recording), insns (translated instructions), helpers (places in its
    code that call a helper of the kernel, as JSON by name), tail_calls and spin_locks (places, too), runs (counted,
    see counted_s), runs_per_s, ns_per_run (as the kernel measured it), floor_ns (what measuring adds to a run),
    net_ns_per_run (less the floor, never below 0), cpu_share (net time in it, of one CPU: 0.05 is 5 % of one CPU),
    misses (runs refused because one was under way on that CPU), counted_s (for how long its runs were counted: a part
    of every second, unless recorded with --stats-ms 1000; rates and shares are of that time) and seconds (between the
    readings used, which enclose the window).
    NaN means not known: a program that did not run has no time per run. Where the floor was not calibrated,
    net_ns_per_run is NaN, cpu_share contains it, and `attrs["notes"]` says so. What a program costs beside its
    own run time, as by the slow path it puts every system call on, is not in here.

    Raises MissingTable. Source: bpf_prog_info of the kernel (run_time_ns, run_cnt, recursion_misses) while
    BPF_ENABLE_STATS is held.
    """
    grown = kernels.increments(tables, "bpf_prog_stats", "prog_id", COUNTERS)
    seconds = ((grown["until_ns"] - grown["from_ns"]) / 1e9).where(lambda s: s > 0)
    counted = (grown["counted_ns"] / 1e9).where(lambda s: s > 0).fillna(seconds)
    runs = grown["run_cnt"].where(grown["run_cnt"] > 0).astype(float)
    floor = floor_ns(tables)
    table = grown.merge(described(tables), on="prog_id", how="left")
    table["ns_per_run"] = grown["run_time_ns"] / runs
    table["floor_ns"] = np.nan if floor is None else floor
    table["net_ns_per_run"] = (table["ns_per_run"] - table["floor_ns"]).clip(lower=0)
    net = table["ns_per_run"] if floor is None else table["net_ns_per_run"]
    table["cpu_share"] = (net * runs / 1e9 / counted).where(runs.notna() | counted.isna(), 0.0)
    table["runs"], table["runs_per_s"] = grown["run_cnt"], grown["run_cnt"] / counted
    table["counted_s"], table["seconds"] = counted, seconds
    table = table.sort_values(["cpu_share", "runs", "prog_id"], ascending=[False, False, True])
    table = documented(
        table,
        "eBPF programs and what they cost",
        **dict.fromkeys(("prog_id",), "number"),
        **dict.fromkeys(("name", "type", "attach", "owner"), "name"),
        owner_pids="number",
        own="yes or no",
        insns="instructions",
        helpers="name",
        **dict.fromkeys(("tail_calls", "spin_locks"), "places"),
        runs="runs",
        runs_per_s="runs/s",
        ns_per_run="ns",
        floor_ns="ns",
        net_ns_per_run="ns",
        cpu_share="CPUs",
        misses="runs",
        counted_s="s",
        seconds="s",
    )
    if floor is None:
        table.attrs["notes"] = [
            "the floor of the measurement was not calibrated: cpu_share contains some ten ns per run too much"
        ]
    return table


def processes(tables: Tables) -> pd.DataFrame:
    """What each process used of the CPUs in the window, most first.

    Columns: pid, comm, own (whether it is the recorder), cpu_share (of one CPU: 1.5 is one and a half), user_share
    and system_share, which add up to it, cpu_s (seconds of CPU time), rss_bytes and threads (as last read) and
    seconds (between the readings used, which enclose the window). A process that lived between two readings, which
    are a second apart, is not in here; stack samples and events know it.

    Raises MissingTable. Source: /proc/PID/stat.
    """
    grown = kernels.increments(
        tables, "procs", "pid", ("user_ns", "system_ns"), about=("comm", "rss_bytes", "threads")
    )
    seconds = ((grown["until_ns"] - grown["from_ns"]) / 1e9).where(lambda s: s > 0)
    grown["user_share"] = grown["user_ns"] / 1e9 / seconds
    grown["system_share"] = grown["system_ns"] / 1e9 / seconds
    grown["cpu_share"] = grown["user_share"] + grown["system_share"]
    grown["cpu_s"], grown["seconds"] = (grown["user_ns"] + grown["system_ns"]) / 1e9, seconds
    grown["own"] = grown["pid"] == tables.store.manifest.recorder.get("pid")
    return documented(
        grown.sort_values(["cpu_s", "pid"], ascending=[False, True]),
        "CPU time of processes",
        pid="number",
        comm="name",
        own="yes or no",
        cpu_share="CPUs",
        user_share="CPUs",
        system_share="CPUs",
        cpu_s="s",
        rss_bytes="bytes",
        threads="threads",
        seconds="s",
    )


def busiest(tables: Tables, comm: str) -> int:
    """The process of a name that used most CPU time in the window, as its pid.

    Raises UsageError, with the names there are, when there is none; and MissingTable.
    """
    found = processes(tables)
    named = found[found["comm"] == comm]
    if named.empty:
        there = ", ".join(found["comm"].drop_duplicates().head(12))
        raise UsageError(f"no process named {comm!r} was seen; the busiest are {there}")
    return int(named["pid"].iloc[0])


def tracers(tables: Tables) -> list[int]:
    """Processes that hold eBPF programs for tracing, other than this recording's, as pids in ascending order.

    Raises MissingTable.
    """
    rows = kernels.rows(tables, "bpf_progs")
    traces = rows[rows["type"].isin(TRACING_TYPES) & (rows["own"] != 1)]
    return sorted({int(pid) for pids in traces["owner_pids"].dropna() for pid in pids})


def floor_ns(tables: Tables) -> float | None:
    """What measuring one run adds to its run_time_ns, as calibrated on the recorded machine; None when it was not."""
    floor = tables.store.manifest.calibration.get("bpf_stats_floor_ns")
    known = isinstance(floor, int | float) and not isinstance(floor, bool) and 0 <= floor < 1e6
    return float(floor) if known and floor is not None else None


def described(tables: Tables) -> pd.DataFrame:
    """What is known of each program: of every column, what was said last."""
    numbers = ["insns", "tail_calls", "spin_locks"]
    names = [
        "prog_id",
        "name",
        "type",
        "attach",
        "owner",
        "owner_pids",
        "own",
        "insns",
        "helpers",
        *numbers[1:],
    ]
    if not tables.has("bpf_progs"):
        return pd.DataFrame(columns=names).astype({"prog_id": "int64"})
    rows = kernels.rows(tables, "bpf_progs").rename(columns={"owner_comm": "owner"})
    rows["own"] = rows["own"].fillna(0).astype(bool)
    rows[numbers] = rows[numbers].astype(float)
    rows["owner_pids"] = [pids if pids is not None and len(pids) else None for pids in rows["owner_pids"]]
    return rows[names].groupby("prog_id", sort=False, as_index=False).last()
