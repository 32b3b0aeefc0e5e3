"""Names of code that a process makes at run time, from the file in which it lists them.

Format and place: tools/perf/Documentation/jit-interface.txt of Linux. Node (`--perf-basic-prof`), Java (by an
agent) and Python (`-X perf`) write it. It grows while code is made, and an address may be used again.
"""

from __future__ import annotations

import os
import re

import numpy as np
import numpy.typing as npt

from tracelab.profile import Frame
from tracelab.recorder.elf import open_regular
from tracelab.recorder.images import JIT

MAX_BYTES = 64 << 20  #: of one file that are read
_LINE = re.compile(rb"^(?:0x)?([0-9a-f]{1,16}) (?:0x)?([0-9a-f]{1,8}) ([^\n]{1,4096})\n", re.M)
_PYTHON = re.compile(r"py::(?P<symbol>.+):(?P<file>[^:]+)")
#: Bytes of `sub $8, %rsp; call *%rcx; add $8, %rsp; ret`, without and with `endbr64` before it: what CPython 3.12 and
#: 3.13 call each Python function through (Python/asm_trampoline.S). Later ones keep a frame pointer.
_TRAMPOLINE_BYTES = (11, 15)
_PUSHED_BYTES = (7, 1)  #: before its last bytes, where the stack is 8 bytes deeper: from, until


class PerfMap:
    """The list of one process, read again, where it ended, when it has grown."""

    def __init__(self, pid: int) -> None:
        own_pid = _innermost_pid(pid)
        self._paths = (f"/proc/{pid}/root/tmp/perf-{own_pid}.map", f"/tmp/perf-{pid}.map")
        self._owner = _owner(pid)
        self._read_bytes = 0
        self._found: list[tuple[int, int, str]] = []
        self._start: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._trampolines: npt.NDArray[np.uint64] = np.zeros((0, 2), np.uint64)  #: begin and end of each, sorted

    def refresh(self) -> bool:
        """Read what was added; whether there was any."""
        new = self._new_bytes()
        end = new.rfind(b"\n") + 1
        lines = _LINE.findall(new[:end])
        self._read_bytes += end
        if not lines:
            return False
        self._found.extend((int(a, 16), int(n, 16), name.decode("utf-8", "replace")) for a, n, name in lines)
        self._found.sort(key=lambda f: f[0])  # stable: of equal addresses, the last that was written is last
        self._start = np.array([f[0] for f in self._found], np.uint64)
        python = [(a, a + n) for a, n, name in self._found if n in _TRAMPOLINE_BYTES and name.startswith("py::")]
        self._trampolines = np.array(python, np.uint64).reshape(-1, 2)
        return True

    def stack_of_trampoline(self, address: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """For each address how many bytes a trampoline of CPython has on the stack there: 16, or 8; 0 elsewhere."""
        if not len(self._trampolines):
            return np.zeros(len(address), np.int64)
        begin, end = self._trampolines[np.maximum(self._trampolines[:, 0].searchsorted(address, "right"), 1) - 1].T
        first, last = (end - np.uint64(n) for n in _PUSHED_BYTES)
        inside = (address >= begin) & (address < end)
        return np.where(inside, np.where((address >= first) & (address < last), 16, 8), 0)

    def frame(self, address: int) -> Frame | None:
        """The frame of an address, or None."""
        i = int(np.searchsorted(self._start, np.uint64(address), "right")) - 1
        if i < 0:
            return None
        start, size, name = self._found[i]
        if address >= start + size:
            return None
        python = _PYTHON.fullmatch(name)
        if python:
            return Frame(python["symbol"], JIT, "python", file=python["file"], offset=address)
        return Frame(name, JIT, offset=address)

    def _new_bytes(self) -> bytes:
        for path in self._paths:
            source = open_regular(path)
            if source is None:
                continue
            try:
                if os.fstat(source.fd).st_uid in (self._owner, 0):
                    return source.read(self._read_bytes, MAX_BYTES - self._read_bytes)
            finally:
                source.close()
        return b""


def _innermost_pid(pid: int) -> int:
    """The process id that a process has for itself, which in a container is another."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
            for line in status:
                if line.startswith("NSpid:"):
                    return int(line.split()[-1])
    except (OSError, ValueError):
        pass
    return pid


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return 0
