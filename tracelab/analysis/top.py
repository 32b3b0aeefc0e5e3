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
