"""Readings taken while recording: eBPF programs and maps, the machine, its processes, and the counters."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracelab.recorder import host, introspect
from tracelab.recorder.elementcounts import ElementCounts
from tracelab.recorder.iterators import Unavailable
from tracelab.recorder.loadedmaps import LoadedMaps
from tracelab.recorder.loadedprograms import LoadedPrograms
from tracelab.recorder.openfiles import OpenFiles
from tracelab.recorder.owners import SLICE_S, Owners
from tracelab.recorder.ring import Ring
from tracelab.schema import arrow_schema

FIRST_LOOK_S = 1.0  #: for who holds what, where /proc has to tell: what a recording of a moment shows
Rows = list[tuple[object, ...]]
_Kind = TypeVar("_Kind", ElementCounts, OpenFiles)


def batch(table: str, rows: Rows) -> pa.RecordBatch:
    """Rows, as tuples in the order of the schema, as a batch; columns that the tuples do not reach are null."""
    schema = arrow_schema(table)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    columns += [(None,) * len(rows)] * (len(schema) - len(columns))
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


class _Loaded(NamedTuple):
    """What is remembered of what is loaded."""

    programs: LoadedPrograms
    maps: LoadedMaps
    owners: Owners


class BpfReadings:
    """Every loaded program, map and attachment: described when first seen, read again and again.

    Run statistics cost every program some tens of ns a run, so that they are on for a window of time only, every
    second. What runs in a window is added up; how long the windows were together is kept beside it.

    Two programs of ours are loaded while it is open (`elementcounts`, `openfiles`), where the kernel can; they run only
    when a reading asks them.
    """

    def __init__(
        self, own_programs: Iterable[int], own_maps: Iterable[int], own_rings: dict[int, Ring]
    ) -> None:
        self._own_programs = set(own_programs)
        self._own_maps, self._own_rings = set(own_maps), own_rings
        self._totals: dict[int, npt.NDArray[np.int64]] = {}  #: runs, time in them, misses, time counted
        self._window: tuple[int, int, dict[int, npt.NDArray[np.int64]]] | None = None
        self._known: _Loaded | None = None
        self._unload = contextlib.ExitStack()
        weakref.finalize(self, self._unload.close)

    def take(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Descriptions of what is new or has changed, and a reading of the maps: `(table, rows)`."""
        first = self._known is None
        loaded = self._known = self._known or self._begin()
        changed = loaded.programs.refresh(introspect.ids("prog"), _links())
        if loaded.maps.refresh(introspect.ids("map")) | changed:
            loaded.owners.changed()
        loaded.owners.advance(FIRST_LOOK_S if first else SLICE_S)
        now, held = _now(), loaded.owners.held
        for tables, taken in (
            (("bpf_progs", "bpf_links"), loaded.programs.take(now, held)),
            (("bpf_maps", "bpf_map_stats"), loaded.maps.take(now, held)),
        ):
            for table, rows in zip(tables, taken, strict=True):
                yield table, batch(table, rows)

    def close(self) -> None:
        """Stop counting, and unload what was loaded for the readings; may be called twice."""
        if self._window is not None:
            os.close(self._window[0])
            self._window = None
        self._unload.close()
        self._known = None

    def _begin(self) -> _Loaded:
        counts, files = self._load(ElementCounts), self._load(OpenFiles)
        return _Loaded(
            LoadedPrograms(self._own_programs),
            LoadedMaps(self._own_maps, self._own_rings, counts),
            Owners(files),
        )

    def _load(self, kind: type[_Kind]) -> _Kind | None:
        """One of the kernel's iterators, or None where it has none."""
        try:
            loaded = kind()
        except Unavailable:
            return None
        self._unload.callback(loaded.close)
        self._own_programs.add(loaded.prog_id)
        return loaded

    def open_window(self) -> None:
        """Begin to count runs; raises OSError where the kernel does not."""
        self._window = (introspect.enable_stats(), _now(), _run_counters())

    def window_age_ns(self) -> int:
        """How long runs have been counted; 0 when they are not."""
        return _now() - self._window[1] if self._window else 0

    def close_window(self) -> pa.RecordBatch:
        """Stop counting; rows of table bpf_prog_stats for every program that is still loaded."""
        rows: Rows = []
        if self._window is not None:
            fd, since_ns, before = self._window
            now, after = _now(), _run_counters()
            os.close(fd)
            self._window = None
            nothing = np.zeros(3, np.int64)
            for number, counters in after.items():
                total = self._totals.setdefault(number, np.zeros(4, np.int64))
                total += np.append(counters - before.get(number, nothing), now - since_ns)
                rows.append((now, number, *map(int, total)))
        return batch("bpf_prog_stats", rows)


def _run_counters() -> dict[int, npt.NDArray[np.int64]]:
    """Runs, time in them and misses of every loaded program, as the kernel has them now."""
    found = {}
    for number in list(introspect.ids("prog")):
        with contextlib.suppress(OSError), introspect.opened("prog", number) as fd:
            stats = introspect.program_stats(fd)
            found[number] = np.array([stats.run_cnt, stats.run_time_ns, stats.misses], np.int64)
    return found


def _links() -> list[int]:
    """Every link; none before Linux 5.8, which does not list them."""
    try:
        return list(introspect.ids("link"))
    except OSError:
        return []


def machine() -> Iterator[tuple[str, pa.RecordBatch]]:
    """One reading of table host."""
    now = _now()
    times, switches = host.cpu_times()
    memory = host.memory()
    with open("/proc/loadavg", encoding="ascii") as file:
        load = float(file.read().split()[0])
    rows: Rows = [
        (
            now,
            *t,
            *((memory.total_bytes, memory.available_bytes, load, switches) if t.cpu < 0 else (None,) * 4),
        )
        for t in times
    ]
    yield "host", batch("host", rows)


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
