"""What code was mapped where, in every process, at any moment of the recording.

Fed with the kernel's side band: its records come in order for one CPU, but a little out of order over CPUs, and
some samples come later still. So a process is a list of lives (from a fork or an exec on), each with its own
mappings; what is late finds its place by its time.
"""

from __future__ import annotations

import bisect
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracelab.recorder.images import Image, Images

KEEP_NS = 5_000_000_000  #: how long what has ended is still known, after samples that were taken later came
LATEST_NS = 300_000_000_000  #: the same, when no samples come
MAX_MAPPINGS = 8192  #: of one process; more are not followed
MAX_PROCESSES = 1 << 15  #: beyond, it is checked which of them are still there
MAX_DEEP_PROGRAMS = 4096
REFRESH_S = 1.0  #: at most so often is /proc asked again about a process whose code was not found
ADDRESS_BITS = 47  #: of user space on x86-64
_BITS = np.uint64(ADDRESS_BITS)
_END = 1 << ADDRESS_BITS
_FOREVER = 1 << 63
_LINE = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)"
)  # proc_pid_maps(5)

U64 = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


class Mapping(NamedTuple):
    """Executable memory of a process."""

    start: int
    end: int
    base: int  #: address of the image base: an address minus `base` is relative to the image
    image: Image
    mapped_ns: int
    since_ns: int  #: as mapped_ns where something else was mapped before; else 0, the whole life


def _whole_life(mapping: Mapping) -> Mapping:
    return mapping._replace(since_ns=0) if mapping.since_ns else mapping


@dataclass
class _Life:
    """A process from a fork, an exec, or its first sight on."""

    since_ns: int
    assumed_ns: int = -1  #: when it was first heard of, if its beginning was not seen
    ended_ns: int = _FOREVER
    maps: list[Mapping] = field(default_factory=list)  #: sorted, without overlap
    gone: list[tuple[Mapping, int]] = field(default_factory=list)  #: replaced, and when
    jit: Image | None = None
    program: Image | None = None  #: what it executes: the file that was mapped first
    _changes: list[int] | None = None
    _snapshots: dict[int, tuple[Mapping, ...]] = field(default_factory=dict)

    def add(self, mapping: Mapping) -> None:
        """Map memory; what was mapped there before ends."""
        if self.program is None and mapping.image.is_file:
            self.program = mapping.image
        first = bisect.bisect_right(self.maps, mapping.start, key=lambda m: m.end)
        last = bisect.bisect_left(self.maps, mapping.end, key=lambda m: m.start)
        over = self.maps[first:last]
        if any(m[:4] == mapping[:4] for m in over) or len(self.maps) > MAX_MAPPINGS:
            return
        if not over:  # as nearly always
            self.maps.insert(first, _whole_life(mapping))
            self.changed()
            return
        now_ns = mapping.mapped_ns
        new = mapping._replace(since_ns=now_ns)
        parts = []
        for old in over:
            if old.image is new.image and old.base == new.base:  # it grew: the same code, as before
                start, end = min(old.start, new.start), max(old.end, new.end)
                new = new._replace(start=start, end=end, since_ns=min(old.since_ns, new.since_ns))
                continue
            self.gone.append((old, now_ns))
            if old.start < mapping.start:
                parts.append(old._replace(end=mapping.start, since_ns=now_ns))
            if old.end > mapping.end:
                parts.append(old._replace(start=mapping.end, since_ns=now_ns))
        self.maps[first:last] = sorted([*parts, new], key=lambda m: m.start)
        self.gone = [g for g in self.gone if g[1] > now_ns - KEEP_NS][-MAX_MAPPINGS:]
        self.changed()

    def changed(self) -> None:
        """Forget what was derived from the mappings."""
        self._changes = None
        self._snapshots.clear()

    def changes(self) -> list[int]:
        """Moments at which something was replaced, and the beginning, sorted."""
        if self._changes is None:
            moments = {until for _, until in self.gone} | {m.since_ns for m in self.maps if self.gone}
            self._changes = [self.since_ns, *sorted(t for t in moments if t > self.since_ns)]
        return self._changes

    def at(self, time_ns: int) -> tuple[Mapping, ...]:
        """The mappings at a time, sorted."""
        changes = self.changes()
        moment = changes[max(0, bisect.bisect_right(changes, time_ns) - 1)]
        found = self._snapshots.get(moment)
        if found is None:
            past = [m for m, until in self.gone if m.since_ns <= moment < until]
            now = [m for m in self.maps if m.since_ns <= moment or not self.gone]
            found = self._snapshots[moment] = tuple(sorted([*now, *past], key=lambda m: m.start))
        return found


