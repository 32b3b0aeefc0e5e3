"""The life of every thread, for table tasks: seen at the start, then forked, renamed, exec'ed and exited."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from tracelab.recorder import host
from tracelab.recorder.readings import Rows, batch
from tracelab.recorder.sideband import Exit, Fork, Record, Rename

_Row = tuple[int, int, int, int | None, str, str, str | None, str | None]


class TaskTable:
    """Follows the side band; names are inherited at a fork, as the kernel does."""

    def __init__(self) -> None:
        self._comm: dict[int, str] = {}
        self._process: dict[int, tuple[int | None, str | None, str | None]] = {}  # ppid, exe, cgroup

    def first_sight(self, time_ns: int) -> pa.RecordBatch:
        """Rows for everything that runs already."""
        rows: Rows = []
        for process in host.processes():
            pid = process.pid
            self._process[pid] = (process.ppid, host.executable(pid), host.cgroup(pid))
            for tid, comm in host.threads(pid):
                self._comm[tid] = comm
                rows.append(self._row(time_ns, tid, pid, "seen"))
        return batch("tasks", rows)

    def follow(self, records: Iterable[Record]) -> pa.RecordBatch:
        """Rows for what the side band tells; records that tell of something else are passed over."""
        rows: Rows = []
        for record in records:
            if isinstance(record, Fork):
                self._fork(record)
                rows.append(self._row(record.time_ns, record.tid, record.pid, "fork"))
            elif isinstance(record, Rename):
                self._comm[record.tid] = record.comm
                if record.by_exec:
                    ppid, _, cgroup = self._process.get(record.pid, (None, None, None))
                    exe = host.executable(record.pid)
                    self._process[record.pid] = (ppid, exe, host.cgroup(record.pid) or cgroup)
                change = "exec" if record.by_exec else "rename"
                rows.append(self._row(record.time_ns, record.tid, record.pid, change))
            elif isinstance(record, Exit):
                rows.append(self._row(record.time_ns, record.tid, record.pid, "exit"))
                self._comm.pop(record.tid, None)
                if record.tid == record.pid:
                    self._process.pop(record.pid, None)
        return batch("tasks", rows)

    def _fork(self, fork: Fork) -> None:
        self._comm[fork.tid] = self._comm.get(fork.parent_tid, "?")
        if fork.pid != fork.parent_pid:
            _, exe, cgroup = self._process.get(fork.parent_pid, (None, None, None))
            self._process[fork.pid] = (fork.parent_pid, exe, cgroup)

    def _row(self, time_ns: int, tid: int, pid: int, change: str) -> _Row:
        ppid, exe, cgroup = self._process.get(pid, (None, None, None))
        return (time_ns, tid, pid, ppid, change, self._comm.get(tid, "?"), exe, cgroup)
