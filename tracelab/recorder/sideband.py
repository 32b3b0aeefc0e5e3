"""Process life, executable mappings and BPF symbols, from the side band of perf_event_open(2).

The kernel writes a record for every fork, exec, exit, rename, executable mapping and loaded BPF program, with
its time, into one ring per CPU. That needs no probe and misses no short-lived process, whose /proc entry would
be gone before anybody looked. Layout: include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracelab.errors import CannotRecord, NeedsRoot

RING_PAGES = 128  #: per CPU, a power of two
MAX_WAITING = 200_000  #: records that were taken but not read; beyond, the rings fill, and the kernel counts
REST_S = 0.004  #: between two looks at a ring that fills
#: in a ring, that wake the thread: about what tells of one program that starts. A wakeup for each record would cost
#: every process that starts some fourteen interrupts, a tenth of its time
WAKE_BYTES = 448
LOOK_EVERY_MS = 250  #: for what is less than that
NICE = -20  #: of the thread that looks; what it is told of may be gone soon
_SYSCALL = {"x86_64": 298, "aarch64": 241}.get(platform.machine(), 298)
_SOFTWARE, _DUMMY = 1, 9
_TID, _TIME, _CPU = 1 << 1, 1 << 2, 1 << 7
_FLAGS = {"mmap": 8, "comm": 9, "task": 13, "watermark": 14, "sample_id_all": 18}
_FLAGS |= {"mmap2": 23, "comm_exec": 24, "use_clockid": 25}
_NEWER: tuple[dict[str, int], ...] = (
    {"ksymbol": 29, "build_id": 34},
    {"ksymbol": 29},
    {},
)  #: Linux 5.12, 5.1, before
_HEAD, _TAIL = 1024 // 8, 1032 // 8  #: positions in the control page, as 64-bit words
_LOST, _COMM, _EXIT, _FORK, _MMAP2, _KSYMBOL = 2, 3, 4, 7, 10, 17
_MISC_EXEC, _MISC_BUILD_ID = 1 << 13, 1 << 14
_SAMPLE_ID_BYTES = 24  #: pid, tid, time, cpu and padding at the end of every record
_HEADER, _SAMPLE_ID = struct.Struct("<IHH"), struct.Struct("<QI")
_TWO, _FOUR, _MAPPING = struct.Struct("<II"), struct.Struct("<IIII"), struct.Struct("<IIQQQ")


class Fork(NamedTuple):
    """A thread was made by another; a process when pid is not the parent's."""

    time_ns: int
    pid: int
    tid: int
    parent_pid: int
    parent_tid: int


class Exit(NamedTuple):
    """A thread ended."""

    time_ns: int
    pid: int
    tid: int


class Rename(NamedTuple):
    """A thread got another name; by exec, or by itself."""

    time_ns: int
    pid: int
    tid: int
    comm: str
    by_exec: bool


class Mapped(NamedTuple):
    """A process mapped executable memory."""

    time_ns: int
    pid: int
    start: int
    size: int
    file_offset: int
    path: str
    build_id: bytes | None
    inode: tuple[int, int] | None  #: device and inode


class KernelSymbol(NamedTuple):
    """The kernel gained, or lost, a symbol: a BPF program was loaded or unloaded."""

    time_ns: int
    address: int
    size: int
    name: str
    gone: bool


class Lost(NamedTuple):
    """The side band was full on a CPU."""

    time_ns: int
    cpu: int
    records: int


Record = Fork | Exit | Rename | Mapped | KernelSymbol | Lost


