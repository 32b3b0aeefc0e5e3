"""Counters on one grid: what they grew by is neither lost nor made up."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.readings import bin_edges, growth, in_bins, mean_in_bins
from tracelab.errors import UsageError
from tracelab.query.selection import Selection

PROCS = """
    time_s  pid  comm  user_ns  system_ns
    0.5     7    sh    100      1000
    1.5     7    sh    300      1000
    2.5     7    sh    300      -
    3.5     7    new   50       10
    2.5     9    late  40       4
    3.5     9    late  45       5
"""


def test_a_counter_grows_from_reading_to_reading_from_zero_when_it_appears_and_anew_when_it_falls(tmp_path: Path):
    grown = growth(tables_of(tmp_path, procs=PROCS), "procs", "pid", ("user_ns", "system_ns"))
    grown["from_s"] = (grown.pop("from_ns") - START_NS) / SECOND
    grown["until_s"] = (grown.pop("until_ns") - START_NS) / SECOND
    assert [tuple(None if v != v else v for v in row) for row in grown.itertuples(index=False)] == [
        (7, 200.0, 0.0, 0.5, 1.5),
        (7, 0.0, None, 1.5, 2.5),
        (7, 50.0, None, 2.5, 3.5),
        (9, 40.0, 4.0, 1.5, 2.5),
        (9, 5.0, 1.0, 2.5, 3.5),
    ]


def test_bins_are_as_long_as_readings_are_apart_or_as_asked_for(tmp_path: Path):
    tables = tables_of(tmp_path, procs=PROCS)
    assert ((bin_edges(tables) - START_NS) / SECOND).tolist() == list(range(11))
    part = tables.narrowed(Selection((START_NS + SECOND, START_NS + 2 * SECOND + SECOND // 2)))
    assert ((bin_edges(part) - START_NS) / SECOND).tolist() == [1, 2, 2.5]
    assert ((bin_edges(part, 0.5) - START_NS) / SECOND).tolist() == [1, 1.5, 2, 2.5]
    with pytest.raises(UsageError, match="bin_s=0"):
        bin_edges(tables, 0)


def test_a_bin_without_a_reading_is_not_known(tmp_path: Path):
    tables = tables_of(tmp_path, procs=PROCS)
    grown = growth(tables, "procs", "pid", ("user_ns",))
    found = in_bins(grown, "pid", ("user_ns",), START_NS + np.array([0, 1, 2, 3, 4, 5]) * SECOND)
    assert found.columns.tolist() == ["pid", "bin", "user_ns"]
    values = {pid: rows["user_ns"].tolist() for pid, rows in found.groupby("pid")}
    assert values == {
        7: pytest.approx([200, 100, 25, 50, np.nan], nan_ok=True),
        9: pytest.approx([np.nan, 40, 22.5, 5, np.nan], nan_ok=True),
    }


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1e6), st.integers(0, 20)), min_size=1, max_size=20),
    st.integers(1, 60),
)
def test_what_was_counted_is_in_the_bins_and_nothing_else(spans, bin_ns):
    """The sum over bins of a rate times the time that is known of it is the sum over the spans."""
    starts = np.cumsum([0] + [length + gap for length, _, gap in spans[:-1]])
    ends = starts + [length for length, _, _ in spans]
    rates = np.array([rate for _, rate, _ in spans])
    edges = np.arange(0, int(ends[-1]) + bin_ns, bin_ns)
    found = mean_in_bins(starts, ends, rates, edges)
    overlaps = [np.minimum(ends, b) - np.maximum(starts, a) for a, b in itertools.pairwise(edges)]
    known = np.array([overlap.clip(0).sum() for overlap in overlaps])
    assert (np.isnan(found) == (known == 0)).all()
    assert np.nansum(found * known) == pytest.approx((rates * (ends - starts)).sum())
