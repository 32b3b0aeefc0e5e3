"""Context switches, against the kernel's own counts of a process."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

import numpy as np

from probe_records import ALL_DURATIONS, adds_up, ended, gated, hidden, schedstat, status, taking, until
from recordings import workload


def own_threads() -> list[int]:
    """The threads of this process, which is the recorder here."""
    return [int(task) for task in os.listdir("/proc/self/task")]


def test_switches_are_those_that_the_kernel_counts_and_add_up_to_the_time_on_a_cpu() -> None:
    with taking("switches") as taken, ended(workload("naps", 40, 0.002, 0.004)) as pid:
        until(
            lambda: "exiting" in taken.names(taken.records(tid=pid)),
            "the last switch of a process is one too",
        )
        records = taken.records(tid=pid)
        why = Counter(taken.names(records))
        told, (ran_ns, _, _) = status(pid), schedstat(pid)
        assert adds_up(taken.counts())
    assert why["preempted"] == told["nonvoluntary_ctxt_switches"]
    assert why.total() - why["preempted"] == told["voluntary_ctxt_switches"]
    assert why["exiting"] == 1
    assert why["sleeping"] >= 40
    known = records[records["value"] != 2**64 - 1]
    assert abs(int(known["value"].sum()) - ran_ns) < 0.03 * ran_ns


def test_kernels_that_do_not_tell_the_state_have_it_read_from_the_thread() -> None:
    with (
        taking("switches", LINUX_VERSION_CODE=0x050F00) as taken,
        ended(workload("naps", 40, 0.002, 0.002)) as pid,
    ):
        until(
            lambda: "exiting" in taken.names(taken.records(tid=pid)),
            "the last switch of a process is one too",
        )
        why = Counter(taken.names(taken.records(tid=pid)))
        told = status(pid)
    assert why["preempted"] == told["nonvoluntary_ctxt_switches"]
    assert why.total() - why["preempted"] == told["voluntary_ctxt_switches"]
    assert why["sleeping"] + why["other"] >= 40  # other: it was being woken already when it left


def test_who_comes_next_is_told() -> None:
    here = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    with (
        hidden() as unseen,
        taking("switches") as taken,
        subprocess.Popen([*here, *workload("naps", 20, 0.001, 0.005)]),
        ended([*here, *workload("naps", 20, 0.001, 0.005)]) as pid,
    ):
        until(lambda: "exiting" in taken.names(taken.records(tid=pid)), "the process ends")
        records = taken.records()
        most_unseen = unseen()
    told = broken = 0
    for cpu in range(os.cpu_count() or 1):
        of_cpu = records[records["cpu"] == cpu]
        shown = ~np.isin(of_cpu["key"][:-1], [0, *own_threads()])  # the switches of these are not recorded
        followed = of_cpu["tid"][1:] == of_cpu["key"][:-1]
        told += int((shown & followed).sum())
        broken += int((shown & ~followed).sum())
    assert told > 3
    assert broken <= most_unseen


def test_the_life_of_a_thread_is_on_a_cpu_in_a_run_queue_or_off_cpu() -> None:
    here = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    with (
        gated(*here, *workload("naps", 40, 0.003, 0.005)) as command,
        taking("switches", **command.macros()) as on_cpu,
        taking("runqueue", **command.macros()) as queued,
        taking("offcpu", **command.macros(), **ALL_DURATIONS) as off_cpu,
        subprocess.Popen([*here, *workload("naps", 40, 0.001, 0.005)]),
    ):
        command.run()
        until(lambda: "exiting" in on_cpu.names(on_cpu.records()), "the process ends")
        switches, returns, blocked = on_cpu.records(), queued.records(), off_cpu.records()
        why = queued.names(returns)
        assert off_cpu.counts()["lost"] == 0
    began_ns, ended_ns = int(returns["time_ns"][0]), int(switches["time_ns"][-1])
    life_ns = ended_ns - began_ns  # since it was told to run its command
    preempted_ns = sum(int(v) for v, w in zip(returns["value"], why, strict=True) if w == "preempted")
    assert preempted_ns > 0.1 * life_ns
    parts_ns = int(switches["value"].sum()) + preempted_ns + int(blocked["value"].sum())
    assert abs(parts_ns - life_ns) < 0.03 * life_ns
