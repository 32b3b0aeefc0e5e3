"""A target's own time and, beside it, that of its eBPF programs, as one profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sessions import tables_of
from tracelab.analysis.targetprofile import target_profile
from tracelab.errors import MissingTable
from tracelab.query.tables import Tables

TASKS = """
    time_s  tid  ppid  comm
    0       7    1     tracer
    0       9    1     redis
    0       11   1     sh
"""
FRAMES = """
    frame_id  symbol                         domain  module
    1         main                           user    app
    2         entry_SYSCALL_64               kernel  [kernel]
    3         bpf_prog_aaaaaaaaaaaaaaaa_exec bpf     [bpf]
    4         htab_lookup                    kernel  [kernel]
    5         bpf_prog_dddddddddddddddd_other bpf    [bpf]
"""
STACKS = """
    stack_id  frames
    1         1
    2         1,2,3,4
    3         1,2,3
    4         1,2,5
"""
SAMPLES = """
    time_s  pid  stack_id  weight
    1       7    1         100
    2       7    3         50
    3       9    2         300
    4       11   3         100
    5       9    4         700
    6       9    1         900
"""
PROGS = """
    time_s  prog_id  tag               name  type            attach                    owner_pids
    0       1        aaaaaaaaaaaaaaaa  exec  raw_tracepoint  'raw_tracepoint sys_exit'  7
    0       2        bbbbbbbbbbbbbbbb  open  tracepoint      -                         7
    0       3        cccccccccccccccc  idle  kprobe          'kprobe x'                7
    0       4        dddddddddddddddd  other raw_tracepoint  'raw_tracepoint sys_exit' 9
"""
STATS = """
    time_s  prog_id  run_cnt  run_time_ns  counted_ns
    0       1        0        0            0
    10      1        100      10000        1000000000
    0       2        0        0            0
    10      2        200      30000        1000000000
    0       3        0        0            0
    10      3        0        0            1000000000
    0       4        0        0            0
    10      4        100      90000        1000000000
"""
MANIFEST = {"calibration": {"bpf_stats_floor_ns": 50.0}}


def tables(folder: Path, **other: Any) -> Tables:
    given: dict[str, Any] = {"manifest": MANIFEST, "tasks": TASKS, "frames": FRAMES, "stacks": STACKS}
    given |= {"samples": SAMPLES, "bpf_progs": PROGS, "bpf_prog_stats": STATS, "losses": "time_s cpu count"}
    return tables_of(folder, **{k: v for k, v in {**given, **other}.items() if v is not None})


def test_programs_stand_beside_the_process_as_heavy_as_their_net_run_time(tmp_path: Path) -> None:
    found = target_profile(tables(tmp_path), "tracer")
    # exec: 10 us less 100 x 50 ns, in 1 of 10 s: 50 us in all; shared out 50 : 300 : 100 as its samples weigh.
    exec_ = "eBPF programs in the kernel;exec (raw_tracepoint sys_exit)"
    frame = "bpf_prog_aaaaaaaaaaaaaaaa_exec"
    expected = {
        "tracer (7);main": 100.0,
        f"{exec_};in redis;{frame};htab_lookup": 50_000 * 300 / 450,
        f"{exec_};in tracer;{frame}": 50_000 * 50 / 450,
        f"{exec_};in sh;{frame}": 50_000 * 100 / 450,
        "eBPF programs in the kernel;open (tracepoint)": 200_000.0,
    }
    assert found.collapsed() == pytest.approx(expected)
    assert (found.unit, found.total) == ("ns", pytest.approx(100 + 50_000 + 200_000))
    assert found.notes == (
        "0.3 ms in 3 eBPF programs, measured beside the samples; 3 sampled stacks tell what they did",
        "no sample caught programs of type kprobe and tracepoint: where timers have no tracepoints, none can",
    )


def test_frames_keep_their_domains_so_that_colours_tell_them_apart(tmp_path: Path) -> None:
    domains = {frame.symbol: frame.domain for frame in target_profile(tables(tmp_path), "tracer").frames}
    assert domains["exec (raw_tracepoint sys_exit)"] == "bpf"
    assert domains["htab_lookup"] == "kernel"
    assert domains["tracer (7)"] == domains["in redis"] == "process"


def test_every_stack_of_the_branch_is_complete(tmp_path: Path) -> None:
    cut = "time_s pid stack_id weight unwound\n1 7 1 100 'no CFI'\n2 9 2 300 complete"
    found = target_profile(tables(tmp_path, samples=cut), "tracer")
    assert found.complete is not None
    assert found.weights[~found.complete].tolist() == [100.0]


def test_a_target_without_programs_is_its_own_samples(tmp_path: Path) -> None:
    found = target_profile(tables(tmp_path), "sh")
    assert found.collapsed() == {"sh (11);main;entry_SYSCALL_64;bpf_prog_aaaaaaaaaaaaaaaa_exec": 100.0}
    assert "none of its processes held an eBPF program" in found.notes


def test_without_run_statistics_the_branch_is_said_to_be_missing(tmp_path: Path) -> None:
    found = target_profile(tables(tmp_path, bpf_prog_stats=None, bpf_progs=None), "tracer")
    assert set(found.collapsed()) == {
        "tracer (7);main",
        "tracer (7);main;entry_SYSCALL_64;bpf_prog_aaaaaaaaaaaaaaaa_exec",
    }
    assert found.notes == (
        "not recorded: the run time of its eBPF programs; record as root on Linux 5.8 or later",
    )


def test_without_stack_samples_it_is_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match="oncpu"):
        target_profile(tables(tmp_path, samples=None, stacks=None, frames=None), "tracer")
