"""The life of every thread, for table tasks: seen at the start, then forked, renamed, exec'ed and exited."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa

from tracelab.recorder import host
from tracelab.recorder.allowance import Allowance
from tracelab.recorder.containers import Container, Containers
from tracelab.recorder.readings import Rows, batch
from tracelab.recorder.sideband import Exit, Fork, Record, Rename

GLANCES_SHARE = 0.02  #: of a CPU
GLANCE_AGAIN_NS = 20_000_000  #: a program maps several files at once
MAX_GLANCES = 1 << 16


@dataclass(frozen=True, slots=True)
class _Process:
    """What is known of a process."""

    ppid: int | None = None
    exe: str | None = None
    cgroup: str | None = None
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class _Glance:
    """What /proc had of a process at a moment."""

    time_ns: int
    exe: str | None
    cgroup: str
    container: Container | None


_UNKNOWN = _Process()


class TaskTable:
    """Follows the side band; names, groups and containers are inherited at a fork, as the kernel does."""

    def __init__(self, containers: Containers | None = None) -> None:
        self._containers = containers or Containers()
        self._comm: dict[int, str] = {}
        self._process: dict[int, _Process] = {}
        self._glances: dict[int, _Glance] = {}
        self._allowance = Allowance(GLANCES_SHARE)

    def first_sight(self, time_ns: int) -> pa.RecordBatch:
        """Rows for everything that runs already."""
        rows: Rows = []
        for process in host.processes():
            pid = process.pid
            self._process[pid] = self._looked_up(pid, _Process(ppid=process.ppid))
            for tid, comm in host.threads(pid):
                self._comm[tid] = comm
                rows.append(self._row(time_ns, tid, pid, "seen"))
        return batch("tasks", rows)

    def glance(self, pid: int) -> None:
        """Note where a process is while it is there; `follow` may come to it only when it is gone.

        To be called soon after it mapped a program, from any thread. It takes a bounded share of a CPU.
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        before = self._glances.get(pid)
        if before is not None and now - before.time_ns < GLANCE_AGAIN_NS:
            return
        for _ in self._allowance.ordered((pid,), {}):
            exe, groups = host.executable(pid), host.cgroups(pid)
            if groups:
                if len(self._glances) >= MAX_GLANCES:
                    self._glances.clear()
                self._glances[pid] = _Glance(now, exe, groups[0], self._containers.of(pid, groups))

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
                    before = self._process.get(record.pid, _UNKNOWN)
                    known = replace(before, exe=None)
                    self._process[record.pid] = self._looked_up(record.pid, known, record.time_ns)
                change = "exec" if record.by_exec else "rename"
                rows.append(self._row(record.time_ns, record.tid, record.pid, change))
            elif isinstance(record, Exit):
                rows.append(self._row(record.time_ns, record.tid, record.pid, "exit"))
                self._comm.pop(record.tid, None)
                if record.tid == record.pid:
                    self._process.pop(record.pid, None)
                    self._glances.pop(record.pid, None)
        return batch("tasks", rows)

    def _fork(self, fork: Fork) -> None:
        self._comm[fork.tid] = self._comm.get(fork.parent_tid, "?")
        if fork.pid != fork.parent_pid:
            parent = self._process.get(fork.parent_pid, _UNKNOWN)
            self._process[fork.pid] = replace(parent, ppid=fork.parent_pid)

    def _looked_up(self, pid: int, known: _Process, since_ns: int = 0) -> _Process:
        """What /proc has of a process now, or had at a glance; else its group and container are as inherited."""
        exe, groups = host.executable(pid), host.cgroups(pid)
        if groups:
            return _Process(known.ppid, exe, groups[0], self._containers.of(pid, groups))
        if (seen := self._glances.get(pid)) is not None:
            return _Process(
                known.ppid, seen.exe if seen.time_ns >= since_ns else None, seen.cgroup, seen.container
            )
        return replace(known, exe=exe)

    def _row(self, time_ns: int, tid: int, pid: int, change: str) -> tuple[object, ...]:
        process = self._process.get(pid, _UNKNOWN)
        inside = process.container or (None, None)
        return (
            time_ns,
            tid,
            pid,
            process.ppid,
            change,
            self._comm.get(tid, "?"),
            process.exe,
            process.cgroup,
            *inside,
        )
