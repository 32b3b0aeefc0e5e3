"""The functions of a file by address; the unwind rows of one are read when it is first asked for.

A recording meets some hundred functions of a library that has a hundred thousand: to read all of them takes a
second, and to look up the few in the linker's own index next to nothing.

Source: Linux Standard Base 5.0, Core, chapter 10.6 (.eh_frame, .eh_frame_hdr).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracelab.recorder import ehframe, frameprogram
from tracelab.recorder.elf import PT_GNU_EH_FRAME, Elf

MAX_INDEX_BYTES = 128 << 20
MAX_ENTRY_BYTES = 64 << 10  #: of one function; the longest of LLVM's have 4 KiB
_FIRST_READ = 160  #: most entries are shorter


class FunctionRows(NamedTuple):
    """Unwind rows of a function, which hold up to the next one's address, or to `end`; relative to the image base."""

    rows: list[tuple[int, frameprogram.Rule]]
    end: int


class FdeIndex:
    """What `.eh_frame_hdr` lists; `start` are beginnings of functions, ascending, relative to the image base."""

    def __init__(self, elf: Elf, start: npt.NDArray[np.uint32], entry: npt.NDArray[np.int64]) -> None:
        self.start = start
        self._elf = elf
        self._entry = entry
        self._cies: dict[int, ehframe.Entry | None] = {}

    def __len__(self) -> int:
        return len(self.start)

    def find(self, relative: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Numbers of the functions that begin last before addresses; -1 before all of them."""
        found: npt.NDArray[np.int64] = self.start.searchsorted(relative.astype(np.uint32), "right") - 1
        return found

    def rows(self, number: int) -> FunctionRows:
        """The rows of a function; none where they cannot be read or understood."""
        nothing = FunctionRows([], int(self.start[number]))
        at = int(self._entry[number])
        raw = self._read(at)
        if len(raw) < 12:
            return nothing
        cie_at = at + 4 - int.from_bytes(raw[4:8], "little")
        if cie_at not in self._cies:
            self._cies[cie_at] = ehframe.read_cie(self._read(cie_at))
        about = self._cies[cie_at]
        entry = ehframe.read_entry(raw, at, about) if about else None
        if entry is None or about is None:
            return nothing
        program, start, covers = entry
        try:
            rows = frameprogram.run(program, about.cie, start, start + covers)
        except frameprogram.BadProgram:
            return nothing
        base = self._elf.load_address
        return FunctionRows([(a - base, rule) for a, rule in rows], start + covers - base)

    def _read(self, vaddr: int) -> bytes:
        """An entry, with its length in front."""
        raw = self._elf.at_vaddr(vaddr, _FIRST_READ)
        size = 4 + int.from_bytes(raw[:4], "little")
        if size > MAX_ENTRY_BYTES:
            return b""
        raw = raw if size <= len(raw) else self._elf.at_vaddr(vaddr, size)
        return raw[:size] if size <= len(raw) else b""


def fde_index(elf: Elf) -> FdeIndex | None:
    """The index of a file; None when it has none, or none that can be used."""
    for segment in elf.segments:
        if segment.kind == PT_GNU_EH_FRAME:
            index = elf.at_vaddr(segment.vaddr, min(segment.file_size, MAX_INDEX_BYTES))
            try:
                _, starts, entries = ehframe.index_of(index, segment.vaddr)
            except struct.error:
                return None
            relative = starts - elf.load_address
            if (
                not len(relative)
                or relative.min() < 0
                or relative.max() >= 1 << 32
                or np.any(np.diff(relative) < 0)
            ):
                return None
            return FdeIndex(elf, relative.astype(np.uint32), entries)
    return None
