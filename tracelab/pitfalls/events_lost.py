"""Rows that were asked for and are missing."""

from __future__ import annotations

from tracelab.analysis.losses import losses
from tracelab.pitfalls import Finding, Quantity, Severity, pitfall
from tracelab.query.tables import Tables

_REMEDIES = {
    "ring full": "record less (--events with fewer events, --pid, --comm) or give a larger ring (--ring-mib)",
    "text ring full": "record fewer events with texts, or without --paths",
    "probe busy": "record fewer events in interrupts: they came while the program ran on that CPU",
    "side-band full": "record a quieter machine, or fewer processes: changes of threads and mappings came too fast",
}


@pitfall("Events were lost", needs=("losses",))
def events_lost(tables: Tables, *, share: float = 0.001, bad_share: float = 0.05) -> Finding:
    """Events or stack samples that were asked for are missing.

    What it does: adds up what the kernel counted as lost, by source and reason, and compares it with what was
    kept. Any loss is found: as a hint up to `share` of a source's rows, as bad from `bad_share` on.

    Why it misleads: losses are not spread evenly. They fall into the busiest moments, so that peaks look
    lower, the busiest process looks quieter, and pairs (an open without its close) break apart.

    What to do: record less, or give the ring more room; until then read rates as ranges, and do not compare
    counts of lossy windows.

    Source: the return value of bpf_ringbuf_reserve, counted per CPU by every probe; PERF_RECORD_LOST for the
    side band.
    """
    found = losses(tables)
    lost = found[found["kind"] == "lost"]
    limit = Quantity(share, "of a source's rows")
    if lost.empty:
        return Finding("clear", measured=Quantity(0.0, "of a source's rows"), limit=limit, evidence=found)
    worst = lost.sort_values(["share", "count"], ascending=False, na_position="last").iloc[0]
    known = bool(worst["share"] == worst["share"])
    actual = (
        Quantity(float(worst["share"]), f"of {worst['source']}")
        if known
        else Quantity(worst["count"], "rows")
    )
    severity: Severity = "warning" if not known or worst["share"] > share else "info"
    if known and worst["share"] >= bad_share:
        severity = "bad"
    return Finding(
        "found",
        severity=severity,
        title=f"{int(lost['count'].sum()):,} rows were lost",
        measured=actual,
        limit=limit,
        subjects=tuple(dict.fromkeys(lost["source"])),
        window_s=(float(lost["first_s"].min()), float(lost["last_s"].max())),
        evidence=lost.reset_index(drop=True),
        why="losses fall into the busiest moments: peaks look lower and the busiest process quieter than they were",
        action="; ".join(
            _REMEDIES[reason] for reason in dict.fromkeys(lost["reason"]) if reason in _REMEDIES
        ),
        not_meaning="it does not say whose events were lost: losses are counted per CPU, not per process",
    )
