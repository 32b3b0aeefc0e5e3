"""The questions that are asked of a session: each is one narrow query that ends in `finalise`.

Only filters, integer buckets, sums by group, equi-joins and windows over an order are used, so that the same
code runs on another engine. A row stands for `weight` events, so events are counted by adding weights up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from tracelab.errors import UsageError
from tracelab.query import lives
from tracelab.query.selection import FOREVER_NS
from tracelab.query.tables import Frame, Tables, finalise
from tracelab.schema import EXCLUDED_REASONS, LOST_REASONS, TABLES

#: What rows can be grouped by: the columns that say it. process and thread are numbers with their names.
GROUPS = {
    "event": ("probe", "event"),
    "probe": ("probe",),
    "comm": ("comm",),
    "cpu": ("cpu",),
    "pid": ("pid",),
    "tid": ("tid",),
    "cgroup": ("cgroup",),
    "process": ("pid", "comm"),
    "thread": ("tid", "comm"),
}
BUCKETS_PER_DOUBLING = 8
TEXTS_LOST = "text ring full"  #: of LOST_REASONS, the one of texts: their events were kept
NOT_POSITIVE = -1  #: bucket of values of 0 or less
READING_GAP_NS = 500_000_000  #: readings are a second apart; what is closer belongs to the same one
_NUMBERS = {"cpu", "pid", "tid"}
_WEIGHT = nw.col("weight").fill_null(1)


def bin_count(tables: Tables, bin_ns: int) -> int:
    """Number of bins that the window has; the last one may be cut short. At least one."""
    first, last = tables.window_ns
    return max(1, -(-(last - first) // bin_ns))


def event_counts(tables: Tables, by: str, bin_ns: int) -> pd.DataFrame:
    """Events by time and group: columns of GROUPS[by], bin (number, from the window's begin), count.

    What happened at the very end of the recording belongs to the last bin.
    """
    rows, group = _grouped(tables, "events", by)
    rows = rows.filter(nw.col("time_ns") >= tables.start_ns, nw.col("time_ns") <= tables.end_ns)
    rows = _binned(tables, rows, bin_ns)
    counted = rows.group_by(*group, "bin").agg(count=_WEIGHT.sum())
    columns = {**_types(group), "bin": nw.Int64, "count": nw.Int64}
    return finalise(tables, counted, columns, sort=("bin", *group))


def loss_counts(tables: Tables, bin_ns: int) -> pd.DataFrame:
    """What was lost by time: columns source, reason, bin, count.

    A loss is counted at the reading after it. Readings behind the window's end, where it is that of the
    recording, are in the last bin. Losses know no process: they are those of all.
    """
    rows = _binned(tables, tables.frame("losses").filter(nw.col("reason").is_in(LOST_REASONS)), bin_ns)
    counted = rows.group_by("source", "reason", "bin").agg(count=nw.col("count").sum())
    columns = {"source": nw.String, "reason": nw.String, "bin": nw.Int64, "count": nw.Int64}
    return finalise(tables, counted, columns, sort=("bin", "source", "reason"))


def value_sums(tables: Tables, begin_ns: int, bin_ns: int) -> pd.DataFrame:
    """Events and what their values add up to, by time: columns bin (number, from `begin_ns`), count, value_sum."""
    number = ((nw.col("time_ns") - begin_ns) / bin_ns).floor().cast(nw.Int64)
    rows = tables.frame("events").with_columns(bin=number)
    counted = rows.group_by("bin").agg(count=_WEIGHT.sum(), value_sum=_weighed(nw.col("value")).sum())
    columns = {"bin": nw.Int64, "count": nw.Int64, "value_sum": nw.Float64}
    found = finalise(tables, counted, columns, sort=("bin",))
    return found.assign(value_sum=found["value_sum"].fillna(0.0))


def loss_times(tables: Tables) -> np.ndarray[Any, np.dtype[np.int64]]:
    """When something was lost, as far as readings tell; CLOCK_MONOTONIC, ns, sorted."""
    rows = tables.frame("losses").filter(nw.col("reason").is_in(LOST_REASONS), nw.col("count") > 0)
    found = finalise(tables, rows, {"time_ns": nw.Int64}, sort=("time_ns",))
    return found["time_ns"].to_numpy(np.int64)


def loss_totals(tables: Tables) -> pd.DataFrame:
    """What was lost, and left out on purpose: columns source, reason, count, first_ns, last_ns."""
    rows = tables.frame("losses").filter(nw.col("reason").is_in(LOST_REASONS + EXCLUDED_REASONS))
    counted = rows.group_by("source", "reason").agg(
        count=nw.col("count").sum(), first_ns=nw.col("time_ns").min(), last_ns=nw.col("time_ns").max()
    )
    columns = {
        "source": nw.String,
        "reason": nw.String,
        **dict.fromkeys(("count", "first_ns", "last_ns"), nw.Int64),
    }
    return finalise(tables, counted, columns, sort=("source", "reason"))


def event_totals(tables: Tables, by: str) -> pd.DataFrame:
    """Events by group: probe, columns of GROUPS[by], count, known (with a value), value_sum, value_max."""
    rows, group = _grouped(tables, "events", by)
    keys = tuple(dict.fromkeys(("probe", *group)))
    known = nw.when(~nw.col("value").is_null()).then(_WEIGHT).otherwise(0)
    counted = rows.group_by(*keys).agg(
        count=_WEIGHT.sum(),
        known=known.sum(),
        value_sum=_weighed(nw.col("value")).sum(),
        value_max=nw.col("value").max(),
    )
    columns = {
        **_types(keys),
        "count": nw.Int64,
        "known": nw.Int64,
        "value_sum": nw.Float64,
        "value_max": nw.Float64,
    }
    return finalise(tables, counted, columns, sort=("count", *keys), descending=True)


def value_histogram(tables: Tables, by: str) -> pd.DataFrame:
    """Values by group in buckets of an eighth of a doubling: probe, GROUPS[by], bucket, count, value_sum.

    Bucket b holds values from 2^(b/8) up to 2^((b+1)/8), so that none is off by more than 9 %; values that are
    not positive are in bucket NOT_POSITIVE. Histograms of several sessions and windows may be added up.
    """
    rows, group = _grouped(tables, "events", by)
    keys = tuple(dict.fromkeys(("probe", *group)))
    positive = nw.when(nw.col("value") > 0).then(nw.col("value")).otherwise(1)
    exponent = (
        (positive.log(2) * BUCKETS_PER_DOUBLING + 1e-9).floor().cast(nw.Int64)
    )  # log2 of 8 may be 2.999...
    bucket = nw.when(nw.col("value") > 0).then(exponent).otherwise(NOT_POSITIVE)
    rows = rows.filter(~nw.col("value").is_null()).with_columns(bucket=bucket)
    counted = rows.group_by(*keys, "bucket").agg(
        count=_WEIGHT.sum(), value_sum=_weighed(nw.col("value")).sum()
    )
    columns = {**_types(keys), "bucket": nw.Int64, "count": nw.Int64, "value_sum": nw.Float64}
    return finalise(tables, counted, columns, sort=(*keys, "bucket"))


def value_histogram_over_time(tables: Tables, bin_ns: int, probe: str | None = None) -> pd.DataFrame:
    """The same over time: probe, event, bin (number, from the window's begin), bucket, count, value_sum.

    Values that are not positive are left out, and with `probe` those of all others.
    """
    rows = tables.frame("events").filter(nw.col("value") > 0)
    rows = rows if probe is None else rows.filter(nw.col("probe") == probe)
    rows = rows.filter(nw.col("time_ns") >= tables.start_ns, nw.col("time_ns") <= tables.end_ns)
    exponent = (nw.col("value").log(2) * BUCKETS_PER_DOUBLING + 1e-9).floor().cast(nw.Int64)
    keys = ("probe", "event", "bin", "bucket")
    counted = (
        _binned(tables, rows.with_columns(bucket=exponent), bin_ns)
        .group_by(*keys)
        .agg(count=_WEIGHT.sum(), value_sum=_weighed(nw.col("value")).sum())
    )
    columns = {"probe": nw.String, "event": nw.String, "bin": nw.Int64, "bucket": nw.Int64, "count": nw.Int64}
    return finalise(tables, counted, {**columns, "value_sum": nw.Float64}, sort=keys)


def slowest(tables: Tables, n: int) -> pd.DataFrame:
    """The events with the largest values: time_ns, cpu, pid, tid, probe, event, value, ret, stack_id; largest first."""
    rows = tables.frame("events").filter(~nw.col("value").is_null())
    numbers = dict.fromkeys(("time_ns", "cpu", "pid", "tid", "value", "stack_id"), nw.Int64)
    columns = {**numbers, "probe": nw.String, "event": nw.String, "ret": nw.Float64}
    return finalise(tables, rows.sort("value", descending=True).head(n), columns, sort=("value",), descending=True)


def values_by_key(tables: Tables, kind: str, bin_ns: int) -> pd.DataFrame:
    """What samples of a kind stand for, by time and key: columns bin, key (-1 for none), weight."""
    rows = tables.frame("samples").filter(nw.col("kind") == kind)
    counted = _binned(tables, rows, bin_ns).group_by("bin", "key").agg(weight=nw.col("weight").sum())
    columns = {"bin": nw.Int64, "key": nw.Int64, "weight": nw.Float64}
    return finalise(tables, counted, columns, sort=("bin", "key"))


def event_spans(tables: Tables, probe: str) -> pd.DataFrame:
    """Events of a probe as times that end when they happened: cpu, tid, event, until_ns, value (their length)."""
    rows = tables.frame("events").filter(nw.col("probe") == probe, nw.col("value") > 0)
    rows = rows.with_columns(until_ns=nw.col("time_ns"))
    columns = {"cpu": nw.Int64, "tid": nw.Int64, "event": nw.String, "until_ns": nw.Int64, "value": nw.Int64}
    return finalise(tables, rows, columns, sort=("until_ns", "cpu"))


def value_quantiles(tables: Tables, by: str, quantiles: Sequence[float]) -> pd.DataFrame:
    """Exact quantiles of values by group: probe, GROUPS[by], and one column `q0.5` per quantile.

    Between two values it is interpolated. With sampled events (weight above 1) it is the smallest value that
    has the share below or at it; that takes twenty times as long.
    """
    rows, group = _grouped(tables, "events", by)
    keys = tuple(dict.fromkeys(("probe", *group)))
    rows = rows.filter(~nw.col("value").is_null())
    names = [f"q{q:g}" for q in quantiles]
    weights = tables.collect(rows.select(heaviest=_WEIGHT.max()))
    if (weights["heaviest"][0].as_py() or 1) == 1:
        found = {
            n: nw.col("value").quantile(q, interpolation="linear")
            for n, q in zip(names, quantiles, strict=True)
        }
    else:
        rows = rows.with_columns(weight=_WEIGHT).with_columns(
            upto=nw.col("weight").cum_sum().over(*keys, order_by="value"),
            all=nw.col("weight").sum().over(*keys),
        )
        reached = [(n, nw.col("upto") >= nw.col("all") * q) for n, q in zip(names, quantiles, strict=True)]
        found = {n: nw.when(enough).then(nw.col("value")).min() for n, enough in reached}
    columns = {**_types(keys), **dict.fromkeys(names, nw.Float64)}
    return finalise(tables, rows.group_by(*keys).agg(**found), columns, sort=keys)


def stack_weights(tables: Tables, kind: str, by: str | None = None) -> pd.DataFrame:
    """Samples by stack: stack_id (-1 for none), unwound, unit, columns of GROUPS[by], weight, samples."""
    rows, group = _grouped(tables, "samples", by)
    rows = rows.filter(nw.col("kind") == kind)
    keys = ("stack_id", "unwound", "unit", *group)
    counted = rows.group_by(*keys).agg(weight=nw.col("weight").sum(), samples=nw.len())
    columns = {
        "stack_id": nw.Int64,
        "unwound": nw.String,
        "unit": nw.String,
        **_types(group),
        "weight": nw.Float64,
        "samples": nw.Int64,
    }
    return finalise(tables, counted, columns, sort=keys)


def sample_rows(tables: Tables, kind: str) -> pd.DataFrame:
    """Every selected sample of a kind by time: time_ns, pid, tid, cpu, stack_id (-1 for none), complete, weight."""
    rows = tables.frame("samples").filter(nw.col("kind") == kind)
    rows = rows.with_columns(complete=nw.col("unwound") == "complete")
    columns = {"time_ns": nw.Int64, "stack_id": nw.Int64, "weight": nw.Float64, "complete": nw.Boolean}
    columns |= dict.fromkeys(("pid", "tid", "cpu"), nw.Int32)
    return finalise(tables, rows, columns, sort=("time_ns",))


def sample_units(tables: Tables, kind: str) -> list[str]:
    """Units that the weights of a kind of samples have, sorted."""
    rows = tables.frame("samples").filter(nw.col("kind") == kind).group_by("unit").agg(n=nw.len())
    return list(finalise(tables, rows, {"unit": nw.String}, sort=("unit",))["unit"])


def event_count(tables: Tables) -> int:
    """Number of selected events, weights included."""
    return int(
        tables.collect(tables.frame("events").select(n=_WEIGHT.sum().cast(nw.Int64)))["n"][0].as_py() or 0
    )


def event_rows(tables: Tables) -> pd.DataFrame:
    """Rows and events by probe: columns probe, rows, count; a row of a sampled probe stands for several events."""
    counted = tables.frame("events").group_by("probe").agg(rows=nw.len(), count=_WEIGHT.sum())
    columns = {"probe": nw.String, "rows": nw.Int64, "count": nw.Int64}
    return finalise(tables, counted, columns, sort=("probe",))


def sample_count(tables: Tables) -> int:
    """Number of selected stack samples, of all kinds."""
    return int(tables.collect(tables.frame("samples").select(n=nw.len()))["n"][0].as_py())


def sample_counts(tables: Tables) -> pd.DataFrame:
    """Stack samples by kind: columns kind and count, most first."""
    counted = tables.frame("samples").group_by("kind").agg(count=nw.len())
    columns = {"kind": nw.String, "count": nw.Int64}
    return finalise(tables, counted, columns, sort=("count", "kind"), descending=True)


def increments(
    tables: Tables, table: str, key: str, counters: Sequence[str], about: Sequence[str] = ()
) -> pd.DataFrame:
    """How much counters grew between the readings that enclose the window, or all of them.

    Columns: `key`, `counters` (0 when there was one reading only), `about` as last read, from_ns and until_ns of
    the readings used, the same in all rows. What appears after the first reading began at zero; a counter that
    falls belongs to a new bearer of the same number, which began at zero too.
    """
    time_ns = nw.col("time_ns")
    rows = Tables(tables.store, replace(tables.selection, window_ns=None), tables.engine).frame(table)
    begin, end = _enclosing_readings(tables, rows)
    rows = rows.filter(time_ns >= begin - READING_GAP_NS, time_ns <= end + READING_GAP_NS)
    grown = {c: _grown(c, key, began_after=begin + READING_GAP_NS) for c in counters}
    rows = rows.with_columns(last=time_ns == time_ns.max().over(key), **grown)
    added = rows.group_by(key).agg(
        **{c: nw.col(c).sum() for c in counters},
        **{c: nw.when(nw.col("last")).then(nw.col(c)).max() for c in about},
    )
    columns = {key: nw.Int64, **dict.fromkeys(counters, nw.Int64), **_types(tuple(about))}
    return finalise(tables, added, columns, sort=(key,)).assign(from_ns=begin, until_ns=end)


def task_spans(tables: Tables) -> pd.DataFrame:
    """Every change of a thread with the time until the next: the columns of table tasks and until_ns.

    What came before the first change of a thread, and after its exit, is left out. until_ns is FOREVER_NS for
    what was so at the end of the recording.
    """
    names = TABLES["tasks"].column_names
    order = ("time_ns", "change")
    rows = tables.frame("tasks").with_columns(
        until_ns=nw.col("time_ns").shift(-1).over("tid", order_by=order).fill_null(FOREVER_NS)
    )
    first, last = tables.window_ns
    rows = rows.filter(nw.col("change") != "exit", nw.col("until_ns") > first, nw.col("time_ns") <= last)
    columns = {**_types(names), "until_ns": nw.Int64}
    return finalise(tables, rows, columns, sort=("time_ns", "tid"))


def process_ends(tables: Tables) -> pd.DataFrame:
    """Ends of processes as probe `process` told them, whatever is selected: pid, time_ns and ret (a wait status)."""
    rows = tables.whole("events")
    rows = rows.filter(nw.col("probe") == "process", nw.col("event") == "exit", ~nw.col("ret").is_null())
    columns = {"pid": nw.Int64, "time_ns": nw.Int64, "ret": nw.Int64}
    return finalise(tables, rows, columns, sort=("time_ns", "pid"))


def rows(tables: Tables, table: str) -> pd.DataFrame:
    """The selected rows of a table, as they are; integers stay integers, with <NA> where there is none."""
    return to_pandas(tables.collect(tables.frame(table)))


def to_pandas(result: pa.Table) -> pd.DataFrame:
    """Arrow to pandas without loss: integers that may be null stay integers, and so do whole decimals."""
    for i, field in enumerate(result.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            kind = pa.int64() if field.type.precision <= 18 or _fits(result.column(i)) else pa.float64()
            result = result.set_column(i, field.name, result.column(i).cast(kind))
    frame: pd.DataFrame = result.to_pandas()
    for i, field in enumerate(result.schema):
        if pa.types.is_integer(field.type) and result.column(i).null_count:
            frame.isetitem(i, pd.array(result.column(i).to_pylist(), dtype=pd.Int64Dtype()))
    return frame


def _fits(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    ends = pc.min_max(column).as_py()
    return all(end is None or abs(end) < 1 << 63 for end in ends.values())


def _grouped(tables: Tables, table: str, by: str | None) -> tuple[Frame, tuple[str, ...]]:
    """Selected rows with the columns to group by; raises UsageError for a group that there is not."""
    if by is not None and by not in GROUPS:
        raise UsageError(f"by={by!r}: rows can be grouped by {', '.join(GROUPS)}")
    group = GROUPS[by] if by else ()
    missing = [c for c in group if c not in TABLES[table].column_names]
    if not set(missing) <= {"comm", "cgroup"}:
        raise UsageError(f"by={by!r}: table {table} has no column {missing[0]}")
    frame = tables.frame(table)
    if missing:
        frame = lives.joined(tables, frame, *missing, key="pid" if by == "process" else "tid")
    return frame, group


def _types(columns: Sequence[str]) -> Mapping[str, Any]:
    stored = {c.name: c.type for t in TABLES.values() for c in t.columns}
    return {c: nw.Int64 if c in _NUMBERS or stored[c].startswith("int") else nw.String for c in columns}


def _binned(tables: Tables, frame: Frame, bin_ns: int) -> Frame:
    """With column bin; a quotient in floating point is exact to the nanosecond for a hundred days."""
    number = ((nw.col("time_ns") - tables.window_ns[0]) / bin_ns).floor().cast(nw.Int64)
    final = bin_count(tables, bin_ns) - 1
    return frame.with_columns(bin=nw.when(number > final).then(final).otherwise(number))


def _weighed(value: Any) -> Any:
    return value.cast(nw.Float64) * _WEIGHT


def _enclosing_readings(tables: Tables, frame: Frame) -> tuple[int, int]:
    """Times of the last reading before the window, or the first, and of the first after it, or the last."""
    first, last = tables.selection.window_ns or (0, FOREVER_NS)
    time_ns = nw.col("time_ns")
    found = tables.collect(
        frame.select(
            before=nw.when(time_ns <= first).then(time_ns).max(),
            begin=time_ns.min(),
            after=nw.when(time_ns >= last).then(time_ns).min(),
            end=time_ns.max(),
        )
    ).to_pylist()[0]
    begin, end = found["before"] or found["begin"], found["after"] or found["end"]
    return int(begin or 0), int(end or 0)


def _grown(counter: str, key: str, *, began_after: int) -> Any:
    now = nw.col(counter).fill_null(0)
    before = nw.col(counter).fill_null(0).shift(1).over(key, order_by="time_ns")
    since_zero = before.is_null() & (nw.col("time_ns") > began_after)
    return (
        nw.when(since_zero | (now < before))
        .then(now)
        .otherwise(nw.when(before.is_null()).then(0).otherwise(now - before))
    )