@dataclass(frozen=True)
class View:
    """The address spaces of a batch of samples, for looking up many addresses at once."""

    mappings: tuple[Mapping, ...]  #: of all spaces
    space: U64  #: shape (samples,), number of the address space of each sample
    known: npt.NDArray[np.bool_]  #: shape (samples,), whether anything is known of its process
    base: U64  #: shape (mappings,)
    _start: U64  #: number of the space in the high bits
    _end: U64

    def find(self, space: U64, address: U64) -> Ints:
        """Index into `mappings` of addresses, each in its space; -1 where nothing is mapped."""
        found: Ints
        if not len(self._start):
            found = np.full(len(address), -1, np.int64)
            return found
        key = (space << _BITS) | address
        found = self._start.searchsorted(key, "right") - 1
        nowhere = (found < 0) | (key >= self._end[found]) | (address >= _END)
        if nowhere.any():
            found[nowhere] = -1
        return found


class AddressSpaces:
    """Executable mappings of all processes over time.

    Times are CLOCK_MONOTONIC nanoseconds. Nothing here raises for a process that is gone or a file that is odd.
    """

    def __init__(self) -> None:
        self.images = Images()
        self._lives: dict[int, list[_Life]] = {}
        self._ended: deque[tuple[int, int]] = deque()
        self._now_ns = 0
        self._sampled_ns = 0
        self._refreshed: dict[int, float] = {}
        self.deep_pids: set[int] = set()  #: processes whose stacks are longer than their copies
        self._deep_programs: set[int] = set()  #: numbers of images that they, or others before them, execute

    @classmethod
    def running(cls) -> AddressSpaces:
        """All processes that run now; call it when the side band is open, so that nothing is missed between."""
        spaces = cls()
        for name in os.listdir("/proc"):
            if name.isdigit():
                spaces.first_sight(int(name))
        return spaces

    def mmap(
        self,
        time_ns: int,
        pid: int,
        start: int,
        size: int,
        pgoff: int,
        path: str,
        build_id: bytes | None = None,
        inode: tuple[int, int] | None = None,
    ) -> None:
        """A process mapped `size` bytes of executable memory; `inode` is device and inode number."""
        self._see(time_ns)
        if not 0 <= start < start + size <= _END:
            return
        if pid not in self._lives:
            self.first_sight(pid)
        life = self._life(pid, time_ns) or self._begin(pid, 0, time_ns)
        life.add(self._mapping(life, pid, time_ns, start, start + size, pgoff, path, build_id, inode))
        self._deepen_alike(pid, life)

    def deepen(self, pid: int) -> None:
        """The stack of a process is longer than its copy; so, then, are those of all that execute the same program."""
        life = self._lives[pid][-1] if pid in self._lives else None
        if life is None:
            return
        if life.ended_ns == _FOREVER:
            self.deep_pids.add(pid)
        program = life.program
        if program is None or program.number in self._deep_programs:
            return
        if len(self._deep_programs) < MAX_DEEP_PROGRAMS:
            self._deep_programs.add(program.number)
            for other, lives in self._lives.items():
                self._deepen_alike(other, lives[-1])

    def _deepen_alike(self, pid: int, life: _Life) -> None:
        if (
            life.program is not None
            and life.program.number in self._deep_programs
            and life.ended_ns == _FOREVER
        ):
            self.deep_pids.add(pid)

    def fork(self, time_ns: int, pid: int, parent_pid: int) -> None:
        """A process began as a copy of its parent."""
        self._see(time_ns)
        if parent_pid not in self._lives:
            self.first_sight(parent_pid)
        parent = self._life(parent_pid, time_ns)
        life = self._life(pid, time_ns)
        if life is None or life.assumed_ns < time_ns:
            life = self._begin(pid, time_ns)
        life.since_ns, life.assumed_ns = time_ns, -1
        life.program = parent.program if parent else None
        self._deepen_alike(pid, life)
        own, life.maps = life.maps, [_whole_life(m) for m in parent.at(time_ns)] if parent else []
        life.changed()
        for mapping in own:
            life.add(mapping)

    def exec(self, time_ns: int, pid: int) -> None:
        """A process began another program: none of its mappings outlive it."""
        self._see(time_ns)
        before = self._life(pid, time_ns)
        life = self._begin(pid, time_ns)
        self.deep_pids.discard(pid)
        if before is not None:
            before.ended_ns = min(before.ended_ns, time_ns)
            mine = [m for m in before.maps if m.mapped_ns >= time_ns]  # they came before this record did
            before.maps = [m for m in before.maps if m.mapped_ns < time_ns]
            before.changed()
            for mapping in mine:
                life.add(mapping)
        self._deepen_alike(pid, life)
        self._forget(pid)

    def exit(self, time_ns: int, pid: int) -> None:
        """A process ended. It is kept for KEEP_NS, for the samples that are still to come."""
        self._see(time_ns)
        self.deep_pids.discard(pid)
        for life in self._lives.get(pid, []):
            if life.since_ns <= time_ns:
                life.ended_ns = min(life.ended_ns, time_ns)
        self._ended.append((time_ns, pid))
        while self._ended and self._ended[0][0] < self._horizon_ns():
            self._forget(self._ended.popleft()[1])
        if len(self._lives) > MAX_PROCESSES:  # exits were lost
            for lost in [p for p in self._lives if not os.path.exists(f"/proc/{p}")]:
                self._lives.pop(lost)

    def first_sight(self, pid: int) -> None:
        """Learn from /proc what a process has mapped now; harmless when it is gone."""
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
                text = maps.read()
        except (OSError, ValueError):
            return
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        life = self._life(pid, now_ns) or self._begin(pid, 0, now_ns)
        for line in _LINE.finditer(text):
            start, end, offset, major, minor = (int(line[i], 16) for i in range(1, 6))
            if end <= _END:
                inode = (os.makedev(major, minor), int(line[6])) if int(line[6]) else None
                life.add(self._mapping(life, pid, now_ns, start, end, offset, line[7], None, inode))

    def refresh(self, pid: int) -> None:
        """As `first_sight`, but not more often than every REFRESH_S seconds."""
        now = time.monotonic()
        if now - self._refreshed.get(pid, -REFRESH_S) >= REFRESH_S:
            self._refreshed[pid] = now
            self.first_sight(pid)

    def view(self, pid: npt.NDArray[np.uint32], time_ns: U64) -> View:
        """The address spaces of samples of processes `pid` at `time_ns`, both of shape (samples,).

        A process that was never heard of is looked up in /proc.
        """
        self._sampled_ns = max(self._sampled_ns, int(time_ns.max(initial=0)))
        space = np.zeros(len(pid), np.uint64)
        known = np.zeros(len(pid), np.bool_)
        snapshots: dict[tuple[Mapping, ...], int] = {}
        for one in np.unique(pid):
            mine = np.flatnonzero(pid == one)
            for snapshot, rows in self._snapshots(int(one), mine, time_ns[mine]):
                space[rows] = snapshots.setdefault(snapshot, len(snapshots))
                known[rows] = len(snapshot) > 0
        mappings = tuple(m for snapshot in snapshots for m in snapshot)
        prefix = np.repeat(np.arange(len(snapshots), dtype=np.uint64), [len(s) for s in snapshots])
        prefix <<= _BITS
        return View(
            mappings,
            space,
            known,
            np.array([m.base & (1 << 64) - 1 for m in mappings], np.uint64),
            prefix + np.array([m.start for m in mappings], np.uint64),
            prefix + np.array([m.end for m in mappings], np.uint64),
        )

    def _snapshots(self, pid: int, rows: Ints, time_ns: U64) -> Iterator[tuple[tuple[Mapping, ...], Ints]]:
        if pid not in self._lives:
            self.first_sight(pid)
        moments = [(moment, life) for life in self._lives.get(pid, []) for moment in life.changes()]
        if not moments:
            yield (), rows
            return
        starts = np.maximum.accumulate(np.array([moment for moment, _ in moments], np.uint64))
        which = np.maximum(np.searchsorted(starts, time_ns, "right") - 1, 0)
        for one in np.unique(which):
            moment, life = moments[one]
            yield life.at(moment), rows[which == one]

    def _mapping(
        self,
        life: _Life,
        pid: int,
        time_ns: int,
        start: int,
        end: int,
        offset: int,
        path: str,
        build_id: bytes | None,
        inode: tuple[int, int] | None,
    ) -> Mapping:
        image = self.images.find(pid, start, end, path, build_id, inode)
        if image is None:
            if life.jit is None:
                life.jit = self.images.jit(pid)
            image = life.jit
        return Mapping(start, end, image.base_of(start, offset), image, time_ns, time_ns)

    def _life(self, pid: int, time_ns: int) -> _Life | None:
        """The life of a process at a time; its first one for times before all."""
        lives = self._lives.get(pid)
        if not lives:
            return None
        return lives[max(0, bisect.bisect_right(lives, time_ns, key=lambda x: x.since_ns) - 1)]

    def _begin(self, pid: int, since_ns: int, assumed_ns: int = -1) -> _Life:
        life = _Life(since_ns, assumed_ns)
        bisect.insort_right(self._lives.setdefault(pid, []), life, key=lambda x: x.since_ns)
        return life

    def _forget(self, pid: int) -> None:
        lives = [x for x in self._lives.get(pid, []) if x.ended_ns >= self._horizon_ns()]
        if lives:
            self._lives[pid] = lives
        else:
            self._lives.pop(pid, None)
            self._refreshed.pop(pid, None)

    def _horizon_ns(self) -> int:
        """What ended before is not asked for any more."""
        return max(self._sampled_ns, self._now_ns - LATEST_NS) - KEEP_NS

    def _see(self, time_ns: int) -> None:
        self._now_ns = max(self._now_ns, time_ns)
