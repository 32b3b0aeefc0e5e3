"""Waits for futexes, against a mutex that is held for a known time."""

from __future__ import annotations

import ctypes
import errno
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from c_programs import compiled, needs_gcc
from probe_records import ALL_DURATIONS, adds_up, taking
from recordings import WORKLOADS
from tracelab.recorder.filters import Filters

UNKNOWN = 2**64 - 1
FUTEX = 202 if platform.machine() == "x86_64" else 98
FUTEX_WAITV, FUTEX_WAIT = 449, 455
PRIVATE = 128
TIMES, HOLD_MS = 5, 40
BOTH_WAYS = pytest.mark.parametrize("way", [0, 1], ids=["tracepoints of the calls", "those of all calls"])


@dataclass
class Contended:
    pid: int
    tid: int
    mutex: int
    held_ns: int  #: while the second thread was about to take it


def contended(folder: Path, *more: str) -> Contended:
    """Two threads that both want a mutex."""
    program = compiled(folder, (WORKLOADS / "contends.c").read_text(), "-pthread", name="contends")
    command = [program, str(TIMES), str(HOLD_MS), *more]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return Contended(*map(int, said.split()))


@needs_gcc
@BOTH_WAYS
def test_waits_for_a_mutex_have_its_address_and_take_as_long_as_it_is_held(
    tmp_path: Path, way: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracelab.recorder.loader.available_way", lambda probe: way)
    with taking("futex") as taken:
        about = contended(tmp_path)
        waits = taken.records(pid=about.pid, tid=about.tid, key=about.mutex)
        assert adds_up(taken.counts())
    assert taken.names(waits) == ["wait"] * TIMES
    assert waits["ret"].tolist() == [0] * TIMES
    assert about.held_ns > 0.5 * TIMES * HOLD_MS * 1e6
    assert int(waits["value"].sum()) > 0.9 * about.held_ns


@needs_gcc
def test_a_mutex_that_inherits_priority_is_waited_for_in_its_own_way(tmp_path: Path) -> None:
    with taking("futex") as taken:
        about = contended(tmp_path, "inherits")
        waits = taken.records(pid=about.pid, tid=about.tid, key=about.mutex)
    assert taken.names(waits) == ["lock_pi"] * TIMES
    assert int(waits["value"].sum()) > 0.9 * about.held_ns


class Waitv(ctypes.Structure):
    _fields_ = [
        ("value", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("zero", ctypes.c_uint32),
    ]


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_int64), ("ns", ctypes.c_int64)]


def call(*arguments: object) -> int:
    """The result of a system call, a negative errno on failure."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(*arguments))
    return -ctypes.get_errno() if result < 0 else result


def in_thread(work: Callable[[], object]) -> int:
    """Work in a thread that waits for nothing else; its number."""
    found: list[int] = []

    def whole() -> None:
        found.append(threading.get_native_id())
        work()

    thread = threading.Thread(target=whole)
    thread.start()
    thread.join()
    return found[0]


def test_of_several_futexes_the_one_that_was_woken_is_told() -> None:
    words = (ctypes.c_uint32 * 3)(1, 1, 1)
    address = ctypes.addressof(words)
    waiters = (Waitv * 3)(*(Waitv(1, address + 4 * i, 2 | PRIVATE, 0) for i in range(3)))
    if call(FUTEX_WAITV, waiters, 0, 0, 0, 0) == -errno.ENOSYS:
        pytest.skip("this kernel has no futex_waitv(); it came with Linux 5.16")
    results: list[int] = []

    def wake() -> None:
        while not results:
            call(FUTEX, ctypes.c_void_p(address + 4), 1 | PRIVATE, 1, 0, 0, 0)
            time.sleep(0.01)

    with taking("futex", OWN_TGID=0) as taken:
        waker = threading.Thread(target=wake)
        waker.start()
        tid = in_thread(lambda: results.append(call(FUTEX_WAITV, waiters, 3, 0, 0, 0)))
        waker.join()
        records = taken.records(tid=tid)
        waits = records[[name == "waitv" for name in taken.names(records)]]
    assert results == [1]
    assert (waits["ret"].tolist(), waits["key"].tolist()) == ([1], [address + 4])


def test_a_wait_that_times_out_or_need_not_wait_says_so_and_a_wake_is_no_event() -> None:
    word = ctypes.c_uint32(1)
    address = ctypes.addressof(word)
    results: list[int] = []

    def waits() -> None:
        for expected in (1, 2):
            limit = Timespec(0, 20_000_000)
            results.append(call(FUTEX, ctypes.byref(word), PRIVATE, expected, ctypes.byref(limit), 0, 0))
        results.append(call(FUTEX, ctypes.byref(word), 1 | PRIVATE, 1, 0, 0, 0))

    with taking("futex", OWN_TGID=0) as taken:
        tid = in_thread(waits)
        found = taken.records(tid=tid, key=address)
    assert results == [-errno.ETIMEDOUT, -errno.EAGAIN, 0]
    assert found["ret"].tolist() == results[:2]
    assert found["value"][0] >= 20_000_000


def test_the_newer_call_to_wait_is_one_too() -> None:
    word = ctypes.c_uint32(1)
    address = ctypes.addressof(word)
    wait = (
        FUTEX_WAIT,
        ctypes.c_void_p(address),
        ctypes.c_uint64(2),
        ctypes.c_uint64(0xFFFFFFFF),
        2 | PRIVATE,
        0,
        0,
    )
    if call(*wait) == -errno.ENOSYS:
        pytest.skip("this kernel has no futex_wait(); it came with Linux 6.7")
    with taking("futex", OWN_TGID=0) as taken:
        tid = in_thread(lambda: call(*wait))
        found = taken.records(tid=tid, key=address)
    assert found["ret"].tolist() == [-errno.EAGAIN]
    assert taken.names(found) == ["wait"]


def test_a_wait_that_began_before_has_its_address_and_no_duration() -> None:
    started = threading.Event()
    word = ctypes.c_uint32(1)
    found: list[int] = []

    def wait() -> None:
        found.append(threading.get_native_id())
        started.set()
        call(FUTEX, ctypes.byref(word), PRIVATE, 1, 0, 0, 0)

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    waiting_in = Path(f"/proc/self/task/{found[0]}/syscall")
    while waiting_in.read_text().split()[:2] != [str(FUTEX), hex(ctypes.addressof(word))]:
        time.sleep(0.01)
    with taking("futex", OWN_TGID=0) as taken:
        while thread.is_alive():
            call(FUTEX, ctypes.byref(word), 1 | PRIVATE, 1, 0, 0, 0)
            thread.join(0.01)
        (record,) = taken.records(tid=found[0], key=ctypes.addressof(word))
    assert record["value"] == UNKNOWN
    assert record["ret"] == 0


@needs_gcc
def test_short_waits_and_other_processes_can_be_left_out(tmp_path: Path) -> None:
    with taking("futex", **{"DURATION_ASKED(ns)": f"((ns)>={HOLD_MS * 500_000}ULL)"}) as taken:
        about = contended(tmp_path)
        kept = taken.records(pid=about.pid)
        assert adds_up(taken.counts())
    assert (kept["value"] >= HOLD_MS * 500_000).all()
    assert len(kept[kept["key"] == about.mutex]) == TIMES
    with taking("futex", **Filters(pid=(1,)).macros(), **ALL_DURATIONS) as taken:
        contended(tmp_path)
        assert not len(taken.records())
        assert taken.counts()["filtered"] >= TIMES
        assert adds_up(taken.counts())
