"""How many entries of a map are in use, counted from outside with a bounded number of system calls.

For kernels, and types of maps, whose own counts cannot be had (`elementcounts`). What is done by type of map:

    hashes          keys are read in batches, with their values, which the kernel insists on copying. A hash spreads its
                    keys evenly, so that of a large map the last buckets are counted and stand for all. A batch holds
                    one bucket's lock at a time, as an update does; values longer than LARGE_BYTES are not copied, the
                    keys are asked for one by one instead
    stack traces    ids one by one; being hashes, too, the first of them stand for all
    slots           arrays of programs, maps, devices, CPUs and sockets: a lookup per slot, in a large map of every
                    n-th slot
    lists           tries, hashes of devices and sockets, cgroup storage: keys one by one, in as many readings as it
                    takes
    queues, stacks  only whether they are empty, which is 0
    not told        arrays, per CPU or not: every entry exists, and which ones a program uses only it knows, as zero
                    may be a value; ring buffers, which have a fill instead; Bloom filters; storage of sockets, tasks,
                    inodes and cgroups; arenas; perf event arrays

Lookups by system call do not refresh entries of LRU maps, and take no spin lock in values (BPF_F_LOCK is not given).
Sources: kernel/bpf/hashtab.c (__htab_map_lookup_and_delete_batch: a batch begins at a bucket's number),
kernel/bpf/stackmap.c, kernel/bpf/syscall.c (map_lookup_elem).
"""

from __future__ import annotations

import ctypes
import errno
import struct
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tracelab.recorder.introspect import Map, bpf_errno

