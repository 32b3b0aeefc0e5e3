"""Waits for a CPU, against what the kernel itself adds up for a thread."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from probe_records import adds_up, ended, hidden, schedstat, taking
from recordings import command_pid, recorded, rows, workload

HERE = str(min(os.sched_getaffinity(0)))
UNKNOWN = 2**64 - 1


def test_two_that_share_a_cpu_wait_for_each_other_as_long_as_the_kernel_says() -> None:
    rival = ["taskset", "-c", HERE, *workload("naps", 1, 0, 0.6)]
    with (
        hidden() as unseen,
        taking("runqueue") as taken,
        subprocess.Popen(rival),
        ended(["taskset", "-c", HERE, *workload("naps", 20, 0.001, 0.02)]) as pid,
    ):
        _, waited_ns, times = schedstat(pid)
        records = taken.records(tid=pid)
        why = Counter(taken.names(records))
        assert adds_up(taken.counts())
        assert times - unseen() <= len(records) <= times
    assert why["new"] == 1
    assert why["wakeup"] >= 15
    assert why["preempted"] > 5
    known = records[records["value"] != UNKNOWN]
    assert abs(int(known["value"].sum()) - waited_ns) < 0.03 * waited_ns
    assert waited_ns > 200_000_000


def test_who_had_the_cpu_meanwhile_is_told() -> None:
    rival = ["taskset", "-c", HERE, *workload("naps", 1, 0, 0.4)]
    with (
        taking("runqueue") as taken,
        subprocess.Popen(rival) as other,
        ended(["taskset", "-c", HERE, *workload("naps", 1, 0, 0.4)]) as pid,
    ):
        records = taken.records(tid=pid)
    assert (records["key"] == other.pid).sum() >= 5


def test_only_the_waits_and_reasons_that_were_asked_for_are_kept() -> None:
    asked = {"EVENT_ASKED(nr)": "((nr)==1)", "DURATION_ASKED(ns)": "((ns)>=1000000ULL)"}
    rival = ["taskset", "-c", HERE, *workload("naps", 1, 0, 0.3)]
    with (
        taking("runqueue", **asked) as taken,
        subprocess.Popen(rival),
        ended(["taskset", "-c", HERE, *workload("naps", 40, 0.001, 0.002)]),
    ):
        records = taken.records()
        counts = taken.counts()
        assert set(taken.names(records)) <= {"wakeup"}
    assert (records["value"] >= 1_000_000).all()
    assert counts["filtered"] > 40
    assert adds_up(counts)


def test_a_recording_has_a_row_for_each_return_to_a_cpu(tmp_path: Path) -> None:
    with hidden() as unseen:
        recording = recorded(tmp_path / "s", workload("naps", 30, 0.002), events="runqueue,switches")
        most_unseen = unseen()
    events = rows(recording, "events", pid=command_pid(recording))
    returns = [e for e in events if e["probe"] == "runqueue"]
    left = [e for e in events if e["probe"] == "switches"]
    assert len(left) > 30
    assert len(left) - most_unseen <= len(returns) <= len(left)
    assert len(returns) - most_unseen <= sum(e["value"] is not None for e in returns)
    woken = sum(e["event"] == "wakeup" for e in returns)
    blocked = sum(e["event"] not in ("preempted", "exiting") for e in left)
    assert blocked - most_unseen <= woken <= blocked
