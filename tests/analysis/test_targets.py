"""What targets cost, from sessions whose every number stands in the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sessions import SECOND, tables_of
from tracelab.analysis.members import members
from tracelab.analysis.targets import target_readings, targets
from tracelab.errors import MissingTable, UsageError
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

TRACER = {
    "asked": "tracer",
    "kind": "comm",
    "pids": [7, 8],
    "more_pids": 0,
    "comm": "tracer",
    "prog_ids": [1],
}
MANIFEST = {"targets": [TRACER], "calibration": {"bpf_stats_floor_ns": 50.0}}
TASKS = """
    time_s  tid  ppid  change  comm     cgroup      container  container_name
    0       7    1     seen    tracer   /a/b        -          -
    0       9    1     seen    redis    /docker/x   3f3f3f3f3f3f00  shop/web/cache
    1       8    7     fork    tracer   /a/b        -          -
    1       10   9     fork    redis    /docker/x   3f3f3f3f3f3f00  shop/web/cache
    1.1     10   9     exec    sh       /docker/x   3f3f3f3f3f3f00  shop/web/cache
    2       8    7     exit    tracer   /a/b        -          -
"""
PROCS = """
    time_s  pid  comm    user_ns     system_ns  rss_bytes  threads  pss_bytes  voluntary_switches  write_bytes
    0       7    tracer  1000000000  0          1000       2        400        100                 0
    0       9    redis   0           0          5000       1        -          -                   -
    1       7    tracer  1500000000  0          1000       2        -          110                 4096
    1       8    tracer  100000000   0          500        1        100        5                   0
    2       7    tracer  1500000000  250000000  3000       2        900        -                   4096
    2       9    redis   1000000000  0          5000       1        -          -                   -
    3       7    tracer  1500000000  250000000  3000       2        900        150                 4096
"""
PROGS = """
    time_s  prog_id  tag  name     owner_pids  attach
    0       1        aa   on_exec  7           'kprobe x'
    0       2        bb   other    9           'kprobe y'
    2       3        cc   late     8,7         'kprobe z'
"""
STATS = """
    time_s  prog_id  run_cnt  run_time_ns  counted_ns
    0       1        0        0            0
    1       1        1000     550000       100000000
    2       1        3000     650000       200000000
    3       1        3000     650000       300000000
    0       2        0        0            0
    3       2        1000     9000000      300000000
