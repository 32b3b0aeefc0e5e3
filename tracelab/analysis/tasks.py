"""The lives of threads."""

from __future__ import annotations

import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.query import kernels
from tracelab.query.selection import FOREVER_NS
from tracelab.query.tables import Tables


def tasks(tables: Tables) -> pd.DataFrame:
    """Every thread and name that it had in the window, in order of time.

    Columns: tid, pid, ppid (-1 when unknown), change (what gave it this name: seen when it ran already), comm, exe,
    cgroup ("?" when unknown), from_s (NaN for a thread that ran before the recording) and until_s (NaN when it
    was so to the end).

    Raises MissingTable.
    """
    found = kernels.task_spans(tables)
    found["from_s"] = ((found["time_ns"] - tables.start_ns) / 1e9).where(found["change"] != "seen")
    found["until_s"] = ((found["until_ns"] - tables.start_ns) / 1e9).where(found["until_ns"] < FOREVER_NS)
    return documented(
        found,
        "threads and the names that they had",
        tid="number",
        pid="number",
        ppid="number",
        change="name",
        comm="name",
        exe="name",
        cgroup="name",
        from_s="s",
        until_s="s",
    )
