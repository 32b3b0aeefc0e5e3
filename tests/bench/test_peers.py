"""What the other tracers say at their end, as they said it, and what is read from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tracelab.bench import peers
from tracelab.bench.tracer import NotRun

PERF_6_1 = """
Aggregated stats:
           TOTAL events:    1598125
            LOST events:          4  ( 0.0%)
          SAMPLE events:    1598101  (100.0%)
    LOST_SAMPLES events:          2  ( 0.0%)
raw_syscalls:sys_enter stats:
          SAMPLE events:     799050
    LOST_SAMPLES events:     200954
raw_syscalls:sys_exit stats:
          SAMPLE events:     799051
    LOST_SAMPLES events:     200953
"""
TRACE_CMD_3_1 = """cpus=2

Kernel buffer statistics:
  Note: "entries" are the entries left in the kernel ring buffer and are not
        recorded in the trace data. They should all be zero.

CPU: 0
entries: 0
overrun: 107520
commit overrun: 0
bytes: 0
oldest event ts:  4152.428928
now ts:  4152.431983
dropped events: 2
read events: 1092496

CPU: 1
entries: 6
overrun: 0
commit overrun: 0
bytes: 0
oldest event ts:  4148.549698
now ts:  4152.432005
dropped events: 0
read events: 4
"""


def test_perf_counts_a_call_by_its_exit() -> None:
    assert peers.perf_counts(PERF_6_1) == (799051, 200953)


def test_a_perf_that_lost_nothing_lost_zero() -> None:
    stats = "".join(line for line in PERF_6_1.splitlines(keepends=True) if "LOST" not in line)
    assert peers.perf_counts(stats) == (799051, 0)


def test_an_older_perf_that_lost_something_does_not_tell_how_much() -> None:
    stats = "".join(line for line in PERF_6_1.splitlines(keepends=True) if "LOST_SAMPLES" not in line)
    assert peers.perf_counts(stats) == (799051, None)


def test_a_perf_report_that_crashed_is_not_run_with_its_last_words() -> None:
    with pytest.raises(NotRun, match=r"assertion failed at util/build-id\.c"):
        peers.perf_counts("perf: assertion failed at util/build-id.c\n")


def test_trace_cmd_counts_two_records_for_a_call_over_all_cpus() -> None:
    assert peers.trace_cmd_counts(TRACE_CMD_3_1) == (546253, 53761)


def test_a_trace_cmd_file_without_events_is_not_run() -> None:
    with pytest.raises(NotRun, match=r"has no events; it said: opening 'trace.dat'"):
        peers.trace_cmd_counts("opening 'trace.dat'\n")


def test_bpftrace_counts_lines_of_events_and_those_it_lost(tmp_path: Path) -> None:
    lines = ["Attaching 4 probes...", "ready", "3381890491 0 7 7 110 6 128", "Lost 12 events"]
    lines += ["3381890620 0 7 7 110 6 130", "Lost 3 events", ""]
    (tmp_path / "stdout").write_text("\n".join(lines))
    (tmp_path / "stderr").write_text("Lost 1 events\nWARNING: something else\n")
    assert peers.bpftrace_counts(tmp_path / "stdout", tmp_path / "stderr") == (2, 16, 54)


def test_a_program_that_is_not_installed_is_the_reason_not_to_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert [peer.refusal() for peer in peers.PEERS] == [
        "bpftrace is not installed",
        "perf is not installed",
        "trace-cmd is not installed",
    ]


def test_tracefs_is_given_to_a_command_only_where_it_is_not_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "TRACEFS", tmp_path)
    assert peers.namespace() == peers.WITH_TRACEFS
    (tmp_path / "events").mkdir()
    assert peers.namespace() == []
