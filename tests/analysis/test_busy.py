from __future__ import annotations

from pathlib import Path

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.busy import busy
from tracelab.query import Selection

SAMPLES = "time_s pid tid stack_id weight\n1 7 7 1 30\n2 7 8 1 10\n3 9 9 1 60\n4 5 5 1 0"
EVENTS = "time_s pid weight\n1 7 2\n2 9 1\n3 11 4\n4 11 1"
STACKS, FRAMES = "stack_id frames\n1 1", "frame_id symbol\n1 main"
TASKS = "time_s tid pid comm\n0 7 7 sh\n2 7 7 ls\n0 8 7 worker\n0 9 9 cc"


def rows(table) -> list[tuple]:
    return list(table.itertuples(index=False, name=None))


def test_processes_stand_by_time_on_cpus_and_then_by_events(tmp_path: Path) -> None:
    found = busy(tables_of(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, events=EVENTS, tasks=TASKS))
    assert rows(found) == [
        (9, "cc", 60.0, 0.6, 1),
        (7, "ls", 40.0, 0.4, 2),
        (11, "?", 0.0, 0.0, 5),
        (5, "?", 0.0, 0.0, 0),
    ]
    assert found.attrs["units"]["on_cpu_ns"] == "ns"


def test_only_what_is_selected_counts_and_what_was_not_recorded_is_zero(tmp_path: Path) -> None:
    chosen = Selection(window_ns=(START_NS, START_NS + 3 * SECOND), pids=(7,))
    tables = tables_of(tmp_path / "a", samples=SAMPLES, stacks=STACKS, frames=FRAMES, events=EVENTS, tasks=TASKS)
    assert rows(busy(tables.narrowed(chosen))) == [(7, "ls", 40.0, 1.0, 2)]
    assert rows(busy(tables_of(tmp_path / "b", events=EVENTS)))[0] == (11, "?", 0.0, 0.0, 5)
    assert rows(busy(tables_of(tmp_path / "c", tasks=TASKS))) == []
