"""What a target costs: its processes in user space, and beside them its eBPF programs in the kernel.

The time of eBPF programs is their run time less the calibrated floor, see analysis.cost. They run in the context of
whatever process causes their events, so that most of it is in the CPU time of other processes: the two columns answer
different questions, and what runs in the target's own context is in both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.cost import floor_ns, programs
from tracelab.analysis.documented import documented
from tracelab.analysis.members import Members, members, targets_asked
from tracelab.errors import MissingTable
from tracelab.query import kernels
from tracelab.query.selection import FOREVER_NS, Selection
from tracelab.query.tables import Tables

RATES = {
    "voluntary_per_s": ("voluntary_switches", "switches/s"),
    "involuntary_per_s": ("involuntary_switches", "switches/s"),
    "minor_faults_per_s": ("minor_faults", "faults/s"),
    "major_faults_per_s": ("major_faults", "faults/s"),
    "read_bytes_per_s": ("read_bytes", "bytes/s"),
    "write_bytes_per_s": ("write_bytes", "bytes/s"),
}
SHARES = {"user_share": "user_ns", "system_share": "system_ns"}
COUNTERS = (*SHARES.values(), *(counter for counter, _ in RATES.values()))
GAUGES = ("rss_bytes", "pss_bytes", "threads")
PSS_LASTS = 30  #: readings for which proportional memory is taken to stay, where it was not read again
_UNITS = {
    "cpu_share": "CPUs",
    "user_share": "CPUs",
    "system_share": "CPUs",
    "bpf_share": "CPUs",
    "rss_bytes": "bytes",
    "pss_bytes": "bytes",
    "threads": "threads",
    **{rate: unit for rate, (_, unit) in RATES.items()},
}


def targets(tables: Tables, *asked: str) -> pd.DataFrame:
    """What each target cost in the window, in the order in which they were asked for.

    `asked` are those to tell of: by default the targets of the recording; see `members` for what else may be one.

    Columns: target, processes and programs (how many it had in the whole recording), cpu_share (of one CPU: 1.5 is
    one and a half), user_share and system_share, which add up to it, bpf_share (net run time of its eBPF programs, of
    one CPU), cpu_s and bpf_s (the same in seconds), rss_bytes, pss_bytes and threads (the largest sums over its
    processes), waits and preemptions, page faults and bytes of storage per second, and seconds (between the readings
    used, which enclose the window). NaN means not known: memory in proportion, switches and storage are read of
    targets of the recording only.

    Raises MissingTable when no target is named and the recording had none, and UsageError for one that there is not.
    """
    rows = [_summed(tables, members(tables, target)) for target in _asked(tables, asked)]
    columns = ["target", "processes", "programs", *_UNITS, "cpu_s", "bpf_s", "seconds"]
    table = documented(
        pd.DataFrame(rows, columns=columns),
        "targets and what they cost",
        target="name",
        processes="processes",
        programs="programs",
        **_UNITS,
        cpu_s="s",
        bpf_s="s",
        seconds="s",
    )
    if floor_ns(tables) is None:
        table.attrs["notes"] = ["the floor of the measurement was not calibrated: bpf_share is too high"]
    return table


def target_readings(tables: Tables, *asked: str) -> pd.DataFrame:
    """What each target used over time: a row for every target and reading of the processes, which are a second apart.

    Columns: target, time_s (seconds since the recording began), processes (that ran), and the shares, memory, threads
    and rates of `targets`, of the time since the reading before. pss_bytes may be some readings old: reading it of
    large processes is expensive, and bounded.

    Raises as `targets` does.
    """
    parts = [_over_time(tables, members(tables, target)) for target in _asked(tables, asked)]
    columns = ["target", "time_s", "processes", *_UNITS]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
    first, last = tables.selection.window_ns or (-FOREVER_NS, FOREVER_NS)
    rows = rows[(rows["time_ns"] >= first) & (rows["time_ns"] < last)] if parts else rows
    return documented(rows, "targets over time", target="name", time_s="s", processes="processes", **_UNITS)


def _asked(tables: Tables, asked: tuple[str, ...]) -> list[str]:
    found = list(asked) or targets_asked(tables)
    if not found:
        raise MissingTable(
            "targets", "record with --target PID, NAME or /control/group, or name a process here"
        )
    return found


def _summed(tables: Tables, who: Members) -> dict[str, object]:
    times = _reading_times(tables)
    first, last = tables.window_ns
    begin = max(int(np.searchsorted(times, first, "right")) - 1, 0)
    end = min(int(np.searchsorted(times, last, "left")), len(times) - 1)
    rows = _grown(tables, who)
    inside = rows[(rows["time_ns"] > times[begin]) & (rows["time_ns"] <= times[end])] if len(times) else rows
    seconds = (int(times[end]) - int(times[begin])) / 1e9 if len(times) else 0.0
    total = inside[[f"grown_{c}" for c in COUNTERS]].sum(min_count=1) / (seconds or np.nan)
    held = rows[(rows["time_ns"] >= times[begin]) & (rows["time_ns"] <= times[end])] if len(times) else rows
    gauges = held.groupby("time_ns")[list(GAUGES)].sum(min_count=1).max()
    shares = {share: total[f"grown_{counter}"] / 1e9 for share, counter in SHARES.items()}
    bpf_share = _bpf_share(tables, who)
    cpu_share = shares["user_share"] + shares["system_share"]
    return {
        "target": who.asked,
        "processes": len(who.pids),
        "programs": len(who.prog_ids),
        "cpu_share": cpu_share,
        **shares,
        "bpf_share": bpf_share,
        **gauges,
        **{rate: total[f"grown_{counter}"] for rate, (counter, _) in RATES.items()},
        "cpu_s": cpu_share * seconds,
        "bpf_s": bpf_share * seconds,
        "seconds": seconds,
    }


def _bpf_share(tables: Tables, who: Members) -> float:
    """Net run time of the programs, of one CPU; NaN where the session does not tell, 0 without programs."""
    if not tables.has("bpf_prog_stats"):
        return float("nan")
    table = programs(tables.of_all_processes())
    return float(table.loc[table["prog_id"].isin(who.prog_ids), "cpu_share"].sum())


def _over_time(tables: Tables, who: Members) -> pd.DataFrame:
    times = _reading_times(tables)
    seconds = pd.Series(np.diff(times, prepend=np.nan) / 1e9, index=times, dtype=float)
    by_time = _grown(tables, who).groupby("time_ns")
    found = by_time[list(GAUGES)].sum(min_count=1).reindex(times)
    found["processes"] = by_time.size().reindex(times, fill_value=0)
    grown = by_time[[f"grown_{c}" for c in COUNTERS]].sum(min_count=1).reindex(times).div(seconds, axis=0)
    for share, counter in SHARES.items():
        found[share] = grown[f"grown_{counter}"] / 1e9
    found["cpu_share"] = found["user_share"] + found["system_share"]
    for rate, (counter, _) in RATES.items():
        found[rate] = grown[f"grown_{counter}"]
    found["bpf_share"] = _bpf_over_time(tables, who, times)
    found["target"], found["time_ns"] = who.asked, times
    found["time_s"] = (times - tables.start_ns) / 1e9
    return found


def _bpf_over_time(tables: Tables, who: Members, times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Net run time of the programs as a share of a CPU, at the process readings that are nearest."""
    if not tables.has("bpf_prog_stats") or not len(times):
        return np.full(len(times), np.nan)
    rows = _whole(tables, "bpf_prog_stats")
    rows = rows[rows["prog_id"].isin(who.prog_ids)].sort_values(["prog_id", "time_ns"])
    rows["counted_ns"] = rows["counted_ns"].fillna(rows["time_ns"]).astype("int64")
    counters = ["run_cnt", "run_time_ns", "counted_ns"]
    steps = rows.groupby("prog_id")[counters].diff()
    steps["at"] = np.searchsorted((times[1:] + times[:-1]) // 2, rows["time_ns"])
    steps["prog_id"] = rows["prog_id"]
    sums = steps.dropna().astype(float).groupby(["prog_id", "at"]).sum()
    net = (sums["run_time_ns"] - (floor_ns(tables) or 0.0) * sums["run_cnt"]).clip(lower=0)
    share = (net / sums["counted_ns"].where(sums["counted_ns"] > 0)).groupby("at").sum(min_count=1)
    return share.reindex(np.arange(len(times), dtype=float)).to_numpy(np.float64)


def _grown(tables: Tables, who: Members) -> pd.DataFrame:
    """The readings of the processes, with how much each counter grew since the reading before as grown_NAME.

    A process that appeared after the first reading began at zero. A counter that was not read is NaN, and so is what
    it grew then; one that falls belongs to a new bearer of the pid, which began at zero too.
    """
    rows = _whole(tables, "procs", Selection(pids=who.pids)).sort_values(["pid", "time_ns"])
    times = _reading_times(tables)
    by_pid = rows.groupby("pid")
    appeared = (by_pid.cumcount() == 0) & (rows["time_ns"] > (times[0] if len(times) else 0))
    for counter in COUNTERS:
        now = rows[counter].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        known = pd.Series(now, index=rows.index)
        before = known.groupby(rows["pid"]).ffill().groupby(rows["pid"]).shift(1)
        grown = (known - before).where(known >= before, known.where(before.notna()))
        rows[f"grown_{counter}"] = grown.where(~appeared, known)
    rows["pss_bytes"] = by_pid["pss_bytes"].ffill(limit=PSS_LASTS)
    for gauge in GAUGES:
        rows[gauge] = rows[gauge].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return rows


def _reading_times(tables: Tables) -> npt.NDArray[np.int64]:
    found = tables.collect(tables.whole("procs").select("time_ns").unique())["time_ns"].to_numpy()
    return np.sort(found.astype(np.int64))


def _whole(tables: Tables, table: str, selection: Selection | None = None) -> pd.DataFrame:
    return kernels.rows(type(tables)(tables.store, selection, tables.engine), table)
