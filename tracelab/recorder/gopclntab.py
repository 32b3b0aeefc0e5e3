"""What Go programs say of their own functions, stripped or not: names, and the depth of the stack at each address.

Go writes no .eh_frame for its own code. It keeps frame pointers, but a chain of them skips the caller of whatever has
no frame of its own (memmove, a prologue); the runtime's table of stack depths does not.

Source: Go, src/runtime/symtab.go (pcHeader, findfunc, pcvalue), src/runtime/runtime2.go (_func), since Go 1.18.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracelab.recorder import callframes as cf
from tracelab.recorder.callframes import Bytes, Ints, Rows
from tracelab.recorder.elf import EXECUTABLE, PT_LOAD, Elf

MAX_TABLE_BYTES = 512 << 20
_MAGIC = (0xFFFFFFF0, 0xFFFFFFF1)  #: Go 1.18, 1.20
_SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
_HEADER = struct.Struct("<IHBB8Q")
_TEXT_IN_MODULE = 22  #: words of struct moduledata before `text`, Go 1.20 and later
_PCSP, _FLAG = 16, 41  #: offsets in struct _func; the name's is 4
_FLAG_BEFORE_1_20 = 37
_TOP_FRAME, _SP_WRITE = 1, 2
_SIGNAL_RETURN = (b"runtime.sigreturn__sigaction", b"runtime.sigreturn")
_SIGNAL_HANDLER = b"runtime.sigtramp"
_PAD = 32


@dataclass(frozen=True)
class GoTable:
    """Functions of a Go program; `start` is ascending, as in the file, and `start[-1]` is where the last one ends."""

    data: Bytes
    start: Ints  #: shape (functions + 1,)
    record: Ints  #: offset in `data` of each function's struct _func
    names: int  #: offset in `data` of the function names
    stack_depths: int  #: offset of the tables to which struct _func refers
    flag: int  #: offset of the flags in struct _func

    def name(self, function: int) -> str:
        """The name of a function, by its number."""
        return self._raw_name(function).decode("utf-8", "replace")

    def function_at(self, address: int) -> int:
        """The number of the function that has an address; -1 when none has."""
        i = int(np.searchsorted(self.start, address, "right")) - 1
        return i if 0 <= i < len(self.record) else -1

    def rows(self) -> Rows:
        """How to get from any address to the caller: the depth of the stack is known, the return address on its top."""
        flags = self.data[np.minimum(self.record + self.flag, len(self.data) - 1)]
        which, start, depth = self._depths(np.arange(len(self.record)))
        rule = np.zeros((len(start), cf.COLUMNS), np.int32)
        rule[:, cf.CFA_KIND], rule[:, cf.CFA_REG] = cf.REGISTER, cf.RSP
        rule[:, cf.CFA_OFFSET] = np.clip(depth, 0, (1 << 31) - 9) + 8
        rule[:, cf.RA_KIND], rule[:, cf.RA_OFFSET] = cf.AT_CFA, -8
        outermost = [cf.REGISTER, cf.RSP, 8, 0, cf.UNDEFINED] + [0] * (cf.COLUMNS - 5)
        framed = depth >= 8
        rule[framed, cf.RBP_KIND], rule[framed, cf.RBP_OFFSET] = cf.AT_CFA, -16
        rule[flags[which] & _SP_WRITE != 0] = [cf.SWITCHED] + [0] * (cf.COLUMNS - 1)
        for top in np.flatnonzero(flags & _TOP_FRAME).tolist():
            if self._raw_name(top) != _SIGNAL_HANDLER:
                rule[which == top] = outermost
        for returning in self._named(_SIGNAL_RETURN):
            mine = which == returning
            start[mine.argmax()] -= 1  # handlers return to its first byte; a call would end one byte before
            rule[mine] = 0
            rule[mine, : cf.CFA_OFFSET + 1] = (cf.MEMORY, cf.RSP, 160)
            rule[mine, cf.RA_KIND], rule[mine, cf.SIGNAL] = cf.AT_CFA, 1
        return Rows(start, rule, self.start[:-1], self.start[-1:])

    def _depths(self, functions: Ints) -> tuple[Ints, Ints, Ints]:
        """Functions, addresses and depths of stacks from there on: all functions take their next step together."""
        at = self.stack_depths + cf.unsigned(self.data, self.record[functions] + _PCSP, 4)
        address, depth = self.start[functions].copy(), np.full(len(functions), -1, np.int64)
        limit = self.start[functions + 1]
        found: list[tuple[Ints, Ints, Ints]] = []
        while functions.size:
            change, after = cf.uleb(self.data, at)
            more = (change != 0) | (depth == -1)
            depth = depth + np.where(change & 1, ~(change >> 1), change >> 1)
            found.append((functions[more], address[more], depth[more]))
            covers, after = cf.uleb(self.data, after)
            address = address + covers
            more &= (address < limit) & (after < len(self.data) - _PAD) & (covers > 0)
            functions, at, address, depth, limit = (
                column[more] for column in (functions, after, address, depth, limit)
            )
        if not found:
            none = np.zeros(0, np.int64)
            return none, none, none
        which, start, depths = (np.concatenate(column) for column in zip(*found, strict=True))
        return which, start, depths

    def _named(self, names: tuple[bytes, ...]) -> list[int]:
        """Numbers of functions with one of some names."""
        found = []
        offsets = cf.unsigned(self.data, self.record + 4, 4)
        raw = self.data.tobytes()
        for name in names:
            at = raw.find(b"\0" + name + b"\0", self.names) + 1
            if at:
                found += np.flatnonzero(offsets == at - self.names).tolist()
        return found

    def _raw_name(self, function: int) -> bytes:
        at = self.names + int(cf.unsigned(self.data, self.record[function : function + 1] + 4, 4)[0])
        return self.data[at : at + 4096].tobytes().split(b"\0", 1)[0]


class GoName(NamedTuple):
    """A function as a symbol table of `symbolic` tells it; which file and line it is in is left to DWARF."""

    symbol: str
    full_path: str = ""
    line: int = 0


class GoNames:
    """Names of a Go program's functions by address, relative to the image base."""

    def __init__(self, table: GoTable, load_address: int) -> None:
        self._table = table
        self._load_address = load_address

    def lookup(self, address: int) -> list[GoName]:
        """The function that has an address, as the only element, or nothing."""
        function = self._table.function_at(address + self._load_address)
        return [GoName(self._table.name(function))] if function >= 0 else []


