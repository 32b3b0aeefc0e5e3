"""Rows of a `.eh_frame`: where the caller's registers are, for each address of a file's functions.

Breakpad's text, which the `symbolic` package makes of the same section, was the first choice. It has no signal
frames, no expressions (stacks that were realigned, PLTs), keeps a register's rule after the program took it
back, and stops at the first entry that it cannot read.

Source: DWARF 5 section 6.4.1; Linux Standard Base 5.0, Core, chapter 10.6 (.eh_frame, .eh_frame_hdr).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from tracelab.recorder.callframes import (
    COLUMNS,
    RA_KIND,
    RIP,
    SIGNAL,
    UNDEFINED,
    Bytes,
    Cie,
    Ints,
    Machine,
    Rows,
    signed,
    uleb,
    unsigned,
)

_BLOCK = 1 << 15  #: programs that run together
_PAD = 32


@dataclass(frozen=True, slots=True)
class _Entry:
    """How entries are written, and what their programs share."""

    encoding: int  #: of addresses, DW_EH_PE_*
    augmented: bool  #: whether they say how much more than DWARF asks for is in them
    cie: Cie


def entries_of_index(index: bytes, vaddr: int) -> tuple[int, Ints]:
    """Address of .eh_frame, and those of its entries, from the binary search table in `.eh_frame_hdr`.

    The addresses are empty when the table is missing or has another than the usual encoding.
    """
    none = np.zeros(0, np.int64)
    if len(index) < 8 or index[0] != 1:
        return 0, none
    if index[1] != 0x1B:  # pc-relative, 4 bytes, signed
        return 0, none
    frame = vaddr + 4 + struct.unpack_from("<i", index, 4)[0]
    if index[2] != 0x03 or index[3] != 0x3B or len(index) < 12:
        return frame, none
    count = min(struct.unpack_from("<I", index, 8)[0], (len(index) - 12) // 8)
    pairs = np.frombuffer(index, "<i4", 2 * count, 12).reshape(-1, 2)
    return frame, vaddr + pairs[:, 1].astype(np.int64)


def entries_in_order(frame: bytes) -> Ints:
    """Offsets of all FDEs, found by walking the section."""
    offsets = []
    at = 0
    while at + 8 <= len(frame):
        length, cie = struct.unpack_from("<II", frame, at)
        if length == 0 or length >= 0xFFFFFFF0:
            break
        if cie:
            offsets.append(at)
        at += 4 + length
    return np.array(offsets, np.int64)


def read_rows(frame: bytes, vaddr: int, entries: Ints) -> Rows:
    """The rows of FDEs at offsets `entries` of a `.eh_frame` that is loaded at `vaddr`.

    Entries that are cut short, or say what is not understood, are left out.
    """
    data: Bytes = np.zeros(len(frame) + _PAD, np.uint8)
    data[: len(frame)] = np.frombuffer(frame, np.uint8)
    entries = entries[(entries >= 0) & (entries + 8 <= len(frame))]
    length = unsigned(data, entries, 4)
    cie_at = entries + 4 - unsigned(data, entries + 4, 4)
    end = entries + 4 + length
    good = (cie_at >= 0) & (end <= len(frame)) & (length >= 8) & (length < 0xFFFFFFF0) & (cie_at < entries)
    entries, cie_at, end = entries[good], cie_at[good], end[good]

    places, which = np.unique(cie_at, return_inverse=True)
    alike: dict[_Entry, list[int]] = {}
    for n, at in enumerate(places):
        about = _read_cie(data, int(at), len(frame))
        if about is not None:
            alike.setdefault(about, []).append(n)
    chunks: list[Rows] = []
    for about, numbers in alike.items():
        mine = np.isin(which, numbers)
        chunks.extend(_rows_of(data, vaddr, about, entries[mine], end[mine]))
    if not chunks:
        none = np.zeros(0, np.int64)
        return Rows(none, np.zeros((0, COLUMNS), np.int32), none, none)
    return Rows(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def _rows_of(data: Bytes, vaddr: int, about: _Entry, entries: Ints, end: Ints) -> list[Rows]:
    at = entries + 8
    size = {0x00: 8, 0x02: 2, 0x03: 4, 0x04: 8}.get(about.encoding & 0x07)
    if size is None or about.encoding & 0xF0 not in (0x00, 0x10):
        return []
    start = signed(data, at, size) if about.encoding & 0x08 else unsigned(data, at, size)
    if about.encoding & 0x10:
        start += vaddr + at
    covers = unsigned(data, at + size, size)
    at = at + 2 * size
    if about.augmented:
        more, at = uleb(data, at)
        at = at + more
    good = (at <= end) & (covers > 0) & (start > 0) & (start < 1 << 62) & (covers < 1 << 40)
    at, end, start, covers = at[good], end[good], start[good], covers[good]
    order = np.argsort(at - end, kind="stable")  # the longest together: a block takes as long as its longest
    chunks = []
    for first in range(0, len(order), _BLOCK):
        block = order[first : first + _BLOCK]
        machine = Machine(data, about.cie, at[block], end[block], start[block], covers[block])
        chunks.append(machine.run())
    return chunks


def _read_cie(data: Bytes, at: int, size: int) -> _Entry | None:
    """A CIE; None when it is of an unknown version or augmentation."""
    raw = data[at : at + 4096].tobytes()
    length, zero, version = struct.unpack_from("<IIB", raw)
    end = at + 4 + length
    if zero or version not in (1, 3) or end > size:
        return None
    augmentation, _, _ = raw[9:].partition(b"\0")
    place = np.array([at + 9 + len(augmentation) + 1])
    code_align, place = uleb(data, place)
    data_align, place = uleb(data, place)
    data_align[data_align >= 64] -= 128  # as in every file: a signed byte, -8
    register, place = uleb(data, place)
    augmented = augmentation.startswith(b"z")
    if register[0] != RIP or not (augmented or not augmentation):
        return None
    if not 1 <= code_align[0] <= 64 or not -64 <= data_align[0] <= 64:
        return None
    encoding = 0
    if augmented:
        more, place = uleb(data, place)
        after = place + more
        for letter in augmentation[1:].decode("latin-1"):
            if letter == "R":
                encoding, place = int(data[place[0]]), place + 1
            elif letter == "L":
                place = place + 1
            elif letter == "P":
                width = {0x00: 8, 0x03: 4, 0x04: 8}.get(int(data[place[0]]) & 0x07)
                if width is None:
                    return None
                place = place + 1 + width
            elif letter not in "SB":
                return None
            if place[0] >= size:
                return None
        place = after
    initial = np.zeros(COLUMNS, np.int32)
    initial[SIGNAL] = b"S" in augmentation
    initial[RA_KIND] = UNDEFINED
    start = Cie(int(code_align[0]), int(data_align[0]), tuple(initial.tolist()))
    machine = Machine(data, start, place, np.array([end]), np.array([0]), np.array([1]))
    machine.run()
    if machine.bad[0] or place[0] > end:
        return None
    return _Entry(encoding, augmented, replace(start, initial=tuple(machine.state[:, 0].tolist())))
