"""Every loaded map: described when first seen and when owners change, and how full it is at each reading.

No map is held longer than the few system calls of one look at it, so that a map goes when its owner does.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tracelab.recorder import introspect
from tracelab.recorder.elementcounts import Counted, ElementCounts
from tracelab.recorder.occupancy import COUNTED, UNKNOWN, Entries, Occupancy, clock
from tracelab.recorder.owners import Held
from tracelab.recorder.ring import Ring

BUDGET_S = (
    0.005  #: of CPU time for looks at maps, per reading; maps that are left over come first in the next
)
SLICE_S = 0.001  #: of it, for counting the entries of one map
_NO_PREALLOC = 1  #: BPF_F_NO_PREALLOC
#: maps whose memory is not all charged when they are made
GROWING = (
    "lpm_trie sk_storage inode_storage task_storage cgrp_storage cgroup_storage percpu_cgroup_storage devmap "
    "devmap_hash cpumap sockhash struct_ops arena"
).split()
RINGS = ("ringbuf", "user_ringbuf")
Rows = list[tuple[object, ...]]


@dataclass(slots=True)
class _Known:
    about: introspect.Map
    memlock_bytes: int | None = None
    said: tuple[int, ...] | None = None  #: owners, as last written
    fill_bytes: int | None = None
    entries: Entries = UNKNOWN


class LoadedMaps:
    """Remembers what was written of each map, and looks at all of them in turn.

    Ring buffers, and entries that the kernel counts itself, are in every reading. Other maps are looked at in turn:
    memory charged is as of the last look, and entries are null in a reading in which the map's turn did not come.
    """

    def __init__(self, own: set[int], own_rings: Mapping[int, Ring], counts: ElementCounts | None) -> None:
        self._own = own
        self._own_rings = own_rings
        self._counts = counts
        self._occupancy = Occupancy()
        self._maps: dict[int, _Known] = {}
        self._turn: deque[int] = deque()

    def refresh(self, maps: Iterable[int]) -> bool:
        """Learn of new maps, and forget those that are gone; whether there are any."""
        maps = set(maps)
        changed = maps != self._maps.keys()
        for number in self._maps.keys() - maps:
            del self._maps[number]
            self._occupancy.forget(number)
        for number in sorted(maps - self._maps.keys()):
            with contextlib.suppress(OSError), introspect.opened("map", number) as fd:
                about = introspect.bpf_map(fd)
                self._maps[number] = _Known(about, _memlock_bytes(fd, about))
        if changed:
            self._turn = deque(n for n in (*self._turn, *self._maps) if n in self._maps)
            self._turn = deque(dict.fromkeys(self._turn))
        return changed

    def take(self, now_ns: int, held: Held) -> tuple[Rows, Rows]:
        """Rows of tables bpf_maps, for what is new or has changed, and bpf_map_stats, for every map."""
        counted = Counted({}, {}, frozenset(self._maps))
        if self._counts is not None:
            with contextlib.suppress(OSError):
                counted = self._counts.read()
        for known in self._maps.values():
            known.fill_bytes, known.entries = None, UNKNOWN
        self._look(counted)
        maps: Rows = []
        stats: Rows = []
        for number, known in self._maps.items():
            if number not in counted.there:
                continue  # gone since
            owners = tuple(sorted(held.maps.get(number, ())))
            if owners != known.said:
                known.said = owners
                maps.append(self._row(now_ns, known.about, owners))
            entries = known.entries
            if number in counted.entries:
                entries = Entries(counted.entries[number])
            exact = None if entries.count is None else int(entries.exact)
            stats.append((now_ns, number, known.memlock_bytes, known.fill_bytes, entries.count, exact))
        return maps, stats

    def _look(self, counted: Counted) -> None:
        for number, known in self._maps.items():
            if known.about.type in RINGS:
                known.fill_bytes = self._fill_bytes(number, counted.fill_bytes)
        until = clock() + BUDGET_S  # begun here: many rings may leave nothing of it, and no map its turn
        for number in list(self._turn):
            if clock() > until:
                break
            self._turn.rotate(-1)
            known = self._maps[number]
            uncounted = known.about.type in COUNTED and number not in counted.entries
            if not uncounted and not _may_grow(known.about):
                continue
            with contextlib.suppress(OSError), introspect.opened("map", number, read_only=True) as fd:
                known.memlock_bytes = _memlock_bytes(fd, known.about)
                if uncounted:
                    known.entries = self._occupancy.count(fd, known.about, min(until, clock() + SLICE_S))

    def _fill_bytes(self, number: int, fills: Mapping[int, int]) -> int | None:
        if number in self._own_rings:
            return self._own_rings[number].fill_bytes()
        if number in fills:
            return fills[number]
        with contextlib.suppress(OSError):
            return _ring_fill_bytes(number)
        return None

    def _row(self, now_ns: int, m: introspect.Map, owners: tuple[int, ...]) -> tuple[object, ...]:
        own = int(m.map_id in self._own)
        about = (m.name, m.type, m.key_bytes, m.value_bytes, m.max_entries, m.flags)
        return (now_ns, m.map_id, *about, own, list(owners))


def _memlock_bytes(fd: int, about: introspect.Map) -> int | None:
    """What the map takes; before Linux 6.4, which says 0 of rings, the ring's data without its bookkeeping."""
    charged = introspect.memlock_bytes(fd)
    return charged or about.max_entries if charged is not None and about.type in RINGS else charged


def _may_grow(about: introspect.Map) -> bool:
    """Whether the memory that a map takes may change."""
    return bool(about.flags & _NO_PREALLOC) or about.type in GROWING


def _ring_fill_bytes(number: int) -> int | None:
    """Unread bytes of somebody's ring buffer; None when the kernel does not let it be mapped."""
    import mmap

    with introspect.opened("map", number) as fd:
        try:
            with mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ) as consumer:
                consumed = int.from_bytes(consumer[:8], "little")
            with mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=mmap.PAGESIZE) as producer:
                return int.from_bytes(producer[:8], "little") - consumed
        except (OSError, ValueError):
            return None
