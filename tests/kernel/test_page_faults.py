"""Page faults, against getrusage(2)."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from c_programs import compiled, needs_gcc
from probe_records import Records, Taken, adds_up, taking
from recordings import WORKLOADS

pytestmark = needs_gcc
PAGE = 4096
PAGES = 300  # as in touches.c
FILE_PAGES = 40
UNKNOWN = 2**64 - 1


@dataclass
class Touched:
    at: int
    pages: int
    minor: int
    major: int
    took_ns: int

    def faults(self, records: Records) -> Records:
        """Those in this memory."""
        return records[(records["key"] >= self.at) & (records["key"] < self.at + self.pages * PAGE)]


def touched(folder: Path) -> tuple[int, dict[str, Touched]]:
    """The process, and what it says of the pages that it touched."""
    program = compiled(folder, (WORKLOADS / "touches.c").read_text(), "-O1", name="touches")
    pages = folder / "pages"
    pages.write_bytes(os.urandom(FILE_PAGES * PAGE))
    with pages.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    pid, *lines = subprocess.run([program, pages], capture_output=True, check=True).stdout.split(b"\n")
    words = [line.split() for line in lines if line]
    return int(pid), {name.decode(): Touched(*map(int, numbers)) for name, *numbers in words}


def kinds(taken: Taken, records: Records) -> Counter[str]:
    return Counter(taken.names(records))


def test_each_page_that_is_touched_first_is_one_minor_fault_at_its_address(tmp_path: Path) -> None:
    with taking("page_faults") as taken:
        pid, said = touched(tmp_path)
        records = taken.records(pid=pid)
        assert adds_up(taken.counts())
    written = said["written"]
    faults = written.faults(records)
    assert written.minor == PAGES
    assert kinds(taken, faults) == {"user_minor": PAGES}
    assert faults["key"].tolist() == [written.at + PAGE * i for i in range(PAGES)]
    assert set(faults["tid"].tolist()) == {pid}


def test_a_page_that_the_kernel_writes_to_for_the_process_is_a_fault_of_the_kernel(tmp_path: Path) -> None:
    with taking("page_faults") as taken:
        pid, said = touched(tmp_path)
        faults = said["filled"].faults(taken.records(pid=pid))
    assert said["filled"].minor == PAGES
    assert kinds(taken, faults) == {"kernel_minor": PAGES}


def test_a_page_that_is_read_from_a_disk_is_a_major_fault(tmp_path: Path) -> None:
    with taking("page_faults") as taken:
        pid, said = touched(tmp_path)
        faults = said["loaded"].faults(taken.records(pid=pid))
    if not said["loaded"].major:
        pytest.skip(f"{tmp_path} is kept in memory; run with --basetemp on a disk")
    found = kinds(taken, faults)
    assert found["user_major"] == said["loaded"].major
    assert found["user_minor"] == said["loaded"].minor
    assert found.total() == FILE_PAGES


def test_durations_are_known_and_no_longer_than_what_they_are_part_of(tmp_path: Path) -> None:
    with taking("page_faults") as taken:
        pid, said = touched(tmp_path)
        records = taken.records(pid=pid)
    if taken.probe.way:
        assert set(records["value"].tolist()) == {UNKNOWN}
        return
    for name in ("written", "filled", "loaded"):
        durations = said[name].faults(records)["value"]
        assert (durations > 0).all()
        assert int(durations.sum()) < said[name].took_ns


def test_without_tracepoints_of_faults_they_are_told_without_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracelab.recorder.loader.available_way", lambda probe: 1)
    with taking("page_faults") as taken:
        pid, said = touched(tmp_path)
        faults = said["written"].faults(taken.records(pid=pid))
    assert kinds(taken, faults) == {"user_minor": PAGES}
    assert set(faults["value"].tolist()) == {UNKNOWN}


def test_one_of_n_faults_stands_for_the_others(tmp_path: Path) -> None:
    with taking("page_faults", one_in=10) as taken:
        pid, said = touched(tmp_path)
        faults = said["written"].faults(taken.records(pid=pid))
        counts = taken.counts()
    assert adds_up(counts)
    assert set(faults["weight"].tolist()) == {10}
    assert abs(int(np.sum(faults["weight"])) - PAGES) <= 20
