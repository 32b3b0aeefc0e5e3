"""Rows of a part by time, whatever lies in order already being left where it is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelab.session import parts
from tracelab.session.parts import disorder, sorted_by_time


def table_of(times: list[int]) -> pa.Table:
    return pa.table(
        {"time_ns": pa.array(times, pa.int64()), "number": pa.array(range(len(times)), pa.int64())}
    )


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 3))
def test_rows_are_sorted_as_a_stable_sort_does(times: list[int], most_pieces: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "MOST_PIECES", most_pieces)
        rows = sorted_by_time(table_of(times)).to_pydict()
    assert list(zip(rows["time_ns"], rows["number"], strict=True)) == sorted(
        zip(times, range(len(times)), strict=True)
    )


def test_only_what_is_out_of_order_is_sorted() -> None:
    times = np.arange(1000)
    times[[100, 101]] = times[[101, 100]]
    times[500:504] = times[500:504][::-1]
    starts, ends = disorder(times)
    assert starts.tolist() == [100, 500]
    assert ends.tolist() == [102, 504]
    pieces = sorted_by_time(table_of(times.tolist())).column("number").chunks
    assert [len(piece) for piece in pieces if len(piece)] == [100, 2, 398, 4, 496]


def test_rows_in_order_are_the_same_table() -> None:
    rows = table_of([1, 2, 2, 9])
    assert sorted_by_time(rows) is rows
