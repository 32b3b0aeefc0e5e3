from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.heatmap import matching, moments
from tracelab.errors import MissingTable, UsageError
from tracelab.query import Selection

SAMPLES = """
    time_s  pid  stack_id  weight
    0       7    1         10
    0.019   7    2         20
    0.02    7    1         40
    3.99    9    2         80
    10      9    1         160
"""
EVENTS = "time_s pid event value weight\n0.5 7 read 100 1\n0.51 7 read 50 3\n2.1 7 write - 1\n9 9 write 7 1"
STACKS, FRAMES = "stack_id frames\n1 1\n2 1,2", "frame_id symbol\n1 main\n2 work"
ALL = {"samples": SAMPLES, "events": EVENTS, "stacks": STACKS, "frames": FRAMES}


def cells(values) -> dict[int, float]:
    return {int(i): float(values[i]) for i in np.flatnonzero(values)}


def test_a_cell_has_what_the_samples_in_it_stand_for(tmp_path: Path) -> None:
    found = moments(tables_of(tmp_path, **ALL))
    assert (found.start_s, found.cell_s, found.rows, found.columns) == (0, 0.02, 50, 10)
    assert cells(found.values) == {0: 30, 1: 40, 199: 80, 499: 160}  # the very end is in the last cell
    assert (found.quantity, found.unit) == ("on-CPU time", "ns")
    assert found.recorded.all()
    assert not found.lost.any()


def test_a_cell_has_the_events_in_it_or_what_they_took(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **ALL)
    assert cells(moments(tables, "events").values) == {25: 4, 105: 1, 450: 1}
    assert cells(moments(tables, "events", event="write").values) == {105: 1, 450: 1}
    took = moments(tables, "latency", event="read")
    assert cells(took.values) == {25: 250}
    assert (took.quantity, took.unit) == ("read: values added up", "ns")


@pytest.mark.parametrize(("column_s", "columns", "cell_s"), [(10, 1, 0.2), (60, 1, 1.2), (1, 10, 0.02), (2, 5, 0.04)])
def test_a_column_is_as_long_as_was_asked_and_nothing_is_lost(tmp_path: Path, column_s, columns, cell_s) -> None:
    found = moments(tables_of(tmp_path, **ALL), column_s=column_s)
    assert (found.columns, found.cell_s, found.column_s) == (columns, cell_s, column_s)
    assert found.values.sum() == 310


def test_columns_begin_on_whole_ones_and_what_is_outside_is_not_recorded(tmp_path: Path) -> None:
    window = Selection(window_ns=(START_NS + SECOND * 3 // 2, START_NS + 4 * SECOND))
    found = moments(tables_of(tmp_path, **ALL).narrowed(window))
    assert (found.start_s, found.end_s, found.columns) == (1, 4, 3)
    assert np.flatnonzero(~found.recorded).tolist() == list(range(25))
    assert cells(found.values) == {149: 80}


def test_a_long_session_has_longer_columns(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **ALL, manifest={"end_ns": START_NS + 3600 * SECOND})
    assert moments(tables).column_s == 60


def test_cells_are_painted_by_the_samples_that_match(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **ALL)
    made = moments(tables)
    assert cells(matching(tables, made, "WORK")) == {0: 20, 199: 80}
    assert cells(matching(tables, made, "/^main$/")) == cells(made.values)
    assert cells(matching(tables, made, "nothing")) == {}
    with pytest.raises(UsageError, match="not a regular expression"):
        matching(tables, made, "/(/")


def test_cells_in_which_something_was_lost_are_marked(tmp_path: Path) -> None:
    losses = "time_s source reason count\n2.5 oncpu 'ring full' 7\n3 oncpu own 9\n4 oncpu 'ring full' 0"
    found = moments(tables_of(tmp_path, **ALL, losses=losses))
    assert np.flatnonzero(found.lost).tolist() == [125]


def test_what_was_not_recorded_and_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    tables = tables_of(tmp_path / "a", events=EVENTS)
    with pytest.raises(MissingTable, match="samples"):
        moments(tables)
    with pytest.raises(UsageError, match="of='bytes': a heat map is of samples, events, latency"):
        moments(tables, "bytes")
    with pytest.raises(UsageError, match="column_s=0"):
        moments(tables, "events", column_s=0)
    with pytest.raises(MissingTable, match="events"):
        moments(tables_of(tmp_path / "b", samples=SAMPLES, stacks=STACKS, frames=FRAMES), "events")
