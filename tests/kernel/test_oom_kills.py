"""Processes that the kernel kills for want of memory, in a control group made for that."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from probe_records import adds_up, taking
from recordings import PYTHON
from tracelab.recorder import btf
from tracelab.recorder.filters import Filters

UNKNOWN = 2**64 - 1
MIB = 1 << 20
LIMIT = 24 * MIB
HOARDER = """
import os, sys
open("/proc/self/oom_score_adj", "w").write("321")
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
hoard = [bytearray(b"x") * (1 << 20) for _ in range(200)]
"""


@dataclass
class Group:
    """A control group whose memory is limited."""

    path: Path
    kills_in: str  #: file whose line `oom_kill N` says how many were killed

    def kills(self) -> int:
        """How many processes the kernel says that it killed in it."""
        lines = (self.path / self.kills_in).read_text().splitlines()
        return next(int(n) for word, n in (line.split() for line in lines) if word == "oom_kill")


@contextlib.contextmanager
def limited() -> Iterator[Group]:
    """A group with so little memory, by the second version of control groups or the first."""
    second, first = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
    name = f"tracelab-{os.getpid()}"
    controllers = second / "cgroup.controllers"
    if controllers.is_file() and "memory" in controllers.read_text().split():
        (second / "cgroup.subtree_control").write_text("+memory")
        group, files = Group(second / name, "memory.events"), {"memory.max": LIMIT, "memory.swap.max": 0}
    elif (first / "memory.oom_control").is_file():
        group = Group(first / name, "memory.oom_control")
        files = {"memory.limit_in_bytes": LIMIT, "memory.memsw.limit_in_bytes": LIMIT}
    else:
        pytest.skip("no control groups of memory; mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    group.path.mkdir()
    try:
        for file, value in files.items():
            if (group.path / file).exists():
                (group.path / file).write_text(str(value))
        yield group
    finally:
        for _ in range(50):
            with contextlib.suppress(OSError):
                group.path.rmdir()
                break
            time.sleep(0.1)


def test_a_process_that_takes_more_than_its_group_may_is_one_event() -> None:
    with taking("oom_kills") as taken, limited() as group:
        process = subprocess.Popen([PYTHON, "-c", HOARDER, str(group.path)])
        assert process.wait() == -signal.SIGKILL
        assert group.kills() == 1
        (record,) = taken.records(pid=process.pid)
        assert adds_up(taken.counts())
    assert record["tid"] == record["key"] == process.pid
    if "task_struct" not in btf.running().tracepoint("mark_victim"):
        assert record["ret"] == record["value"] == UNKNOWN
    else:
        assert record["ret"] == 321
        assert LIMIT / 2 < record["value"] < 2 * LIMIT  # memory of the group, and pages of files beside


def test_a_process_that_was_not_asked_for_is_not_told() -> None:
    with taking("oom_kills", **Filters(pid=(1,)).macros()) as taken, limited() as group:
        process = subprocess.Popen([PYTHON, "-c", HOARDER, str(group.path)])
        assert process.wait() == -signal.SIGKILL
        counts = taken.counts()
    assert adds_up(counts)
    assert counts["filtered"] >= 1
    assert not len(taken.records())
