"""Stacks of Python functions beside the native ones: kept as samples of kind `python`, and put together when asked.

py-spy tells what it read when it ends, which is after the native stacks of the same time were written, and what is
written is never changed. So its stacks become rows of their own, and analysis/pythonstacks.py joins them to the
native samples of the same thread and time when a profile is made. That keeps what each reader saw, can be switched
off, and leaves a recording as it is when py-spy fails.

A row is a stack that a thread had from `time_ns` for `weight` ns, running or waiting: rows of a thread follow each
other without a gap, and a profile of kind `python` is one of wall time.

py-spy runs for SEGMENT_S and is relieved by the next run, which overlaps it: so its memory stays bounded, a live
session follows, and no more is lost with it. The rate is lowered where reading would stop the process for more than
STOPPED_SHARE of the time: a sample takes about 0.1 ms for each thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tracelab.profile import Frame
from tracelab.recorder.pycalls import Calls, descendants
from tracelab.recorder.pyspy import NICE, Held, PySpy
from tracelab.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "python"
FIRST_FRAME = 1 << 30  #: numbers of frames and stacks that the resolver of native stacks never comes to
FIRST_STACK = 1 << 40
SEGMENT_S = 10.0
LOOK_S = 0.25  #: between looks at which threads there are, and which calls
LOOK_NS = 250_000_000
STOP_S = 1.0  #: longest wait for the readers at the end
MIN_HZ, MAX_HZ = 10, 400
STOPPED_SHARE = 0.03
SAMPLE_NS = (60_000, 90_000)  #: first guess of what a sample costs: at all, and for each thread (measured)
AGAIN_S = (0.3, 0.5, 1.0, 2.0, 4.0, 8.0)  #: waits after tries to find an interpreter in a command
MAX_KNOWN = 1 << 17  #: stacks that are recognised when they come again
_OVERLAP = 3  #: mean gaps between samples for which two readers run

Put = Callable[[str, "pa.RecordBatch"], None]
Row = Mapping[str, object]


def reading_hz(sampler_hz: int) -> int:
    """How often to read, for native samples at a rate: twice as often, so that a stack is half a sample old.

    >>> reading_hz(49), reading_hz(1), reading_hz(999)
    (98, 10, 400)
    """
    return min(max(2 * sampler_hz, MIN_HZ), MAX_HZ)


class PythonFrames:
    """Reads the Python stacks of processes from `follow` to `stop`; whatever goes wrong becomes a note.

    `put` takes rows of tables frames, stacks and samples, from several threads.
    """

    def __init__(self, put: Put, hz: int) -> None:
        self.notes: list[str] = []  #: what must be said about the recording
        self.achieved: dict[
            str, dict[str, float]
        ] = {}  #: by process: rate, CPU time of the reader, error of its clock
        self.reader_pids: list[int] = []
        self._hz = reading_hz(hz)
        self._why = ""  #: the last reader did not begin
        self._calls = Calls()
        self._rows = _Rows(put, self._calls)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stop_fd, self._stop_writes = os.pipe()
        self._stopping = threading.Event()

    def follow(self, pid: int, *, children: bool = False) -> None:
        """Read this process until it ends.

        With `children` it is a command, which need not be Python itself: what it starts is read too.
        """
        name = f"tracelab-python-{pid}"
        thread = threading.Thread(target=self._guard, args=(pid, children), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End all readers, and put what they have read; takes a second at most."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        os.write(self._stop_writes, b"x")
        until = time.monotonic() + STOP_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                self._note(f"{thread.name} did not end in time: its last Python stacks are missing")
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._stop_fd)
            os.close(self._stop_writes)

    def _guard(self, pid: int, children: bool) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        with contextlib.ExitStack() as readers:
            try:
                self._read(pid, children, readers)
            except Exception as error:  # the recording goes on without
                self._note(f"Python stacks of process {pid} could not be read: {error!r}")

    def _read(self, pid: int, children: bool, readers: contextlib.ExitStack) -> None:
        """One reader after the other, each begun before the one before ends."""
        hz = self._affordable(SAMPLE_NS[0] + SAMPLE_NS[1] * len(_threads_of(pid)))
        reader = self._begin(pid, hz, children, readers)
        if reader is None and not self._stopping.is_set():
            self._note(
                f"no Python stacks of process {pid}: {self._why or 'py-spy found nothing to read in time'}"
            )
        seen: dict[int, int] = {}
        from_ns = 0
        while reader is not None:
            cpu_ns, began = reader.cpu_ns(), time.monotonic()
            ended = self._watch(reader, children, seen)
            cpu_share = (reader.cpu_ns() - cpu_ns) / 1e9 / max(time.monotonic() - began, 1e-3)
            hz = self._affordable(cpu_share * 1e9 / reader.hz)
            later = None
            if not ended and self._goes_on(pid):
                later = self._begin(pid, hz, children, readers)
                if later is None and self._goes_on(pid):
                    continue  # rather the one that there is
                if later is not None:
                    later.ended(_OVERLAP / hz, self._stop_fd)
            until_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            self._rows.put(reader.finish(), from_ns, until_ns, seen)
            self._tell(pid, reader, cpu_share)
            while later is None and not self._stopping.wait(AGAIN_S[0]) and self._goes_on(pid):
                later = self._begin(pid, hz, children, readers)
            from_ns, reader = until_ns, later

    def _watch(self, reader: PySpy, children: bool, seen: dict[int, int]) -> bool:
        """Wait for a segment, and keep when each thread was last seen; whether the reader ended by itself."""
        until = time.monotonic() + SEGMENT_S
        while (left := until - time.monotonic()) > 0:
            now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            seen.update(dict.fromkeys(_threads_of(reader.pid), now_ns))
            if reader.ended(min(left, LOOK_S), self._stop_fd):
                return True
            if self._stopping.is_set():
                break
            self._calls.look(list(descendants(reader.pid)) if children else [reader.pid])
        return False

    def _begin(self, pid: int, hz: int, children: bool, readers: contextlib.ExitStack) -> PySpy | None:
        """A reader that reads; None when there is none to be had."""
        for wait_s in AGAIN_S if children else AGAIN_S[:1]:
            reader = PySpy(pid, hz, children=children)
            readers.callback(reader.close)
            if reader.begin(self._stop_fd):
                with self._lock:
                    self.reader_pids.append(reader.reader_pid)
                return reader
            reader.finish()
            self._why = reader.failure
            if self._stopping.wait(wait_s) or not self._goes_on(pid):
                break
        return None

    def _goes_on(self, pid: int) -> bool:
        """Whether there is more to read; a process that has ended may not have been waited for yet."""
        if self._stopping.is_set():
            return False
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                return stat.read().rpartition(")")[2].split()[0] not in "ZX"
        except (OSError, IndexError):
            return False

    def _affordable(self, sample_ns: float) -> int:
        """The rate at which samples of this cost may be taken."""
        return min(self._hz, max(MIN_HZ, int(STOPPED_SHARE * 1e9 / max(sample_ns, 1))))

    def _tell(self, pid: int, reader: PySpy, cpu_share: float) -> None:
        about = {"hz": reader.hz, "cpu_share": round(cpu_share, 4), "clock_error_ns": reader.clock_error_ns}
        with self._lock:
            self.achieved[str(pid)] = about
        if reader.failure:
            self._note(f"Python stacks of process {pid} are incomplete: {reader.failure}")
        if reader.hz < self._hz:
            self._note(
                f"Python stacks of process {pid} were read less than {self._hz} times a second, because "
                f"it stands still meanwhile: at most {STOPPED_SHARE:.0%} of the time"
            )

    def _note(self, text: str) -> None:
        with self._lock:
            if text not in self.notes:
                self.notes.append(text)


class _Rows:
    """Numbers for frames and stacks, and rows for what is new."""

    def __init__(self, put: Put, calls: Calls) -> None:
        self._put = put
        self._calls = calls
        self._lock = threading.Lock()
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[Frame, ...], int] = {}
        self._last_frame, self._last_stack = FIRST_FRAME, FIRST_STACK

    def put(self, held: Sequence[Held], from_ns: int, until_ns: int, seen: Mapping[int, int]) -> None:
        """The rows of stacks, as far as they were held between two moments.

        The last stack of a thread that is gone ends when it was last `seen`, which py-spy does not tell.
        """
        with self._lock:
            frames: list[Row] = []
            stacks: list[Row] = []
            samples: list[Row] = []
            for h in held:
                start, end = max(h.start_ns, from_ns), min(h.end_ns, until_ns)
                if h.tid in seen:
                    end = min(end, seen[h.tid] + LOOK_NS)
                if h.stack and end > start:
                    number = self._stack(self._calls.marked(h.stack), frames, stacks)
                    samples.append(
                        {
                            "time_ns": start,
                            "pid": h.pid,
                            "tid": h.tid,
                            "stack_id": number,
                            "kind": KIND,
                            "weight": end - start,
                            "unit": "ns",
                            "unwound": "complete",
                        }
                    )
            for table, rows in (("frames", frames), ("stacks", stacks), ("samples", samples)):
                if rows:
                    self._put(table, _batch(table, rows))

    def _stack(self, stack: tuple[Frame, ...], frames: list[Row], stacks: list[Row]) -> int:
        known = self._stacks.get(stack)
        if known is None:
            if len(self._stacks) >= MAX_KNOWN:
                self._stacks.clear()
                self._frames.clear()
            self._last_stack += 1
            known = self._stacks[stack] = self._last_stack
            stacks.append({"stack_id": known, "frames": [self._frame(f, frames) for f in stack]})
        return known

    def _frame(self, frame: Frame, frames: list[Row]) -> int:
        known = self._frames.get(frame)
        if known is None:
            self._last_frame += 1
            known = self._frames[frame] = self._last_frame
            frames.append(
                {
                    "frame_id": known,
                    "symbol": frame.symbol,
                    "module": frame.module,
                    "file": frame.file,
                    "line": frame.line if 0 < frame.line < 1 << 31 else None,
                    "inlined": int(frame.inlined),
                    "domain": frame.domain,
                }
            )
        return known


def _batch(table: str, rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows of a stored table; a column that a row has not is null."""
    import pyarrow as pa

    schema = arrow_schema(table)
    arrays = [pa.array([row.get(f.name) for row in rows], f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _threads_of(pid: int) -> list[int]:
    try:
        return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
