"""Waits off the CPU, of workloads that wait a known number of times, for a known time, at a known place."""

from __future__ import annotations

import math
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import tracelab as tl
from c_programs import compiled, needs_gcc
from probe_records import (
    ALL_DURATIONS,
    adds_up,
    ended,
    gated,
    hidden,
    recorded_in_full,
    status,
    taking,
    until,
)
from recordings import command_pid, rows, workload
from tracelab.profile import Profile
from tracelab.recorder.filters import Filters
from tracelab.recorder.stacks import CUT_KERNEL

pytestmark = needs_gcc
WAITS = """
#include <stdlib.h>
#include <unistd.h>
volatile long sink;
__attribute__((noinline)) void inner(int us) { usleep(us); sink++; }
__attribute__((noinline)) void outer(int us) { volatile char room[ROOM]; room[us % ROOM] = 1; inner(us); sink++; }
int main(int argc, char **argv) { for (int i = atoi(argv[1]); i; i--) outer(atoi(argv[2])); return 0; }
"""
PING_PONG = """
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int a[2], b[2], n = atoi(argv[1]);
	char c = 0;
	if (pipe(a) || pipe(b)) return 1;
	if (!fork()) { for (; n; n--) if (read(a[0], &c, 1) != 1 || write(b[1], &c, 1) != 1) return 1; return 0; }
	for (; n; n--) if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1) return 1;
	wait(0);
	return 0;
}
"""


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C program, built without frame pointers, that waits N times for so many us, below outer and inner."""
    folder = tmp_path_factory.mktemp("waits")
    return compiled(folder, WAITS, "-O2", "-g", "-fomit-frame-pointer", "-DROOM=64", name="waits_here")


@pytest.fixture(scope="module")
def ping_pong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C program of two processes that write to each other and wait for each other, N times."""
    return compiled(tmp_path_factory.mktemp("ping_pong"), PING_PONG, "-O2", name="ping_pong")


def waits_of(profile: Profile, *functions: str) -> list[tuple[list[str], float]]:
    """The stacks, as names, in which all these functions are."""
    named = [([f.symbol for f in stack], weight) for stack, weight in profile.stacks()]
    return [(names, weight) for names, weight in named if set(functions) <= set(names)]


def test_20_sleeps_of_50_ms_are_20_waits_of_50_ms_with_stacks_from_start_to_the_scheduler(
    waits: Path, tmp_path: Path
) -> None:
    with hidden() as unseen:
        recording = recorded_in_full(tmp_path, [str(waits), "20", "50000"], events="offcpu")
        fewest = 20 - unseen()
    pid = command_pid(recording)
    samples = [s for s in rows(recording, "samples", pid=pid) if int(str(s["weight"])) >= 25_000_000]
    assert fewest <= len(samples) <= 20
    assert {(s["kind"], s["unit"]) for s in samples} == {("off-CPU", "ns")}
    unwound = Counter(s["unwound"] for s in samples)
    assert unwound["complete"] >= 0.8 * len(samples)
    assert set(unwound) <= {"complete", CUT_KERNEL}  # where the kernel is taking a stack for another tracer
    profile = tl.open(recording.path).select(pid=pid).profile("off-CPU")
    found = waits_of(profile, "outer")
    assert (
        len(samples) * 50e6 <= sum(weight for _, weight in found) < len(samples) * 150e6
    )  # a busy machine wakes it late
    for names, _ in waits_of(profile, "outer", "do_nanosleep"):
        assert names[0] == "_start"
        functions = [n for n in names if n in ("main", "outer", "inner", "schedule", "__schedule")]
        assert functions == ["main", "outer", "inner", "schedule", "__schedule"]


def test_waits_of_a_python_program_are_complete_from_its_start(tmp_path: Path) -> None:
    with hidden() as unseen:
        recording = recorded_in_full(tmp_path, workload("naps", 20, 0.03), events="offcpu")
        fewest = 20 - unseen()
    found = waits_of(
        tl.open(recording.path).select(pid=command_pid(recording)).profile("off-CPU"), "do_nanosleep"
    )
    assert fewest * 30e6 <= sum(weight for _, weight in found) < 20 * 130e6
    assert {names[0] for names, _ in found} == {"_start"}


def test_waits_shorter_than_1_ms_are_left_out_and_counted_unless_asked_for(waits: Path) -> None:
    with gated(waits, 200, 200) as command:
        before = status(command.pid)["voluntary_ctxt_switches"]
        with (
            hidden() as unseen,
            taking("offcpu", **command.macros()) as usual,
            taking("offcpu", **command.macros(), **ALL_DURATIONS) as all_of_them,
        ):
            command.run()
            blocked = status(command.pid)["voluntary_ctxt_switches"] - before
            long_ones, every = usual.records(), all_of_them.records()
            counts = usual.counts()
            fewest = blocked - 1 - unseen()  # it did not come back from its end
    assert blocked > 200
    assert fewest <= len(every) <= blocked - 1
    long_in_all = int((every["value"] >= 1_000_000).sum())
    assert abs(len(long_ones) - long_in_all) <= 2  # one looks at the clock after the other
    assert len(every) - len(long_ones) > 100
    assert counts["kept"] == len(long_ones)
    assert adds_up(counts)