LARGE_BYTES = 4096  #: values longer than this cost more to copy than a system call for their key does
BATCH_BYTES = 256 << 10
MAX_BATCH_BYTES = 16 << 20
FIRST_BUCKETS = 1024  #: of a hash, before it is known how long they take
GROWTH = 8  #: how many times as many buckets are tried next
MAX_SLOTS = 1024  #: looked up in one map
clock = time.thread_time  #: seconds; what others take of the CPU meanwhile is no cost of ours
_LOOKUP, _NEXT_KEY, _LOOKUP_BATCH = 1, 4, 24
_PER_CPU = ("percpu_hash", "lru_percpu_hash", "percpu_cgroup_storage")
HASHES = ("hash", "lru_hash", "hash_of_maps", "percpu_hash", "lru_percpu_hash")
SLOTS = ("prog_array", "array_of_maps", "devmap", "cpumap", "sockmap", "xskmap", "reuseport_sockarray")
LISTS = ("lpm_trie", "devmap_hash", "sockhash", "cgroup_storage", "percpu_cgroup_storage")
QUEUES = ("queue", "stack")
COUNTED = frozenset((*HASHES, *SLOTS, *LISTS, *QUEUES, "stack_trace"))


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries in use."""

    count: int | None  #: None when that cannot be told, or not yet
    exact: bool = True  #: false when estimated from a part, or counted in several readings


@dataclass(slots=True)
class _List:
    """Where counting of a list stands."""

    key: bytes | None = None
    count: int = 0
    readings: int = 1


UNKNOWN = Entries(None)


class Occupancy:
    """Counts the entries of one map after the other; a list that was not finished is gone on with the next time."""

    def __init__(self) -> None:
        self._lists: dict[int, _List] = {}

    def count(self, fd: int, about: Map, until: float) -> Entries:
        """Entries of the map behind a descriptor, looking at it until about `until` (of `clock`)."""
        if about.type in HASHES:
            return self._hash(fd, about, until)
        if about.type == "stack_trace":
            return _stack_traces(fd, about, until)
        if about.type in SLOTS:
            return _slots(fd, about, until)
        if about.type in LISTS:
            return self._list(fd, about, until)
        if about.type in QUEUES:
            return Entries(0) if _error_of_peek(fd, about) == errno.ENOENT else UNKNOWN
        return UNKNOWN

    def forget(self, map_id: int) -> None:
        """The map is gone."""
        self._lists.pop(map_id, None)

    def _hash(self, fd: int, about: Map, until: float) -> Entries:
        value_bytes = (
            (about.value_bytes + 7) // 8 * 8 * possible_cpus()
            if about.type in _PER_CPU
            else about.value_bytes
        )
        if value_bytes > LARGE_BYTES:
            return self._list(fd, about, until)
        buckets = _power_of_two(about.max_entries)
        span, began = FIRST_BUCKETS, clock()
        while True:
            span = min(span, buckets)
            found = _count_from(fd, buckets - span, about.key_bytes, value_bytes)
            if found is None:
                return self._list(fd, about, until)
            now = clock()
            if span == buckets:
                return Entries(found)
            if now + (now - began) * GROWTH > until:
                return Entries(min(about.max_entries, round(found * buckets / span)), exact=False)
            span, began = span * GROWTH, now

    def _list(self, fd: int, about: Map, until: float) -> Entries:
        at = self._lists.setdefault(about.map_id, _List())
        keys = _Keys(fd, about.key_bytes, at.key)
        while at.count <= about.max_entries:  # a key that was deleted meanwhile makes the kernel begin again
            if not keys.advance():
                break
            at.count += 1
            if not at.count & 15 and clock() > until:
                at.key, at.readings = keys.key, at.readings + 1
                return Entries(None, exact=False)
        del self._lists[about.map_id]
        if keys.error not in (0, errno.ENOENT):
            return UNKNOWN
        return Entries(
            min(at.count, about.max_entries), exact=at.readings == 1 and at.count <= about.max_entries
        )


class _Keys:
    """Keys of a map, one system call each."""

    def __init__(self, fd: int, key_bytes: int, after: bytes | None = None) -> None:
        self._now = ctypes.create_string_buffer(after or b"", key_bytes)
        self._attr = ctypes.create_string_buffer(32)
        struct.pack_into("<I4xQQ", self._attr, 0, fd, 0, ctypes.addressof(self._now))
        self._first = after is None
        self.error = 0
        if not self._first:
            self._go_on()

    @property
    def key(self) -> bytes:
        """The last key."""
        return self._now.raw

    def advance(self) -> bool:
        """Go on to the next key; False when there is none, or the map does not tell (`error`)."""
        self.error = bpf_errno(_NEXT_KEY, self._attr)
        if self._first and not self.error:
            self._first = False
            self._go_on()
        return not self.error

    def _go_on(self) -> None:
        struct.pack_into("<Q", self._attr, 8, ctypes.addressof(self._now))


def _count_from(fd: int, bucket: int, key_bytes: int, value_bytes: int) -> int | None:
    """Entries from a bucket of a hash to its last; None when the map does not give batches."""
    room = max(1, BATCH_BYTES // (key_bytes + value_bytes))
    total, at = 0, ctypes.c_uint32(bucket)
    while True:
        keys = _buffer(room * key_bytes)
        values = _buffer(room * value_bytes, 1)
        attr = ctypes.create_string_buffer(56)
        pointers = (
            ctypes.addressof(at),
            ctypes.addressof(at),
            ctypes.addressof(keys),
            ctypes.addressof(values),
        )
        struct.pack_into("<4QII", attr, 0, *pointers, room, fd)
        error = bpf_errno(_LOOKUP_BATCH, attr)
        if error == errno.ENOSPC and room * (key_bytes + value_bytes) * 2 <= MAX_BATCH_BYTES:
            room *= 2  # a bucket with more entries than there was room for
            continue
        if error not in (0, errno.ENOENT):
            return None
        total += int(struct.unpack_from("<I", attr, 32)[0])
        if error:
            return total


def _stack_traces(fd: int, about: Map, until: float) -> Entries:
    buckets = _power_of_two(about.max_entries)
    keys, count = _Keys(fd, about.key_bytes), 0
    while count <= buckets and keys.advance():
        count += 1
        if not count & 15 and clock() > until:
            looked_at = int.from_bytes(keys.key, "little") + 1
            return Entries(round(count * buckets / looked_at), exact=looked_at == buckets)
    return Entries(count) if keys.error == errno.ENOENT else UNKNOWN


def _slots(fd: int, about: Map, until: float) -> Entries:
    step = -(-about.max_entries // MAX_SLOTS)
    key, value = ctypes.c_uint32(), ctypes.create_string_buffer(max(8, about.value_bytes))
    attr = ctypes.create_string_buffer(32)
    struct.pack_into("<I4xQQ", attr, 0, fd, ctypes.addressof(key), ctypes.addressof(value))
    count = looked_at = 0
    for slot in range(0, about.max_entries, step):
        key.value = slot
        error = bpf_errno(_LOOKUP, attr)
        if error not in (0, errno.ENOENT):
            return UNKNOWN
        count, looked_at = count + (not error), looked_at + 1
        if not looked_at & 15 and clock() > until:
            break
    return Entries(round(count * about.max_entries / looked_at), exact=looked_at == about.max_entries)


def _error_of_peek(fd: int, about: Map) -> int:
    """What a look at the next element says, which stays where it is."""
    attr, value = ctypes.create_string_buffer(32), ctypes.create_string_buffer(about.value_bytes)
    struct.pack_into("<I4xQQ", attr, 0, fd, 0, ctypes.addressof(value))
    return bpf_errno(_LOOKUP, attr)


_buffers: dict[int, ctypes.Array[ctypes.c_char]] = {}


def _buffer(size: int, which: int = 0) -> ctypes.Array[ctypes.c_char]:
    """One of two buffers that are kept, of at least that size."""
    if which not in _buffers or len(_buffers[which]) < size:
        _buffers[which] = ctypes.create_string_buffer(size)
    return _buffers[which]


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length() if n > 1 else 1


@cache
def possible_cpus() -> int:
    """CPUs that the kernel has room for, each with its own value in a map per CPU."""
    text = Path("/sys/devices/system/cpu/possible").read_text()
    ends = (part.split("-") for part in text.strip().split(","))
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)
