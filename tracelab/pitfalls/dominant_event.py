"""One kind of event makes most of the volume."""

from __future__ import annotations

from tracelab.analysis.top import top
from tracelab.pitfalls import Finding, Quantity, pitfall
from tracelab.query.tables import Tables


@pitfall("One kind of event dominates", needs=("events",))
def dominant_event(
    tables: Tables, *, share: float = 0.5, min_per_s: float = 1_000.0, warn_per_s: float = 20_000.0
) -> Finding:
    """One kind of event is most of what is traced.

    What it does: finds the event with the largest share of all events. More than `share` is found if it comes
    at least `min_per_s` times a second, and is a warning from `warn_per_s` on.

    Why it costs: a tracer pays for every event: the program's run time in the traced process, room in the
    buffer, and decoding in user space. Where one kind of event is most of them, it is most of that cost, and
    it crowds out the rare events that matter.

    What to do: leave that event out, filter it in the kernel (by process, by return value), or sample it.

    Source: counts of table events, weights included.
    """
    limit = Quantity(share, "of all events")
    rows = top(tables, "event", n=None)
    if rows.empty:
        return Finding("clear", measured=Quantity(0.0, "of all events"), limit=limit)
    first, evidence = rows.iloc[0], rows[["probe", "event", "events", "share", "events_per_s"]].head(5)
    actual = Quantity(float(first["share"]), "of all events")
    name = f"{first['probe']}:{first['event']}" if rows["probe"].nunique() > 1 else str(first["event"])
    if first["share"] <= share or first["events_per_s"] < min_per_s:
        return Finding("clear", measured=actual, limit=limit, evidence=evidence)
    return Finding(
        "found",
        severity="warning" if first["events_per_s"] >= warn_per_s else "info",
        title=f"{name} is most of all events",
        measured=actual,
        limit=limit,
        subjects=(name,),
        evidence=evidence,
        why=f"{first['events_per_s']:,.0f} events per second of one kind: most of what tracing them costs is for it",
        action=f"leave {name} out if you do not need it, or filter or sample it in the kernel",
        not_meaning="it does not say that the event itself is slow; s.latency() does",
    )
