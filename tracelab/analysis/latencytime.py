"""How long things took, over time: a grid of moments and durations, and percentiles of each moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.analysis.latency import QUANTILES, quantiles_of
from tracelab.analysis.losses import loss_notes
from tracelab.analysis.rates import bin_length_ns
from tracelab.errors import MissingTable, UsageError
from tracelab.query import kernels
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

BINS = 120  #: moments, at most
DOUBLING = kernels.BUCKETS_PER_DOUBLING
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LatencyGrid:
    """Events by moment and by how long they took, in buckets of an eighth of a doubling."""

    rows: pd.DataFrame  #: probe, event, bin, bucket, count, value_sum
    start_s: float
    bin_s: float
    bins: int
    unit: str
    notes: tuple[str, ...]  #: what was left out

    @property
    def time_s(self) -> Floats:
        """When each moment begins, seconds since the recording began."""
        return np.asarray(self.start_s + np.arange(self.bins) * self.bin_s, np.float64)

    def cells(self, per_doubling: int = DOUBLING) -> tuple[Floats, Floats]:
        """Edges of the buckets that occur, in `unit`; and events, shape (buckets, bins)."""
        if self.rows.empty:
            return np.array([1.0, 2.0]), np.zeros((1, self.bins))
        bucket = self.rows["bucket"].to_numpy() // (DOUBLING // per_doubling)
        first, last = int(bucket.min()), int(bucket.max())
        counts = np.zeros((last - first + 1, self.bins))
        np.add.at(counts, (bucket - first, self.rows["bin"].to_numpy()), self.rows["count"].to_numpy(float))
        return 2.0 ** (np.arange(first, last + 2) / per_doubling), counts

    def histogram(self) -> pd.DataFrame:
        """Events by how long they took: event, from and until (in `unit`), count; of all the time."""
        found: pd.DataFrame = self.rows.groupby(["event", "bucket"])["count"].sum().reset_index()
        found["from"] = 2.0 ** (found["bucket"] / DOUBLING)
        found["until"] = 2.0 ** ((found["bucket"] + 1) / DOUBLING)
        units = {"event": "name", "from": self.unit, "until": self.unit, "count": "events"}
        return documented(found, "events by how long they took", **units)

    def percentiles(self) -> pd.DataFrame:
        """Percentiles of each moment: time_s, count, p50, p90, p99, and max (the upper edge of its bucket)."""
        found = quantiles_of(self.rows, ["bin"], QUANTILES)
        most = self.rows.groupby("bin").agg(count=("count", "sum"), bucket=("bucket", "max"))
        found = found.merge(most, left_on="bin", right_index=True)
        found["max"] = 2.0 ** ((found["bucket"] + 1) / DOUBLING)
        found["time_s"] = self.start_s + found["bin"] * self.bin_s
        units = {"time_s": "s", "count": "events"} | dict.fromkeys(("p50", "p90", "p99", "max"), self.unit)
        return documented(found, "percentiles over time, within 9 %", **units)


def latency_grid(tables: Tables, event: str | None = None, probe: str | None = None) -> LatencyGrid:
    """Events with a value by moment and value; of one event, or of one probe, if given.

    Values of several probes mean several things: without `probe` it is of the one with most events, and a note
    names the others. Raises MissingTable without events, or without that probe, and UsageError for an unknown event.
    """
    if not tables.has("events"):
        raise MissingTable("events", tables.store.how_to_record("events"))
    if probe is not None and probe not in tables.store.manifest.probes:
        raise MissingTable(f"events of probe {probe}", f"record with --events {probe}")
    part = tables if event is None else tables.narrowed(Selection(events=(event,)))
    first, last = tables.window_ns
    bin_ns = bin_length_ns(tables) if last - first < BINS else -(-(last - first) // BINS)
    rows = kernels.value_histogram_over_time(part, bin_ns, probe)
    if event is not None and rows.empty and not len(kernels.event_totals(part, "event")):
        raise UsageError(f"event={event!r}: there is no such event in this selection")
    totals = rows.groupby("probe")["count"].sum().sort_values(ascending=False, kind="stable")
    chosen = [str(name) for name in totals.index[:1]]
    others = [f"{name} ({count:,} events)" for name, count in totals.iloc[1:].items()]
    notes = (f"of probe {chosen[0]}; others have values, too: {', '.join(others)}",) if others else ()
    return LatencyGrid(
        rows=rows[rows["probe"].isin(chosen)],
        start_s=(first - tables.start_ns) / 1e9,
        bin_s=bin_ns / 1e9,
        bins=kernels.bin_count(tables, bin_ns),
        unit=tables.unit(chosen[0]) if chosen else "ns",
        notes=(*notes, *loss_notes(tables, *chosen)),
    )
