"""What the tests ask of the kernel about eBPF, by plain bpf(2): can it be used here, and what stays loaded.

Written without tracelab on purpose: a recorder that is wrong about either must not be able to hide it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROG_LOAD, PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 5, 11, 13, 15  # linux/bpf.h, bpf_cmd
RAW_TRACEPOINT = 17  # bpf_prog_type
TRACING_TYPES = {2: "kprobe", 5: "tracepoint", 7: "perf_event", 17: "raw_tracepoint", 26: "tracing"}
SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}  # of bpf(2)
BCC = "/usr/lib*/python3*/*-packages/bcc/__init__.py"
MARK = "TRACELAB_TEST_RUN"  # in the environment of this process, and so of everything that it starts


def bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Result of bpf(2), and the attributes as it left them; OSError when it refuses."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(SYSCALL[platform.machine()], command, buffer, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result, buffer.raw


def load_smallest_program() -> int:
    """Descriptor of `r0 = 0; exit`, loaded as a raw tracepoint program; OSError when the kernel refuses."""
    program = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    head = struct.pack("=IIQQ", RAW_TRACEPOINT, 2, ctypes.addressof(program), ctypes.addressof(licence))
    return bpf(PROG_LOAD, head.ljust(72, b"\0"))[0]


@functools.cache
def why_no_recording() -> str | None:
    """Why real eBPF recordings cannot be made here, and what would make them work; None where they can."""
    if sys.platform != "linux" or platform.machine() not in SYSCALL:
        return f"needs Linux, on one of {', '.join(SYSCALL)}; this is {sys.platform} on {platform.machine()}"
    if not any(Path("/").glob(BCC[1:])):
        return f"BCC's Python module is missing (no {BCC}); install python3-bpfcc, python3-bcc or python-bcc"
    try:
        os.close(load_smallest_program())
    except OSError as e:
        advice = "run as root" if os.geteuid() else "the kernel, or this container, does not allow it"
        return f"bpf(2) refused a two-instruction program: {errno.errorcode[e.errno or 0]}; {advice}"
    return None


def tracing_programs() -> dict[int, str]:
    """Type and name of each loaded program of a kind that observes, by its id; empty when not allowed to ask."""
    return {i: kind for i in _program_ids() if (kind := _tracing_kind(i))}


def leftover_programs(before: set[int], patience_s: float = 3.0) -> dict[int, str]:
    """Programs that this test run loaded since `before` and that are still there after a while.

    The kernel frees a program some time after its last user is gone, hence the patience. Programs that are held
    only by processes which this run did not start are somebody else's.
    """
    deadline = time.monotonic() + patience_s
    while True:
        new = {i: name for i, name in tracing_programs().items() if i not in before}
        others, ours = _holders()
        new = {i: name for i, name in new.items() if i in ours or i not in others}
        if not new or time.monotonic() > deadline:
            return new
        time.sleep(0.05)


def _program_ids() -> Iterator[int]:
    at = 0
    while True:
        try:
            at = struct.unpack_from("=I", bpf(PROG_GET_NEXT_ID, struct.pack("=IIQ", at, 0, 0))[1], 4)[0]
        except OSError:  # ENOENT after the last one, EPERM without privileges
            return
        yield at


def _tracing_kind(program: int) -> str | None:
    """Type and name of a program; None when it observes nothing, or has gone meanwhile."""
    try:
        fd, _ = bpf(PROG_GET_FD_BY_ID, struct.pack("=IIQ", program, 0, 0))
    except OSError:
        return None
    try:
        info = ctypes.create_string_buffer(80)  # bpf_prog_info up to and including name
        bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(info), ctypes.addressof(info)))
    finally:
        os.close(fd)
    kind = TRACING_TYPES.get(struct.unpack_from("=I", info.raw)[0])
    return kind and f"{kind} {info[64:80].rstrip(bytes(1)).decode(errors='replace')}"


def _holders() -> tuple[set[int], set[int]]:
    """Ids of the programs held by processes of others, and by processes of this test run."""
    others: set[int] = set()
    ours: set[int] = set()
    mark = f"{MARK}={os.environ.get(MARK, '')}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        held = set(_held_programs(process))
        if held:
            mine = int(process.name) == os.getpid() or mark in _environment(process)
            (ours if mine else others).update(held)
    return others, ours


def _held_programs(process: Path) -> Iterator[int]:
    with contextlib.suppress(OSError):  # the process has ended
        for fd in os.listdir(process / "fdinfo"):
            with contextlib.suppress(OSError):  # the file was closed
                for line in (process / "fdinfo" / fd).read_text().splitlines():
                    if line.startswith("prog_id:"):
                        yield int(line.split()[1])


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
