"""The index of samples, against what the tables say row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.profiles import profile, shared_profile
from tracelab.analysis.samples import sample_index
from tracelab.analysis.shapes import shape_of
from tracelab.query import Selection
from tracelab.query.kernels import stack_weights

TASKS = """
    time_s  tid  pid  change  comm    cgroup
    0       7    7    seen    sh      /user
    0       8    7    seen    worker  /user/a
    0       9    9    seen    cc      /system
    4       7    7    exec    ls      /user
"""
STACKS = "stack_id frames\n1 1,2\n2 1,2,3\n3 1"
FRAMES = "frame_id symbol\n1 _start\n2 main\n3 work"


def text(rows: int = 200) -> str:
    """Samples of three threads and an unknown one, over eight seconds, not in the order of time."""
    random = np.random.default_rng(3)
    lines = ["time_s pid tid cpu stack_id weight kind"]
    for _ in range(rows):
        tid = int(random.choice([7, 8, 9, 55]))
        pid = {7: 7, 8: 7, 9: 9, 55: 55}[tid]
        stack, kind = random.choice(["1", "2", "3", "-"]), random.choice(["on-CPU", "off-CPU"])
        at = round(float(random.uniform(0, 8)), 4)
        lines.append(f"{at} {pid} {tid} {random.integers(2)} {stack} {random.integers(1, 9)} {kind}")
    return "\n".join(lines)


@pytest.fixture
def tables(tmp_path: Path):
    return tables_of(tmp_path, samples=text(), stacks=STACKS, frames=FRAMES, tasks=TASKS)


SELECTIONS = {
    "all": Selection(),
    "time": Selection(window_ns=(START_NS + 2 * SECOND, START_NS + 5 * SECOND)),
    "pid": Selection(pids=(7,)),
    "tid": Selection(tids=(8, 55)),
    "cpu": Selection(cpus=(1,)),
    "comm": Selection(comms=("ls", "cc")),
    "nobody known": Selection(comms=("?",)),
    "cgroup": Selection(cgroups=("/user",)),
    "several": Selection(window_ns=(START_NS, START_NS + 6 * SECOND), comms=("sh", "worker"), cpus=(0,)),
    "frame": Selection(frames=("work",)),
    "frames": Selection(frames=("work", "main"), cpus=(1,)),
    "none": Selection(pids=(1,)),
}


@pytest.mark.parametrize("by", [None, "process", "thread", "comm", "cgroup", "cpu"])
@pytest.mark.parametrize("chosen", SELECTIONS)
def test_what_the_index_adds_up_is_what_the_engine_adds_up(tables, chosen, by):
    narrowed = tables.narrowed(SELECTIONS[chosen])
    rows = stack_weights(narrowed, "on-CPU", by)
    found = profile(narrowed, by=by)
    assert found.total == rows["weight"].sum()
    assert len(found) == len(rows[rows["weight"] > 0])
    assert sorted(found.weights.tolist()) == sorted(rows["weight"].tolist())
    if by in ("comm", "cgroup"):
        roots = {stack[0].symbol for stack, _ in found.stacks()}
        assert roots == set(rows[by])


def test_rows_are_sorted_by_time_whatever_order_they_were_written_in(tables):
    index = sample_index(tables)
    assert (np.diff(index.time_ns) >= 0).all()
    assert len(index) == len(tables.collect(tables.frame("samples").filter(kind="on-CPU")))


def test_the_index_is_made_once_for_all_parts_of_a_session(tables):
    part = tables.narrowed(Selection(pids=(7,)))
    assert sample_index(part) is sample_index(tables)
    assert sample_index(tables, "off-CPU") is not sample_index(tables)


def test_profiles_of_several_windows_share_the_shape_of_their_stacks(tables):
    early = shared_profile(tables.narrowed(Selection(window_ns=(START_NS, START_NS + SECOND))))
    late = shared_profile(tables.narrowed(Selection(window_ns=(START_NS + SECOND, START_NS + 3 * SECOND))))
    assert shape_of(early) is shape_of(late)
    assert early.total + late.total <= shared_profile(tables).total


def test_a_very_large_session_is_held_for_the_selected_time_only(tables, monkeypatch):
    monkeypatch.setattr("tracelab.analysis.samples.MAX_ROWS", 10)
    window = SELECTIONS["time"].window_ns
    index = sample_index(tables.narrowed(SELECTIONS["time"]))
    assert index.time_ns.min() >= window[0]
    assert index.time_ns.max() < window[1]
    assert profile(tables).total == stack_weights(tables, "on-CPU")["weight"].sum()