"""


def tables(folder: Path, **other: Any) -> Tables:
    given = {
        "manifest": MANIFEST,
        "tasks": TASKS,
        "procs": PROCS,
        "bpf_progs": PROGS,
        "bpf_prog_stats": STATS,
    }
    return tables_of(folder, **{**given, **other})


def test_a_target_over_time_is_the_sum_of_its_processes(tmp_path: Path) -> None:
    found = target_readings(tables(tmp_path))
    about = [
        "time_s",
        "processes",
        "cpu_share",
        "user_share",
        "system_share",
        "threads",
        "rss_bytes",
        "pss_bytes",
    ]
    expected = pd.DataFrame(
        [
            (0.0, 1, None, None, None, 2, 1000, 400),
            (1.0, 2, 0.6, 0.6, 0.0, 3, 1500, 500),
            (2.0, 1, 0.25, 0.0, 0.25, 2, 3000, 900),
            (3.0, 1, 0.0, 0.0, 0.0, 2, 3000, 900),
        ],
        columns=about,
    )
    pd.testing.assert_frame_equal(found[about], expected, check_dtype=False, check_index_type=False)
    assert set(found["target"]) == {"tracer"}


def test_switches_that_were_not_read_belong_to_the_next_reading(tmp_path: Path) -> None:
    found = target_readings(tables(tmp_path))["voluntary_per_s"]
    assert found.fillna(-1).to_list() == [
        -1,
        15.0,
        -1,
        40.0,
    ]  # 8 appeared with 5; from 110 to 150 in the last


def test_bytes_and_program_time_are_per_second(tmp_path: Path) -> None:
    found = target_readings(tables(tmp_path))
    assert found["write_bytes_per_s"].fillna(-1).to_list() == [-1, 4096.0, 0.0, 0.0]
    # 550 us in 1000 runs, less 50 ns each, of 100 ms; then 100 us in 2000 runs, less than the floor
    assert found["bpf_share"].fillna(-1).round(6).to_list() == [-1, 0.005, 0.0, 0.0]


def test_the_summary_has_user_space_beside_the_kernel_s_programs(tmp_path: Path) -> None:
    row = targets(tables(tmp_path)).iloc[0]
    assert (row["target"], row["processes"], row["programs"]) == ("tracer", 2, 2)  # 3 was held by 7 later on
    assert row["seconds"] == 3.0
    assert row["cpu_s"] == pytest.approx(0.5 + 0.1 + 0.25)
    assert row["cpu_share"] == pytest.approx(0.85 / 3)
    assert (row["rss_bytes"], row["pss_bytes"], row["threads"]) == (3000, 900, 3)
    assert row["voluntary_per_s"] == pytest.approx((50 + 5) / 3)
    assert row["write_bytes_per_s"] == pytest.approx(4096 / 3)
    net = 650_000 - 3000 * 50
    assert row["bpf_share"] == pytest.approx(net / 300_000_000)
    assert row["bpf_s"] == pytest.approx(3 * net / 300_000_000)


def test_every_column_has_a_unit(tmp_path: Path) -> None:
    for table in (targets(tables(tmp_path)), target_readings(tables(tmp_path, name="t.tracelab"))):
        assert list(table.attrs["units"]) == list(table.columns)


def test_a_selected_time_uses_the_readings_around_it(tmp_path: Path) -> None:
    whole = tables(tmp_path)
    window = Selection((whole.start_ns + SECOND * 6 // 5, whole.start_ns + SECOND * 9 // 5))
    row = targets(whole.narrowed(window)).iloc[0]
    assert (row["seconds"], row["user_share"], row["system_share"]) == (1.0, 0.0, 0.25)


def test_what_is_read_of_targets_only_is_not_known_of_others(tmp_path: Path) -> None:
    row = targets(tables(tmp_path), "redis").iloc[0]
    assert row["cpu_s"] == pytest.approx(1.0)
    assert row["rss_bytes"] == 5000
    assert row[["pss_bytes", "voluntary_per_s", "write_bytes_per_s"]].isna().all()
    assert row["programs"] == 1


def test_without_the_floor_it_is_said_that_the_programs_cost_less(tmp_path: Path) -> None:
    found = targets(tables(tmp_path, manifest={"targets": [TRACER]}))
    assert found["bpf_share"].iloc[0] == pytest.approx(650_000 / 300_000_000)
    assert "not calibrated" in found.attrs["notes"][0]


def test_a_target_that_never_ran_is_a_row_of_what_is_not_known(tmp_path: Path) -> None:
    never = {"asked": "falco", "kind": "comm", "pids": [], "more_pids": 0, "comm": None, "prog_ids": []}
    row = targets(tables(tmp_path, manifest={"targets": [never]})).iloc[0]
    assert (row["target"], row["processes"], row["programs"], row["bpf_share"]) == ("falco", 0, 0, 0.0)
    assert row[["cpu_share", "rss_bytes", "pss_bytes"]].isna().all()


def test_without_targets_the_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match="--target"):
        targets(tables(tmp_path, manifest={}))


@pytest.mark.parametrize(
    ("asked", "pids"),
    [
        ("tracer", (7, 8)),
        ("trac*", (7, 8)),
        ("7", (7, 8)),  # with its child
        ("9", (9, 10)),
        ("redis", (9,)),  # 10 became sh
        ("/a", (7, 8)),
        ("/docker", (9, 10)),
        ("3f3f3f3f3f3f", (9, 10)),
        ("shop/web/cache", (9, 10)),
        ("cache", (9, 10)),
    ],
)
def test_a_session_without_targets_can_be_asked_for_one(
    tmp_path: Path, asked: str, pids: tuple[int, ...]
) -> None:
    assert members(tables(tmp_path, manifest={}), asked).pids == pids


def test_a_process_that_was_not_seen_is_an_error_with_names_that_are_near(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="near are tracer"):
        members(tables(tmp_path), "tracr")


def test_pids_noted_by_the_recorder_count_though_no_table_has_them(tmp_path: Path) -> None:
    noted = {**TRACER, "pids": [7, 8, 4000], "prog_ids": [1, 77]}
    found = members(tables(tmp_path, manifest={"targets": [noted]}), "tracer")
    assert (found.pids, found.prog_ids) == ((7, 8, 4000), (1, 3, 77))


@pytest.mark.parametrize("damaged", [["tracer"], [{"asked": "tracer", "pids": "7"}], [{"pids": [1]}]])
def test_a_damaged_list_of_targets_harms_nothing(tmp_path: Path, damaged: list[Any]) -> None:
    assert members(tables(tmp_path, manifest={"targets": damaged}), "tracer").pids == (7, 8)