class SideBand:
    """One ring per CPU, open from construction to `close`; a thread empties them soon after a program started.

    Raises NeedsRoot when the kernel refuses for lack of privileges, CannotRecord for anything else.
    """

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._rings: list[tuple[mmap.mmap, npt.NDArray[np.uint64], bytes | memoryview]] = []
        self._taken: list[Record] = []
        self._taking = threading.Lock()
        self._look: Callable[[Mapped], object] | None = None
        self._wake_read, self._wake_write = -1, -1
        self._thread: threading.Thread | None = None
        try:
            for cpu in sorted(_online_cpus()):
                self._open(cpu)
        except OSError as error:
            self.close()
            if error.errno in (errno.EPERM, errno.EACCES):
                raise NeedsRoot("watching processes start and end") from error
            raise CannotRecord(
                f"perf_event_open failed: {error.strerror}; the recorder needs CONFIG_PERF_EVENTS"
            ) from error

    def watch(self, look: Callable[[Mapped], object]) -> None:
        """Have `look` called, in a thread of its own, for each new mapping, within milliseconds."""
        self._look = look
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._watch, name="tracelab-sideband", daemon=True)
        self._thread.start()

    def read(self) -> list[Record]:
        """Everything since the last read, in order of time."""
        self._take()
        with self._taking:
            records, self._taken = self._taken, []
        records.sort(key=lambda r: r.time_ns)
        return records

    def close(self) -> None:
        """Stop watching."""
        if self._thread is not None:
            os.write(self._wake_write, b".")
            self._thread.join()
            self._thread = None
            os.close(self._wake_read)
            os.close(self._wake_write)
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        self._rings.clear()

    def _take(self) -> list[Record]:
        with self._taking:
            if len(self._taken) > MAX_WAITING:
                return []
            new = [record for ring in self._rings for record in _records(*ring)]
            self._taken += new
        return new

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        poll = select.poll()
        for fd in (*self._fds, self._wake_read):
            poll.register(fd, select.POLLIN)
        while all(fd != self._wake_read for fd, _ in poll.poll(LOOK_EVERY_MS)):
            for record in self._take():
                if isinstance(record, Mapped) and self._look is not None:
                    self._look(record)
            time.sleep(REST_S)

    def _open(self, cpu: int) -> None:
        for newer in _NEWER:
            fd = _perf_event_open(cpu, sum(1 << bit for bit in (_FLAGS | newer).values()))
            if fd >= 0:
                break
        else:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._fds.append(fd)
        pages = mmap.mmap(fd, (1 + RING_PAGES) * mmap.PAGESIZE)
        control: npt.NDArray[np.uint64] = np.frombuffer(pages, np.uint64, mmap.PAGESIZE // 8)
        self._rings.append((pages, control, memoryview(pages)[mmap.PAGESIZE :]))


def _online_cpus() -> set[int]:
    cpus: set[int] = set()
    with open("/sys/devices/system/cpu/online", encoding="ascii") as online:
        for span in online.read().strip().split(","):
            first, _, last = span.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def _perf_event_open(cpu: int, flags: int) -> int:
    attr = bytearray(128)
    struct.pack_into("<IIQQQQQ", attr, 0, _SOFTWARE, len(attr), _DUMMY, 0, _TID | _TIME | _CPU, 0, flags)
    struct.pack_into("<I", attr, 48, WAKE_BYTES)  # wakeup_watermark
    struct.pack_into("<i", attr, 92, 1)  # clockid: CLOCK_MONOTONIC
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * len(attr)).from_buffer(attr)
    return int(libc.syscall(_SYSCALL, buffer, -1, cpu, -1, 8))  # 8: PERF_FLAG_FD_CLOEXEC


def _records(pages: mmap.mmap, control: npt.NDArray[np.uint64], data: bytes | memoryview) -> Iterator[Record]:
    head, tail = int(control[_HEAD]), int(control[_TAIL])
    size = len(data)
    start = tail % size
    span = bytes(data[start : start + head - tail])
    span += bytes(data[: head - tail - len(span)])
    control[_TAIL] = head
    at = 0
    while at + 8 <= len(span):
        kind, misc, length = _HEADER.unpack_from(span, at)
        if length < 8:
            return
        record = parse(kind, misc, span[at + 8 : at + length])
        if record is not None:
            yield record
        at += length


def parse(kind: int, misc: int, body: bytes) -> Record | None:
    """One record, from its type, its flags and what follows its header; None for a type of no interest."""
    time_ns, cpu = _SAMPLE_ID.unpack_from(body, len(body) - _SAMPLE_ID_BYTES + 8)
    if kind == _FORK:
        pid, parent_pid, tid, parent_tid = _FOUR.unpack_from(body)
        return Fork(time_ns, pid, tid, parent_pid, parent_tid)
    if kind == _EXIT:
        pid, _, tid, _ = _FOUR.unpack_from(body)
        return Exit(time_ns, pid, tid)
    if kind == _COMM:
        pid, tid = _TWO.unpack_from(body)
        return Rename(time_ns, pid, tid, _text(body[8:-_SAMPLE_ID_BYTES]), bool(misc & _MISC_EXEC))
    if kind == _MMAP2:
        pid, _, start, size, file_offset = _MAPPING.unpack_from(body)
        build_id, inode = None, None
        if misc & _MISC_BUILD_ID:
            build_id = body[36 : 36 + min(body[32], 20)]
        else:
            major, minor, number = struct.unpack_from("<IIQ", body, 32)
            inode = (os.makedev(major, minor), number)
        path = _text(body[64:-_SAMPLE_ID_BYTES])
        return Mapped(time_ns, pid, start, size, file_offset, path, build_id, inode)
    if kind == _KSYMBOL:
        address, size, _, flags = struct.unpack_from("<QIHH", body)
        return KernelSymbol(time_ns, address, size, _text(body[16:-_SAMPLE_ID_BYTES]), bool(flags & 1))
    if kind == _LOST:
        return Lost(time_ns, cpu, struct.unpack_from("<QQ", body)[1])
    return None


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")