def test_who_waits_for_a_cpu_only_is_not_off_cpu() -> None:
    here = str(min(os.sched_getaffinity(0)))
    spin = ["taskset", "-c", here, *workload("naps", 1, 0.001, 0.5)]
    with subprocess.Popen(spin), gated(*spin) as command:
        with taking("offcpu", **command.macros(), **ALL_DURATIONS) as taken:
            command.run()
            preempted = status(command.pid)["nonvoluntary_ctxt_switches"]
            records = taken.records()
    assert preempted > 3
    assert len(records) > 0
    assert (records["key"] & 3 != 0).all()  # interruptible or not, and never ready to run


def test_every_return_is_accounted_for_when_the_ring_overflows(ping_pong: Path) -> None:
    with taking("offcpu", **ALL_DURATIONS, RING_PAGES=64) as taken, ended([ping_pong, "3000"]):
        taken.probe.detach()
        counts = taken.counts()
        kept = len(taken.records())
    assert counts["lost"] > 1000
    assert counts["kept"] == kept > 0
    assert adds_up(counts)


def test_one_in_10_waits_stands_for_all_of_them(ping_pong: Path) -> None:
    with gated(ping_pong, 10_000) as command:
        before = status(command.pid)["voluntary_ctxt_switches"]
        with hidden() as unseen, taking("offcpu", one_in=10, **command.macros(), **ALL_DURATIONS) as taken:
            command.run()
            true = status(command.pid)["voluntary_ctxt_switches"] - before
            records, counts = taken.records(), taken.counts()
            slack = unseen()
    assert true > 1_000
    assert counts["lost"] == 0
    assert counts["sampled_out"] > 5 * counts["kept"] > 0
    assert adds_up(counts)
    assert set(records["weight"].tolist()) == {10}
    assert abs(int(records["weight"].sum()) - true) < 3 * math.sqrt(true * (10 - 1)) + slack


def test_a_stack_of_40_kb_is_whole(tmp_path: Path) -> None:
    program = compiled(
        tmp_path, WAITS, "-O2", "-g", "-fomit-frame-pointer", "-DROOM=40000", name="waits_deep"
    )
    recording = recorded_in_full(tmp_path, [str(program), "20", "50000"], events="offcpu")
    samples = rows(recording, "samples", pid=command_pid(recording))
    long_ones = [s for s in samples if int(str(s["weight"])) >= 25_000_000]
    assert len(long_ones) > 10
    assert sum(s["unwound"] == "complete" for s in long_ones) >= 0.8 * len(long_ones)
    assert {s["unwound"] for s in long_ones} <= {"complete", CUT_KERNEL}


def test_of_two_threads_that_share_a_slot_the_first_keeps_its_time_and_not_its_stack(waits: Path) -> None:
    both = f"{waits} 1 400000 & exec {waits} 20 10000"
    asked = Filters(comm=(waits.name,)).macros()
    with taking("offcpu", STACKS=1, **ALL_DURATIONS, **asked) as taken, ended(["sh", "-c", both]) as pid:
        until(lambda: (taken.records()["value"] > 390_000_000).any(), "the long wait ends")
        records, counts = taken.records(), taken.counts()
    (long_one,) = records[records["value"] > 390_000_000]
    assert (long_one["kernel_bytes"], long_one["user_ok"], long_one["stack_bytes"]) == (-116, 0, 0)
    assert long_one["pid"] == long_one["tid"] != pid
    short = records[(records["tid"] == pid) & (records["value"] >= 5_000_000)]
    assert 10 < len(short) <= 20, (counts, short["value"])  # a timer may expire before the thread has left its CPU
    whole = (short["kernel_bytes"] > 0) & (short["user_ok"] == 1)
    assert whole.sum() >= len(short) - 2  # the other begins, and ends


def test_waits_of_others_are_filtered(waits: Path) -> None:
    with gated(waits, 1, 1) as command:
        with (
            taking("offcpu", **ALL_DURATIONS, **command.macros()) as taken,
            ended([waits, "30", "1000"]) as other,
        ):
            records, counts = taken.records(), taken.counts()
            assert status(other)["voluntary_ctxt_switches"] > 30
        command.run()
    assert len(records) == counts["kept"] == 0
    assert counts["filtered"] >= 30
    assert adds_up(counts)
