"""Functions, files and lines of addresses in user code, from whatever the files and JITs have to tell.

Everything here reads what a traced process could have forged: any trouble means "no symbol", never an error.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tracelab.profile import Frame
from tracelab.recorder.debugfiles import debug_elf, packed_elf
from tracelab.recorder.demangle import demangle
from tracelab.recorder.diskcache import DiskCache
from tracelab.recorder.elf import FORGED, FileSource
from tracelab.recorder.gopclntab import GoNames, go_table
from tracelab.recorder.images import Image, Images
from tracelab.recorder.perfmap import PerfMap
from tracelab.recorder.symcaches import SymCaches

MAX_TABLE_BYTES = 64 << 20  #: symbol tables held or mapped; the one not used for longest goes
QUICKLY_READ_BYTES = 4 << 20  #: of symbols, in 0.05 s or so
MAX_SYMBOL = 4096  #: longest name that is kept
_MAX_NAMES = 1 << 16
_MAX_PERF_MAPS = 256

Frames = tuple[Frame, ...]  #: root first: a function, then what was inlined into it


class _Tables(NamedTuple):
    """Symbol tables of an image, in the order in which they are asked."""

    caches: tuple[Any, ...]
    size_bytes: int


class UserSymbols:
    """Frames of addresses in images; tables are made when an image is first asked for.

    `function_start` tells where the function begins that has an address of an image, both relative to its base.
    """

    def __init__(
        self,
        images: Images,
        function_start: Callable[[Image, int], int] = lambda _, address: address,
        cache: DiskCache | None = None,
    ) -> None:
        self.skipped: set[str] = set()  #: files of which not all was read, because there was no time
        self._until = float("inf")
        self._images = images
        self._function_start = function_start
        self._symcaches = SymCaches(cache or DiskCache.of_user("symbols"))
        self._tables: OrderedDict[int, _Tables] = OrderedDict()
        self._read_before: set[int] = set()  #: numbers of images
        self._names: dict[str, str] = {}
        self._perf_maps: OrderedDict[int, PerfMap] = OrderedDict()

    def frames(self, image: Image, addresses: Sequence[int]) -> list[Frames]:
        """For each address, relative to the image base, its frames root first: at least one each."""
        if image.is_jit:
            perf_map = self._perf_map(image.pid)
            return [(perf_map.frame(a) or unsymbolised(image, a),) for a in addresses]
        caches = self._tables_of(image).caches
        return [self._look_up(image, caches, a) for a in addresses]

    def was_read(self, image: Image) -> bool:
        """Whether the tables of an image have been read before; those of code made by a JIT need no reading."""
        return image.is_jit or image.number in self._read_before

    def read(self, image: Image) -> None:
        """Read the tables of an image now, so that `frames` need not."""
        self._tables_of(image)

    def hurry(self, until: float) -> None:
        """From now on read small symbol tables alone, no lines, and nothing from `until` of time.monotonic() on."""
        self._until = until
        self._symcaches.hurry(until)

    @property
    def child_cpu_s(self) -> float:
        """CPU time of processes that have read symbols."""
        return self._symcaches.child_cpu_s

    def learned(self, image: Image) -> bool:
        """Whether a JIT has listed more of its code since it was last asked."""
        return self._perf_map(image.pid).refresh()

    def _look_up(self, image: Image, caches: tuple[Any, ...], address: int) -> Frames:
        for cache in caches:
            try:
                found = cache.lookup(address)
            except Exception:  # symbolic raises its own, and OverflowError; a frame without a name it is
                continue
            named = [s for s in found if s.symbol]
            if named:
                return tuple(
                    Frame(
                        self._name(s.symbol),
                        image.module,
                        file=s.full_path or "",
                        line=int(s.line),
                        inlined=depth > 0,
                        build_id=image.build_id.hex() if image.build_id else "",
                        offset=address,
                    )
                    for depth, s in enumerate(reversed(named))
                )
        return (unsymbolised(image, address, self._function_start(image, address)),)

    def _name(self, symbol: str) -> str:
        name = self._names.get(symbol)
        if name is None:
            if len(self._names) > _MAX_NAMES:
                self._names.clear()
            name = self._names[symbol] = demangle(symbol.partition("@")[0] or symbol)[:MAX_SYMBOL]
        return name

    def _tables_of(self, image: Image) -> _Tables:
        found = self._tables.get(image.number)
        if found is None:
            self._read_before.add(image.number)
            found = self._tables[image.number] = self._read(image)
            while (
                len(self._tables) > 1 and sum(t.size_bytes for t in self._tables.values()) > MAX_TABLE_BYTES
            ):
                self._tables.popitem(last=False)
        self._tables.move_to_end(image.number)
        return found

    def _read(self, image: Image) -> _Tables:
        if image.elf is None or self._images.source(image) is None:
            return _Tables((), 0)
        if self._until != float("inf"):
            self.skipped.add(image.short_name)
            size = sum(
                s.size for s in image.elf.sections if s.name in (".symtab", ".strtab", ".dynsym", ".dynstr")
            )
            if time.monotonic() >= self._until or size > QUICKLY_READ_BYTES:
                return _Tables((), 0)
        root = image.paths[0].removesuffix(image.paths[-1]) if image.paths else ""
        separate = debug_elf(image.elf, image.paths[-1] if image.paths else "", root)
        made = []
        try:
            made = [
                self._symcaches.of(elf)
                for elf in (separate, image.elf, packed_elf(image.elf))
                if elf is not None
            ]
        except TimeoutError:
            self.skipped.add(image.short_name)
        if separate is not None and isinstance(separate.source, FileSource):
            separate.source.close()
        good = [m for m in made if m is not None]
        caches, size = [cache for cache, _ in good], sum(size for _, size in good)
        with contextlib.suppress(*FORGED):
            if go := go_table(image.elf):
                caches.append(GoNames(go, image.elf.load_address))
                size += go.data.nbytes
        return _Tables(tuple(caches), size)

    def _perf_map(self, pid: int) -> PerfMap:
        found = self._perf_maps.get(pid)
        if found is None:
            found = self._perf_maps[pid] = PerfMap(pid)
            found.refresh()
            if len(self._perf_maps) > _MAX_PERF_MAPS:
                self._perf_maps.popitem(last=False)
        self._perf_maps.move_to_end(pid)
        return found


def unsymbolised(image: Image | None, address: int, function: int | None = None) -> Frame:
    """The frame of an address without a name; None is for code of which nothing is known.

    It is called after the beginning of its function, where that is known, so that there is one of it. The function
    with which a program begins is `_start`, whoever stripped the name.
    """
    if image is None:
        return Frame(f"[unknown]+{address:#x}")
    name = image.short_name.strip("[]")
    build_id = image.build_id.hex() if image.build_id else ""
    called = address if function is None else function
    begins = (
        image.elf is not None and called <= image.elf.entry <= address
    )  # the dynamic linker's has no entry of CFI
    symbol = "_start" if begins else f"[{name}]+{called:#x}"
    return Frame(symbol, image.module, build_id=build_id, offset=address)
