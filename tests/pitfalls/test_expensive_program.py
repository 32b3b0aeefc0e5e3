from __future__ import annotations

from pathlib import Path

import pytest

from sessions import tables_of
from tracelab.pitfalls import Finding, all_pitfalls

PROGRAMS = """
    time_s  prog_id  name    owner_comm  own
    0       1        on_sys  bpftrace    0
    0       2        mine    python      1
    0       3        small   falco       0
"""


def check(
    folder: Path, on_sys: int, mine: int = 0, floor: float | None = 100.0, **thresholds: float
) -> Finding:
    stats = f"""
        time_s  prog_id  run_cnt  run_time_ns
        0       1        0        0
        0       2        0        0
        0       3        0        0
        10      1        1000000  {on_sys}
        10      2        1000000  {mine}
        10      3        10       5000
    """
    about = {"calibration": {} if floor is None else {"bpf_stats_floor_ns": floor}}
    tables = tables_of(folder, bpf_progs=PROGRAMS, bpf_prog_stats=stats, manifest=about)
    return all_pitfalls()["expensive_program"].run(tables, **thresholds)


@pytest.mark.parametrize(
    ("run_time_ns", "severity", "actual"),
    [(300_000_000, "warning", "2 % of one CPU"), (1_600_000_000, "bad", "15 % of one CPU")],
)
def test_a_program_that_takes_a_part_of_a_cpu_is_found_less_the_floor(
    tmp_path: Path, run_time_ns: int, severity: str, actual: str
) -> None:
    found = check(tmp_path, run_time_ns)
    assert (found.outcome, found.severity, found.actual) == ("found", severity, actual)
    assert found.expected == "at most 1 % of one CPU"
    assert found.subjects == ("on_sys of bpftrace",)
    assert found.evidence["prog_id"].tolist() == [1]
    assert "100,000 runs per second" in found.why


def test_a_program_whose_time_is_mostly_the_floor_is_clear(tmp_path: Path) -> None:
    found = check(tmp_path, 180_000_000)
    assert (found.outcome, found.actual) == ("clear", "0.8 % of one CPU")


def test_the_recorders_own_programs_are_not_the_tracers(tmp_path: Path) -> None:
    assert check(tmp_path, 0, mine=5_000_000_000).outcome == "clear"


def test_where_the_floor_is_unknown_the_finding_says_that_it_is_in_there(tmp_path: Path) -> None:
    found = check(tmp_path, 180_000_000, floor=None)
    assert (found.outcome, found.actual) == ("found", "1.8 % of one CPU")
    assert "was not calibrated" in found.why


def test_without_statistics_or_with_one_reading_it_is_not_checked(tmp_path: Path) -> None:
    run = all_pitfalls()["expensive_program"].run
    none = run(tables_of(tmp_path / "a", bpf_progs=PROGRAMS))
    assert (none.outcome, none.action) == ("not checked", "record as root on Linux 5.8 or later")
    once = "time_s prog_id run_cnt run_time_ns\n0 1 5 50"
    one = run(tables_of(tmp_path / "b", bpf_progs=PROGRAMS, bpf_prog_stats=once))
    assert (one.outcome, one.why) == ("not checked", "there was only one reading of the programs")


def test_a_machine_without_programs_is_clear(tmp_path: Path) -> None:
    found = all_pitfalls()["expensive_program"].run(
        tables_of(tmp_path, bpf_progs="time_s prog_id", bpf_prog_stats="time_s prog_id")
    )
    assert found.outcome == "clear"
