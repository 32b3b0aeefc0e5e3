"""Events per second over time, and what was lost meanwhile."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.documented import documented, labels
from tracelab.errors import UsageError
from tracelab.query import kernels
from tracelab.query.tables import Tables

BINS = 300  #: at most; as many as a plot can show
MAX_CELLS = 20_000_000  #: bins times series of a table that still fits into memory
LOSS_READING_NS = 100_000_000  #: how often the recorder reads what was lost; a loss is from the time before


def rates(tables: Tables, by: str = "event", bin_s: float | None = None) -> pd.DataFrame:
    """Events per second: one row per bin and series, series by descending number of events.

    Columns: time_s (begin of the bin, s since the recording began), series (text), events (in the bin),
    events_per_s, lost_per_s (lost in the bin by all series together: the true rate of all of them lies between
    their sum and that sum plus lost_per_s). A series without an event in a bin has a row with 0; time that was
    not recorded has no rows. `attrs` has bin_s and by too. Without `bin_s` there are at most BINS bins, all of
    the same length; with it, the last may be cut short, and its rate is over its full length.

    Raises MissingTable, and UsageError for a `by` or `bin_s` that makes no sense.
    """
    bin_ns = bin_length_ns(tables, bin_s)
    count = kernels.bin_count(tables, bin_ns)
    found = kernels.event_counts(tables, by, bin_ns)
    codes, names = pd.factorize(labels(found, kernels.GROUPS[by]))
    if count * len(names) > MAX_CELLS:
        raise UsageError(
            f"{count:,} bins of {len(names):,} series are too many; choose a longer bin_s than {bin_ns / 1e9:g}, "
            "or select a part of the session"
        )
    grid = np.zeros((len(names), count), np.int64)
    np.add.at(grid, (codes, found["bin"].to_numpy()), found["count"].to_numpy())
    order = np.argsort(-grid.sum(axis=1), kind="stable")
    begin_s = (tables.window_ns[0] - tables.start_ns + np.arange(count) * bin_ns) / 1e9
    table = pd.DataFrame(
        {
            "time_s": np.tile(begin_s, len(names)),
            "series": pd.Series(np.repeat(np.asarray(names, object)[order], count), dtype="str"),
            "events": grid[order].ravel(),
        }
    )
    table["events_per_s"] = table["events"] / (bin_ns / 1e9)
    table["lost_per_s"] = np.tile(lost_events(tables, bin_ns) / (bin_ns / 1e9), len(names))
    table = documented(
        table,
        f"events per second by {by}",
        time_s="s",
        series="name",
        events="events",
        events_per_s="events/s",
        lost_per_s="events/s",
    )
    table.attrs.update(bin_s=bin_ns / 1e9, by=by)
    return table


def bin_length_ns(tables: Tables, bin_s: float | None = None) -> int:
    """Length of a bin: the one asked for, or one that divides the window into at most BINS equal ones."""
    if bin_s is not None:
        if not (math.isfinite(bin_s) and bin_s >= 1e-9):
            raise UsageError(f"bin_s={bin_s!r}: the length of a bin is a positive number of seconds")
        return round(bin_s * 1e9)
    first, last = tables.window_ns
    length = max(1, last - first)
    wanted = length / BINS
    power: float = 10.0 ** math.floor(math.log10(wanted))
    nice = min(step * power for step in (1, 2, 5, 10) if step * power >= wanted * (1 - 1e-9))
    return -(-length // max(1, round(length / nice)))


def lost_events(tables: Tables, bin_ns: int) -> npt.NDArray[np.float64]:
    """Events lost in each bin, of all probes that write to table events; shape (bins,).

    A lost row of a probe that samples stands for as many events as its rows do on average. Texts are
    no events. A loss is known from the reading after it, so that it is spread over the bins since the reading before.
    """
    lost = np.zeros(kernels.bin_count(tables, bin_ns))
    if not tables.has("losses"):
        return lost
    found = kernels.loss_counts(tables, bin_ns)
    sources = set(tables.probes_of("events")) or set(found["source"]) - set(tables.probes_of("samples"))
    found = found[found["source"].isin(sources) & (found["reason"] != kernels.TEXTS_LOST)]
    if found.empty:
        return lost
    weight = _mean_weights(tables)
    reach = max(1, round(LOSS_READING_NS / bin_ns))
    for source, number, count in zip(found["source"], found["bin"], found["count"], strict=True):
        begin = max(0, number - reach + 1)
        lost[begin : number + 1] += count * weight.get(source, 1.0) / (number + 1 - begin)
    return lost


def _mean_weights(tables: Tables) -> dict[str, float]:
    """Events that a row stands for on average, by probe."""
    if not tables.has("events"):
        return {}
    found = kernels.event_rows(tables.of_all_processes())
    return dict(zip(found["probe"], found["count"] / found["rows"], strict=True))
