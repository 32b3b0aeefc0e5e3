"""Who wakes whom, of workloads in which that is known."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tracelab as tl
from c_programs import compiled, needs_gcc
from probe_records import ALL_DURATIONS, adds_up, ended, gated, hidden, recorded_in_full, status, taking
from recordings import command_pid, rows, workload
from tracelab.recorder.filters import Filters

pytestmark = needs_gcc
WAKES = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) int wake(int fd) { char c = 0; int done = write(fd, &c, 1); return done == 1; }
int main(int argc, char **argv)
{
	int fds[2], n = atoi(argv[1]);
	char c;
	if (pipe(fds)) return 1;
	pid_t child = fork();
	if (!child) { while (n-- && read(fds[0], &c, 1) == 1) ; return 0; }
	printf("%d\\n", child);
	while (n--) { usleep(5000); if (!wake(fds[1])) return 1; }
	wait(0);
	return 0;
}
"""
N = 40
ASKED = ALL_DURATIONS | Filters(comm=("wakes_here",)).macros()


@pytest.fixture(scope="module")
def wakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C program that wakes its child through a pipe, N times, every 5 ms."""
    return compiled(tmp_path_factory.mktemp("wakes"), WAKES, "-O2", "-fomit-frame-pointer", name="wakes_here")


def test_each_wait_of_the_reader_of_a_pipe_is_ended_by_its_writer(wakes: Path) -> None:
    with taking("wakeups", **ASKED) as taken, taking("switches") as switches, ended([wakes, str(N)]) as pid:
        records = taken.records(pid=pid)
        assert taken.counts()["lost"] == 0
        woken = Counter(records["key"].tolist()).most_common(1)[0][0]
        left = switches.records(tid=woken)
        sleeping = left[np.array(switches.names(left)) == "sleeping"]
        assert adds_up(taken.counts())
    waits = records[records["key"] == woken]
    assert woken != pid
    assert (
        0 < len(waits) == len(sleeping) <= N
    )  # less than N where it came late, and there was something to read
    assert ((waits["time_ns"] > sleeping["time_ns"]) & (waits["user_ok"] == 1)).all()
    began = waits["time_ns"] - waits["value"]
    assert abs(began.astype(np.int64) - sleeping["time_ns"].astype(np.int64)).max() < 1_000_000


def test_the_stack_of_the_waker_says_how_it_woke(wakes: Path, tmp_path: Path) -> None:
    recording = recorded_in_full(tmp_path, [str(wakes), str(N)], events="wakeups")
    pid = command_pid(recording)
    samples = rows(recording, "samples", pid=pid)
    assert {(s["kind"], s["unit"]) for s in samples} == {("wakeup", "ns")}
    stacks = [
        [frame.symbol for frame in stack]
        for stack, _ in tl.open(recording.path).select(pid=pid).profile("wakeup").stacks()
    ]
    by_pipe = [names for names in stacks if "wake" in names]
    assert by_pipe
    for names in by_pipe:
        assert names[0] == "_start"
        way = [n for n in names if n in ("main", "wake", "vfs_write", "try_to_wake_up")]
        assert way == ["main", "wake", "vfs_write", "try_to_wake_up"]


def test_a_sleeper_is_woken_by_the_timer_as_often_as_it_sleeps() -> None:
    with (
        hidden() as unseen,
        gated(*workload("naps", 30, 0.004)) as command,
        taking("wakeups", **command.macros(), **ALL_DURATIONS) as taken,
    ):
        before = status(command.pid)["voluntary_ctxt_switches"]
        command.run()
        blocked = status(command.pid)["voluntary_ctxt_switches"] - before
        records, counts = taken.records(), taken.counts()
        others = (
            unseen() + counts["own"] + (os.cpu_count() or 1)
        )  # who ran when the timer woke it counts as waker
    assert blocked > 30
    assert blocked - 1 - others <= len(records) <= blocked  # nobody wakes it from its end
    assert set(records["key"].tolist()) == {command.pid}
    assert (records["value"] > 3_000_000).sum() > 10
    assert counts["idle"] == counts["lost"] == 0
    assert adds_up(counts)


def test_filters_ask_about_the_woken(wakes: Path) -> None:
    with (
        taking("wakeups", **ALL_DURATIONS, **{"PID_ASKED(pid)": f"((pid)=={os.getpid()})"}) as taken,
        ended([wakes, "5"]),
    ):
        assert len(taken.records()) == 0
        counts = taken.counts()
    assert counts["filtered"] >= 10
    assert counts["own"] > 0  # this process, which waits for the program, is the recorder here
    assert adds_up(counts)


def test_one_in_5_is_kept_and_the_others_are_counted(wakes: Path) -> None:
    with taking("wakeups", one_in=5, **ASKED) as taken, ended([wakes, str(N)]):
        taken.probe.detach()
        counts, records = taken.counts(), taken.records()
    assert adds_up(counts)
    assert set(records["weight"].tolist()) == {5}
    # one of each five in a row, on each CPU: at most four of a row that was not filled stand for themselves
    assert abs(5 * counts["kept"] - (counts["kept"] + counts["sampled_out"])) <= 5 * (os.cpu_count() or 1)
