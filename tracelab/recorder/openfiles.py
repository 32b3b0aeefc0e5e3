"""Every descriptor of an eBPF program, map or link, or of a perf event with a program, in one pass of the kernel.

Takes a small part of what /proc does, and tells what /proc cannot: which program a perf event runs when the program
is of type perf_event, and what the event is. Not for a container's processes, whose pids are not those of /proc there.
Sources: kernel/bpf/task_iter.c; which kind a file is of as in bpftool's pid_iter.bpf.c.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from dataclasses import dataclass

from tracelab.recorder import btf, introspect
from tracelab.recorder.iterators import (
    ADD,
    CALL,
    EXIT,
    GO,
    IF_EQUAL,
    IF_EQUAL_REGISTER,
    LOAD_32,
    LOAD_64,
    MOVE,
    SEQ_WRITE,
    SET,
    STORE_32,
    STORE_64,
    Functions,
    Iterator,
    Unavailable,
    address,
    assembled,
    instruction,
    kernel_memory,
    record_written,
)

_NAME = "tracelab_files"
_RECORD = struct.Struct("<6IQ")
_INITIAL_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO
_PROGRAM, _MAP, _LINK, _EVENT = 1, 2, 3, 4
_LEARNED = struct.Struct("<QQ")
_SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}.get(platform.machine(), 298)
_SOFTWARE, _DUMMY = 1, 9
_MAP_CREATE, _ARRAY = 0, 2
_MEMBERS = (
    "file.f_op file.private_data task_struct.tgid bpf_prog.aux bpf_prog_aux.id bpf_map.id bpf_link.id bpf_link.prog "
    "perf_event.prog perf_event.attr.type perf_event.attr.config"
).split()


@dataclass(frozen=True, slots=True)
class OpenFile:
    """One descriptor."""

    pid: int
    fd: int
    map_id: int | None = None
    link_id: int | None = None
    prog_id: int | None = None  #: of the program itself, or of the link's or event's
    event: tuple[int, int] | None = None  #: type and config of a perf event


class OpenFiles:
    """A program that tells who holds what; raises Unavailable where there can be none."""

    def __init__(self) -> None:
        try:
            if os.readlink("/proc/self/ns/pid") != _INITIAL_NAMESPACE:
                raise Unavailable("pids in this container are not those of the machine")
            types = Functions(btf.running())
            at = {name: types.member(name).offset for name in _MEMBERS}
            with contextlib.suppress(
                btf.NoSuchMember
            ):  # as asked for, before the kernel made cpu-clock a type
                at["perf_event.attr.type"] = types.member("perf_event.orig_type").offset
            self._iterator = Iterator(_NAME, types, "task_file", _program(at, _operations(types, at)))
        except (OSError, ValueError, btf.NoSuchMember) as error:
            raise Unavailable(f"the kernel does not tell how its files are laid out: {error}") from error
        self.prog_id = self._iterator.prog_id

    def read(self) -> list[OpenFile]:
        """All descriptors, by process; raises OSError."""
        found = []
        for pid, fd, kind, number, prog_id, event, config in _RECORD.iter_unpack(self._iterator.read()):
            found.append(
                OpenFile(
                    pid,
                    fd,
                    map_id=number if kind == _MAP else None,
                    link_id=number if kind == _LINK else None,
                    prog_id=prog_id or None,
                    event=(event, config) if kind == _EVENT else None,
                )
            )
        return found

    def close(self) -> None:
        """Unload the program; may be called twice."""
        self._iterator.close()


def _operations(types: Functions, at: dict[str, int]) -> list[tuple[int, int]]:
    """Where the kernel keeps the operations of each kind of file, learnt from files of our own.

    Their names are in /proc/kallsyms of kernels with CONFIG_KALLSYMS_ALL only.
    """
    program = assembled(
        [
            instruction(MOVE, 6, 1),
            instruction(LOAD_64, 8, 1, 24),
            ("end", instruction(IF_EQUAL, 8)),
            instruction(LOAD_64, 1, 6, 8),
            ("end", instruction(IF_EQUAL, 1)),
            instruction(LOAD_32, 1, 1, at["task_struct.tgid"]),
            ("ours", instruction(IF_EQUAL, 1, 0, 0, os.getpid())),
            ("end", instruction(GO)),
            "ours",
            instruction(LOAD_32, 1, 6, 16),
            instruction(STORE_64, 10, 1, -16),
            instruction(LOAD_64, 1, 8, at["file.f_op"]),
            instruction(STORE_64, 10, 1, -8),
            instruction(LOAD_64, 1, 6),
            instruction(LOAD_64, 1, 1),
            instruction(MOVE, 2, 10),
            instruction(ADD, 2, 0, 0, -_LEARNED.size),
            instruction(SET, 3, 0, 0, _LEARNED.size),
            instruction(CALL, 0, 0, 0, SEQ_WRITE),
            "end",
            instruction(SET, 0),
            instruction(EXIT),
        ]
    )
    with contextlib.ExitStack() as ours, Iterator(_NAME, types, "task_file", program) as iterator:
        examples = dict(zip(iterator.fds, (_PROGRAM, _LINK), strict=True))
        for fd, kind in ((_a_map(), _MAP), (_an_event(), _EVENT)):
            ours.callback(os.close, fd)
            examples[fd] = kind
        return [
            (where, examples[fd]) for fd, where in _LEARNED.iter_unpack(iterator.read()) if fd in examples
        ]


def _a_map() -> int:
    return introspect.bpf(_MAP_CREATE, struct.pack("<5I", _ARRAY, 4, 4, 1, 0))[0]


def _an_event() -> int:
    """A perf event that never happens; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    attr = ctypes.create_string_buffer(struct.pack("<IIQ", _SOFTWARE, 64, _DUMMY), 64)
    fd: int = libc.syscall(_SYS_PERF_EVENT_OPEN, attr, 0, -1, -1, 8)  # of this process; closed on exec
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


