"""Samples of a running program in the recorder's format, taken with ptrace(2) where a test wants no eBPF."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

STACK_BYTES = 16384
_CONT, _GETREGS, _DETACH, _SEIZE, _INTERRUPT = 7, 12, 17, 0x4206, 0x4207
_WALL, _EVENT_STOP = 0x40000000, 128
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def record_dtype(stack_bytes: int = STACK_BYTES) -> np.dtype[np.void]:
    """The layout of a stack sample, as in bpf/oncpu.c."""
    return np.dtype(
        [
            ("time_ns", "u8"),
            ("pid", "u4"),
            ("tid", "u4"),
            ("cpu", "u4"),
            ("kernel_bytes", "i4"),
            ("user_ok", "u4"),
            ("in_interrupt", "u4"),
            ("stack_bytes", "u4"),
            ("kernel", "u8", (127,)),
            ("regs", "u8", (21,)),
            ("stack", "u1", (stack_bytes,)),
        ]
    )


def why_no_ptrace() -> str | None:
    """Why a test cannot trace its own child here; None where it can."""
    child = os.fork()
    if not child:
        time.sleep(30)
        os._exit(0)
    try:
        if _libc.ptrace(_SEIZE, child, None, None):
            return f"ptrace of a child: {os.strerror(ctypes.get_errno())}"
        return None
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@contextlib.contextmanager
def _seized(tid: int) -> Iterator[None]:
    if _libc.ptrace(_SEIZE, tid, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
    try:
        yield
    finally:
        _libc.ptrace(_INTERRUPT, tid, None, None)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(tid, _WALL)
        _libc.ptrace(_DETACH, tid, None, None)


def samples(
    pid: int, number: int, *, tid: int | None = None, stack_bytes: int = STACK_BYTES, mean_s: float = 0.001
) -> npt.NDArray[np.void]:
    """`number` samples of a thread at random moments; fewer when it ends before."""
    tid = tid or pid
    records = np.zeros(number, record_dtype(stack_bytes))
    taken = 0
    with _seized(tid), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for record in records:
            time.sleep(random.uniform(0, 2 * mean_s))
            if not _interrupted(tid):
                break
            _sample(record, pid, tid, memory)
            taken += 1
            _libc.ptrace(_CONT, tid, None, None)
    return records[:taken]


def _interrupted(tid: int) -> bool:
    """Stop a thread, and hand it the signals that come first; whether it stopped."""
    if _libc.ptrace(_INTERRUPT, tid, None, None):
        return False
    while True:
        _, status = os.waitpid(tid, _WALL)
        if not os.WIFSTOPPED(status) or status >> 16 == _EVENT_STOP:
            return os.WIFSTOPPED(status)
        _libc.ptrace(_CONT, tid, None, os.WSTOPSIG(status))


def _sample(record: np.void, pid: int, tid: int, memory: object) -> None:
    regs = (ctypes.c_uint64 * 27)()
    _libc.ptrace(_GETREGS, tid, None, regs)
    record["time_ns"] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    record["pid"], record["tid"], record["user_ok"] = pid, tid, 1
    record["regs"] = regs[:21]
    stack_pointer = regs[19]
    copied = 0
    while copied < record["stack"].size:
        page = 4096 - (stack_pointer + copied) % 4096
        size = min(page, record["stack"].size - copied)
        if size < page:
            break  # as the kernel's side does: whole pages after the first
        try:
            read = os.pread(memory.fileno(), size, stack_pointer + copied)  # type: ignore[attr-defined]
        except OSError:
            break
        record["stack"][copied : copied + len(read)] = np.frombuffer(read, np.uint8)
        copied += len(read)
    record["stack_bytes"] = copied
