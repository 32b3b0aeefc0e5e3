"""Where the time of threads went: on a CPU, waiting for one, or waiting for something else."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from tracelab.analysis.documented import documented, group_units
from tracelab.errors import MissingTable, UsageError
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

PROBES = ("switches", "runqueue", "offcpu")  #: that record the scheduler
GROUPS = ("thread", "process", "tid", "pid", "comm", "cgroup", "cpu")
_NS = 1e9


def thread_times(tables: Tables, by: str = "thread") -> pd.DataFrame:
    """Seconds by group, most off-CPU time first; what nobody recorded is NaN, which is not zero.

    Columns: what `by` names; on_cpu_s (probe switches); preempted_s, ready to run while another had the CPU (probe
    runqueue); off_cpu_s, blocked, in waits no shorter than was asked for (probe offcpu); woken_s, the part of the waits
    at the end of which the thread had been woken and waited for a CPU, of all waits (probe runqueue). The first three
    add up to the life of a thread where all waits were recorded.

    Raises MissingTable when none of the three probes recorded, and UsageError for another `by`.
    """
    if by not in GROUPS:
        raise UsageError(f"by={by!r}: times of threads can be grouped by {', '.join(GROUPS)}")
    recorded = [p for p in PROBES if p in tables.store.manifest.probes]
    if not recorded:
        raise MissingTable("events of the scheduler", f"record with --events {','.join(PROBES)}")
    keys = list(kernels.GROUPS[by])
    columns = {}
    if "switches" in recorded:
        columns["on_cpu_s"] = _of_events(tables, by, "switches")
    if "runqueue" in recorded:
        columns["preempted_s"] = _of_events(tables, by, "runqueue", ("preempted",))
    if "offcpu" in recorded:
        found = kernels.stack_weights(tables, "off-CPU", by)
        columns["off_cpu_s"] = found.groupby(keys, dropna=False)["weight"].sum() / _NS
    if "runqueue" in recorded:
        columns["woken_s"] = _of_events(tables, by, "runqueue", ("wakeup", "new"))
    names = ("on_cpu_s", "preempted_s", "off_cpu_s", "woken_s")
    times = pd.concat(columns.values(), axis=1, keys=columns.keys()).fillna(0.0).reindex(columns=names)
    times = times.rename_axis(index=keys).reset_index()
    order = [name for name in ("off_cpu_s", "preempted_s", "on_cpu_s") if name in columns]
    times = times.sort_values([*order, *keys], ascending=[False] * len(order) + [True] * len(keys))
    return documented(
        times, f"where time went by {by}", **group_units(tuple(keys)), **dict.fromkeys(names, "s")
    )


def _of_events(tables: Tables, by: str, probe: str, events: Iterable[str] | None = None) -> pd.Series[float]:
    """What the values of some events of a probe add up to, in seconds by group."""
    asked = tables.narrowed(Selection(events=None if events is None else tuple(events)))
    found = kernels.event_totals(asked, by)
    found = found[found["probe"] == probe].set_index(list(kernels.GROUPS[by]))
    return found["value_sum"] / _NS