def _program(at: dict[str, int], operations: list[tuple[int, int]]) -> bytes:
    """For each file of a kind that is asked for, write who holds it and what it is.

    r6 is the context, r7 the file's own data, r8 the file, r9 its operations, then a program.
    """
    record, found = -_RECORD.size, -_RECORD.size - 8
    pid, fd, kind, number, prog_id, event, config = (record + n for n in (0, 4, 8, 12, 16, 20, 24))

    lines: list[bytes | str | tuple[str, bytes]] = [
        instruction(MOVE, 6, 1),
        instruction(LOAD_64, 8, 6, 24),
        ("end", instruction(IF_EQUAL, 8)),
        instruction(LOAD_64, 9, 8, at["file.f_op"]),
        instruction(LOAD_64, 7, 8, at["file.private_data"]),
        instruction(SET, 0),
        *(instruction(STORE_64, 10, 0, found + n) for n in range(0, _RECORD.size + 8, 8)),
    ]
    for where, value in operations:
        lines += [
            instruction(SET, 2, 0, 0, value),
            address(1, where),
            (f"kind {value}", instruction(IF_EQUAL_REGISTER, 9, 1)),
        ]
    lines += [
        ("end", instruction(GO)),
        f"kind {_PROGRAM}",
        instruction(STORE_32, 10, 2, kind),
        instruction(MOVE, 9, 7),
        ("program", instruction(GO)),
        f"kind {_MAP}",
        instruction(STORE_32, 10, 2, kind),
        *kernel_memory(number, 4, 7, at["bpf_map.id"]),
        ("write", instruction(GO)),
        f"kind {_LINK}",
        instruction(STORE_32, 10, 2, kind),
        *kernel_memory(number, 4, 7, at["bpf_link.id"]),
        *kernel_memory(found, 8, 7, at["bpf_link.prog"]),
        instruction(LOAD_64, 9, 10, found),
        ("program", instruction(GO)),
        f"kind {_EVENT}",
        instruction(STORE_32, 10, 2, kind),
        *kernel_memory(found, 8, 7, at["perf_event.prog"]),
        instruction(LOAD_64, 9, 10, found),
        ("end", instruction(IF_EQUAL, 9)),
        *kernel_memory(event, 4, 7, at["perf_event.attr.type"]),
        *kernel_memory(config, 8, 7, at["perf_event.attr.config"]),
        "program",
        ("write", instruction(IF_EQUAL, 9)),
        *kernel_memory(found, 8, 9, at["bpf_prog.aux"]),
        instruction(LOAD_64, 9, 10, found),
        *kernel_memory(prog_id, 4, 9, at["bpf_prog_aux.id"]),
        "write",
        instruction(LOAD_64, 1, 6, 8),
        ("end", instruction(IF_EQUAL, 1)),
        instruction(LOAD_32, 1, 1, at["task_struct.tgid"]),
        instruction(STORE_32, 10, 1, pid),
        instruction(LOAD_32, 1, 6, 16),
        instruction(STORE_32, 10, 1, fd),
        *record_written(record, _RECORD.size),
    ]
    return assembled(lines)
