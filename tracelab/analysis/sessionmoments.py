"""The moments of a part of a session: what a live heat map asks for."""

from __future__ import annotations

from tracelab.analysis.heatmap import Floats, Moments, matching, moments
from tracelab.query import kernels
from tracelab.query.tables import Tables

EVENTS = 12  #: names of events to choose from, those with the most


class SessionMoments:
    """Samples, events and latency of what is selected, moment by moment."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def names(self) -> list[tuple[str, str | None]]:
        """What there is to count: ("samples", kind), ("events", name or None for all), ("latency", name).

        It is of the whole session, and looked up once.
        """
        kept = self.tables.engine.kept
        if "moments" not in kept:
            kept["moments"] = _names(Tables(self.tables.store, None, self.tables.engine))
        return list(kept["moments"])

    def moments(self, of: str, name: str | None, column_s: float | None) -> Moments:
        """See analysis.heatmap."""
        kind = name if of == "samples" and name else "on-CPU"
        return moments(self.tables, of, None if of == "samples" else name, kind, column_s)

    @property
    def searchable(self) -> bool:
        """Whether there are on-CPU samples, whose stacks can be searched."""
        return self.tables.has("samples")

    def matching(self, made: Moments, pattern: str) -> Floats:
        """What of the on-CPU samples in each moment has a stack that matches."""
        return matching(self.tables, made, pattern)


def _names(tables: Tables) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    if tables.has("samples"):
        found += [("samples", kind) for kind in kernels.sample_counts(tables)["kind"]]
    if tables.has("events"):
        totals = kernels.event_totals(tables, "event").head(EVENTS)
        found += [("events", None), *(("events", name) for name in totals["event"])]
        found += [("latency", name) for name in totals[totals["known"] > 0]["event"]]
    return found
