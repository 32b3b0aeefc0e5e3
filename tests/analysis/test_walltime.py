"""On- and off-CPU time of threads add up to how long they lived."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.walltime import wall_profile
from tracelab.errors import MissingTable
from tracelab.query import Selection

PROBES = {
    "oncpu": {"table": "samples", "kind": "on-CPU"},
    "offcpu": {"table": "samples", "kind": "off-CPU"},
    "runqueue": {"table": "events"},
}
ALL = {
    "samples": """
        time_s  tid  pid  kind     stack_id  weight
        2       7    7    on-CPU   1         1000000000
        3       7    7    on-CPU   2         1000000000
        6       7    7    off-CPU  3         3000000000
        5       8    7    on-CPU   1         9000000000
    """,
    "events": "time_s tid pid probe event value\n4 7 7 runqueue preempted 500000000\n4 7 7 runqueue wakeup 90",
    "stacks": "stack_id frames\n1 1\n2 1,2\n3 1,3",
    "frames": "frame_id symbol\n1 main\n2 work\n3 read",
    "tasks": "time_s tid comm change\n0 7 sh seen\n4 8 worker fork\n8 8 worker exit",
    "manifest": {"probes": PROBES},
}


def test_a_thread_s_life_is_what_it_did_on_cpus_where_it_waited_and_the_rest(tmp_path: Path) -> None:
    found = wall_profile(tables_of(tmp_path, **ALL))
    assert {stack: weight / SECOND for stack, weight in found.collapsed().items()} == {
        "sh (7);on-CPU;main": 1.0,
        "sh (7);on-CPU;main;work": 1.0,
        "sh (7);off-CPU;main;read": 3.0,
        "sh (7);ready, another had the CPU": 0.5,
        "sh (7);waits too short to be sampled": 4.5,
        "worker (8);on-CPU;main": 9.0,  # a sample stands for more than it lived: there is no rest
    }
    assert (found.unit, found.quantity, found.name) == ("ns", *["wall-clock time of threads"] * 2)
    assert "only waits of 1 ms or longer" in found.notes


def test_a_part_is_as_long_as_its_window(tmp_path: Path) -> None:
    window = Selection(window_ns=(START_NS + SECOND, START_NS + 7 * SECOND), tids=(7,))
    found = wall_profile(tables_of(tmp_path, **ALL).narrowed(window))
    assert found.total == 6 * SECOND


def test_without_one_of_both_kinds_there_is_no_wall_clock_time(tmp_path: Path) -> None:
    texts = ALL | {"manifest": {"probes": {"oncpu": PROBES["oncpu"]}}}
    texts["samples"] = "time_s tid pid kind stack_id weight\n2 7 7 on-CPU 1 10"
    with pytest.raises(MissingTable, match="off-CPU"):
        wall_profile(tables_of(tmp_path, **texts))
