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

from tracelab.recorder import frameprogram
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
_ADDRESS_BYTES = {0x00: 8, 0x02: 2, 0x03: 4, 0x04: 8}  #: by the low bits of an encoding, DW_EH_PE_*


@dataclass(frozen=True, slots=True)
class Entry:
    """How entries are written, and what their programs share."""

    encoding: int  #: of addresses, DW_EH_PE_*
    augmented: bool  #: whether they say how much more than DWARF asks for is in them
    cie: Cie


def entries_of_index(index: bytes, vaddr: int) -> tuple[int, Ints]:
    """Address of .eh_frame, and those of its entries, from the binary search table in `.eh_frame_hdr`.

    The addresses are empty when the table is missing or has another than the usual encoding.
    """
    frame, _, entries = index_of(index, vaddr)
    return frame, entries


def index_of(index: bytes, vaddr: int) -> tuple[int, Ints, Ints]:
    """As `entries_of_index`, with the addresses of the functions between them."""
    none = np.zeros(0, np.int64)
    if len(index) < 8 or index[0] != 1:
        return 0, none, none
    if index[1] != 0x1B:  # pc-relative, 4 bytes, signed
        return 0, none, none
    frame = vaddr + 4 + struct.unpack_from("<i", index, 4)[0]
    if index[2] != 0x03 or index[3] != 0x3B or len(index) < 12:
        return frame, none, none
    count = min(struct.unpack_from("<I", index, 8)[0], (len(index) - 12) // 8)
    pairs = vaddr + np.frombuffer(index, "<i4", 2 * count, 12).reshape(-1, 2).astype(np.int64)
    return frame, pairs[:, 0], pairs[:, 1]


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
    alike: dict[Entry, list[int]] = {}
    for n, at in enumerate(places):
        about = read_cie(frame[at : at + 4096])
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


def _rows_of(data: Bytes, vaddr: int, about: Entry, entries: Ints, end: Ints) -> list[Rows]:
    at = entries + 8
    size = _ADDRESS_BYTES.get(about.encoding & 0x07)
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


def read_entry(raw: bytes, vaddr: int, about: Entry) -> tuple[bytes, int, int] | None:
    """Program, first address and number of covered bytes of one FDE, at `vaddr`; None for what makes no sense."""
    size = _ADDRESS_BYTES.get(about.encoding & 0x07)
    if size is None or about.encoding & 0xF0 not in (0x00, 0x10) or len(raw) < 8 + 2 * size:
        return None
    start = int.from_bytes(raw[8 : 8 + size], "little", signed=bool(about.encoding & 0x08))
    start += vaddr + 8 if about.encoding & 0x10 else 0
    covers = int.from_bytes(raw[8 + size : 8 + 2 * size], "little")
    at = 8 + 2 * size
    if about.augmented:
        more, at = _number(raw, at)
        at += more
    if at > len(raw) or not 0 < start < 1 << 62 or not 0 < covers < 1 << 40:
        return None
    return raw[at:], start, covers


def read_cie(raw: bytes) -> Entry | None:
    """A CIE, with its length in front; None when it is of an unknown version or augmentation, or cut short."""
    if len(raw) < 12:
        return None
    length, zero, version = struct.unpack_from("<IIB", raw)
    end = 4 + length
    if zero or version not in (1, 3) or end > len(raw):
        return None
    raw = raw[:end]
    augmentation, _, _ = raw[9:].partition(b"\0")
    code_align, at = _number(raw, 9 + len(augmentation) + 1)
    data_align, at = _number(raw, at)
    data_align -= 128 if data_align >= 64 else 0  # as in every file: a signed byte, -8
    register, at = _number(raw, at)
    augmented = augmentation.startswith(b"z")
    if register != RIP or not (augmented or not augmentation):
        return None
    if not 1 <= code_align <= 64 or not -64 <= data_align <= 64:
        return None
    encoding = 0
    if augmented:
        more, at = _number(raw, at)
        after = at + more
        found = _pointer_encoding(raw[:after], at, augmentation[1:])
        if found is None or after > end:
            return None
        encoding, at = found, after
    initial = [0] * COLUMNS
    initial[SIGNAL] = int(b"S" in augmentation)
    initial[RA_KIND] = UNDEFINED
    start = Cie(code_align, data_align, tuple(initial))
    try:
        [*_, (_, rule)] = frameprogram.run(raw[at:], start, 0, 1)
    except ValueError:  # not understood, or it has more than one row
        return None
    return Entry(encoding, augmented, replace(start, initial=rule))


def _pointer_encoding(raw: bytes, at: int, letters: bytes) -> int | None:
    encoding = 0
    for letter in letters.decode("latin-1"):
        if letter in "RP" and at >= len(raw):
            return None
        if letter == "R":
            encoding, at = raw[at], at + 1
        elif letter == "L":
            at += 1
        elif letter == "P":
            width = {0x00: 8, 0x03: 4, 0x04: 8}.get(raw[at] & 0x07)
            if width is None:
                return None
            at += 1 + width
        elif letter not in "SB":
            return None
    return encoding if at <= len(raw) else None


def _number(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 63:
        value |= (raw[at] & 0x7F) << shift
        at += 1
        shift += 7
        if raw[at - 1] < 0x80:
            return value, at
    return 1 << 62, len(raw)  # it does not end; nothing is as large as that
