"""Readings of processes, for table procs: a little of all of them, and more of the targets.

What the kernel must walk through memory or threads for is read as often as an allowance permits: a share of one CPU,
however large the targets are. Between such readings the columns are null.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa

from tracelab.recorder import host
from tracelab.recorder.allowance import Allowance
from tracelab.recorder.readings import Rows, batch
from tracelab.recorder.targets import Targets


class ProcessReadings:
    """Reads all processes once for every `take`."""

    def __init__(
        self,
        targets: Targets | None = None,
        pss_allowance: Allowance | None = None,
        switches_allowance: Allowance | None = None,
    ) -> None:
        self._targets = targets
        self._pss_allowance = pss_allowance or Allowance()
        self._switches_allowance = switches_allowance or Allowance()
        self._takes = 0
        self._pss_read: dict[int, int] = {}  #: number of the take that read it last
        self._switches_read: dict[int, int] = {}
        self._switches: dict[
            int, dict[int, tuple[int, int]]
        ] = {}  #: by process and thread, also of ended threads

    def take(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Rows of table procs: `(table, rows)`."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        processes = host.processes()
        asked = self._targets.look(processes) if self._targets else set()
        there = {p.pid for p in processes if p.pid in asked}
        self._takes += 1
        self._forget(there)
        pss = dict(self._read_pss(there))
        switches = dict(self._read_switches(there))
        rows: Rows = []
        for p in processes:
            waits = switches.get(p.pid) or (None, None)
            moved = (p.pid in there and host.storage_bytes(p.pid)) or (None, None)
            about = (p.pid, p.comm, p.user_ns, p.system_ns, p.rss_bytes, p.threads)
            rows.append((now, *about, pss.get(p.pid), *waits, *moved, p.minor_faults, p.major_faults))
        yield "procs", batch("procs", rows)

    def _read_pss(self, pids: set[int]) -> Iterator[tuple[int, int | None]]:
        for pid in self._pss_allowance.ordered(pids, self._pss_read):
            self._pss_read[pid] = self._takes
            yield pid, host.pss_bytes(pid)

    def _read_switches(self, pids: set[int]) -> Iterator[tuple[int, tuple[int, int]]]:
        """Sums over threads; those of a thread that ended stay in it as they were read last."""
        for pid in self._switches_allowance.ordered(pids, self._switches_read):
            self._switches_read[pid] = self._takes
            threads = self._switches.setdefault(pid, {})
            for tid in host.thread_ids(pid):
                if (found := host.switches(tid)) is not None:
                    threads[tid] = found
            if threads:
                waits, preemptions = zip(*threads.values(), strict=True)
                yield pid, (sum(waits), sum(preemptions))

    def _forget(self, there: set[int]) -> None:
        for memory in (self._pss_read, self._switches_read, self._switches):
            for pid in memory.keys() - there:
                del memory[pid]
