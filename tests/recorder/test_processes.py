"""Readings of processes: what all have, what targets have more, and that the dear part is bounded."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tracelab.recorder import host
from tracelab.recorder.allowance import Allowance
from tracelab.recorder.processes import ProcessReadings
from tracelab.recorder.targets import Targets

ONLY_TARGETS = ("pss_bytes", "voluntary_switches", "involuntary_switches", "read_bytes", "write_bytes")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def taken(readings: ProcessReadings) -> dict[int, dict[str, object]]:
    """The rows of one reading by process."""
    ((table, rows),) = readings.take()
    assert table == "procs"
    return {int(row["pid"]): row for row in pa.Table.from_batches([rows]).to_pylist()}


def spent_reading(
    allowance: Allowance, work: Clock, sizes: dict[int, float], last: dict[int, int], turn: int
) -> float:
    """CPU time that a turn of readings took, of processes that take so long each."""
    before = work.s
    for number in allowance.ordered(sizes, last):
        work.s += sizes[number]
        last[number] = turn
    return work.s - before


def test_all_processes_have_their_faults_and_only_targets_have_more() -> None:
    rows = taken(ProcessReadings(Targets([str(os.getpid())])))
    mine, other = rows[os.getpid()], rows[1]
    assert int(str(mine["minor_faults"])) > 1000
    assert 0 < int(str(mine["pss_bytes"])) <= 2 * int(str(mine["rss_bytes"]))
    assert all(mine[column] is not None for column in ONLY_TARGETS)
    assert [other[column] for column in ONLY_TARGETS] == [None] * 5
    assert other["minor_faults"] is not None


def test_without_targets_nothing_dear_is_read() -> None:
    rows = taken(ProcessReadings())
    assert {row[column] for row in rows.values() for column in ONLY_TARGETS} == {None}


def test_twenty_waits_of_a_thread_are_twenty_switches_also_when_it_has_ended() -> None:
    readings = ProcessReadings(Targets([str(os.getpid())]), Allowance(), Allowance(share=1))
    before = int(str(taken(readings)[os.getpid()]["voluntary_switches"]))
    ready, go_on = threading.Event(), threading.Event()

    def waits() -> None:
        for _ in range(20):
            time.sleep(0.001)
        ready.set()
        go_on.wait()

    thread = threading.Thread(target=waits)
    thread.start()
    ready.wait()
    during = int(str(taken(readings)[os.getpid()]["voluntary_switches"]))
    go_on.set()
    thread.join()
    after = int(str(taken(readings)[os.getpid()]["voluntary_switches"]))
    assert during - before >= 20
    assert after >= during


def test_bytes_written_to_storage_are_told(tmp_path: Path) -> None:
    readings = ProcessReadings(Targets([str(os.getpid())]))
    before = int(str(taken(readings)[os.getpid()]["write_bytes"]))
    with open(tmp_path / "file", "wb") as file:
        file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
    grown = int(str(taken(readings)[os.getpid()]["write_bytes"])) - before
    if not grown:
        pytest.skip("the temporary folder has no device below it; set TMPDIR to one on a disk")
    assert grown >= 1 << 20


def test_dear_readings_stay_within_their_share_of_a_cpu() -> None:
    now, work = Clock(), Clock()
    allowance = Allowance(share=0.01, burst_s=0.05, now=now, spent=work)
    sizes, last = {1: 0.2, 2: 0.001, 3: 0.02}, dict[int, int]()
    total = 0.0
    for turn in range(1, 601):
        now.s += 1.0
        total += spent_reading(allowance, work, sizes, last, turn)
    assert total <= 600 * 0.01 + 0.05 + 0.2
    assert min(last.values()) > 500  # the large one has its turns too


def test_small_processes_are_read_every_time() -> None:
    now, work = Clock(), Clock()
    allowance = Allowance(share=0.01, burst_s=0.05, now=now, spent=work)
    sizes, last = {1: 0.002, 2: 0.003}, dict[int, int]()
    for turn in range(1, 100):
        now.s += 1.0
        assert abs(spent_reading(allowance, work, sizes, last, turn) - 0.005) < 1e-9


def test_a_process_that_is_gone_has_no_readings() -> None:
    assert host.pss_bytes(4194305) is None
    assert host.switches(4194305) is None
    assert host.storage_bytes(4194305) is None
    assert host.thread_ids(4194305) == []
    assert host.cgroups(4194305) == []
