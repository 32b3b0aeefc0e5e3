"""Rates on a regular grid of bins: the few hundred bars and nine series that a plot can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.sessionrates import Counts
from tracelab.errors import UsageError
from tracelab.views.wording import visible

MAX_SERIES = 9  #: more are added up as "other"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A run of bins that have something in common."""

    start_s: float
    end_s: float
    count: float = 0.0  #: events lost in it


@dataclass(frozen=True)
class Bins:
    """Events per second by series and bin; series by descending number of events, "other" last."""

    start_s: float  #: when the first bin begins
    bin_s: float
    names: tuple[str, ...]
    rates: Floats  #: shape (series, bins), events per second; 0 in a bin that was not recorded
    lost: Floats  #: shape (bins,), events lost per second
    recorded: npt.NDArray[np.bool_]  #: shape (bins,)
    folded: int  #: series that "other" stands for
    merged: int  #: bins of the table that one bin stands for
    peaks: Floats | None = None  #: shape (bins,), the highest rate of all series together in a finer bin of each
    fine_s: float = 0.0  #: length of those finer bins; 0 when there are none

    def __len__(self) -> int:
        return len(self.lost)

    @property
    def kept(self) -> Floats:
        """Events per second of all series."""
        total: Floats = self.rates.sum(axis=0)
        return total

    @property
    def peak(self) -> Floats:
        """The highest rate of all series in each bin: of its finer bins, where there are any, else its own."""
        return self.kept if self.peaks is None else self.peaks

    @property
    def loss_windows(self) -> list[Window]:
        """Runs of bins in which events were lost, and how many."""
        return self._windows(self.lost > 0)

    @property
    def gaps(self) -> list[Window]:
        """Runs of bins that were not recorded."""
        return self._windows(~self.recorded)

    def _windows(self, where: npt.NDArray[np.bool_]) -> list[Window]:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(np.int8)))
        return [
            Window(
                self.start_s + first * self.bin_s,
                self.start_s + last * self.bin_s,
                float(self.lost[first:last].sum() * self.bin_s),
            )
            for first, last in edges.reshape(-1, 2).tolist()
        ]

    def at_most(self, limit: int) -> Bins:
        """The same rates in no more than `limit` bins, neighbours averaged over what was recorded."""
        factor = -(-len(self) // limit)
        if factor <= 1:
            return self
        starts = np.arange(0, len(self), factor)
        seen = np.add.reduceat(self.recorded.astype(float), starts)
        bins = np.maximum(seen, 1)
        return Bins(
            start_s=self.start_s,
            bin_s=self.bin_s * factor,
            names=self.names,
            rates=np.add.reduceat(self.rates, starts, axis=1) / bins,
            lost=np.add.reduceat(self.lost, starts) / factor,
            recorded=seen > 0,
            folded=self.folded,
            merged=self.merged * factor,
            peaks=np.maximum.reduceat(self.peak, starts),
            fine_s=self.fine_s or self.bin_s,
        )


def bins_of_counts(counts: Counts, names: Sequence[str] | None = None) -> Bins:
    """Counts as a grid of rates, with the peaks of their fine bins; series as `names`, or by number of events.

    The last of `names` may be one that stands for all others.
    """
    series, fine = len(counts.names), counts.fine
    shown, grid = [visible(name, 60) for name in counts.names], counts.counts
    if names is None:
        order = np.lexsort((np.array(shown, dtype=object).astype(str), -grid.sum(axis=1)))
        chosen = [shown[i] for i in order[: MAX_SERIES if series <= MAX_SERIES else MAX_SERIES - 1]]
        names = chosen if series <= MAX_SERIES else [*chosen, f"other ({series - len(chosen)} more)"]
    place = {name: i for i, name in enumerate(names)}
    other = len(names) - 1 if names and names[-1].startswith("other (") else -1
    folded = np.zeros((len(names), grid.shape[1]))
    for name, row in zip(shown, grid, strict=True):
        folded[place.get(name, other)] += row
    lengths = counts.lengths.reshape(-1, fine).sum(axis=1)
    recorded = lengths > 0
    whole = folded.sum(axis=0) / max(counts.bin_s / fine, 1e-9)
    return Bins(
        start_s=counts.start_s,
        bin_s=counts.bin_s,
        names=tuple(names),
        rates=folded.reshape(len(names), len(counts.lost), fine).sum(axis=2) / counts.bin_s,
        lost=counts.lost / counts.bin_s,
        recorded=recorded,
        folded=max(0, series - len(names) + 1) if other >= 0 else 0,
        merged=1,
        peaks=whole.reshape(-1, fine).max(axis=1),
        fine_s=counts.bin_s / fine,
    )


def bins_of(rates: pd.DataFrame, losses: pd.DataFrame | None, bin_s: float | None) -> Bins:
    """A tidy table of rates as a grid; see EventRate for what the columns mean.

    Raises UsageError when a column is missing or `bin_s` is not a positive number.
    """
    _require(rates, "rates", "time_s", "series", "events_per_s")
    if losses is not None:
        _require(losses, "losses", "time_s", "lost_per_s")
    if bin_s is None or not bin_s > 0:
        raise UsageError(f"bin_s is {bin_s!r}; it must be the length of a bin in seconds")
    if losses is None and "lost_per_s" in rates.columns:
        losses = rates[["time_s", "lost_per_s"]].dropna().groupby("time_s", as_index=False).max()
    place = _Grid.over([t["time_s"].to_numpy(float) for t in (rates, losses) if t is not None], bin_s)
    count = place.count
    events = rates["events_per_s"].to_numpy(float)
    known = ~np.isnan(events)
    at = place.bin_of(rates)
    codes, labels = pd.factorize(rates["series"].astype("string").fillna("(none)"))
    grid = np.zeros((len(labels), count))
    np.add.at(grid, (codes[known], at[known]), events[known])
    recorded = np.zeros(count, bool)
    recorded[at[known]] = True
    lost = np.zeros(count)
    if losses is not None and len(losses):
        np.add.at(lost, place.bin_of(losses), np.nan_to_num(losses["lost_per_s"].to_numpy(float)))
    names = [visible(str(label), 60) for label in labels]
    order = np.lexsort((np.array(names, dtype=object).astype(str), -grid.sum(axis=1)))
    names, grid = [names[i] for i in order], grid[order]
    folded = 0
    if len(names) > MAX_SERIES:
        folded = len(names) - (MAX_SERIES - 1)
        names = [*names[: MAX_SERIES - 1], f"other ({folded} more)"]
        grid = np.concatenate([grid[: MAX_SERIES - 1], grid[MAX_SERIES - 1 :].sum(axis=0, keepdims=True)])
    # Where something was counted as lost, something was recording.
    return Bins(place.start_s, bin_s, tuple(names), grid, lost, recorded | (lost > 0), folded, 1)


@dataclass(frozen=True)
class _Grid:
    start_s: float
    bin_s: float
    count: int

    @classmethod
    def over(cls, times: list[Floats], bin_s: float) -> _Grid:
        """The grid that has a bin at the first of the times of the first table that has any."""
        there = [t for t in times if len(t)]
        if not there:
            return cls(0.0, bin_s, 0)
        first, last = min(t.min() for t in there), max(t.max() for t in there)
        start = float(there[0].min())
        start -= bin_s * np.ceil((start - first) / bin_s - 1e-6)
        return cls(float(start), bin_s, int((last - start) / bin_s + 1e-6) + 1)

    def bin_of(self, table: pd.DataFrame) -> npt.NDArray[np.int64]:
        return ((table["time_s"].to_numpy(float) - self.start_s) / self.bin_s + 1e-6).astype(np.int64)


def _require(table: pd.DataFrame, what: str, *columns: str) -> None:
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise UsageError(
            f"the table of {what} has no column {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
