"""Who makes the events: the groups with the most of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tracelab.analysis.documented import documented, group_units
from tracelab.query import kernels
from tracelab.query.tables import Tables


def top(tables: Tables, by: str = "event", n: int | None = 20) -> pd.DataFrame:
    """The `n` groups with the most events, most first; all of them for n=None.

    Columns: probe, what `by` names (process: pid and comm), events, share (of all selected events, 0 to 1),
    events_per_s, value_sum, value_mean, value_max (NaN where no event told a value) and unit, that of the values.
    Values of different probes are not added up: a group has a row for each probe.

    Raises MissingTable, and UsageError for a `by` that there is not.
    """
    found = kernels.event_totals(tables, by)
    first, last = tables.window_ns
    known = found["known"].where(found["known"] > 0)
    found["events"] = found["count"]
    found["share"] = found["count"] / max(1, int(found["count"].sum()))
    found["events_per_s"] = found["count"] / max(1e-9, (last - first) / 1e9)
    found["value_sum"] = found["value_sum"].where(found["known"] > 0, np.nan)
    found["value_mean"] = found["value_sum"] / known
    found["unit"] = found["probe"].map(tables.unit).astype("str")
    keys = tuple(dict.fromkeys(("probe", *kernels.GROUPS[by])))
    return documented(
        found.head(n) if n is not None else found,
        f"events by {by}",
        **group_units(keys),
        events="events",
        share="1",
        events_per_s="events/s",
        value_sum="column unit",
        value_mean="column unit",
        value_max="column unit",
        unit="name",
    )


def top_over_time(rates: pd.DataFrame, n: int = 20) -> pd.DataFrame:
    """The `n` series with the most events of a table of analysis.rates, most first.

    Columns: series, events, share (of all events, 0 to 1), events_per_s (mean over all bins), peak_per_s (of the
    fullest bin) and peak_s (when that begins, s since the recording began). `attrs` has by, others (number of series
    that are not in here) and others_events.
    """
    series = rates["series"].astype("str")
    counts = rates.groupby(series, sort=False)["events"].sum().sort_values(ascending=False, kind="stable")
    kept, total = counts.head(n), max(1, int(counts.sum()))
    fullest = rates.loc[rates.groupby(series, sort=False)["events_per_s"].idxmax()].set_index("series")
    bins = rates["time_s"].nunique()
    length_s = max(1e-9, bins * float(rates.attrs["bin_s"]))
    table = pd.DataFrame(
        {
            "series": kept.index.astype("str"),
            "events": kept.to_numpy(np.int64),
            "share": kept.to_numpy(float) / total,
            "events_per_s": kept.to_numpy(float) / length_s,
            "peak_per_s": fullest["events_per_s"].reindex(kept.index).to_numpy(float),
            "peak_s": fullest["time_s"].reindex(kept.index).to_numpy(float),
        }
    )
    table = documented(
        table,
        f"events by {rates.attrs['by']}, and their peaks",
        series="name",
        events="events",
        share="1",
        events_per_s="events/s",
        peak_per_s="events/s",
        peak_s="s",
    )
    table.attrs.update(
        by=rates.attrs["by"], others=len(counts) - len(kept), others_events=int(counts.iloc[n:].sum())
    )
    return table
