"""Requests to a disk, against those that were made, and the kernel's own statistics of it."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

from loop_devices import disk_statistics, loop_device, needs_loop, small_filesystem
from probe_records import Records, Taken, adds_up, taking, until
from recordings import command_pid, recorded, rows, workload

pytestmark = needs_loop
UNKNOWN = 2**64 - 1
MIB = 1 << 20
REQUESTS = [
    ("read", 4096),
    ("write", 8192),
    ("read", 65536),
    ("write", 512),
    ("read", 4096),
    ("write", 131072),
]


def blocks(device: Path, requests: list[tuple[str, int]]) -> list[str]:
    return workload("blocks", device, *(word for request in requests for word in request))


def run(argv: list[str]) -> tuple[int, int, int]:
    """The process, how many of its requests failed, and how long it took, ns."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    said = process.communicate()[0].split()
    assert process.returncode == 0
    return process.pid, int(said[2]), int(said[1]) - int(said[0])


def of(taken: Taken, device: Path, count: int) -> Records:
    """The requests of a device, when there are as many as that."""
    number = os.stat(device).st_rdev
    until(lambda: len(taken.records(key=number)) >= count, f"{count} requests are completed")
    return taken.records(key=number)


def test_each_request_has_its_size_its_device_and_its_thread(tmp_path: Path) -> None:
    with loop_device(tmp_path / "disk", 8 * MIB) as device, taking("block") as taken:
        pid, failed, took_ns = run(blocks(device, REQUESTS))
        records = of(taken, device, len(REQUESTS))
        names = taken.names(records)
        assert adds_up(taken.counts())
    assert failed == 0
    by_it = records["pid"] == pid
    assert [
        r
        for r, mine in zip(zip(names, records["size_bytes"].tolist(), strict=True), by_it, strict=True)
        if mine
    ] == (REQUESTS)
    assert (records["tid"][by_it] == pid).all()
    assert (records["ret"] == 0).all()
    assert (records["value"] != UNKNOWN).all()
    assert 0 < int(records["value"][by_it].sum()) < took_ns  # one after the other


def test_counts_and_bytes_are_those_of_the_disks_own_statistics(tmp_path: Path) -> None:
    requests = [("read", 4096)] * 50 + [("write", 16384)] * 40 + [("discard", MIB)] * 3 + [("flush", 0)] * 5
    with loop_device(tmp_path / "disk", 16 * MIB) as device, taking("block") as taken:
        before = disk_statistics(device)
        run(blocks(device, requests))
        grown = {name: count - before[name] for name, count in disk_statistics(device).items()}
        expected = sum(grown[kind] for kind in ("read", "write", "discard", "flush"))
        records = of(taken, device, expected - grown["flush"])
        names = taken.names(records)
        assert adds_up(taken.counts())
    grown["write"] -= grown[
        "flush"
    ]  # the empty one that asks for a flush counts as a write that no disk gets
    assert grown["read"] >= 50
    assert grown["write"] >= 40
    assert grown["discard"] >= 3
    counted = Counter(names)
    for kind in ("read", "write", "discard"):
        assert counted[kind] == grown[kind]
        sizes = [int(r["size_bytes"]) for r, name in zip(records, names, strict=True) if name == kind]
        assert sum(sizes) == grown[f"{kind}_bytes"]
    assert counted["flush"] == grown["flush"] == 5


def test_a_request_that_fails_says_why(tmp_path: Path) -> None:
    with (
        small_filesystem(tmp_path / "full", MIB) as folder,
        loop_device(folder / "disk", 16 * MIB) as device,
        taking("block", **{"RESULT_ASKED(ret)": "((s64)(ret)<0)"}) as taken,
    ):
        pid, failed, _ = run(blocks(device, [("write", MIB // 4)] * 8))
        records = of(taken, device, failed)
        counts = taken.counts()
    assert failed >= 4
    assert set(records["ret"].tolist()) <= {-5, -28}  # EIO, ENOSPC
    assert len(records) == failed
    assert set(records["pid"].tolist()) == {pid}
    assert counts["filtered"] >= 8 - failed
    assert adds_up(counts)


def test_a_recording_keeps_only_the_kind_of_request_and_the_process_that_were_asked_for(
    tmp_path: Path,
) -> None:
    with loop_device(tmp_path / "disk", 8 * MIB) as device:
        other = subprocess.Popen(blocks(device, [("write", 4096)] * 20), stdout=subprocess.DEVNULL)
        recording = recorded(tmp_path / "s", blocks(device, REQUESTS), events="block:write")
        other.wait()
        events = [
            e
            for e in rows(recording, "events", pid=command_pid(recording))
            if e["key"] == os.stat(device).st_rdev
        ]
    assert [(e["event"], e["size_bytes"]) for e in events] == [r for r in REQUESTS if r[0] == "write"]
