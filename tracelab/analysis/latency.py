"""How long things took: percentiles of what events measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tracelab.analysis.documented import documented, group_units
from tracelab.query import kernels
from tracelab.query.tables import Tables

QUANTILES = (0.5, 0.9, 0.99)


def latency(tables: Tables, by: str = "event", *, exact: bool = False) -> pd.DataFrame:
    """Percentiles of the values of events, which for most probes are durations; greatest total first.

    Columns: probe, what `by` names, count (events with a value), unknown (events without one), mean, p50, p90, p99,
    max, total, and unit, that of these numbers. Percentiles are from a histogram with eight buckets per doubling, each
    stood for by its mean, so they are off by 9 % at worst; `exact=True` sorts all values instead. Groups
    whose events have no values are left out.

    Raises MissingTable, and UsageError for a `by` that there is not.
    """
    keys = list(dict.fromkeys(("probe", *kernels.GROUPS.get(by, ()))))
    found = kernels.event_totals(tables, by)
    found = found[found["known"] > 0].assign(
        unknown=lambda t: t["count"] - t["known"],
        count=lambda t: t["known"],
        mean=lambda t: t["value_sum"] / t["known"],
        unit=lambda t: t["probe"].map(tables.unit).astype("str"),
    )
    if exact:
        percentiles = kernels.value_quantiles(tables, by, QUANTILES)
        percentiles.columns = pd.Index([*keys, *map(_name, QUANTILES)])
    else:
        percentiles = quantiles_of(kernels.value_histogram(tables, by), keys, QUANTILES)
    found = found.merge(percentiles, on=keys, how="left").rename(
        columns={"value_max": "max", "value_sum": "total"}
    )
    found = found.sort_values(["total", *keys], ascending=[False] + [True] * len(keys), ignore_index=True)
    return documented(
        found,
        f"values of events by {by}, {'exact' if exact else 'percentiles within 9 %'}",
        **group_units(tuple(keys)),
        count="events",
        unknown="events",
        **dict.fromkeys(("mean", *map(_name, QUANTILES), "max", "total"), "column unit"),
        unit="name",
    )


def quantiles_of(histogram: pd.DataFrame, keys: Sequence[str], quantiles: Sequence[float]) -> pd.DataFrame:
    """Quantiles by group from a histogram with columns `keys`, bucket, count, value_sum.

    A quantile is the mean of the bucket in which the share is reached, so that it is exact where all values
    of a bucket are equal. Histograms that were appended to each other count as one.
    """
    rows = histogram.groupby([*keys, "bucket"], as_index=False)[["count", "value_sum"]].sum()
    upto = rows.groupby(list(keys))["count"].cumsum()
    whole = rows.groupby(list(keys))["count"].transform("sum")
    mean = rows["value_sum"] / rows["count"].where(rows["count"] > 0, np.nan)
    result = rows[list(keys)].drop_duplicates(ignore_index=True)
    for q in quantiles:
        reached = rows[list(keys)].assign(value=mean.where(upto >= q * whole))
        firsts = reached.dropna(subset="value").groupby(list(keys), as_index=False).first()
        result = result.merge(firsts.rename(columns={"value": _name(q)}), on=list(keys), how="left")
    return result


def _name(quantile: float) -> str:
    return f"p{quantile * 100:g}"
