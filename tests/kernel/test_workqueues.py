"""Work of kernel workers, against what was given to them: a loop device has each request done by one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np

from kernel_functions import addresses
from loop_devices import loop_device, needs_loop
from probe_records import Records, adds_up, taking
from recordings import recorded, rows, workload
from tracepoint_counts import counting

pytestmark = needs_loop
UNKNOWN = 2**64 - 1
FUNCTIONS = ("loop_workfn", "loop_rootcg_workfn")


def requests(device: Path, count: int) -> tuple[int, int]:
    """That many requests, each a piece of work of its own; the time before and after them."""
    command = workload("blocks", device, *["read", 4096, "rest", 2000] * count)
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()
    return int(said[0]), int(said[1])


def loop_functions() -> list[int]:
    """Where what works for loop devices is: for control groups, and for the root group."""
    return sorted(set().union(*(addresses(name) for name in FUNCTIONS)))


def of_loop_devices(records: Records) -> Records:
    return records[np.isin(records["key"], np.array(loop_functions(), np.uint64))]


def test_each_piece_of_work_for_a_disk_is_one_event_of_a_worker(tmp_path: Path) -> None:
    with (
        loop_device(tmp_path / "disk", 1 << 20) as device,
        counting("workqueue_execute_end", 1) as count,
        taking("workqueues") as taken,
    ):
        before = sum(count(function) for function in loop_functions())
        begin, end = requests(device, 50)
        records = of_loop_devices(taken.records())
        counted = sum(count(function) for function in loop_functions()) - before
        assert adds_up(taken.counts())
    assert len(records) == counted
    assert 40 < counted <= 60  # one can do two requests, where the second comes early
    inside = records[(records["time_ns"] > begin) & (records["time_ns"] < end)]
    assert 0 < int(inside["value"].sum()) < end - begin
    assert os.getpid() not in records["pid"].tolist()


def test_what_is_queued_waits_until_it_begins(tmp_path: Path) -> None:
    with (
        loop_device(tmp_path / "disk", 1 << 20) as device,
        taking("workqueue_delays") as delays,
        taking("workqueues") as work,
    ):
        begin, end = requests(device, 50)
        waited = of_loop_devices(delays.records())
        done = of_loop_devices(work.records())
        assert adds_up(delays.counts())
    assert len(waited) == len(done) > 40
    assert UNKNOWN not in waited["value"].tolist()
    inside = waited[(waited["time_ns"] > begin) & (waited["time_ns"] < end)]
    assert 0 < int(inside["value"].sum()) < end - begin
    assert (waited["time_ns"] <= done["time_ns"]).all()
    assert (waited["tid"] == done["tid"]).all()


def test_a_recording_names_the_functions(tmp_path: Path) -> None:
    with loop_device(tmp_path / "disk", 1 << 20) as device:
        command = workload("blocks", device, *["read", 4096] * 5)
        recording = recorded(tmp_path / "s", command, events="workqueues,workqueue_delays")
    texts = [(t["event"], t["text"]) for t in rows(recording, "strings") if t["field"] == "function"]
    for probe in ("workqueues", "workqueue_delays"):
        assert {(probe, name) for name in FUNCTIONS} & set(texts)
    assert len(texts) == len(set(texts))


def test_work_of_workers_that_were_not_asked_for_is_filtered(tmp_path: Path) -> None:
    with (
        loop_device(tmp_path / "disk", 1 << 20) as device,
        taking("workqueues", **{"PID_ASKED(pid)": "((pid)==1)"}) as taken,
    ):
        requests(device, 20)
        counts = taken.counts()
        assert len(taken.records()) == counts["kept"] == 0
    assert counts["filtered"] == counts["seen"] > 0
    assert adds_up(counts)
