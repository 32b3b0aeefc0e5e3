"""Counts of events in any window of a session, finely enough for a plot to keep its peaks."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis import rates as of_rates
from tracelab.analysis.documented import labels
from tracelab.errors import UsageError
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

FINE = 8  #: counts to a bin of the plot, so that what is short stays visible
LEAST_NS = 1_000_000  #: no finer than this
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Events by series and fine bin; `fine` of those make one bin of the plot."""

    start_s: float  #: when the first bin begins, seconds since the recording began
    bin_s: float
    fine: int
    names: tuple[str, ...]  #: series
    counts: Ints  #: shape (series, bins * fine)
    lost: Floats  #: shape (bins,): events lost, all series together
    lengths: Floats  #: shape (bins * fine,): seconds of each that are in the window; the last may be cut short


class SessionRates:
    """Event rates of what is selected, by group, for any part of its time."""

    def __init__(self, tables: Tables, by: str = "event", bin_s: float | None = None) -> None:
        self.tables = tables
        self.by = by
        self.bin_s = bin_s

    @property
    def window(self) -> tuple[float, float]:
        """The selected time, seconds since the recording began."""
        first, last = self.tables.window_ns
        return (first - self.tables.start_ns) / 1e9, (last - self.tables.start_ns) / 1e9

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The table of rates of the whole selected time; see analysis.rates."""
        return of_rates.rates(self.tables, self.by, self.bin_s)

    def counts(self, first_s: float | None = None, last_s: float | None = None) -> Counts:
        """Counts of a part of the selected time, all of it by default. Raises MissingTable, and UsageError for `by`."""
        part = self.tables
        if first_s is not None and last_s is not None:
            start = self.tables.start_ns
            part = part.narrowed(Selection((start + round(first_s * 1e9), start + round(last_s * 1e9))))
        bin_ns = of_rates.bin_length_ns(part, self.bin_s if first_s is None else None)
        fine = max(1, min(FINE, bin_ns // LEAST_NS))
        fine_ns = -(-bin_ns // fine)
        bins = kernels.bin_count(part, fine_ns * fine)
        found = kernels.event_counts(part, self.by, fine_ns)
        names, code = self._series(found)
        if len(names) * bins * fine > of_rates.MAX_CELLS:
            raise UsageError(f"{len(names):,} series are too many for a plot; group by something else, or select some")
        grid = np.zeros((len(names), bins * fine), np.int64)
        np.add.at(grid, (code, found["bin"].to_numpy()), found["count"].to_numpy())
        begin, end = part.window_ns
        edges = begin + np.arange(bins * fine + 1) * fine_ns
        return Counts(
            start_s=(begin - self.tables.start_ns) / 1e9,
            bin_s=fine_ns * fine / 1e9,
            fine=fine,
            names=tuple(names),
            counts=grid,
            lost=of_rates.lost_events(part, fine_ns * fine),
            lengths=np.diff(np.minimum(edges, max(end, begin + 1))) / 1e9,
        )

    def _series(self, found: pd.DataFrame) -> tuple[list[str], Ints]:
        """Names of the series, and the number of each row's; the same name in every window."""
        group = kernels.GROUPS[self.by]
        if self.by == "event" and not self._one_probe:
            text = found["probe"] + ":" + found["event"]
        else:
            text = labels(found, group if self.by != "event" else ("event",))
        code, names = pd.factorize(text)
        return [str(name) for name in names], code.astype(np.int64)

    @functools.cached_property
    def _one_probe(self) -> bool:
        return len(self.tables.probes_of("events")) <= 1
