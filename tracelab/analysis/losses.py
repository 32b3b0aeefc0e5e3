"""What the tables do not have: rows that were lost, and rows that were left out on purpose."""

from __future__ import annotations

import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.query import kernels
from tracelab.query.tables import Tables
from tracelab.schema import LOST_REASONS


def losses(tables: Tables) -> pd.DataFrame:
    """What was lost and what was left out, by source and reason; lost first, most first.

    Columns: source (probe, or part of the recorder), reason, kind ("lost" or "left out"), count, share (of what the
    source kept and lost, 0 to 1; NaN for what was left out, for texts, and where the kept are unknown), first_s and
    last_s (readings that told it, s since the recording began). Counts are of rows, which stand for several events
    where events were sampled. Losses are the kernel's own count of all processes: a
    selection by process, thread or event does not narrow them.

    Raises MissingTable.
    """
    found = kernels.loss_totals(tables)
    found["kind"] = found["reason"].isin(LOST_REASONS).map({True: "lost", False: "left out"}).astype("str")
    kept = _kept(tables)
    shared = (found["kind"] == "lost") & (found["reason"] != kernels.TEXTS_LOST)
    lost = found[shared].groupby("source")["count"].sum()
    seen = [kept[s] + int(lost.get(s, 0)) if s in kept else float("nan") for s in found["source"]]
    found["share"] = (found["count"] / pd.Series(seen, dtype=float)).where(shared)
    found["first_s"] = (found["first_ns"] - tables.start_ns) / 1e9
    found["last_s"] = (found["last_ns"] - tables.start_ns) / 1e9
    found = found.sort_values(
        ["kind", "count", "source", "reason"], ascending=[False, False, True, True], ignore_index=True
    )
    return documented(
        found,
        "what was lost, and what was left out on purpose",
        source="name",
        reason="name",
        kind="name",
        count="rows",
        share="1",
        first_s="s",
        last_s="s",
    )


def loss_notes(tables: Tables, *sources: str) -> tuple[str, ...]:
    """What a view of these probes must say: how many rows they lost, and their share."""
    if not tables.has("losses"):
        return ("not known whether anything was lost",)
    found = losses(tables)
    found = found[(found["kind"] == "lost") & found["source"].isin(sources)]
    return tuple(
        f"{count:,} rows of probe {source} were lost ({reason}), {share:.1%} of what it saw"
        if share == share
        else f"{count:,} rows of probe {source} were lost ({reason})"
        for source, reason, count, share in zip(
            found["source"], found["reason"], found["count"], found["share"], strict=True
        )
    )


def _kept(tables: Tables) -> dict[str, int]:
    """Rows kept by each probe, of the selected time and CPUs."""
    kept = {}
    whole = tables.of_all_processes()
    if whole.has("events"):
        found = kernels.event_rows(whole)
        kept = dict.fromkeys(tables.probes_of("events"), 0)
        kept |= {str(p): int(n) for p, n in zip(found["probe"], found["rows"], strict=True)}
    if whole.has("samples"):
        samples = kernels.sample_counts(whole)
        of_kind = {str(k): int(n) for k, n in zip(samples["kind"], samples["count"], strict=True)}
        probes = tables.probes_of("samples")
        if len(probes) == 1:
            kept[probes[0]] = sum(of_kind.values())
        else:
            kinds = {name: tables.store.manifest.probes[name].get("kind") for name in probes}
            kept |= {name: of_kind.get(str(kind), 0) for name, kind in kinds.items() if kind}
    return kept
