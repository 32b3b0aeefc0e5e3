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
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracelab.errors import TracelabError
from tracelab.recorder import readings
from tracelab.recorder.accounting import Accounting
from tracelab.recorder.decode import UNKNOWN, events_batch, in_order, texts_batch
from tracelab.recorder.functionnames import FunctionNames
from tracelab.recorder.governor import Governor
from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.processes import ProcessReadings
from tracelab.recorder.ring import Ring, Slots
from tracelab.recorder.sideband import Exit, Fork, KernelSymbol, Lost, Mapped, Record, Rename, SideBand
from tracelab.recorder.symbols import KernelSymbols
from tracelab.recorder.targets import Targets
from tracelab.session.writer import SessionWriter

if TYPE_CHECKING:
    from tracelab.recorder.stacks import Resolved, StackResolver, Traces
    from tracelab.recorder.tasks import TaskTable

DRAIN_SLEEP_S = 0.02
DRAIN_IDLE_SLEEP_S = 0.1  #: while no ring fills up: waking up costs more than what there is to read
DRAIN_CLOCKED_SLEEP_S = 0.2  #: the same where all that comes is samples by the clock, which come evenly
DRAIN_CLOCKED_FILL = 0.25  #: share of a ring up to which it may fill meanwhile
DRAIN_FILLING = 0.01  #: share of a ring from which on it is looked at more often
DRAIN_BUSY = 0.1  #: share of a ring that is worth coming back for at once
BUFFERS = 6
BUFFER_BYTES = 2 << 20
SAMPLES_WAITING_BYTES = 48 << 20  #: that wait to be resolved; beyond, their rings fill, and the kernel counts
BUFFER_AGE_S = 0.2  #: events are handed on at this age even when their buffer is not full
COUNTS_EVERY_S = 0.1  #: once a ring has been half full; before, with the other readings
READINGS_EVERY_S = 1.0
SIDEBAND_EVERY_S = 0.5  #: what cannot wait is seen to when it is told of; see `_looking`
NAMING_S = 0.05  #: at most so long are symbols read before it is looked for new samples, but for the last file
UNNAMED_BATCHES = 64  #: that may wait for symbols
STACKS_EVERY_S = 2.0  #: samples are resolved in batches, a few of which cost what one does
STACKS_AT_ONCE = 1000  #: samples that are worth a batch of their own
HURRY_AFTER_S = 0.3  #: at the end, how long stacks may take before they make do with what has been read
NICE = {"drain": -20, "stacks": -10}  #: a busy machine must not keep them waiting; they need little
NICE_AT_STOP = -20  #: of all threads, so that the end comes soon however busy the machine is

Records = npt.NDArray[np.void]


@dataclass(eq=False)
class Stream:
    """One ring of a probe, with what its records are."""

    probe: LoadedProbe
    ring: Ring
    struct: str  #: C struct of its records; `text`: they give rows of table strings only
    names: tuple[str, ...]  #: of the probe's events, by number

    @property
    def is_samples(self) -> bool:
        """Whether its records are stack samples."""
        return self.probe.probe.table == "samples"

    @property
    def has_texts(self) -> bool:
        """Whether its records carry texts."""
        has_members = any(field[0].kind == "S" for field in (self.ring.dtype.fields or {}).values())
        return has_members or bool(self.probe.probe.function)


@dataclass
class _Filling:
    """Events of one ring on their way to the writer."""

    slots: Slots
    used: int = 0
    born: float = 0.0


