"""Flame charts: every thread as wide as the window, and in it what its samples cover."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.flamechart import coarser, flame_chart
from tracelab.analysis.samples import SampleIndex, sample_index
from tracelab.analysis.sessionstacks import SessionStacks
from tracelab.analysis.stacks import GAP, ROOT, SMALL, Tree
from tracelab.errors import UsageError
from tracelab.query import Selection

STACKS = "stack_id frames\n1 1\n2 1,2\n3 1,2,3"
FRAMES = "frame_id symbol\n1 main\n2 work\n3 read"
SAMPLES = """
    time_s  tid  pid  stack_id  weight
    2       7    7    2         1000000000
    3       7    7    3         1000000000
    4       7    7    1         1000000000
    6       7    7    2         1000000000
    5       8    7    1         9000000000
"""
TASKS = "time_s tid comm\n0 7 sh\n0 8 worker"


def drawn(tree: Tree, names: bool = True) -> list[tuple[str, float, float]]:
    """Every node as (path, from, until) in seconds from the left of its thread; `_` is a gap."""
    left = np.zeros(len(tree))
    rows = []
    paths = [""] * len(tree)
    next_at: dict[int, float] = {0: 0.0}
    for i in range(1, len(tree)):
        parent = int(tree.parent[i])
        left[i] = next_at.get(parent, left[parent])
        next_at[parent] = left[i] + tree.total[i]
        frame = int(tree.frame[i])
        name = {GAP: "_", SMALL: "~"}.get(frame) or tree.frames[frame].symbol
        paths[i] = f"{paths[parent]};{name}".lstrip(";")
        lane = i
        while tree.depth[lane] > 1:
            lane = int(tree.parent[lane])
        begin = (left[i] - left[lane]) / SECOND
        rows.append((paths[i], round(float(begin), 6), round(float(begin + tree.total[i] / SECOND), 6)))
    return rows


def test_a_chart_has_runs_and_gaps_where_they_were(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    tree, start_ns, left_out = SessionStacks(tables).chart()
    assert (start_ns, left_out) == (0, 0)
    assert drawn(tree) == [
        ("worker (8)", 0, 10),
        ("worker (8);main", 0, 5),  # its sample stands for more time than there was
        ("worker (8);main;_", 0, 5),
        ("worker (8);_", 5, 10),
        ("sh (7)", 0, 10),
        ("sh (7);_", 0, 1),
        ("sh (7);main", 1, 4),  # three samples without a gap are one node
        ("sh (7);main;work", 1, 3),
        ("sh (7);main;work;_", 1, 2),
        ("sh (7);main;work;read", 2, 3),
        ("sh (7);main;work;read;_", 2, 3),
        ("sh (7);main;_", 3, 4),
        ("sh (7);_", 4, 5),
        ("sh (7);main", 5, 6),
        ("sh (7);main;work", 5, 6),
        ("sh (7);main;work;_", 5, 6),
        ("sh (7);_", 6, 10),
    ]


def test_a_chart_of_a_window_begins_and_ends_with_it(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    part = tables.narrowed(Selection(window_ns=(START_NS + 2 * SECOND, START_NS + 5 * SECOND), tids=(7,)))
    tree, start_ns, _ = SessionStacks(part).chart()
    assert start_ns == 2 * SECOND
    assert [row for row in drawn(tree) if row[0].count(";") == 1] == [
        ("sh (7);_", 0, 0),
        ("sh (7);main", 0, 2),
        ("sh (7);_", 2, 3),
    ][1:]


def test_a_part_without_samples_gives_an_empty_chart(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    tree, _, left_out = SessionStacks(tables.narrowed(Selection(pids=(1,)))).chart()
    assert (len(tree), tree.frame[0], left_out) == (1, ROOT, 0)


def test_threads_with_less_time_are_left_out_and_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tracelab.analysis.flamechart.MAX_THREADS", 1)
    tables = tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    tree, _, left_out = SessionStacks(tables).chart()
    assert left_out == 1
    assert {row[0].split(";")[0] for row in drawn(tree)} == {"worker (8)"}


def test_more_samples_than_a_chart_can_hold_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tracelab.analysis.flamechart.MAX_SAMPLES", 4)
    tables = tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    with pytest.raises(UsageError, match="5 samples are too many for a flame chart; select a shorter time"):
        SessionStacks(tables).chart()


rows = st.lists(
    st.tuples(st.integers(1, 99), st.sampled_from([7, 8]), st.integers(1, 3), st.integers(1, 30)),
    min_size=1,
    max_size=25,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=40, deadline=None)
@given(rows)
def test_every_thread_is_as_wide_as_the_window_and_samples_are_in_their_order(tmp_path_factory, given_rows):
    text = "time_s tid pid stack_id weight\n" + "\n".join(
        f"{at / 10} {tid} 7 {stack} {weight * 100_000_000}" for at, tid, stack, weight in given_rows
    )
    tables = tables_of(tmp_path_factory.mktemp("c"), samples=text, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    index: SampleIndex = sample_index(tables)
    tree, _ = flame_chart(index, Selection(), *tables.window_ns)
    lanes = [i for i in range(len(tree)) if tree.depth[i] == 1]
    assert [tree.total[i] for i in lanes] == [10 * SECOND] * len({row[1] for row in given_rows})
    for width in (0, 300_000_000, 2 * SECOND):
        coarse = coarser(tree, width)
        assert coarse.total[0] == tree.total[0]
        assert [coarse.total[i] for i in range(len(coarse)) if coarse.depth[i] == 1] == [10 * SECOND] * len(lanes)
        whole = {row for row in drawn(tree) if round(row[2] - row[1], 6) >= width / SECOND}
        kept = {row for row in drawn(coarse) if not row[0].endswith(("~", "_"))}
        assert {row for row in whole if not row[0].endswith("_")} == kept