def go_table(elf: Elf) -> GoTable | None:
    """The table of a Go program; None for any other, for versions before Go 1.18, and for what cannot be believed."""
    name = next((n for n in _SECTIONS if elf.section(n)), "")
    raw = elf.section_bytes(name, MAX_TABLE_BYTES) if name else b""
    if len(raw) < _HEADER.size:
        return None
    magic, _, quantum, word, count, _, text, names, _, _, depths, functions = _HEADER.unpack_from(raw)
    if magic not in _MAGIC or quantum != 1 or word != 8 or max(names, depths, functions) >= len(raw):
        return None
    if not 0 < count <= (len(raw) - functions - 4) // 8:
        return None
    data: Bytes = np.zeros(len(raw) + _PAD, np.uint8)
    data[: len(raw)] = np.frombuffer(raw, np.uint8)
    pairs: npt.NDArray[np.uint32] = np.frombuffer(raw, "<u4", 2 * count + 1, functions)
    offset, record = pairs[::2].astype(np.int64), functions + pairs[1::2].astype(np.int64)
    if np.any(np.diff(offset) < 0) or record.max() + _FLAG >= len(raw):
        return None
    begins = _text(elf, text, offset)
    if begins is None:
        return None
    flag = _FLAG if magic == _MAGIC[1] else _FLAG_BEFORE_1_20
    return GoTable(data, offset + begins, record, names, depths, flag)


def _text(elf: Elf, in_header: int, offset: Ints) -> int | None:
    """Where functions are counted from: in the header up to Go 1.25; since 1.26 its module has a section of its own."""
    module = elf.section_bytes(".go.module", 1 << 16)[8 * _TEXT_IN_MODULE :][:8]
    section = elf.section(".text")
    known = [in_header, int.from_bytes(module, "little")]
    if section is not None and np.any(offset == elf.entry + elf.load_address - section.vaddr):
        known.append(section.vaddr)  # linked by Go itself, which begins with its own code
    for begins in known:
        for s in elf.segments:
            inside = s.vaddr <= begins and begins + int(offset[-1]) <= s.vaddr + s.memory_size
            if begins and s.kind == PT_LOAD and s.flags & EXECUTABLE and inside:
                return begins
    return None
