"""What every thread was called, and when.

Table tasks tells changes; here each becomes a span from its moment to the next change of that thread. The
spans of a thread leave no gap: the first begins before all times and the last ends after them, so that every
row of another table falls into exactly one, or into none when its thread is unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals.stable.v2 as nw

from tracelab.query.selection import FOREVER_NS

if TYPE_CHECKING:
    from tracelab.query.tables import Frame, Tables

UNKNOWN = "?"  #: comm of a thread that table tasks does not have


def spans(tables: Tables, *about: str) -> Frame:
    """One row per thread and span: tid, from_ns, until_ns, and the columns `about` of table tasks.

    Neighbours that do not differ in `about` are one span. Only spans that touch the selected time are given.
    Raises MissingTable when tasks were not recorded.
    """
    order = ("time_ns", "change")
    rows = tables.whole("tasks").select("tid", "time_ns", "change", *about)
    rows = rows.with_columns(
        first=nw.col("time_ns").cum_count().over("tid", order_by=order) == 1,
        **{f"was_{name}": nw.col(name).shift(1).over("tid", order_by=order) for name in about},
    )
    differs = nw.col("first")
    for name in about:
        was = nw.col(f"was_{name}")
        differs = differs | (nw.col(name) != was) | (nw.col(name).is_null() != was.is_null())
    rows = rows.filter(differs.fill_null(True)).with_columns(
        from_ns=nw.when(nw.col("first")).then(-FOREVER_NS).otherwise(nw.col("time_ns")),
        until_ns=nw.col("time_ns").shift(-1).over("tid", order_by=order).fill_null(FOREVER_NS),
    )
    if window := tables.selection.window_ns:
        rows = rows.filter(nw.col("until_ns") > window[0], nw.col("from_ns") < window[1])
    return rows.select("tid", "from_ns", "until_ns", *about)


def joined(tables: Tables, rows: Frame, *about: str, key: str = "tid") -> Frame:
    """`rows` with what table tasks says `about` the thread at that moment; no row is lost or doubled.

    Values are null where the thread is unknown. With `key="pid"` it is about the process: its main thread.
    """
    life = spans(tables, *about).rename({"tid": "life_tid", **{name: f"life_{name}" for name in about}})
    found = rows.join(life, left_on=key, right_on="life_tid", how="left").filter(
        nw.col("from_ns").is_null()
        | ((nw.col("time_ns") >= nw.col("from_ns")) & (nw.col("time_ns") < nw.col("until_ns")))
    )
    return found.with_columns(**{name: nw.col(f"life_{name}") for name in about})


def selected(tables: Tables, rows: Frame) -> Frame:
    """The rows whose thread had, at that moment, a selected comm and was in a selected control group."""
    comms, cgroups = tables.selection.comms, tables.selection.cgroups
    about = [name for name, values in (("comm", comms), ("cgroup", cgroups)) if values is not None]
    rows = joined(tables, rows, *about)
    if comms is not None:
        rows = rows.filter(nw.col("comm").fill_null(UNKNOWN).is_in(comms))
    if cgroups is not None:
        below = nw.col("cgroup").is_in(cgroups)
        for group in cgroups:
            below = below | nw.col("cgroup").str.starts_with(group.rstrip("/") + "/")
        rows = rows.filter(below.fill_null(False))
    return rows
