"""Python stacks that were held, to be joined with native samples by time and thread."""

from __future__ import annotations

import narwhals.stable.v2 as nw
import pandas as pd

from tracelab.query.tables import Tables, finalise

KIND = "python"  #: of samples that are Python stacks


def held(tables: Tables, margin_ns: int) -> pd.DataFrame:
    """Python stacks that were held in the selected time, or up to `margin_ns` away, of all threads.

    Columns: pid, tid, time_ns (since when), weight (for how long, ns) and stack_id. No Python stacks give no rows.
    """
    first, last = tables.window_ns
    rows = tables.whole("samples").filter(
        nw.col("kind") == KIND,
        nw.col("time_ns") <= last + margin_ns,
        nw.col("time_ns") + nw.col("weight") >= first - margin_ns,
    )
    columns = dict.fromkeys(("pid", "tid", "time_ns", "weight", "stack_id"), nw.Int64)
    return finalise(tables, rows, columns, sort=("tid", "time_ns"))