class Pipeline:
    """Runs from `start` to `stop`; a failure of any thread is kept in `failure`, and ends nothing by force."""

    def __init__(
        self,
        session: SessionWriter,
        streams: list[Stream],
        sideband: SideBand,
        tasks: TaskTable,
        resolver: StackResolver | None,
        bpf: readings.BpfReadings | None,
        stats_window_ns: int,
        governor: Governor | None = None,
        targets: Targets | None = None,
    ) -> None:
        self.session = session
        self.failure: TracelabError | Exception | None = None
        self._probes = {stream.probe.probe.name: stream.probe for stream in streams}
        self.accounting = {name: Accounting(name) for name in self._probes}
        self.kept: dict[str, int] = dict.fromkeys(self._probes, 0)
        self._streams = streams
        self._sideband = sideband
        self._tasks = tasks
        self.resolver = resolver
        self._functions = FunctionNames(lambda: resolver.kernel if resolver else KernelSymbols.running())
        self._bpf = bpf
        self._governor = governor
        self._targets = targets or Targets(())
        self._processes = ProcessReadings(self._targets)
        self._stats_window_ns = stats_window_ns
        self._deep: set[int] = set()
        self._samples_waiting_bytes = 0
        self._to_write: queue.SimpleQueue[tuple[str, pa.RecordBatch] | tuple[Stream, _Filling] | None] = (
            queue.SimpleQueue()
        )
        self._to_resolve: queue.SimpleQueue[tuple[LoadedProbe, Records] | None] = queue.SimpleQueue()
        self._free = {stream: queue.SimpleQueue[Slots]() for stream in streams if not stream.is_samples}
        for stream, free in self._free.items():
            for _ in range(BUFFERS):
                free.put(stream.ring.buffer(BUFFER_BYTES // stream.ring.stride))
        self._filling: dict[Stream, _Filling] = {}
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
        self._sideband.watch(_looking(self._tasks, self.resolver))
        for thread in self._threads.values():
            thread.start()

    def notes(self) -> list[str]:
        """What must be said about the recording as a whole."""
        notes = [self._governor.exhausted] if self._governor and self._governor.exhausted else []
        if self.resolver and (skipped := self.resolver.skipped):
            files = ", ".join(skipped[:3]) + (f" and {len(skipped) - 3} more" if len(skipped) > 3 else "")
            notes.append(f"no time was left to read {files}: stacks there lack callers or names; record again")
        return notes

    def put(self, table: str, rows: pa.RecordBatch) -> None:
        """Have rows written that come from elsewhere."""
        if rows.num_rows:
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
        if self.resolver is not None and self._threads["stacks"].is_alive():
            self.resolver.hurry()
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
        clocked = all(stream.probe.is_clocked for stream in self._streams)
        clocked_s = DRAIN_SLEEP_S
        while True:
            stopping = self._stopping.is_set()
            fullest = 0.0
            for stream in self._streams:
                fill = stream.ring.fill_bytes()
                fullest = max(fullest, fill / stream.ring.size_bytes)
                if not (fill or stream in self._filling):
                    continue
                if stream.is_samples:
                    self._drain_samples(stream, stopping)
                else:
                    self._drain_events(stream, stopping)
            if stopping:
                return
            if clocked:
                clocked_s *= 0.5 if fullest > DRAIN_CLOCKED_FILL else 1.25 if fullest < DRAIN_BUSY else 1.0
                clocked_s = min(DRAIN_CLOCKED_SLEEP_S, clocked_s)
                self._stopping.wait(clocked_s)
            elif fullest < DRAIN_BUSY:
                self._stopping.wait(DRAIN_SLEEP_S if fullest > DRAIN_FILLING else DRAIN_IDLE_SLEEP_S)

    def _drain_samples(self, stream: Stream, stopping: bool) -> None:
        while self._samples_waiting_bytes < SAMPLES_WAITING_BYTES or stopping:
            records = stream.ring.read()
            if not len(records):
                return
            self.kept[stream.probe.probe.name] += len(records)
            self._samples_waiting_bytes += records.nbytes
            self._to_resolve.put((stream.probe, records))

    def _drain_events(self, stream: Stream, stopping: bool) -> None:
        name = stream.probe.probe.name
        while True:
            filling = self._filling.get(stream)
            if filling is None:
                try:
                    slots = self._free[stream].get(timeout=0.1)
                except queue.Empty:
                    if self.failure:
                        return
                    continue
                filling = self._filling[stream] = _Filling(slots, born=time.monotonic())
            read = stream.ring.read_into(filling.slots[filling.used :])
            filling.used += read
            self.kept[name] += read if stream.struct != "text" else 0
            full = filling.used == len(filling.slots)
            old = filling.used and time.monotonic() - filling.born > BUFFER_AGE_S
            if full or stopping or old:
                self._to_write.put((stream, self._filling.pop(stream)))
            if not full:
                return

    def _write(self) -> None:
        while (item := self._to_write.get()) is not None:
            where, what = item
            if isinstance(where, Stream):
                assert isinstance(what, _Filling)
                if not self.failure:
                    self._write_events(where, in_order(what.slots[: what.used]))
                self._free[where].put(what.slots)
            elif not self.failure:
                assert isinstance(what, pa.RecordBatch)
                self.session.append(where, what)

    def _write_events(self, stream: Stream, records: Records) -> None:
        probe = stream.probe.probe
        if stream.struct != "text":
            self.session.append("events", events_batch(probe, stream.names, records))
        if stream.has_texts and (texts := texts_batch(probe, stream.names, records)) is not None:
            self.session.append("strings", texts)
        if probe.function and (told := self._functions.texts(probe, probe.function, records)) is not None:
            self.session.append("strings", told)

    def _stacks(self) -> None:
        waiting: dict[tuple[LoadedProbe, np.dtype[np.void]], list[Records]] = {}
        unnamed: deque[tuple[LoadedProbe, Traces]] = deque()
        next_time, number, last = 0.0, 0, False
        while not last:
            came, last = self._next_samples(NAMING_S if unnamed else SIDEBAND_EVERY_S)
            for probe, records in came:
                waiting.setdefault((probe, records.dtype), []).append(records)
                number += len(records)
            self._follow(self._sideband.read())
            if last or number >= STACKS_AT_ONCE or time.monotonic() >= next_time:
                for (probe, _), batches in waiting.items():
                    unnamed += self._unwound(probe, np.concatenate(batches))
                    self._samples_waiting_bytes -= sum(batch.nbytes for batch in batches)
                waiting.clear()
                number = 0
                next_time = time.monotonic() + STACKS_EVERY_S
            self._name(unnamed, all_of_them=last or len(unnamed) > UNNAMED_BATCHES)
        self._follow(self._sideband.read())

    def _unwound(self, probe: LoadedProbe, records: Records) -> list[tuple[LoadedProbe, Traces]]:
        return [(probe, self.resolver.unwind(records))] if self.resolver is not None else []

    def _name(self, unnamed: deque[tuple[LoadedProbe, Traces]], *, all_of_them: bool) -> None:
        """Name and write what has been unwound, as far as symbols can be read in a while, or all of it."""
        until = time.monotonic() + NAMING_S
        while unnamed and self.resolver is not None and (all_of_them or time.monotonic() < until):
            probe, traces = unnamed[0]
            if all_of_them or not self.resolver.prepare(traces):
                unnamed.popleft()
                resolved = self.resolver.name(traces, at_events=not probe.is_clocked)
                self._write_samples(probe, traces.records, resolved)

    def _next_samples(self, within_s: float) -> tuple[list[tuple[LoadedProbe, Records]], bool]:
        """What came in a while, and whether that was all."""
        found: list[tuple[LoadedProbe, Records]] = []
        until = time.monotonic() + within_s
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
        if not records:
            return
        tasks = self._tasks.follow(records)
        self.put("tasks", tasks)
        self._targets.see("tasks", tasks)
        self._targets.follow(records)
        for record in records:
            if isinstance(record, Lost):
                row = (record.time_ns, record.cpu, "side-band", "side-band full", record.records)
                self.put("losses", readings.batch("losses", [row]))
        if self.resolver is None:
            return
        spaces = self.resolver.spaces
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
                    self.resolver.kernel.bpf_symbol(t, address, size, name)
        self._copy_deep()

    def _write_samples(self, probe: LoadedProbe, records: Records, resolved: Resolved) -> None:
        self.put("frames", resolved.frames)
        self.put("stacks", resolved.stacks)
        n = len(records)
        about = probe.probe
        value = np.where(records["value"] == UNKNOWN, 0, records["value"]).astype(np.int64)
        rows = pa.RecordBatch.from_arrays(
            [
                *(
                    pa.array(records[name].astype(kind))
                    for name, kind in (("time_ns", "i8"), ("cpu", "i4"), ("pid", "i4"), ("tid", "i4"))
                ),
                pa.array(np.asarray(resolved.stack_id, np.int64)),
                pa.array([about.kind] * n),
                pa.array(value * records["weight"]),
                pa.array([about.unit] * n),
                pa.array(resolved.unwound, pa.string()),
                pa.array(records["key"].astype(np.int64)) if about.key else pa.nulls(n, pa.int64()),
            ],
            names=["time_ns", "cpu", "pid", "tid", "stack_id", "kind", "weight", "unit", "unwound", "key"],
        )
        self.put("samples", rows)
        self._copy_deep()

    def _copy_deep(self) -> None:
        """Tell the probes of which processes to copy more, and of which not any more."""
        if self.resolver is None or (wanted := self.resolver.deep_pids) == self._deep:
            return
        for loaded in self._probes.values():
            if loaded.probe.table == "samples":
                deep = loaded.table("deep")
                for pid in wanted - self._deep:
                    deep[deep.Key(pid)] = deep.Leaf(1)
                for pid in self._deep - wanted:
                    with contextlib.suppress(KeyError):
                        del deep[deep.Key(pid)]
        self._deep = set(wanted)

    def _readings(self) -> None:
        if self._bpf is not None:
            self._bpf.open_window()
            self.put("bpf_prog_stats", self._bpf.close_window())
        next_reading = 0.0
        while True:
            stopping = self._stopping.is_set()
            whole = stopping or time.monotonic() >= next_reading
            may_lose = any(s.ring.high_water_bytes > s.ring.size_bytes // 2 for s in self._streams)
            if whole or may_lose:
                self._count(whole=whole)
            if self._bpf is not None and (stopping or self._bpf.window_age_ns() >= self._stats_window_ns):
                stats = self._bpf.close_window()
                self.put("bpf_prog_stats", stats)
                if self._governor is not None and (said := self._governor.follow(stats)):
                    row = (time.clock_gettime_ns(time.CLOCK_MONOTONIC), None, "recorder", said)
                    self.put("marks", readings.batch("marks", [row]))
            if stopping or time.monotonic() >= next_reading:
                next_reading = time.monotonic() + READINGS_EVERY_S
                for table, rows in (*readings.machine(), *self._processes.take()):
                    self.put(table, rows)
                if self._bpf is not None:
                    for table, rows in self._bpf.take():
                        self._targets.see(table, rows)
                        self.put(table, rows)
                    if not stopping and not self._bpf.window_age_ns():
                        self._bpf.open_window()
            if stopping:
                return
            waits = [next_reading - time.monotonic()] + ([COUNTS_EVERY_S] if may_lose else [])
            if self._bpf is not None and (age_ns := self._bpf.window_age_ns()):
                waits.append((self._stats_window_ns - age_ns) / 1e9)
            self._stopping.wait(max(0.0, min(waits)))

    def _count(self, *, whole: bool) -> None:
        """Read the accounts; they are written once a second, and at once when something was lost."""
        losses: readings.Rows = []
        accounts: readings.Rows = []
        for name, accounting in self.accounting.items():
            probe = self._probes[name]
            counts = probe.counts()
            if whole or accounting.has_lost(counts):
                new_losses, new_accounts = accounting.take(counts, probe.misses())
                losses += new_losses
                accounts += new_accounts
        for table, rows in (("losses", losses), ("accounts", accounts)):
            if rows:
                self.put(table, readings.batch(table, rows))


def _looking(tasks: TaskTable, resolver: StackResolver | None) -> Callable[[Mapped], None]:
    """What is done at once for each new mapping, while its process lives; it does not hold the pipeline alive."""

    def look(mapped: Mapped) -> None:
        if resolver is not None:
            resolver.hold(mapped)
        tasks.glance(mapped.pid)

    return look


def _set_nice(thread_id: int | None, nice: int) -> None:
    """Set the priority of one thread, where that is allowed."""
    if thread_id is not None and nice:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread_id, nice)
