"""What changed between two selections in how often things happened, and in how long they took."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.difference import change_units, changes
from tracelab.analysis.documented import documented, group_units
from tracelab.analysis.latency import latency
from tracelab.analysis.rates import lost_events
from tracelab.analysis.resampling import HOW_SURE, UNKNOWN, Blocks, block_count, certainty, merges
from tracelab.analysis.sides import described
from tracelab.errors import UsageError
from tracelab.query import kernels
from tracelab.query.tables import Tables

BY = ("event", "probe", "comm", "cgroup", "cpu")  #: what means the same in two recordings; pids do not
OF_A_PROBE = ("event", "probe")  #: those of which each has values of one unit
PERCENTILES = ("p50", "p99")
Floats = npt.NDArray[np.float64]


def event_changes(before: Tables, after: Tables, by: str = "event", seed: int = 1) -> pd.DataFrame:
    """Events per second on both sides, certain changes first, largest first.

    Columns: those that `by` names, before, after, delta (after less before) in events/s, relative (of before; NaN
    where there was none), lower and upper (interval of 95 %, by drawing blocks of time; NaN where it is not known)
    and certain. By event or probe also how long they took: p50_before, p50_after, p99_before and p99_after (within
    9 %; NaN where there are no values), and unit, that of these. `attrs["notes"]` tells what was lost.

    Raises MissingTable, and UsageError for a `by` that does not mean the same on both sides, and for no time at all.
    """
    if by not in BY:
        raise UsageError(f"by={by!r}: what changed is told by {', '.join(BY)}")
    keys = list(kernels.GROUPS[by])
    sides = (before, after)
    if any(tables.window_ns[0] == tables.window_ns[1] for tables in sides):
        raise UsageError("there are no events per second where no time is selected")
    counted = [kernels.event_counts(tables, by, _block_ns(tables)) for tables in sides]
    rows = pd.concat([found[keys] for found in counted]).drop_duplicates(ignore_index=True)
    old, new = (_blocks(tables, found, rows) for tables, found in zip(sides, counted, strict=True))
    sure = certainty(old.merged(merges(old)), new.merged(merges(new)), seed)
    table = pd.concat([rows, pd.DataFrame(changes(old.values, new.values, sure))], axis=1)
    units = group_units(tuple(keys)) | change_units("events/s")
    if by in OF_A_PROBE:
        table = _with_latency(table, *(latency(tables, by) for tables in sides), keys=keys)
        units |= {f"{p}_{side}": "column unit" for p in PERCENTILES for side in ("before", "after")} | {"unit": "name"}
    table["size"] = table["delta"].abs()
    table = table.sort_values(["certain", "size", *keys], ascending=[False, False] + [True] * len(keys))
    table = documented(table, f"events per second by {by}: {described(after)}, less {described(before)}", **units)
    notes = [_about_intervals(old, new)] if not table["lower"].isna().all() else [UNKNOWN]
    notes += [_lost(name, tables) for name, tables in zip(("before", "after"), sides, strict=True)]
    table.attrs.update(by=by, unit="events/s", notes=[note for note in notes if note])
    return table


def _about_intervals(before: Blocks, after: Blocks) -> str:
    counts = [len(blocks) >> merges(blocks) for blocks in (before, after)]
    return HOW_SURE.format(max(b.per.sum() / n for b, n in zip((before, after), counts, strict=True)), *counts)


def _block_ns(tables: Tables) -> int:
    first, last = tables.window_ns
    return -(-(last - first) // max(1, block_count(tables.window_ns)))


def _blocks(tables: Tables, found: pd.DataFrame, rows: pd.DataFrame) -> Blocks:
    """Events of each row by block, and the seconds of a block."""
    count = max(1, block_count(tables.window_ns))
    number = found.merge(rows.reset_index(names="row"), on=list(rows.columns))["row"].to_numpy(np.int64)
    weight = np.zeros((count, len(rows)))
    np.add.at(weight, (found["bin"].to_numpy(np.int64).clip(max=count - 1), number), found["count"].to_numpy())
    first, last = tables.window_ns
    return Blocks(weight, np.full(count, (last - first) / 1e9 / count))


def _with_latency(
    table: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame, *, keys: list[str]
) -> pd.DataFrame:
    for side, found in (("before", before), ("after", after)):
        renamed = found.rename(columns={p: f"{p}_{side}" for p in PERCENTILES} | {"unit": f"unit_{side}"})
        table = table.merge(renamed[[*keys, *(f"{p}_{side}" for p in PERCENTILES), f"unit_{side}"]], "left", keys)
    return table.assign(unit=table["unit_after"].fillna(table["unit_before"]).fillna("").astype("str"))


def _lost(name: str, tables: Tables) -> str:
    """What to say about events that a side has lost; empty for none."""
    whole = tables.of_all_processes()
    if not whole.has("losses"):
        return f"{name}: not known whether events were lost"
    lost = float(lost_events(whole, _block_ns(whole)).sum())
    return f"{name}: {lost:,.0f} events were lost, so that its rates are too low" if lost else ""
