"""The unwind tables of all files in use, as one, so that a lookup for any number of files is one search."""

from __future__ import annotations

import contextlib

import numpy as np
import numpy.typing as npt

from tracelab.recorder import callframes as cf
from tracelab.recorder.cfi import empty_table, unwind_table
from tracelab.recorder.diskcache import DiskCache
from tracelab.recorder.elf import FORGED
from tracelab.recorder.images import Image, Images
from tracelab.recorder.maps import U64, Ints, View

MAX_ROWS = 1 << 24  #: about 200 MB; beyond, the tables are read anew as they are needed
_SLOT = np.uint64(32)  #: bits of an address below the number of its slot
#: Rule 0, where there is none: `push rbp; mov rbp, rsp` has been done.
_FRAME_POINTER = (cf.REGISTER, cf.RBP, 16, 0, cf.AT_CFA, -8, cf.AT_CFA, -16, cf.SAME, 0, 0)


class UnwindTables:
    """Looks up rules by image and address; the table of an image is read when it is first asked for.

    Rules are columns, one array for each, so that a step takes what it needs.
    """

    def __init__(self, images: Images, cache: DiskCache | None = None) -> None:
        self._images = images
        self._cache = cache or DiskCache.of_user("unwind")
        self.skipped: set[str] | None = (
            None  #: once it is a set, no table is read any more, and these were not
        )
        self._slot_of: dict[int, int] = {}
        self._functions: dict[int, npt.NDArray[np.uint32]] = {}  #: by number of image
        self._keys: U64 = np.zeros(
            1, np.uint64
        )  #: slot and relative address of every row; the first is of none
        self._rule: Ints = np.zeros(1, np.int64)
        self._rows = 1
        self._set_rules(np.array([_FRAME_POINTER], np.int32))

    def of_view(self, view: View) -> TablesOfView:
        """The tables, for looking up addresses in the mappings of a view."""
        if self._rows > MAX_ROWS:
            self._forget_all()
        return TablesOfView(self, view)

    def function_start(self, image: Image, address: int) -> int:
        """Where the function begins that has an address, relative to the image base; the address if that is unknown."""
        functions = self._functions.get(image.number)
        if functions is None or not 0 <= address < 1 << 32:
            return address
        i = int(np.searchsorted(functions, np.uint32(address), "right")) - 1
        return int(functions[i]) if i >= 0 else address

    def slot(self, image: Image) -> int:
        """A number for an image, whose table is read if it was not yet."""
        slot = self._slot_of.get(image.number)
        if slot is None:
            slot = self._slot_of[image.number] = len(self._slot_of) + 1
            if self.skipped is None:
                self._load(image, slot)
            else:
                self.skipped.add(image.short_name)
        return slot

    def rule_at(self, slot: U64, relative: U64) -> Ints:
        """Numbers of the rules at addresses relative to the images in slots; 0 where there is none."""
        key = (slot << _SLOT) | relative
        row = self._keys[: self._rows].searchsorted(key, "right") - 1
        rule: Ints = self._rule[row]
        missing = (self._keys[row] ^ key) >> _SLOT != 0
        missing |= relative >> _SLOT != 0
        if missing.any():
            rule[missing] = 0
        return rule

    def _load(self, image: Image, slot: int) -> None:
        table = empty_table()
        if image.elf and self._images.source(image):
            with contextlib.suppress(*FORGED):
                table = unwind_table(image.elf, self._cache)
        n = len(table)
        if not n:
            return
        self._functions[image.number] = table.functions
        if self._rows + n > len(self._keys):
            more = max(n, len(self._keys) // 2)
            self._keys = np.concatenate([self._keys[: self._rows], np.zeros(more, np.uint64)])
            self._rule = np.concatenate([self._rule[: self._rows], np.zeros(more, np.int64)])
        span = slice(self._rows, self._rows + n)
        self._keys[span] = (np.uint64(slot) << _SLOT) | table.start.astype(np.uint64)
        self._rule[span] = np.where(table.rule == 0, 0, table.rule.astype(np.int64) + (len(self.rules) - 1))
        self._rows += n
        self._set_rules(np.concatenate([self.rules, table.rules[1:]]))

    def _forget_all(self) -> None:
        self._slot_of.clear()
        self._functions.clear()
        self._rows = 1
        self._set_rules(self.rules[:1])

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

    def rule_at(self, mapping: Ints, address: U64) -> Ints:
        """Numbers of the rules at addresses, each in its mapping; 0 where there is none."""
        slot = self._slot[mapping]
        if not slot.all():
            for one in np.unique(mapping[slot == 0]).tolist():
                self._slot[one] = self.tables.slot(self._view.mappings[one].image)
            slot = self._slot[mapping]
        return self.tables.rule_at(slot, address - self._view.base[mapping])
