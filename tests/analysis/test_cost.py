from __future__ import annotations

from pathlib import Path

import pytest

from sessions import tables_of
from tracelab.analysis.cost import busiest, processes, programs, tracers
from tracelab.errors import MissingTable, UsageError

PROGRAMS = """
    prog_id  name    type            attach           owner_pids  owner_comm  own  insns  tail_calls  helpers
    1        on_sys  tracepoint      'sys_enter raw'  42,43       falco       0    96     1           '{"loop": 2}'
    2        mine    raw_tracepoint  -                9           python      1    -      -           -
    3        guard   cgroup_device   -                1           systemd     0    -      -           -
    4        idle    kprobe          -                -           -           0    -      -           -
"""
STATS = """
    time_s  prog_id  run_cnt  run_time_ns  misses
    0       1        1000     9000         0
    0       2        0        0            0
    0       3        0        0            0
    0       4        50       500          0
    2       1        5000     2009000      3
    2       2        100      5000         0
    2       3        2        200          0
    2       4        50       500          0
"""


def test_a_program_costs_its_run_time_less_the_floor_of_measuring_it(tmp_path: Path) -> None:
    tables = tables_of(
        tmp_path,
        bpf_progs=PROGRAMS,
        bpf_prog_stats=STATS,
        manifest={"calibration": {"bpf_stats_floor_ns": 100.0}},
    )
    found = programs(tables).set_index("name")
    assert found.loc["on_sys"].to_dict() == {
        "prog_id": 1,
        "type": "tracepoint",
        "attach": "sys_enter raw",
        "owner": "falco",
        "owner_pids": pytest.approx([42, 43]),
        "own": False,
        "insns": 96,
        "helpers": '{"loop": 2}',
        "tail_calls": 1,
        "spin_locks": pytest.approx(float("nan"), nan_ok=True),
        "runs": 4000,
        "runs_per_s": 2000.0,
        "ns_per_run": 500.0,
        "floor_ns": 100.0,
        "net_ns_per_run": 400.0,
        "cpu_share": pytest.approx(4000 * 400 / 2e9),
        "misses": 3,
        "counted_s": 2.0,
        "seconds": 2.0,
    }
    assert found.index.tolist() == ["on_sys", "mine", "guard", "idle"]
    assert found.loc["mine", ["net_ns_per_run", "cpu_share", "own"]].tolist() == [0.0, 0.0, True]
    assert found.loc["idle", "cpu_share"] == 0.0
    assert found.loc["idle", ["ns_per_run", "net_ns_per_run"]].isna().all()


def test_rates_are_of_the_time_in_which_runs_were_counted(tmp_path: Path) -> None:
    stats = """
        time_s  prog_id  run_cnt  run_time_ns  misses  counted_ns
        0       1        0        0            0       0
        1       1        1000     250000       0       100000000
        2       1        2000     500000       0       200000000
        2       2        30       3000         0       50000000
    """
    found = programs(tables_of(tmp_path, bpf_progs=PROGRAMS, bpf_prog_stats=stats)).set_index("prog_id")
    assert found.loc[1, ["runs", "runs_per_s", "counted_s", "seconds"]].tolist() == [2000, 10_000.0, 0.2, 2.0]
    assert found.loc[1, "cpu_share"] == pytest.approx(10_000 * 250 / 1e9)
    assert found.loc[2, "runs_per_s"] == 30 / 0.05


@pytest.mark.parametrize("calibration", [{}, {"bpf_stats_floor_ns": "fast"}, {"bpf_stats_floor_ns": -5}])
def test_without_a_floor_the_cost_contains_it_and_says_so(
    tmp_path: Path, calibration: dict[str, object]
) -> None:
    tables = tables_of(
        tmp_path, bpf_progs=PROGRAMS, bpf_prog_stats=STATS, manifest={"calibration": calibration}
    )
    found = programs(tables)
    assert found["net_ns_per_run"].isna().all()
    assert found["cpu_share"][0] == pytest.approx(2_000_000 / 2e9)
    assert "not calibrated" in found.attrs["notes"][0]


def test_a_program_is_shown_as_it_was_while_it_was_attached(tmp_path: Path) -> None:
    told_again = """
        time_s  prog_id  name    type        attach       owner_pids  owner_comm
        0       1        on_sys  tracepoint  -            42          falco
        1       1        on_sys  tracepoint  sched:exec   42,43       falco
        2       1        on_sys  tracepoint  -            -           -
    """
    found = programs(tables_of(tmp_path, bpf_progs=told_again, bpf_prog_stats=STATS)).set_index("prog_id")
    assert found.loc[1, ["attach", "owner"]].tolist() == ["sched:exec", "falco"]
    assert found.loc[1, "owner_pids"].tolist() == [42, 43]
    assert len(found) == 4


def test_one_reading_tells_no_cost(tmp_path: Path) -> None:
    stats = "time_s prog_id run_cnt run_time_ns\n0 1 1000 9000"
    found = programs(tables_of(tmp_path, bpf_progs=PROGRAMS, bpf_prog_stats=stats))
    assert found[["cpu_share", "runs_per_s", "seconds"]].isna().all(axis=None)


def test_programs_without_statistics_are_missing_not_free(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match=r"record as root on Linux 5\.8 or later"):
        programs(tables_of(tmp_path, bpf_progs=PROGRAMS))


def test_a_program_whose_description_was_not_kept_is_still_counted(tmp_path: Path) -> None:
    found = programs(tables_of(tmp_path, bpf_prog_stats=STATS))
    assert sorted(found["prog_id"]) == [1, 2, 3, 4]
    assert found["name"].isna().all()


PROCS = """
    time_s  pid  comm  user_ns      system_ns  rss_bytes  threads
    0       7    sh    1000000000   0          4096       1
    0       8    cc    0            0          4096       1
    2       7    sh    1500000000   500000000  8192       2
    2       8    cc    200000000    0          4096       1
    2       9    sh    300000000    0          4096       1
"""


def test_a_process_uses_what_its_clocks_advanced(tmp_path: Path) -> None:
    found = processes(tables_of(tmp_path, procs=PROCS, manifest={"recorder": {"pid": 8}}))
    assert found.drop(columns=["rss_bytes", "threads"]).to_numpy().tolist() == [
        [7, "sh", False, 0.5, 0.25, 0.25, 1.0, 2.0],
        [9, "sh", False, 0.15, 0.15, 0.0, 0.3, 2.0],
        [8, "cc", True, 0.1, 0.1, 0.0, 0.2, 2.0],
    ]
    assert found["rss_bytes"].tolist() == [8192, 4096, 4096]
    assert found.attrs["units"]["cpu_share"] == "CPUs"


def test_the_busiest_process_of_a_name_is_found(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, procs=PROCS)
    assert busiest(tables, "sh") == 7
    with pytest.raises(UsageError, match="no process named 'java' was seen; the busiest are sh, cc"):
        busiest(tables, "java")


def test_tracers_are_those_who_hold_programs_that_trace_but_not_the_recorder(tmp_path: Path) -> None:
    assert tracers(tables_of(tmp_path, bpf_progs=PROGRAMS)) == [42, 43]
