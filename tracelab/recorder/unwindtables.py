"""The unwind tables of all files in use, as one, so that a lookup for any number of files is one search.

Of a library's functions samples meet some hundreds; so rows are read function by function, as they are met.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from tracelab.recorder import callframes as cf
from tracelab.recorder.cfi import IN_PLT, undescribed_plts, unwind_table
from tracelab.recorder.diskcache import DiskCache
from tracelab.recorder.elf import FORGED, MACHINES, Elf
from tracelab.recorder.fdeindex import FdeIndex, FunctionRows, fde_index
from tracelab.recorder.frameprogram import Rule
from tracelab.recorder.gopclntab import go_table
from tracelab.recorder.images import Image, Images
from tracelab.recorder.maps import U64, Ints, View
from tracelab.recorder.perfmap import PerfMap

MAX_ROWS = 1 << 22  #: about 64 MB; beyond, the tables are read anew as they are needed
UNREAD = -1  #: in place of a rule's number: its function has not been read yet
QUICKLY_READ_BYTES = 1 << 20  #: of unwind information, in 0.05 s or so
_SLOT = np.uint64(32)  #: bits of an address below the number of its slot
#: Rule 0, where there is none: `push rbp; mov rbp, rsp` has been done.
_FRAME_POINTER = (cf.REGISTER, cf.RBP, 16, 0, cf.AT_CFA, -8, cf.AT_CFA, -16, cf.SAME, 0, 0)
#: In a trampoline of CPython, at its first and last instruction and in between; see perfmap.py.
_TRAMPOLINE = {n: (cf.REGISTER, cf.RSP, n, 0, cf.AT_CFA, -8, cf.SAME, 0, cf.SAME, 0, 0) for n in (8, 16)}
_MAX_PERF_MAPS = 256


class UnwindTables:
    """Looks up rules by image and address; what a file tells of a function is read when it is first asked for.

    Rules are columns, one array for each, so that a step takes what it needs.
    """

    def __init__(self, images: Images, cache: DiskCache | None = None) -> None:
        self._images = images
        self._cache = cache or DiskCache.of_user("unwind")
        self.skipped: set[str] = set()  #: files whose tables were not read, because there was no time
        self._until = float("inf")
        self._slot_of: dict[int, int] = {}
        self._functions: dict[int, npt.NDArray[np.uint32]] = {}  #: by number of image
        self._index: dict[int, tuple[Image, FdeIndex]] = {}  #: by slot, of files that are read by and by
        self._number_of: dict[Rule, int] = {}
        self._perf_maps: dict[int, PerfMap] = {}  #: by number of image
        self._keys: U64  #: slot and relative address of every row; the first is of none
        self._rule: Ints  #: number of each row's rule
        self._begin()

    def of_view(self, view: View) -> TablesOfView:
        """The tables, for looking up addresses in the mappings of a view."""
        if len(self._keys) > MAX_ROWS:
            self._slot_of.clear()
            self._functions.clear()
            self._index.clear()
            self._begin()
        return TablesOfView(self, view)

    def function_start(self, image: Image, address: int) -> int:
        """Where the function begins that has an address, relative to the image base; the address if that is unknown."""
        functions = self._functions.get(image.number)
        if functions is None or not 0 <= address < 1 << 32:
            return address
        i = int(np.searchsorted(functions, np.uint32(address), "right")) - 1
        return int(functions[i]) if i >= 0 else address

    def slot(self, image: Image) -> int:
        """A number for an image, of which what is needed to read its functions is read if it was not yet."""
        slot = self._slot_of.get(image.number)
        if slot is None:
            slot = self._slot_of[image.number] = len(self._slot_of) + 1
            if image.elf is not None and self._images.source(image) is not None:
                with contextlib.suppress(*FORGED):
                    self._open(image, image.elf, slot)
        return slot

    def rule_at(self, slot: U64, relative: U64) -> Ints:
        """Numbers of the rules at addresses relative to the images in slots; 0 where there is none."""
        key = (slot << _SLOT) | relative
        row = self._keys.searchsorted(key, "right") - 1
        rule: Ints = self._rule[row]
        missing = (self._keys[row] ^ key) >> _SLOT != 0
        missing |= relative >> _SLOT != 0
        if missing.any():
            rule[missing] = 0
        if rule.size and rule.min() == UNREAD:
            unread = rule == UNREAD
            self._read(slot[unread], relative[unread])
            rule = self._rule[self._keys.searchsorted(key, "right") - 1]
            rule[missing] = 0
        return rule

    def rule_in_jit(self, image: Image, address: U64) -> Ints:
        """Numbers of the rules at addresses of code that a process made: of trampolines in its perf map, else 0."""
        if len(self._perf_maps) > _MAX_PERF_MAPS:
            self._perf_maps.clear()
        perf_map = self._perf_maps.get(image.number)
        if perf_map is None:
            perf_map = self._perf_maps[image.number] = PerfMap(image.pid)
        stack = perf_map.stack_of_trampoline(address)
        if (stack == 0).any() and perf_map.refresh():
            stack = perf_map.stack_of_trampoline(address)
        return np.choose(stack // 8, [0, *self._numbers(_TRAMPOLINE.values())]).astype(np.int64)

    def hurry(self, until: float) -> None:
        """From now on read no large table as a whole, and none at all from the time `until` of time.monotonic() on."""
        self._until = until

    def _open(self, image: Image, elf: Elf, slot: int) -> None:
        """Rows of a file: all of a Go program, or of one without an index; else, where its functions begin."""
        go, index = go_table(elf), fde_index(elf)
        if MACHINES.get(elf.machine) != "x86_64":
            return
        if index is None or go is not None:
            sizes = sum(s.size for s in elf.sections if s.name in (".eh_frame", ".gopclntab"))
            if self._until < float("inf") and (sizes > QUICKLY_READ_BYTES or time.monotonic() > self._until):
                self.skipped.add(image.short_name)
                return
            table = unwind_table(elf, self._cache)
            self._functions[image.number] = table.functions
            numbers = np.array([0, *self._numbers(map(tuple, table.rules[1:].tolist()))], np.int64)
            self._insert(slot, table.start.astype(np.uint64), numbers[table.rule])
            return
        self._functions[image.number] = index.start
        self._index[slot] = (image, index)
        rows = {0: UNREAD}
        for at, size in undescribed_plts(elf, index.start):
            rows |= {at: self._numbers([IN_PLT])[0], at + size: UNREAD}
        self._insert_rows(slot, rows)

    def _read(self, slots: U64, relative: U64) -> None:
        """Read the functions at addresses whose rows are not known yet."""
        for slot in np.unique(slots).tolist():
            image, index = self._index[slot]
            available = self._images.source(image) is not None
            rows: dict[int, int] = {}
            for n in np.unique(index.find(relative[slots == slot])).tolist():
                after = int(index.start[n + 1]) if n + 1 < len(index) else 1 << 32
                if after < 1 << 32:
                    rows.setdefault(after, UNREAD)
                if n < 0:
                    rows[0] = 0
                    continue
                start = int(index.start[n])
                found = index.rows(n) if available else FunctionRows([], start)
                rows[start] = 0
                inside = [(at, rule) for at, rule in found.rows if start <= at < after]
                rows |= zip((at for at, _ in inside), self._numbers(rule for _, rule in inside), strict=True)
                if start < found.end < after:
                    rows[found.end] = 0
            self._insert_rows(slot, rows)

    def _insert_rows(self, slot: int, rows: Mapping[int, int]) -> None:
        start = np.array(sorted(rows), np.uint64)
        self._insert(slot, start, np.array([rows[at] for at in start.tolist()], np.int64))

    def _insert(self, slot: int, start: U64, rule: Ints) -> None:
        """Add rows, sorted by address; one that is there already stays, if the new one is that it is unread."""
        keys = (np.uint64(slot) << _SLOT) | start
        at = self._keys.searchsorted(keys)
        there = self._keys[np.minimum(at, len(self._keys) - 1)] == keys
        known = there & (rule != UNREAD)
        self._rule[at[known]] = rule[known]
        self._keys = np.insert(self._keys, at[~there], keys[~there])
        self._rule = np.insert(self._rule, at[~there], rule[~there])

    def _numbers(self, rules: Iterable[Rule]) -> list[int]:
        before = len(self._number_of)
        numbers = [self._number_of.setdefault(rule, len(self._number_of) + 1) for rule in rules]
        if len(self._number_of) != before:
            self._set_rules(np.array([_FRAME_POINTER, *self._number_of], np.int32))
        return numbers

    def _begin(self) -> None:
        self._keys, self._rule = np.zeros(1, np.uint64), np.zeros(1, np.int64)
        self._number_of.clear()
        self._set_rules(np.array([_FRAME_POINTER], np.int32))

    def _set_rules(self, rules: npt.NDArray[np.int32]) -> None:
        self.rules = rules
        kind, register = rules[:, cf.CFA_KIND], rules[:, cf.CFA_REG]
        #: rules of the kind that nearly all are: all they need is rsp or rbp, and the copied stack
        self.plain = (
            (kind == cf.REGISTER)
            & ((register == cf.RSP) | (register == cf.RBP))
            & (rules[:, cf.RA_KIND] == cf.AT_CFA)
            & np.isin(rules[:, cf.RBP_KIND], (cf.SAME, cf.AT_CFA))
            & np.isin(rules[:, cf.RBX_KIND], (cf.SAME, cf.AT_CFA))
            & (rules[:, cf.SIGNAL] == 0)
        )
        self.outermost = rules[:, cf.RA_KIND] == cf.UNDEFINED
        self.by_rbp = register == cf.RBP
        self.cfa_offset = _wrapped(rules[:, cf.CFA_OFFSET])
        self.saves = rules[:, [cf.RA_KIND, cf.RBP_KIND, cf.RBX_KIND]].T == cf.AT_CFA
        self.saved_at = _wrapped(rules[:, [cf.RA_OFFSET, cf.RBP_OFFSET, cf.RBX_OFFSET]].T)


def _wrapped(offsets: npt.NDArray[np.int32]) -> U64:
    return offsets.astype(np.int64).astype(np.uint64)


class TablesOfView:
    """Rules by the mappings of one view."""

    def __init__(self, tables: UnwindTables, view: View) -> None:
        self.tables = tables
        self._view = view
        self._slot: U64 = np.zeros(len(view.mappings), np.uint64)
        self._is_jit = np.array([m.image.is_jit for m in view.mappings], np.bool_)

    def rule_at(self, mapping: Ints, address: U64) -> Ints:
        """Numbers of the rules at addresses, each in its mapping; 0 where there is none."""
        slot = self._slot[mapping]
        if not slot.all():
            for one in np.unique(mapping[slot == 0]).tolist():
                self._slot[one] = self.tables.slot(self._view.mappings[one].image)
            slot = self._slot[mapping]
        rule = self.tables.rule_at(slot, address - self._view.base[mapping])
        for one in np.unique(mapping[self._is_jit[mapping]]).tolist():
            at = mapping == one
            rule[at] = self.tables.rule_in_jit(self._view.mappings[one].image, address[at])
        return rule
