"""Small programs that the kernel runs over all its maps or open files when they are read (bpf_iter, Linux 5.8).

They see in microseconds what takes thousands of system calls from outside, and take no lock of anybody's map. Their
instructions are made here, not compiled: where the members of kernel structs lie is known only on the running kernel.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from tracelab.recorder import introspect
from tracelab.recorder.btf import Btf

_TRACING, _TRACE_ITER = 26, 28
_LINK_CREATE, _ITER_CREATE = 28, 33
_FUNC = 12
_READ_BYTES = 1 << 16
PROBE_READ_KERNEL, SEQ_WRITE = 113, 127  #: numbers of helpers
ADD, MOVE, LOAD_64, LOAD_32, STORE_64, STORE_32 = 0x07, 0xBF, 0x79, 0x61, 0x7B, 0x63
SET, CALL, EXIT, IF_EQUAL, IF_EQUAL_REGISTER, GO = 0xB7, 0x85, 0x95, 0x15, 0x1D, 0x05


class Unavailable(Exception):
    """This kernel has no such iterator, or does not let it be used."""


class Functions(Btf):
    """The types of a kernel, with its functions by name."""

    def __init__(self, types: Btf) -> None:
        self.__dict__.update(types.__dict__)
        self._all_names = super()._names()

    def _names(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        return self._all_names  # of which finding one takes as long as making them

    def function(self, name: str) -> int:
        """The number of a function's type; raises Unavailable."""
        for number in self._numbers(name):
            if self._type(number)[0] == _FUNC:
                return number
        raise Unavailable(f"this kernel has no function {name} that eBPF may use")


def instruction(op: int, to: int = 0, source: int = 0, off: int = 0, value: int = 0) -> bytes:
    """One eBPF instruction."""
    return struct.pack("<BBhi", op, source << 4 | to, off, value)


def address(to: int, value: int) -> bytes:
    """Put an address of the kernel in a register: two instructions."""
    low, high = value & 0xFFFFFFFF, value >> 32
    return struct.pack("<BBhIBBhI", 0x18, to, 0, low, 0, 0, 0, high)


def kernel_memory(to: int, size: int, base: int, offset: int) -> list[bytes]:
    """Read kernel memory at a register's value and an offset, to the stack; zeros where it cannot be read."""
    return [
        instruction(MOVE, 1, 10),
        instruction(ADD, 1, 0, 0, to),
        instruction(SET, 2, 0, 0, size),
        instruction(MOVE, 3, base),
        instruction(ADD, 3, 0, 0, offset),
        instruction(CALL, 0, 0, 0, PROBE_READ_KERNEL),
    ]


def record_written(record: int, size: int) -> list[bytes | str]:
    """The end of a program: write what stands on the stack to whoever reads, and the label `end`, to do without.

    Register 6 holds the context of the iteration.
    """
    return [
        instruction(LOAD_64, 1, 6),
        instruction(LOAD_64, 1, 1),
        instruction(MOVE, 2, 10),
        instruction(ADD, 2, 0, 0, record),
        instruction(SET, 3, 0, 0, size),
        instruction(CALL, 0, 0, 0, SEQ_WRITE),
        "end",
        instruction(SET, 0),
        instruction(EXIT),
    ]


def assembled(lines: Sequence[bytes | str | tuple[str, bytes]]) -> bytes:
    """Instructions in which a label stands as its name, and a jump as the label that it goes to and the jump.

    >>> code = assembled([("end", instruction(GO)), instruction(SET, 0, 0, 0, 7), "end", instruction(EXIT)])
    >>> code[:8] == instruction(GO, off=1), len(code)
    (True, 24)
    """
    places: dict[str, int] = {}
    at = 0
    for line in lines:
        if isinstance(line, str):
            places[line] = at
        else:
            at += len(line if isinstance(line, bytes) else line[1]) // 8
    code = b""
    for line in lines:
        if isinstance(line, tuple):
            distance = places[line[0]] - len(code) // 8 - 1
            code += line[1][:2] + struct.pack("<h", distance) + line[1][4:]
        elif isinstance(line, bytes):
            code += line
    return code


class Iterator:
    """An iterator of the kernel that writes what it is asked for; closing it unloads it."""

    def __init__(self, name: str, types: Functions, target: str, code: bytes) -> None:
        """Load `code` for iterator `target`, such as bpf_map; raises Unavailable."""
        function = types.function(f"bpf_iter_{target}")
        self.fds: list[int] = []  #: of the program and of its link
        try:
            self.fds.append(introspect.load(_TRACING, name.encode(), code, _TRACE_ITER, function))
            self.prog_id = introspect.program_stats(self.fds[0]).prog_id
            attr = struct.pack("<IIII", self.fds[0], 0, _TRACE_ITER, 0)
            self.fds.append(introspect.bpf(_LINK_CREATE, attr, 64)[0])
        except OSError as error:
            self.close()
            raise Unavailable(f"the kernel refuses iterator bpf_iter/{target}: {error.strerror}") from error

    def __enter__(self) -> Iterator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> bytes:
        """All that the program wrote in one pass; raises OSError."""
        fd, _ = introspect.bpf(_ITER_CREATE, struct.pack("<II", self.fds[1], 0), 64)
        try:
            parts = []
            while part := os.read(fd, _READ_BYTES):
                parts.append(part)
        finally:
            os.close(fd)
        return b"".join(parts)

    def close(self) -> None:
        """Unload the program; may be called twice."""
        while self.fds:
            with contextlib.suppress(OSError):
                os.close(self.fds.pop())
