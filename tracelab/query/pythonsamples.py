"""Samples of processes whose Python stacks were read: one by one, to be joined with those by time and thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd

from tracelab.query import lives
from tracelab.query.kernels import GROUPS
from tracelab.query.tables import Frame, Tables, finalise

KIND = "python"  #: of samples that are Python stacks
_NUMBERS = ("cpu", "pid", "tid")


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


def samples_of(tables: Tables, pids: Sequence[int], kind: str, by: str | None) -> pd.DataFrame:
    """Each selected sample of a kind of these processes: the columns of `weights_of_others`, time_ns and tid."""
    rows, group = _grouped(tables, kind, by)
    rows = rows.filter(nw.col("pid").is_in(list(pids)))
    columns = {"time_ns": nw.Int64, "tid": nw.Int64, **_columns(group), "weight": nw.Float64}
    return finalise(tables, rows, columns, sort=("time_ns",))


def weights_of_others(tables: Tables, pids: Sequence[int], kind: str, by: str | None) -> pd.DataFrame:
    """What kernels.stack_weights gives, of all processes but these."""
    rows, group = _grouped(tables, kind, by)
    rows = rows.filter(~nw.col("pid").is_in(list(pids)))
    columns = _columns(group)
    counted = rows.group_by(*columns).agg(weight=nw.col("weight").sum(), samples=nw.len())
    return finalise(
        tables, counted, {**columns, "weight": nw.Float64, "samples": nw.Int64}, sort=tuple(columns)
    )


def _grouped(tables: Tables, kind: str, by: str | None) -> tuple[Frame, tuple[str, ...]]:
    group = GROUPS[by] if by else ()
    rows = tables.frame("samples").filter(nw.col("kind") == kind)
    if "comm" in group:
        rows = lives.joined(tables, rows, "comm", key="pid" if by == "process" else "tid")
    return rows, group


def _columns(group: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"stack_id": nw.Int64, "unwound": nw.String, "unit": nw.String}
    return columns | {name: nw.Int64 if name in _NUMBERS else nw.String for name in group}
