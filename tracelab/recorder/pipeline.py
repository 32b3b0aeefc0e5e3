"""From the rings to the session, in threads that never wait for each other.

    drain     rings -> arrays, nothing else: it must always be back before a ring is full
    stacks    samples and side band -> tasks, stacks, frames, samples
    readings  once a second, programs, maps, machine; ten times a second, the counters of the probes
    writer    arrays -> rows -> open part of the session; the session has a fifth thread for parquet

Between them are queues. Events travel in a fixed set of buffers; while none is free the drain pauses, so that memory
is bounded and the kernel counts as lost what could not be kept.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracelab.errors import TracelabError
from tracelab.recorder import readings
from tracelab.recorder.decode import events_batch
from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.ring import Ring, Slots
from tracelab.recorder.sideband import Exit, Fork, KernelSymbol, Lost, Mapped, Record, Rename, SideBand
from tracelab.session.writer import SessionWriter

if TYPE_CHECKING:
    from tracelab.recorder.stacks import StackResolver
    from tracelab.recorder.tasks import TaskTable

DRAIN_SLEEP_S = 0.02
DRAIN_BUSY = 0.1  #: share of a ring that is worth coming back for at once
BUFFERS = 8
BUFFER_RECORDS = 1 << 17
BUFFER_AGE_S = 0.2  #: events are handed on at this age even when their buffer is not full
COUNTS_EVERY_S = 0.1
READINGS_EVERY_S = 1.0
SIDEBAND_EVERY_S = 0.05  #: processes may be gone soon after they are told of
STACKS_EVERY_S = 0.5  #: samples are resolved in batches, a few of which cost what one does
HURRY_AFTER_S = 0.3  #: at the end, how long stacks may take before they make do with what has been read
NICE = {"drain": -20, "stacks": -10}  #: a busy machine must not keep them waiting; they need little
NICE_AT_STOP = -20  #: of all threads, so that the end comes soon however busy the machine is

Records = npt.NDArray[np.void]


@dataclass
class _Filling:
    """Events of one probe on their way to the writer."""

    slots: Slots
    used: int = 0
    born: float = 0.0


class Pipeline:
    """Runs from `start` to `stop`; a failure of any thread is kept in `failure`, and ends nothing by force."""

    def __init__(
        self,
        session: SessionWriter,
        rings: list[tuple[LoadedProbe, Ring]],
        sideband: SideBand,
        tasks: TaskTable,
        resolver: StackResolver | None,
        bpf: readings.BpfReadings | None,
        sample_weight_ns: int,
        stats_window_ns: int,
    ) -> None:
        self.session = session
        self.failure: TracelabError | Exception | None = None
        self.accounting = {p.probe.name: readings.Accounting(p.probe.name) for p, _ in rings}
        self.kept: dict[str, int] = {p.probe.name: 0 for p, _ in rings}
        self._probes = {p.probe.name: p for p, _ in rings}
        self._rings = rings
        self._sideband = sideband
        self._tasks = tasks
        self._resolver = resolver
        self._bpf = bpf
        self._weight = sample_weight_ns
        self._stats_window_ns = stats_window_ns
        self._deep: set[int] = set()
        self._to_write: queue.SimpleQueue[
            tuple[str, pa.RecordBatch] | tuple[LoadedProbe, _Filling] | None
        ] = queue.SimpleQueue()
        self._to_resolve: queue.SimpleQueue[tuple[LoadedProbe, Records] | None] = queue.SimpleQueue()
        self._free = {
            p.probe.name: queue.SimpleQueue[Slots]() for p, _ in rings if p.probe.table == "events"
        }
        for probe, ring in rings:
            for _ in range(BUFFERS if probe.probe.name in self._free else 0):
                self._free[probe.probe.name].put(ring.buffer(BUFFER_RECORDS))
        self._filling: dict[str, _Filling] = {}
        self._stopping = threading.Event()
        self._threads = {
            name: threading.Thread(
                target=self._guard, args=(work, NICE.get(name, 0)), name=f"tracelab-{name}", daemon=True
            )
            for name, work in (
                ("drain", self._drain),
                ("stacks", self._stacks),
                ("readings", self._readings),
                ("writer", self._write),
            )
        }

    def start(self) -> None:
        """Begin; the probes may be attached before or after."""
        for thread in self._threads.values():
            thread.start()

    def notes(self) -> list[str]:
        """What must be said about the recording as a whole."""
        if not self._resolver or not (skipped := self._resolver.skipped):
            return []
        files = ", ".join(skipped[:3]) + (f" and {len(skipped) - 3} more" if len(skipped) > 3 else "")
        return [
            f"no time was left to read {files}: stacks there are cut short or lack names; record again to have them"
        ]

    def put(self, table: str, rows: pa.RecordBatch) -> None:
        """Have rows written that come from elsewhere."""
        self._to_write.put((table, rows))

    def stop(self) -> None:
        """Read what is left in the rings, resolve and write it; the probes must be detached by now."""
        for thread in [*self._threads.values(), self.session.encoder]:
            _set_nice(thread.native_id, NICE_AT_STOP)
        self._stopping.set()
        self._threads["drain"].join()
        self._threads["readings"].join()
        self._to_resolve.put(None)
        self._threads["stacks"].join(HURRY_AFTER_S)
        if self._resolver is not None and self._threads["stacks"].is_alive():
            self._resolver.hurry()
        self._threads["stacks"].join()
        self._to_write.put(None)
        self._threads["writer"].join()

    def _guard(self, work: Callable[[], None], nice: int) -> None:
        try:
            _set_nice(threading.get_native_id(), nice)
            work()
        except Exception as error:  # somebody waits for this recording: keep what there is, tell at stop
            self.failure = self.failure or error

    def _drain(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            busy = False
            for probe, ring in self._rings:
                busy |= ring.fill_bytes() > DRAIN_BUSY * ring.size_bytes
                if probe.probe.table == "events":
                    self._drain_events(probe, ring, stopping)
                else:
                    self._drain_samples(probe, ring)
            if stopping:
                return
            if not busy:
                self._stopping.wait(DRAIN_SLEEP_S)

    def _drain_samples(self, probe: LoadedProbe, ring: Ring) -> None:
        while len(records := ring.read()):
            self.kept[probe.probe.name] += len(records)
            self._to_resolve.put((probe, records))

    def _drain_events(self, probe: LoadedProbe, ring: Ring, stopping: bool) -> None:
        name = probe.probe.name
        while True:
            filling = self._filling.get(name)
            if filling is None:
                try:
                    slots = self._free[name].get(timeout=0.1)
                except queue.Empty:
                    if self.failure:
                        return
                    continue
                filling = self._filling[name] = _Filling(slots, born=time.monotonic())
            read = ring.read_into(filling.slots[filling.used :])
            filling.used += read
            self.kept[name] += read
            full = filling.used == len(filling.slots)
            if full or stopping or time.monotonic() - filling.born > BUFFER_AGE_S:
                self._to_write.put((probe, self._filling.pop(name)))
            if not full:
                return

    def _write(self) -> None:
        while (item := self._to_write.get()) is not None:
            where, what = item
            if isinstance(where, LoadedProbe):
                assert isinstance(what, _Filling)
                if not self.failure:
                    records = what.slots[: what.used]["record"]
                    self.session.append("events", events_batch(where.probe, records))
                self._free[where.probe.name].put(what.slots)
            elif not self.failure:
                assert isinstance(what, pa.RecordBatch)
                self.session.append(where, what)

    def _stacks(self) -> None:
        self.put("tasks", self._tasks.first_sight(time.clock_gettime_ns(time.CLOCK_MONOTONIC)))
        waiting: dict[np.dtype[np.void], list[tuple[LoadedProbe, Records]]] = {}
        next_time, last = 0.0, False
        while not last:
            came, last = self._next_samples()
            for probe, records in came:
                waiting.setdefault(records.dtype, []).append((probe, records))
            self._follow(self._sideband.read())
            if last or time.monotonic() >= next_time:
                for batches in waiting.values():
                    self._resolve(batches[0][0], np.concatenate([records for _, records in batches]))
                waiting.clear()
                next_time = time.monotonic() + STACKS_EVERY_S
        self._follow(self._sideband.read())

    def _next_samples(self) -> tuple[list[tuple[LoadedProbe, Records]], bool]:
        """What came in a while, and whether that was all."""
        found: list[tuple[LoadedProbe, Records]] = []
        until = time.monotonic() + SIDEBAND_EVERY_S
        while (left := until - time.monotonic()) > 0:
            try:
                item = self._to_resolve.get(timeout=left)
            except queue.Empty:
                break
            if item is None:
                return found, True
            found.append(item)
        return found, False

    def _follow(self, records: list[Record]) -> None:
        self.put("tasks", self._tasks.follow(records))
        for record in records:
            if isinstance(record, Lost):
                row = (record.time_ns, record.cpu, "side-band", "side-band full", record.records)
                self.put("losses", readings.batch("losses", [row]))
        if self._resolver is None:
            return
        spaces = self._resolver.spaces
        for record in records:
            match record:
                case Mapped(t, pid, start, size, offset, path, build_id, inode):
                    spaces.mmap(t, pid, start, size, offset, path, build_id, inode)
                case Fork(t, pid, tid, parent_pid, _) if pid != parent_pid:
                    spaces.fork(t, pid, parent_pid)
                case Rename(t, pid, tid, _, True):
                    spaces.exec(t, pid)
                case Exit(t, pid, tid) if tid == pid:
                    spaces.exit(t, pid)
                case KernelSymbol(t, address, size, name, False):
                    self._resolver.kernel.bpf_symbol(t, address, size, name)

    def _resolve(self, probe: LoadedProbe, records: Records) -> None:
        if self._resolver is None:
            return
        resolved = self._resolver.resolve(records)
        self.put("frames", resolved.frames)
        self.put("stacks", resolved.stacks)
        n = len(records)
        rows = pa.RecordBatch.from_arrays(
            [
                *(
                    pa.array(records[name].astype(kind))
                    for name, kind in (("time_ns", "i8"), ("cpu", "i4"), ("pid", "i4"), ("tid", "i4"))
                ),
                pa.array(np.asarray(resolved.stack_id, np.int64)),
                pa.array(["on-CPU"] * n),
                pa.array(np.full(n, self._weight, np.int64)),
                pa.array(["ns"] * n),
                pa.array(resolved.unwound, pa.string()),
            ],
            names=["time_ns", "cpu", "pid", "tid", "stack_id", "kind", "weight", "unit", "unwound"],
        )
        self.put("samples", rows)
        for pid in self._resolver.deep_pids - self._deep:
            deep = probe.table("deep")
            deep[deep.Key(pid)] = deep.Leaf(1)
            self._deep.add(pid)

    def _readings(self) -> None:
        if self._bpf is not None:
            self._bpf.open_window()
            self.put("bpf_prog_stats", self._bpf.close_window())
        next_reading = 0.0
        while True:
            stopping = self._stopping.is_set()
            self._count()
            if self._bpf is not None and (stopping or self._bpf.window_age_ns() >= self._stats_window_ns):
                self.put("bpf_prog_stats", self._bpf.close_window())
            if stopping or time.monotonic() >= next_reading:
                next_reading = time.monotonic() + READINGS_EVERY_S
                for table, rows in readings.machine():
                    self.put(table, rows)
                if self._bpf is not None:
                    for table, rows in self._bpf.take():
                        self.put(table, rows)
                    if not stopping and not self._bpf.window_age_ns():
                        self._bpf.open_window()
            if stopping:
                return
            self._stopping.wait(COUNTS_EVERY_S)

    def _count(self) -> None:
        for name, accounting in self.accounting.items():
            rows = accounting.take(self._probes[name].counts())
            self.put("losses", readings.batch("losses", rows))


def _set_nice(thread_id: int | None, nice: int) -> None:
    """Set the priority of one thread, where that is allowed."""
    if thread_id is not None and nice:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread_id, nice)
