from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from tracelab.recorder import host
from tracelab.recorder.sideband import Exit, Fork, KernelSymbol, Lost, Mapped, Rename, SideBand, parse
from tracelab.recorder.tasks import TaskTable

SAMPLE_ID = struct.pack("<IIQII", 40, 41, 1_000, 3, 0)


def test_a_fork_names_both_sides() -> None:
    body = struct.pack("<IIIIQ", 40, 30, 41, 31, 1_000) + SAMPLE_ID
    assert parse(7, 0, body) == Fork(1_000, 40, 41, 30, 31)


def test_an_exit_names_the_thread() -> None:
    assert parse(4, 0, struct.pack("<IIIIQ", 40, 30, 41, 31, 1_000) + SAMPLE_ID) == Exit(1_000, 40, 41)


def test_a_new_name_by_exec_is_told_from_one_that_a_thread_gave_itself() -> None:
    body = struct.pack("<II8s", 40, 41, b"cc1\0\0\0\0\0") + SAMPLE_ID
    assert parse(3, 1 << 13, body) == Rename(1_000, 40, 41, "cc1", True)
    assert parse(3, 0, body) == Rename(1_000, 40, 41, "cc1", False)


def test_a_mapping_carries_the_build_id_or_else_the_inode() -> None:
    head = struct.pack("<IIQQQ", 40, 41, 0x5000, 0x2000, 0x1000)
    tail = struct.pack("<II16s", 5, 2, b"/usr/bin/true\0\0\0") + SAMPLE_ID
    with_id = head + struct.pack("<BBH20s", 20, 0, 0, bytes(range(20))) + tail
    assert parse(10, 1 << 14, with_id) == Mapped(
        1_000, 40, 0x5000, 0x2000, 0x1000, "/usr/bin/true", bytes(range(20)), None
    )
    with_inode = head + struct.pack("<IIQQ", 8, 1, 77, 0) + tail
    record = parse(10, 0, with_inode)
    assert isinstance(record, Mapped)
    assert (record.build_id, record.inode) == (None, (0x801, 77))


def test_a_bpf_program_is_a_kernel_symbol_that_comes_and_goes() -> None:
    body = struct.pack("<QIHH16s", 0xFFFF_0000, 20, 1, 0, b"bpf_prog_ab_x\0\0\0") + SAMPLE_ID
    assert parse(17, 0, body) == KernelSymbol(1_000, 0xFFFF_0000, 20, "bpf_prog_ab_x", False)


def test_what_the_kernel_could_not_write_is_counted() -> None:
    assert parse(2, 0, struct.pack("<QQ", 1, 12) + SAMPLE_ID) == Lost(1_000, 3, 12)


def test_a_record_of_no_interest_is_passed_over() -> None:
    assert parse(99, 0, b"12345678" + SAMPLE_ID) is None


@pytest.mark.kernel
def test_a_mapping_is_told_of_while_its_process_runs_and_read_later_all_the_same() -> None:
    sideband = SideBand()
    alive: dict[int, bool] = {}
    try:
        sideband.watch(lambda mapped: alive.setdefault(mapped.pid, Path(f"/proc/{mapped.pid}").exists()))
        with subprocess.Popen(["sleep", "1"]) as process:
            process.wait()
        records = sideband.read()
    finally:
        sideband.close()
    assert alive[process.pid]
    of_process = [r for r in records if getattr(r, "pid", None) == process.pid]
    kinds = [type(r).__name__ for r in of_process]
    assert kinds[0] == "Fork" and kinds[-1] == "Exit" and {"Rename", "Mapped"} <= set(kinds)
    assert [r.time_ns for r in records] == sorted(r.time_ns for r in records)


def test_a_name_is_inherited_at_a_fork_and_lost_at_exec() -> None:
    tasks = TaskTable()
    rows = tasks.follow(
        [
            Rename(1, 9, 9, "sh", True),
            Fork(2, 10, 10, 9, 9),
            Rename(3, 10, 10, "ls", True),
            Exit(4, 10, 10),
        ]
    ).to_pylist()
    assert [(r["time_ns"], r["tid"], r["ppid"], r["change"], r["comm"]) for r in rows] == [
        (1, 9, None, "exec", "sh"),
        (2, 10, 9, "fork", "sh"),
        (3, 10, 9, "exec", "ls"),
        (4, 10, 9, "exit", "ls"),
    ]


def test_what_runs_already_is_seen_at_first_sight() -> None:
    rows = TaskTable().first_sight(5).to_pylist()
    pids = {r["pid"] for r in rows}
    assert {p.pid for p in host.processes()} & pids
    assert {r["change"] for r in rows} == {"seen"}
