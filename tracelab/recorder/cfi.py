"""How to get from any address of a file to its caller: all rows of a file in one sorted table.

This is for files without an index of their functions, and for Go programs; of all others functions are read one by
one, see `fdeindex`. A table is kept on disk under a hash of what it was made from: a build id would be only what
the file says of itself.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracelab.recorder import callframes, ehframe
from tracelab.recorder.diskcache import DiskCache, digest
from tracelab.recorder.elf import MACHINES, PT_GNU_EH_FRAME, Elf
from tracelab.recorder.gopclntab import go_table

FORMAT = b"unwind table 2"  #: changes with the meaning of a stored table
MAX_FRAME_BYTES = 256 << 20
WORTH_KEEPING = 5_000  #: rows; a smaller table is made as quickly as it is read
#: Rule of a PLT: nothing is pushed.
IN_PLT = (callframes.REGISTER, callframes.RSP, 8, 0, callframes.AT_CFA, -8, 0, 0, 0, 0, 0)
_PLTS = (".plt", ".plt.got", ".plt.sec", ".iplt")


@dataclass(frozen=True, slots=True)
class UnwindTable:
    """Rows of one file: row i holds from `start[i]` to `start[i + 1]` and says what `rules[rule[i]]` says.

    `start` is relative to the image base, ascending. `rules` has the columns of `callframes`; rule 0 is that there
    is none. `functions` are the beginnings of functions, or of parts of them, ascending. An empty table is that
    of a file without unwind information.
    """

    start: npt.NDArray[np.uint32]
    rule: npt.NDArray[np.uint32]
    rules: npt.NDArray[np.int32]
    functions: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.start)


def empty_table() -> UnwindTable:
    """The table of a file without unwind information."""
    none = np.zeros(0, np.uint32)
    return UnwindTable(none, none, np.zeros((1, callframes.COLUMNS), np.int32), none)


def unwind_table(elf: Elf, cache: DiskCache | None = None) -> UnwindTable:
    """The table of a file; empty when it has none, is for another machine, or cannot be believed."""
    if MACHINES.get(elf.machine) != "x86_64":
        return empty_table()
    go = go_table(elf)
    frame, vaddr, entries = _eh_frame(elf)
    if not len(frame) and go is None:
        return empty_table()
    plts = _plts(elf)
    of_go = go.data.tobytes() if go else b""
    key = digest(FORMAT, repr((vaddr, elf.load_address, plts)).encode(), entries.tobytes(), frame, of_go)
    kept = _unpack(cache.get(key)) if cache else None
    if kept is not None:
        return kept
    offsets = entries - vaddr if len(entries) else ehframe.entries_in_order(frame)
    rows = [ehframe.read_rows(frame, vaddr, offsets), *([go.rows()] if go else [])]
    joined = callframes.Rows(*(np.concatenate(parts) for parts in zip(*rows, strict=True)))
    table = _sorted(joined, plts, elf.load_address)
    if cache and len(table) >= WORTH_KEEPING:
        cache.put(key, _pack(table))
    return table


def undescribed_plts(elf: Elf, functions: npt.NDArray[np.uint32]) -> list[tuple[int, int]]:
    """Address and size, relative to the image base, of PLTs in which no function begins: IN_PLT is their rule.

    No linker but GNU's describes them; what they do is jump, and push nothing.
    """
    found = []
    for at, size in _plts(elf):
        start = at - elf.load_address
        first = int(np.searchsorted(functions, start)) if 0 <= start < (1 << 32) - size else len(functions)
        if 0 <= start < (1 << 32) - size and not (first < len(functions) and functions[first] < start + size):
            found.append((start, size))
    return found


def _plts(elf: Elf) -> list[tuple[int, int]]:
    return [(s.vaddr, s.size) for s in elf.sections if s.name in _PLTS and 0 < s.size < 1 << 32]


def _eh_frame(elf: Elf) -> tuple[bytes, int, npt.NDArray[np.int64]]:
    """Content and address of .eh_frame, and the addresses of its entries where there is an index of them."""
    vaddr, entries = 0, np.zeros(0, np.int64)
    for segment in elf.segments:
        if segment.kind == PT_GNU_EH_FRAME:
            index = elf.at_vaddr(segment.vaddr, min(segment.file_size, MAX_FRAME_BYTES))
            vaddr, entries = ehframe.entries_of_index(index, segment.vaddr)
    section = elf.section(".eh_frame")
    if section is not None and section.vaddr and (not vaddr or vaddr == section.vaddr):
        return elf.section_bytes(".eh_frame", MAX_FRAME_BYTES), section.vaddr, entries
    return elf.at_vaddr(vaddr, MAX_FRAME_BYTES), vaddr, entries


def _sorted(rows: callframes.Rows, plts: list[tuple[int, int]], load_address: int) -> UnwindTable:
    rules, rule = _interned(rows.rule)
    plt = [(at, size) for at, size in plts if not np.any((rows.start >= at) & (rows.start < at + size))]
    rules = np.concatenate([rules, np.array([IN_PLT], np.int32)])

    plt_starts = np.array([at for at, _ in plt], np.int64)
    ends = np.concatenate([rows.ends, np.array([at + size for at, size in plt], np.int64)])
    start = np.concatenate([ends, rows.start, plt_starts])
    rule = np.concatenate(
        [np.zeros(len(ends), np.int64), rule, np.full(len(plt_starts), len(rules) - 1, np.int64)]
    )
    order = np.argsort(start, kind="stable")  # an end gives way to what begins there
    start, rule = start[order] - load_address, rule[order]
    last = np.ones(len(start), np.bool_)
    last[:-1] = (start[1:] != start[:-1]) & (start[:-1] >= 0) & (start[:-1] < 1 << 32)
    start, rule = start[last], rule[last]
    if len(start) and not 0 <= start[-1] < 1 << 32:
        start, rule = start[:-1], rule[:-1]
    change = np.ones(len(rule), np.bool_)
    change[1:] = rule[1:] != rule[:-1]
    functions = np.unique(rows.first) - load_address
    functions = functions[(functions >= 0) & (functions < 1 << 32)]
    return UnwindTable(
        start[change].astype(np.uint32), rule[change].astype(np.uint32), rules, functions.astype(np.uint32)
    )


def _interned(rows: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Distinct rules, the first of them "none", and the number of each row's."""
    none = np.zeros((1, callframes.COLUMNS), np.int32)
    random = np.random.default_rng().integers(1 << 62, size=callframes.COLUMNS, dtype=np.int64) | 1
    mixed = rows.astype(np.int64) @ random
    _, first, number = np.unique(mixed, return_index=True, return_inverse=True)
    return np.concatenate([none, rows[first]]), number + 1


def _pack(table: UnwindTable) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, start=table.start, rule=table.rule, rules=table.rules, functions=table.functions)
    return packed.getvalue()


def _unpack(packed: bytes | None) -> UnwindTable | None:
    if packed is None:
        return None
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            table = UnwindTable(arrays["start"], arrays["rule"], arrays["rules"], arrays["functions"])
    except Exception:  # numpy raises half a dozen kinds for a damaged file; any of them means: make it anew
        return None
    sound = (
        table.start.dtype == table.rule.dtype == table.functions.dtype == np.uint32
        and table.rules.dtype == np.int32
        and table.rules.ndim == 2
        and table.rules.shape[1] == callframes.COLUMNS
        and len(table.start) == len(table.rule)
        and (not len(table) or int(table.rule.max()) < len(table.rules))
    )
    return table if sound else None
