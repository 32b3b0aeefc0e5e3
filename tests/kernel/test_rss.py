"""Resident memory, against what /proc/PID/status says of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from c_programs import compiled, needs_gcc
from probe_records import adds_up, taking
from recordings import WORKLOADS

pytestmark = needs_gcc
MIB = 1 << 20
PAGE = 4096
#: Linux gathers a counter of a process when it has grown by so much on a CPU; there are three kinds of memory.
NOT_GATHERED = 3 * (os.cpu_count() or 1) * max(32, 2 * (os.cpu_count() or 1)) * PAGE


@contextmanager
def grown(folder: Path, mib: int) -> Iterator[tuple[int, int, int, int]]:
    """The process, still there, and VmRSS in bytes before it grew, then, and when it had given half of it back."""
    program = compiled(folder, (WORKLOADS / "grows.c").read_text(), name="grows")
    with subprocess.Popen([program, str(mib)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid, before, most, after = map(int, process.stdout.readline().split())
        yield pid, before, most, after


def test_an_event_is_a_drift_and_the_drifts_add_up_to_what_is_resident(tmp_path: Path) -> None:
    with taking("rss", DRIFT_BYTES=4 * MIB) as taken, grown(tmp_path, 64) as (pid, _, most, after):
        records = taken.records(pid=pid)
        assert adds_up(taken.counts())
    resident, drift = records["value"].astype(np.int64), records["size_bytes"]
    assert (np.abs(drift) >= 4 * MIB).all()
    assert (np.cumsum(drift) == resident).all()
    up = records[drift > 0]
    assert 64 // 4 - 2 <= len(up) <= 64 // 4 + 1
    assert abs(int(resident.max()) - most) < 4 * MIB + NOT_GATHERED
    assert abs(int(resident[-1]) - after) < 4 * MIB + NOT_GATHERED
    assert resident[-1] < resident.max() - 24 * MIB


def test_what_is_resident_is_told_as_exactly_as_the_kernel_gathers_it(tmp_path: Path) -> None:
    with taking("rss", DRIFT_BYTES=PAGE) as taken, grown(tmp_path, 8) as (pid, before, most, after):
        resident = taken.records(pid=pid)["value"].astype(np.int64)
    assert abs(int(resident.max()) - most) <= NOT_GATHERED
    assert abs(int(resident[-1]) - after) <= NOT_GATHERED
    assert before < most - 7 * MIB


def test_below_the_threshold_there_is_no_event(tmp_path: Path) -> None:
    with taking("rss") as taken, grown(tmp_path, 8) as (pid, _, most, _):
        assert most < 16 * MIB
        assert not len(taken.records(pid=pid))


def test_a_child_starts_with_what_it_shares_with_its_parent(tmp_path: Path) -> None:
    script = "import os; a = bytearray(b'x') * (64 << 20); c = os.fork(); c and os.waitpid(c, 0) and print(c)"
    with taking("rss") as taken:
        child = int(subprocess.run(["python3", "-c", script], capture_output=True, check=True).stdout)
        first = taken.records(pid=child)[0]
    assert first["value"] >= 16 * MIB
    assert first["size_bytes"] == first["value"]


def test_a_child_that_runs_in_its_parents_memory_grows_the_parent(tmp_path: Path) -> None:
    source = """
        #define _GNU_SOURCE
        #include <stdio.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <unistd.h>
        int main(void)
        {
            char *at = mmap(0, 64 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            int child = vfork();
            if (!child) {
                memset(at, 1, 64 << 20);
                _exit(0);
            }
            printf("%d %d", getpid(), child);
            return 0;
        }
    """
    program = compiled(tmp_path, source, name="shares")
    with taking("rss") as taken:
        said = subprocess.run([program], capture_output=True, check=True).stdout
        parent, child = map(int, said.split())
        assert len(taken.records(pid=parent)) >= 3
        assert not len(taken.records(pid=child))
