"""A session in a few numbers, from its manifest, the footers of its files and one query."""

from __future__ import annotations

import datetime
from typing import Any

import pandas as pd

from tracelab.analysis.top import top
from tracelab.query import kernels
from tracelab.query.tables import Tables
from tracelab.schema import LOST_REASONS, TABLES

GIB = 1 << 30
_ROWS_LOST = [reason for reason in LOST_REASONS if reason != kernels.TEXTS_LOST]
#: Tables whose absence is worth a word; the others come with them, or no option of this version makes them.
NOTABLE = ("events", "samples", "bpf_prog_stats", "tasks", "host", "procs")


def overview(tables: Tables) -> dict[str, Any]:
    """What a summary shows, by the names of views.summary.SessionFacts; None for what was not recorded."""
    store, manifest = tables.store, tables.store.manifest
    first, last = tables.window_ns
    selected = tables.selection.describe(tables.start_ns)
    losses = kernels.loss_totals(tables).groupby("reason")["count"].sum() if tables.has("losses") else None
    has_events = tables.has("events")
    kinds = kernels.sample_counts(tables) if tables.has("samples") else None
    rows = [] if kinds is None else kinds["count"].tolist()
    rows += kernels.event_rows(tables)["rows"].tolist() if has_events else []
    return {
        "title": store.path.name + (f": {selected}" if selected else ""),
        "state": manifest.state,
        "host": _host(manifest.host),
        "started": _wall_time(manifest.clock, first),
        "duration_s": (last - first) / 1e9,
        "events": kernels.event_count(tables) if has_events else None,
        "samples": None if kinds is None else int(kinds["count"].sum()),
        "kinds": {} if kinds is None else {str(k): int(n) for k, n in kinds.to_numpy().tolist()},
        "rows": sum(rows) if rows else None,
        "lost": None if losses is None else int(losses.reindex(_ROWS_LOST).sum()),
        "texts_lost": None if losses is None else int(losses.get(kernels.TEXTS_LOST, 0)),
        "own": None if losses is None else int(losses.get("own", 0)),
        "size_bytes": store.size_bytes(),
        "top_events": _top_events(tables) if has_events else None,
        "not_recorded": _not_recorded(tables),
        "notes": tuple(str(note) for note in manifest.notes),
    }


def _host(host: dict[str, Any]) -> str:
    """The machine in one line; a session may come from anywhere, so that anything may be missing or odd."""
    words = [str(host[name]) for name in ("hostname", "distribution") if host.get(name)]
    if host.get("kernel"):
        words.append(f"Linux {host['kernel']} {host.get('machine', '')}".strip())
    if isinstance(cpus := host.get("cpus"), int):
        words.append(f"{cpus} CPUs")
    if isinstance(memory := host.get("mem_total_bytes"), int):
        words.append(f"{memory / GIB:.0f} GiB")
    return ", ".join(words)


def _wall_time(clock: dict[str, Any], time_ns: int) -> str:
    """A moment on the recorded machine's clock, in UTC; empty when the manifest does not tell."""
    monotonic, wall = clock.get("monotonic_ns"), clock.get("realtime_ns")
    if not isinstance(monotonic, int) or not isinstance(wall, int):
        return ""
    try:
        moment = datetime.datetime.fromtimestamp((wall + time_ns - monotonic) / 1e9, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _top_events(tables: Tables) -> pd.DataFrame:
    """The most frequent events; of several probes, which may use the same names, with the probe."""
    found = top(tables, "event", n=8)
    probe = ["probe"] if found["probe"].nunique() > 1 else []
    return found[[*probe, "event", "events", "share", "events_per_s"]]


def _not_recorded(tables: Tables) -> dict[str, str]:
    """What was not recorded, and why or how to; probes that nobody asked for in one line."""
    told = {str(what): str(how) for what, how in tables.store.manifest.not_recorded.items()}
    unasked = [what for what, how in told.items() if how.endswith(f"record with --events {what}")]
    if len(unasked) > 3:
        told = {what: how for what, how in told.items() if what not in unasked}
        told[f"{len(unasked)} probes"] = (
            f"{', '.join(unasked)}: record with --events; `tracelab probes` tells what each of them records"
        )
    missing = {name: TABLES[name].how_to_record for name in NOTABLE if not tables.has(name)}
    if told:  # the recorder names probes and says why
        missing = {name: how for name, how in missing.items() if not any(how in t for t in told.values())}
    return told | {name: how for name, how in missing.items() if name not in told}
