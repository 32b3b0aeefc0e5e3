"""What programs and their owners cost over time, with the whole table."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import tables_of
from tracelab.analysis.cost import programs
from tracelab.analysis.programtime import NO_FLOOR, owner_time, program_time
from tracelab.errors import MissingTable

PROGRAMS = """
    prog_id  name    type            owner_pids  owner_comm  own
    1        on_sys  tracepoint      42,43       falco       0
    2        mine    raw_tracepoint  9           python      1
    3        guard   cgroup_device   1           systemd     0
"""
STATS = """
    time_s  prog_id  run_cnt  run_time_ns
    0       1        0        0
    0       2        0        0
    1       1        1000     600000
    1       2        10       900
    2       1        3000     2800000
    2       2        20       1800
    2       3        5        1500
"""
PROCS = """
    time_s  pid  comm     user_ns    system_ns
    0       42   falco    0          0
    0       9    python   0          0
    0       1    systemd  0          0
    2       42   falco    600000000  200000000
    2       9    python   100000000  0
    2       1    systemd  900000000  0
"""
FLOOR = {"end_ns": 1_002_000_000_000, "calibration": {"bpf_stats_floor_ns": 100.0}, "recorder": {"pid": 9}}


def values(table, *columns):
    rows = [tuple(None if v != v else v for v in row) for row in table[list(columns)].itertuples(index=False)]
    return [tuple(round(v, 9) if isinstance(v, float) else v for v in row) for row in rows]


def test_each_program_has_its_share_of_a_cpu_less_the_floor_second_by_second(tmp_path: Path) -> None:
    table = program_time(tables_of(tmp_path, bpf_progs=PROGRAMS, bpf_prog_stats=STATS, manifest=FLOOR))
    columns = ("time_s", "prog_id", "name", "own", "runs_per_s", "net_ns_per_run", "cpu_share")
    assert values(table, *columns) == [
        (0.0, 1, "on_sys", False, 1000.0, 500.0, 0.0005),
        (1.0, 1, "on_sys", False, 2000.0, 1000.0, 0.002),
        (0.0, 3, "guard", False, None, None, None),  # it was loaded in the second second
        (1.0, 3, "guard", False, 5.0, 200.0, 0.000001),
        (0.0, 2, "mine", True, 10.0, 0.0, 0.0),
        (1.0, 2, "mine", True, 10.0, 0.0, 0.0),
    ]
    assert (table.attrs["bin_s"], table.attrs["end_s"], table.attrs["notes"]) == (1.0, 2.0, [])
    assert table.attrs["units"]["cpu_share"] == "CPUs"


def test_a_share_is_of_the_time_in_which_runs_were_counted(tmp_path: Path) -> None:
    stats = "time_s prog_id run_cnt run_time_ns counted_ns\n0 1 0 0 0\n1 1 100 10000 100000000"
    table = program_time(tables_of(tmp_path, bpf_prog_stats=stats, manifest=FLOOR | {"calibration": {}}))
    assert values(table, "name", "runs_per_s", "cpu_share")[0] == (None, 1000.0, 0.0001)
    assert table.attrs["notes"] == [NO_FLOOR]


def test_over_time_and_in_sum_a_program_costs_the_same(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, bpf_progs=PROGRAMS, bpf_prog_stats=STATS, manifest=FLOOR)
    over_time = program_time(tables).groupby("prog_id")["cpu_share"].mean()
    assert over_time[1] == pytest.approx(programs(tables).set_index("prog_id").loc[1, "cpu_share"])


def test_owners_of_programs_that_trace_are_told_and_the_recorder_is_marked(tmp_path: Path) -> None:
    table = owner_time(tables_of(tmp_path, bpf_progs=PROGRAMS, procs=PROCS, manifest=FLOOR))
    assert values(table, "time_s", "pid", "comm", "own", "user_share", "system_share") == [
        (0.0, 42, "falco", False, 0.3, 0.1),
        (1.0, 42, "falco", False, 0.3, 0.1),
        (0.0, 9, "python", True, 0.05, 0.0),
        (1.0, 9, "python", True, 0.05, 0.0),
    ]


def test_without_readings_of_programs_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match=r"bpf_prog_stats.*record as root"):
        program_time(tables_of(tmp_path, events="time_s pid\n1 7"))
    with pytest.raises(MissingTable, match="bpf_progs"):
        owner_time(tables_of(tmp_path, name="t.tracelab", procs=PROCS))
