"""Growth of the address space, against what /proc/PID/status says of it."""

from __future__ import annotations

import errno
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from c_programs import compiled, needs_gcc
from probe_records import Records, Taken, adds_up, taking
from recordings import WORKLOADS
from tracelab.recorder.filters import Filters, numbers_asked

pytestmark = needs_gcc
PAGE = 4096
BOTH_WAYS = pytest.mark.parametrize("way", [0, 1], ids=["tracepoints of the calls", "those of all calls"])


def mapped(folder: Path) -> tuple[int, list[tuple[str, int, int]]]:
    """The process, and of each of its calls the name, the address, and VmSize afterwards in bytes."""
    program = compiled(folder, (WORKLOADS / "maps.c").read_text(), name="maps")
    pid, *lines = subprocess.run([program], capture_output=True, check=True, text=True).stdout.splitlines()
    words = [line.split() for line in lines]
    return int(pid), [(call, int(address), int(kib) << 10) for call, address, kib in words]


def of_workload(taken: Taken, pid: int, calls: int) -> Records:
    """The last calls of the process."""
    return taken.records(pid=pid)[-calls:]


@BOTH_WAYS
def test_growth_and_size_are_those_of_the_process(
    tmp_path: Path, way: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracelab.recorder.loader.available_way", lambda probe: way)
    with taking("mappings") as taken:
        pid, (start, *said) = mapped(tmp_path)
        records = of_workload(taken, pid, len(said))
        assert adds_up(taken.counts())
    assert taken.names(records) == [call for call, _, _ in said]
    assert records["size_bytes"].tolist() == [size for _, _, size in said]
    assert records["key"].tolist() == [address for _, address, _ in said]
    sizes = [start[2], *(size for _, _, size in said)]
    assert records["value"].tolist() == [after - before for before, after in pairwise(sizes)]
    assert [v // PAGE for v in records["value"].tolist()] == [10, 20, -10, -20, 2, 0, 50, -7, 0, 0]
    assert records["ret"].tolist() == [0] * 8 + [-errno.EBADF, -errno.ENOMEM]


def test_only_what_was_asked_for_is_kept(tmp_path: Path) -> None:
    asked = {"EVENT_ASKED(nr)": numbers_asked([4]), **Filters(errors=True).macros()}
    with taking("mappings", **asked) as taken:
        pid, _ = mapped(tmp_path)
        records, counts = taken.records(pid=pid), taken.counts()
    assert taken.names(records) == ["brk"]
    assert records["ret"].tolist() == [-errno.ENOMEM]
    assert counts["filtered"] >= 9
    assert adds_up(counts)
