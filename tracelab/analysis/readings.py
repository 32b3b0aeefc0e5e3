"""Counters that the recorder reads about once a second, as what they grew by in equal bins of time.

Readings of different tables are taken at different moments. What a counter grew by between two readings is spread
evenly over the time between them, so that all of them can stand on one grid; nothing finer than a second is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.rates import bin_length_ns
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

READING_NS = 1_000_000_000  #: how often readings are taken, recorder/pipeline.py
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def bin_edges(tables: Tables, bin_s: float | None = None) -> Integers:
    """Where the bins of the selected time begin and end, ns, shape (bins + 1,); the last may be cut short.

    Bins are `bin_s` long; without it no shorter than readings are apart, and at most rates.BINS of them. Raises
    UsageError for a `bin_s` that makes no sense.
    """
    bin_ns = bin_length_ns(tables, bin_s)
    if bin_s is None and bin_ns < READING_NS:
        bin_ns = READING_NS
    first, last = tables.window_ns
    edges = first + np.arange(kernels.bin_count(tables, bin_ns) + 1) * bin_ns
    edges[-1] = max(last, first + 1)
    return edges.astype(np.int64)


def growth(
    tables: Tables, table: str, key: str, counters: Sequence[str], only: Selection | None = None
) -> pd.DataFrame:
    """What counters grew by between two readings, whatever time is selected: one row per key and reading but the first.

    Columns: `key`, from_ns, until_ns and `counters` (NaN where one was not read). What appears after the first reading
    began at zero at the reading before; a counter that falls belongs to a new bearer of the key, which began at zero
    too. Raises MissingTable.
    """
    rows = kernels.rows(type(tables)(tables.store, only, tables.engine), table)
    rows = rows.sort_values([key, "time_ns"], kind="stable", ignore_index=True)
    times = reading_times(tables, table)
    time_ns, keys = rows["time_ns"].to_numpy(np.int64), rows[key].to_numpy(np.int64)
    same = np.concatenate([[False], keys[1:] == keys[:-1]])[: len(keys)]
    before_ns = np.where(same, np.roll(time_ns, 1), times[np.maximum(np.searchsorted(times, time_ns) - 1, 0)])
    found = pd.DataFrame({key: keys, "from_ns": before_ns, "until_ns": time_ns})
    for counter in counters:
        now = rows[counter].astype("Float64").to_numpy(np.float64, na_value=np.nan)
        before = np.where(same, np.roll(now, 1), 0.0)
        found[counter] = np.where(now >= before, now - before, np.where(np.isnan(before), np.nan, now))
    return found[before_ns < time_ns].reset_index(drop=True)


def reading_times(tables: Tables, table: str) -> Integers:
    """When a table was read, ns, ascending, whatever is selected."""
    found = tables.collect(tables.whole(table).select("time_ns").unique())["time_ns"].to_numpy()
    return np.sort(found.astype(np.int64))


def in_bins(rows: pd.DataFrame, key: str, columns: Sequence[str], edges: Integers) -> pd.DataFrame:
    """Means of `columns`, rates between from_ns and until_ns, in each bin: one row per key and bin, in that order.

    Columns: `key`, bin (number) and `columns`; NaN for a bin that no reading tells of.
    """
    parts = []
    for number, its in rows.groupby(key, sort=True):
        part: dict[str, object] = {key: number, "bin": np.arange(len(edges) - 1)}
        for column in columns:
            known = its[its[column].notna()]
            part[column] = mean_in_bins(
                known["from_ns"].to_numpy(np.int64),
                known["until_ns"].to_numpy(np.int64),
                known[column].to_numpy(np.float64),
                edges,
            )
        parts.append(pd.DataFrame(part))
    empty = pd.DataFrame({key: [], "bin": [], **{c: [] for c in columns}})
    return pd.concat(parts, ignore_index=True) if parts else empty.astype({key: "int64", "bin": "int64"})


def mean_in_bins(from_ns: Integers, until_ns: Integers, rate: Floats, edges: Integers) -> Floats:
    """Mean rate in each bin of spans that follow one another without overlap; NaN for a bin without any.

    >>> mean_in_bins(np.array([0, 10]), np.array([10, 20]), np.array([1.0, 3.0]), np.array([0, 5, 15, 30, 40]))
    array([ 1.,  2.,  3., nan])
    """
    if not len(rate):
        return np.full(len(edges) - 1, np.nan)
    begin_ns = int(min(from_ns[0], edges[0]))  # small numbers: a float is exact to 2^53
    length = (until_ns - from_ns).astype(np.float64)
    knots = np.stack([from_ns - begin_ns, until_ns - begin_ns], axis=1).ravel().astype(np.float64)
    at = (edges - begin_ns).astype(np.float64)
    sums, covered = (
        np.diff(np.interp(at, knots, np.repeat(np.concatenate([[0.0], np.cumsum(v)]), 2)[1:-1]))
        for v in (rate * length, length)
    )
    return np.where(covered > 0.5, sums / np.maximum(covered, 0.5), np.nan)
