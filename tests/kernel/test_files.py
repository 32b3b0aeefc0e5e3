"""Opens, reads, writes and syncs, against what the program did and what /proc/PID/io counts."""

from __future__ import annotations

import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from probe_records import Records, Taken, adds_up, taking, until
from recordings import command_pid, recorded, rows, workload

UNKNOWN = 2**64 - 1
READ = 0 if platform.machine() == "x86_64" else 63


@dataclass
class Used:
    pid: int
    fd: int
    counters: int  #: number of /proc/self/io
    read: tuple[int, int]  #: calls and bytes since it was read first
    written: tuple[int, int]
    calls: list[tuple[str, int, int]]  #: name, result and size; for a sync the duration


def used(folder: Path) -> Used:
    """What the workload says of itself."""
    said = subprocess.run(workload("files", folder), capture_output=True, check=True, text=True).stdout
    first, *calls = said.splitlines()
    pid, fd, counters, reads, read, writes, written = map(int, first.split())
    words = [line.split() for line in calls]
    told = [(op, int(ret), int(more)) for op, ret, more in words]
    return Used(pid, fd, counters, (reads, read), (writes, written), told)


def between(taken: Taken, about: Used) -> Records:
    """The calls from the first reading of the counters, which is one of them, to the second, which is none."""
    records = taken.records(pid=about.pid)
    names = taken.names(records)
    readings = [i for i, r in enumerate(records) if names[i] == "read" and r["key"] == about.counters]
    return records[readings[-2] : readings[-1]]


def of_file(taken: Taken, about: Used) -> Records:
    """What happened to the known file, from its open to its close."""
    found = between(taken, about)
    return found[found["key"] == about.fd]


def counted(taken: Taken, about: Used, op: str) -> tuple[int, int]:
    """Calls of a kind that did not fail, and their bytes."""
    found = between(taken, about)
    calls = found[[name == op for name in taken.names(found)] & (found["ret"] >= 0)]
    return len(calls), int(calls["size_bytes"].sum())


def test_sizes_and_results_are_those_of_the_calls(tmp_path: Path) -> None:
    with taking("files") as taken:
        about = used(tmp_path)
        records = of_file(taken, about)
        assert adds_up(taken.counts())
    expected = [c for c in about.calls if c[1] >= 0]
    assert taken.names(records) == [op for op, _, _ in expected]
    assert records["ret"].tolist() == [ret for _, ret, _ in expected]
    sizes = [more if op in ("read", "write") else UNKNOWN for op, _, more in expected]
    assert records["size_bytes"].tolist() == sizes
    assert UNKNOWN not in records["value"].tolist()


def test_calls_and_bytes_are_as_many_as_the_kernel_counts(tmp_path: Path) -> None:
    with taking("files") as taken:
        about = used(tmp_path)
        reads, writes = counted(taken, about, "read"), counted(taken, about, "write")
    assert reads == about.read
    assert writes == about.written


def test_a_sync_takes_no_longer_than_its_caller_waits(tmp_path: Path) -> None:
    with taking("files") as taken:
        about = used(tmp_path)
        records = of_file(taken, about)
    told = records[[n == "fsync" for n in taken.names(records)]]["value"].tolist()
    waited = [more for op, _, more in about.calls if op == "fsync"]
    assert len(told) == len(waited) == 2
    assert all(0 < t <= w for t, w in zip(told, waited, strict=True))


def test_what_fails_has_its_error_and_no_size(tmp_path: Path) -> None:
    with taking("files") as taken:
        about = used(tmp_path)
        records = between(taken, about)
    names = taken.names(records)
    failed = [(n, r) for n, r in zip(names, records, strict=True) if r["ret"] < 0]
    assert [(n, int(r["ret"])) for n, r in failed] == [c[:2] for c in about.calls if c[1] < 0]
    assert all(r["size_bytes"] == UNKNOWN for _, r in failed)
    assert [int(r["key"]) for n, r in failed if n == "open"] == [UNKNOWN]


def test_an_open_has_its_path_which_is_cut_and_marked_when_it_is_long(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("files", tmp_path), events="files:open,files:fsync")
    pid = command_pid(recording)
    opens = {r["time_ns"]: r for r in rows(recording, "events", pid=pid) if r["event"] == "open"}
    texts = [r for r in rows(recording, "strings") if r["tid"] == pid]
    assert {r["field"] for r in texts} == {"path"}
    assert [r["time_ns"] for r in texts] == list(opens)
    whole = [r for r in texts if r["text"] == f"{tmp_path}/known"]
    assert [r["truncated"] for r in whole] == [0, 0]
    assert all(int(str(opens[r["time_ns"]]["ret"])) > 2 for r in whole)
    (cut,) = [r for r in texts if r["truncated"]]
    assert cut["text"] == (f"{tmp_path}/known" + "-missing" * 35)[:255]
    assert {r["event"] for r in rows(recording, "events")} == {"open", "fsync"}


def sleeps_in(pid: int, call: int) -> bool:
    """Whether a process waits in that system call; it may also have none, or run."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(call)


def test_a_read_takes_as_long_as_it_waits_and_what_began_before_has_no_duration() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        until(lambda: sleeps_in(process.pid, READ), "cat reads its input")
        with taking("files") as taken:
            process.stdin.write(b"1\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"1\n"
            until(lambda: sleeps_in(process.pid, READ), "cat reads its input")
            since = time.monotonic_ns()
            time.sleep(0.05)
            waited_ns = time.monotonic_ns() - since
            process.stdin.write(b"22\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"22\n"
            until(lambda: len(taken.records(pid=process.pid)) >= 4, "cat has written")
            records = taken.records(pid=process.pid)[:4]
    assert taken.names(records) == ["read", "write"] * 2
    assert records["ret"].tolist() == [2, 2, 3, 3]
    assert records["key"].tolist() == [0, 1, 0, 1]
    assert records["value"][0] == UNKNOWN
    assert waited_ns < records["value"][2] < UNKNOWN


@pytest.mark.parametrize("min_ns", [1, 10**12])
def test_short_calls_can_be_left_out(tmp_path: Path, min_ns: int) -> None:
    with taking("files", **{"DURATION_ASKED(ns)": f"((ns)>={min_ns})"}) as taken:
        about = used(tmp_path)
        kept, counts = taken.records(pid=about.pid), taken.counts()
    assert adds_up(counts)
    assert bool(len(kept)) == (min_ns == 1)
