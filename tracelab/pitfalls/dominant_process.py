"""One process makes most of the events."""

from __future__ import annotations

from tracelab.analysis.top import top
from tracelab.pitfalls import Finding, Quantity, pitfall
from tracelab.query.tables import Tables


@pitfall("One process dominates", needs=("events", "tasks"))
def dominant_process(
    tables: Tables, *, share: float = 0.5, min_per_s: float = 1_000.0, warn_per_s: float = 20_000.0
) -> Finding:
    """One process makes most of what is traced.

    What it does: finds the process with the largest share of all events. More than `share` is found if it
    makes at least `min_per_s` of them a second, and is a warning from `warn_per_s` on.

    Why it costs: every event is paid for, and mostly by the process that makes it. When one process makes most of
    the events, either it is what you want to know about, and the rest is noise; or it is not, and
    most of the cost is for nothing. The tracer itself is a common case: it traces its own output.

    What to do: trace only that process, or leave it out; in the kernel, before the event is built.

    Source: counts of table events by process, named by the main thread at that moment.
    """
    limit = Quantity(share, "of all events")
    rows = top(tables, "process", n=None)
    if rows.empty:
        return Finding("clear", measured=Quantity(0.0, "of all events"), limit=limit)
    by_pid = rows.groupby("pid").agg(
        comm=("comm", "first"),
        events=("events", "sum"),
        share=("share", "sum"),
        events_per_s=("events_per_s", "sum"),
    )
    by_pid = by_pid.sort_values("events", ascending=False, kind="stable")
    pid, first = int(by_pid.index[0]), by_pid.iloc[0]
    comm = str(first["comm"])
    evidence = by_pid.head(5).reset_index()
    evidence.insert(0, "process", evidence.pop("comm") + " (" + evidence.pop("pid").astype(str) + ")")
    actual = Quantity(float(first["share"]), "of all events")
    if first["share"] <= share or first["events_per_s"] < min_per_s:
        return Finding("clear", measured=actual, limit=limit, evidence=evidence)
    return Finding(
        "found",
        severity="warning" if first["events_per_s"] >= warn_per_s else "info",
        title=f"{comm} ({pid}) makes most of all events",
        measured=actual,
        limit=limit,
        subjects=(f"{comm} ({pid})",),
        evidence=evidence,
        why=f"{first['events_per_s']:,.0f} events per second of one process: most of what tracing costs is for it",
        action=f"trace only it, as with --pid {pid}, or leave it out with a filter in the kernel",
        not_meaning="it does not say that the process uses much CPU; s.processes() does",
    )
