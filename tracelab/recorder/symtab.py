"""One name for each function of an ELF symbol table that gives it several."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_FUNCTION, _INDIRECT = 2, 10
_UNDERSCORES = 3  #: that are counted at most
_SPLIT_OFF = re.compile(rb"\.(?:cold|part|isra|constprop|lto_priv|llvm)\b")


def without_aliases(symbols: bytes, strings: bytes, *, described: bool = False) -> bytes:
    """A symbol table in which functions of the same address have lost all names but one.

    What programmers call it stays: rather a name for some bytes than for none, rather a global name than a local
    one, then the one with fewer underscores in front, then the shortest. Entries that are lost become undefined
    symbols. In libc, `read` stays of `read`, `__read`, `__GI_read`, `__GI___read`, `__libc_read` and
    `__GI___libc_read`.

    Where debug information describes the functions, the names of what compilers split off from them (`f.part.0`,
    `f.cold`) are lost, too: `symbolic` calls a function after the symbol at the lowest of all its addresses, which
    may be that of a split-off part, and that one may be another function's.
    """
    table = np.frombuffer(symbols[: len(symbols) // _SYMBOL.itemsize * _SYMBOL.itemsize], _SYMBOL).copy()
    kind = table["info"] & 15
    named = (kind == _FUNCTION) | (kind == _INDIRECT)
    rows = np.flatnonzero(named & (table["section"] != 0) & (table["name"] < len(strings)))
    if not rows.size:
        return symbols
    text = np.frombuffer(strings + bytes(_UNDERSCORES + 1), np.uint8)
    name = table["name"][rows].astype(np.int64)
    length = _lengths(text, name)
    if described:
        dots = np.array([m.start() for m in _SPLIT_OFF.finditer(strings)] + [len(text)], np.int64)
        split = dots[np.searchsorted(dots, name)] < name + length
        table["section"][rows[split]] = 0
        rows, name, length = rows[~split], name[~split], length[~split]
    local, empty = table["info"][rows] >> 4 == 0, table["size"][rows] == 0
    order = np.lexsort((length, _underscores(text, name), local, empty, table["value"][rows]))
    value = table["value"][rows[order]]
    alias = np.zeros(len(rows), np.bool_)
    alias[1:] = value[1:] == value[:-1]
    table["section"][rows[order[alias]]] = 0
    return table.tobytes()


def _underscores(text: npt.NDArray[np.uint8], name: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    more = np.ones(len(name), np.bool_)
    count = np.zeros(len(name), np.int64)
    for i in range(_UNDERSCORES):
        more &= text[name + i] == ord("_")
        count += more
    return count


def _lengths(text: npt.NDArray[np.uint8], name: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    ends = np.flatnonzero(text == 0)
    length: npt.NDArray[np.int64] = ends[np.searchsorted(ends, name)] - name
    return length
