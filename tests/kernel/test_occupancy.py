"""Maps of known content: how many entries the kernel counts, and how many are counted from outside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from loaded_bpf import bpf
from tracelab.recorder import introspect
from tracelab.recorder.elementcounts import ElementCounts
from tracelab.recorder.iterators import Unavailable
from tracelab.recorder.occupancy import Entries, Occupancy, clock, possible_cpus

MAP_CREATE, MAP_UPDATE, MAP_FREEZE, MAP_UPDATE_BATCH = 0, 2, 22, 26
NO_PREALLOC, WRITE_ONLY, ZERO_SEED = 1, 1 << 4, 1 << 6
PER_CPU = ("percpu_hash", "lru_percpu_hash")
LONG = 1e9


class NewMap:
    """A map that belongs to this process."""

    def __init__(self, kind: str, key: int, value: int, entries: int, flags: int = 0, inner: int = 0) -> None:
        number = introspect.MAP_TYPES.index(kind)
        attr = struct.pack("<6II16s", number, key, value, entries, flags, inner, 0, b"known")
        self.fd = bpf(MAP_CREATE, attr.ljust(72, b"\0"))[0]
        self.kind, self.key, self.value = kind, key, value

    def put(self, key: bytes, value: bytes | None = None) -> None:
        """Add or replace an element."""
        size = (self.value + 7) // 8 * 8 * possible_cpus() if self.kind in PER_CPU else self.value
        keys, values = (
            ctypes.create_string_buffer(key, max(1, len(key))),
            ctypes.create_string_buffer(value or b"", size),
        )
        pointer = ctypes.addressof(keys) if key else 0
        bpf(MAP_UPDATE, struct.pack("<I4xQQQ", self.fd, pointer, ctypes.addressof(values), 0))

    def put_numbers(self, numbers: range) -> None:
        """Add elements with these keys, at once."""
        keys = ctypes.create_string_buffer(b"".join(n.to_bytes(self.key, "little") for n in numbers))
        values = ctypes.create_string_buffer(len(numbers) * self.value)
        attr = struct.pack(
            "<4QIIQQ", 0, 0, ctypes.addressof(keys), ctypes.addressof(values), len(numbers), self.fd, 0, 0
        )
        bpf(MAP_UPDATE_BATCH, attr)

    @property
    def map_id(self) -> int:
        """The kernel's id."""
        return introspect.map_id(self.fd)

    def keys(self) -> set[bytes]:
        """All keys, one by one."""
        found: set[bytes] = set()
        now, after = None, ctypes.create_string_buffer(self.key)
        with contextlib.suppress(FileNotFoundError):
            while True:
                pointer = ctypes.addressof(now) if now else 0
                bpf(4, struct.pack("<I4xQQ", self.fd, pointer, ctypes.addressof(after)))
                found.add(after.raw)
                now = ctypes.create_string_buffer(after.raw, self.key)
        return found


@pytest.fixture
def new_map() -> Iterator[Callable[..., NewMap]]:
    """Makes maps, which are gone after the test."""
    with contextlib.ExitStack() as made:

        def make(*about: object, **more: object) -> NewMap:
            m = NewMap(*about, **more)  # type: ignore[arg-type]
            made.callback(os.close, m.fd)
            return m

        yield make


@pytest.fixture
def counted_by_kernel() -> Iterator[Callable[[NewMap], Entries]]:
    """Entries as the kernel counts them."""
    try:
        counts = ElementCounts()
    except Unavailable as error:
        pytest.skip(f"{error}; needs Linux 6.6 with CONFIG_DEBUG_INFO_BTF")
    yield lambda m: Entries(counts.read().entries.get(m.map_id))
    counts.close()


def looked_at(m: NewMap, seconds: float = LONG, by: Occupancy | None = None) -> Entries:
    """Entries as system calls tell them."""
    until = clock() + seconds
    with introspect.opened("map", m.map_id, read_only=True) as fd:
        return (by or Occupancy()).count(fd, introspect.bpf_map(fd), until)


HASHES = [
    ("hash", 0),
    ("hash", NO_PREALLOC),
    ("lru_hash", 0),
    ("percpu_hash", 0),
    ("percpu_hash", NO_PREALLOC),
    ("lru_percpu_hash", 0),
]


@pytest.mark.parametrize(("kind", "flags"), HASHES)
def test_a_hash_of_137_keys_has_137_entries_either_way(
    new_map: Callable[..., NewMap],
    counted_by_kernel: Callable[[NewMap], Entries],
    kind: str,
    flags: int,
) -> None:
    m = new_map(kind, 4, 12, 4096, flags)
    assert (counted_by_kernel(m), looked_at(m)) == (Entries(0), Entries(0))
    for n in range(137):
        m.put(n.to_bytes(4, "little"))
    assert (counted_by_kernel(m), looked_at(m)) == (Entries(137), Entries(137))


def test_a_trie_has_its_prefixes_and_a_queue_and_a_stack_what_was_pushed(
    new_map: Callable[..., NewMap], counted_by_kernel: Callable[[NewMap], Entries]
) -> None:
    trie = new_map("lpm_trie", 8, 4, 100, NO_PREALLOC)
    for n in range(37):
        trie.put(struct.pack("<I4B", 32, 10, 0, 0, n))
    assert (counted_by_kernel(trie), looked_at(trie)) == (Entries(37), Entries(37))
    for kind in ("queue", "stack"):
        m = new_map(kind, 0, 8, 16)
        assert (counted_by_kernel(m), looked_at(m)) == (Entries(0), Entries(0))
        for _ in range(5):
            m.put(b"")
        assert (counted_by_kernel(m), looked_at(m)) == (Entries(5), Entries(None))
        assert counted_by_kernel(m) == Entries(5)  # a look takes nothing out


