"""Readings taken while recording: eBPF programs and maps, the machine, its processes, and the counters."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracelab.recorder import host, introspect
from tracelab.recorder.loader import COUNTERS
from tracelab.recorder.ring import Ring
from tracelab.schema import arrow_schema

Rows = list[tuple[object, ...]]
REASONS = {"lost": "ring full", "own": "own", "filtered": "filtered", "idle": "idle"}


def batch(table: str, rows: Rows) -> pa.RecordBatch:
    """Rows, as tuples in the order of the schema, as a batch; columns that the tuples do not reach are null."""
    schema = arrow_schema(table)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    columns += [(None,) * len(rows)] * (len(schema) - len(columns))
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


class BpfReadings:
    """Every loaded program and map: described when first seen, read again and again.

    Run statistics cost every program some tens of ns a run, so that they are on for a window of time only, every
    second. What runs in a window is added up; how long the windows were together is kept beside it.
    """

    def __init__(self, own_programs: Iterable[int], own_maps: Iterable[int], own_rings: dict[int, Ring]) -> None:
        self._own_programs = set(own_programs)
        self._own_maps = set(own_maps)
        self._own_rings = own_rings
        self._programs: set[int] = set()
        self._maps: set[int] = set()
        self._totals: dict[int, npt.NDArray[np.int64]] = {}  #: runs, time in them, misses, time counted
        self._window: tuple[int, int, dict[int, npt.NDArray[np.int64]]] | None = None

    def take(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Descriptions of what is new, and a reading of the maps: `(table, rows)`."""
        yield "bpf_progs", batch("bpf_progs", self._new_programs())
        maps, map_stats = self._read_maps()
        yield "bpf_maps", batch("bpf_maps", maps)
        yield "bpf_map_stats", batch("bpf_map_stats", map_stats)

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

    def _new_programs(self) -> Rows:
        new: list[introspect.Program] = []
        for number in set(introspect.ids("prog")) - self._programs:
            with contextlib.suppress(OSError), introspect.opened("prog", number) as fd:
                new.append(introspect.program(fd))
        if not new:
            return []
        attached, holders = introspect.attachments(), introspect.holders()
        self._programs.update(p.prog_id for p in new)
        return [self._describe(p, attached, holders) for p in new]

    def _describe(
        self, p: introspect.Program, attached: dict[int, str], holders: dict[int, tuple[int, ...]]
    ) -> tuple[object, ...]:
        owners = holders.get(p.prog_id, ())
        comm = next((c for pid in owners for tid, c in host.threads(pid) if tid == pid), None)
        return (
            _now(),
            p.prog_id,
            p.tag,
            p.name,
            p.type,
            attached.get(p.prog_id),
            list(owners),
            comm,
            int(p.prog_id in self._own_programs),
            p.load_time_ns,
            p.xlated_bytes,
            p.jited_bytes,
            p.verified_insns,
            list(p.map_ids),
        )

    def _read_maps(self) -> tuple[Rows, Rows]:
        new: Rows = []
        stats: Rows = []
        for number in list(introspect.ids("map")):
            with contextlib.suppress(OSError), introspect.opened("map", number) as fd:
                m = introspect.bpf_map(fd)
                fill = self._own_rings[number].fill_bytes() if number in self._own_rings else None
                if m.type == introspect.RINGBUF and fill is None:
                    fill = ring_fill_bytes(fd)
                stats.append((_now(), number, introspect.memlock_bytes(fd), fill))
                if number not in self._maps:
                    own = int(number in self._own_maps)
                    new.append(
                        (_now(), number, m.name, m.type, m.key_bytes, m.value_bytes, m.max_entries, m.flags, own)
                    )
                    self._maps.add(number)
        return new, stats


def _run_counters() -> dict[int, npt.NDArray[np.int64]]:
    """Runs, time in them and misses of every loaded program, as the kernel has them now."""
    found = {}
    for number in list(introspect.ids("prog")):
        with contextlib.suppress(OSError), introspect.opened("prog", number) as fd:
            stats = introspect.program_stats(fd)
            found[number] = np.array([stats.run_cnt, stats.run_time_ns, stats.misses], np.int64)
    return found


def ring_fill_bytes(fd: int) -> int | None:
    """Unread bytes of somebody's ring buffer; None when the kernel does not let it be mapped."""
    import mmap

    try:
        with mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ) as consumer:
            consumed = int.from_bytes(consumer[:8], "little")
        with mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=mmap.PAGESIZE) as producer:
            return int.from_bytes(producer[:8], "little") - consumed
    except (OSError, ValueError):
        return None


def machine() -> Iterator[tuple[str, pa.RecordBatch]]:
    """One reading of tables host and procs."""
    now = _now()
    times, switches = host.cpu_times()
    memory = host.memory()
    with open("/proc/loadavg", encoding="ascii") as file:
        load = float(file.read().split()[0])
    rows: Rows = [
        (now, *t, *((memory.total_bytes, memory.available_bytes, load, switches) if t.cpu < 0 else (None,) * 4))
        for t in times
    ]
    yield "host", batch("host", rows)
    now = _now()
    yield (
        "procs",
        batch(
            "procs",
            [(now, p.pid, p.comm, p.user_ns, p.system_ns, p.rss_bytes, p.threads) for p in host.processes()],
        ),
    )


class Accounting:
    """What became of every event of a probe, in the kernel's own count, per CPU."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.totals: npt.NDArray[np.int64] | None = None

    def take(self, counts: npt.NDArray[np.int64]) -> Rows:
        """Rows of table losses for what was lost or left out since the reading before."""
        before = np.zeros_like(counts) if self.totals is None else self.totals
        self.totals = counts
        now = _now()
        rows: Rows = []
        for index, name in enumerate(COUNTERS):
            if name in REASONS:
                for cpu in np.flatnonzero(counts[index] - before[index]):
                    delta = int(counts[index, cpu] - before[index, cpu])
                    rows.append((now, int(cpu), self.source, REASONS[name], delta))
        return rows

    def summary(self) -> dict[str, int]:
        """Totals over all CPUs, with `seen`, their sum."""
        if self.totals is None:
            return {}
        totals = {name: int(n) for name, n in zip(COUNTERS, self.totals.sum(axis=1), strict=True)}
        return {"seen": sum(totals.values()), **totals}


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