def test_slots_in_use_are_those_that_hold_something(new_map: Callable[..., NewMap]) -> None:
    program = introspect.load_empty_program()
    inner = new_map("hash", 4, 4, 8)
    maps, programs = new_map("array_of_maps", 4, 4, 16, inner=inner.fd), new_map("prog_array", 4, 4, 8)
    tables = new_map("hash_of_maps", 4, 4, 16, inner=inner.fd)
    try:
        for n in (0, 5, 15):
            maps.put(n.to_bytes(4, "little"), inner.fd.to_bytes(4, "little"))
            tables.put(n.to_bytes(4, "little"), inner.fd.to_bytes(4, "little"))
        for n in (1, 7):
            programs.put(n.to_bytes(4, "little"), program.to_bytes(4, "little"))
        assert [looked_at(m) for m in (maps, tables, programs)] == [Entries(3), Entries(3), Entries(2)]
    finally:
        os.close(program)


@pytest.mark.parametrize(
    "kind", ["array", "percpu_array", "perf_event_array", "bloom_filter", "cgroup_array"]
)
def test_what_cannot_be_told_is_unknown_and_not_zero(
    new_map: Callable[..., NewMap], counted_by_kernel: Callable[[NewMap], Entries], kind: str
) -> None:
    m = new_map(kind, 0 if kind == "bloom_filter" else 4, 4, 8)
    assert (counted_by_kernel(m), looked_at(m)) == (Entries(None), Entries(None))


def test_entries_of_a_large_map_are_estimated_from_some_of_its_buckets(
    new_map: Callable[..., NewMap],
) -> None:
    m = new_map("hash", 4, 8, 1 << 17)
    m.put_numbers(range(60_000))
    estimated = looked_at(m, seconds=0)
    assert not estimated.exact
    assert estimated.count is not None
    assert (
        abs(estimated.count - 60_000) < 5 * 60_000 / (60_000 / 128) ** 0.5
    )  # 5 standard errors of what was counted
    assert looked_at(m) == Entries(60_000)


def test_keys_of_large_values_are_counted_one_by_one_in_as_many_readings_as_it_takes(
    new_map: Callable[..., NewMap],
) -> None:
    m = new_map("hash", 4, 8192, 256, NO_PREALLOC)
    for n in range(100):
        m.put(n.to_bytes(4, "little"))
    assert looked_at(m) == Entries(100)
    occupancy = Occupancy()
    readings = [looked_at(m, 0, occupancy) for _ in range(7)]
    assert readings == [Entries(None, exact=False)] * 6 + [Entries(100, exact=False)]


def test_frozen_maps_and_those_that_their_owner_may_only_write_are_counted(
    new_map: Callable[..., NewMap], counted_by_kernel: Callable[[NewMap], Entries]
) -> None:
    frozen, secret = new_map("hash", 4, 4, 8), new_map("hash", 4, 4, 8, WRITE_ONLY)
    for m in (frozen, secret):
        m.put(b"key1")
    bpf(MAP_FREEZE, struct.pack("<I", frozen.fd).ljust(8, b"\0"))
    for m in (frozen, secret):
        assert (counted_by_kernel(m), looked_at(m)) == (Entries(1), Entries(1))


def test_counting_does_not_keep_entries_of_an_lru_map_from_being_evicted(
    new_map: Callable[..., NewMap], counted_by_kernel: Callable[[NewMap], Entries]
) -> None:
    def survivors(touch: Callable[[NewMap], object]) -> set[bytes]:
        m = new_map("lru_hash", 4, 4, 512, ZERO_SEED)
        for n in range(512):
            m.put(n.to_bytes(4, "little"))
        touch(m)
        for n in range(1000, 1200):
            m.put(n.to_bytes(4, "little"))
        return m.keys()

    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # each CPU has a list of its own
    try:
        untouched = survivors(lambda m: None)
        counted = survivors(lambda m: (counted_by_kernel(m), [looked_at(m) for _ in range(5)]))
        refreshed = survivors(lambda m: [m.put(n.to_bytes(4, "little")) for n in range(64)])
    finally:
        os.sched_setaffinity(0, cpus)
    assert counted == untouched
    assert refreshed != untouched


def test_a_map_that_changes_all_the_time_has_as_many_entries_as_it_ever_has(
    new_map: Callable[..., NewMap], counted_by_kernel: Callable[[NewMap], Entries]
) -> None:
    m = new_map("hash", 4, 4, 4096)
    m.put_numbers(range(1000))
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for n in range(2000, 2020):
                m.put(n.to_bytes(4, "little"))
            for n in range(2000, 2020):
                key = ctypes.create_string_buffer(n.to_bytes(4, "little"), 4)
                bpf(3, struct.pack("<I4xQ", m.fd, ctypes.addressof(key)))

    changer = threading.Thread(target=change)
    changer.start()
    try:
        counts = [counted_by_kernel(m).count for _ in range(100)] + [looked_at(m).count for _ in range(100)]
    finally:
        stop.set()
        changer.join()
    assert all(count is not None and 1000 <= count <= 1020 for count in counts)
