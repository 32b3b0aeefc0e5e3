"""Keeps what the recorder costs within a budget: while it costs more, the probes keep one of a larger N."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping

import pyarrow as pa

from tracelab.recorder import introspect
from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.sampling import MAX_N, Budget

WARM_UP_S = 2.0  #: starting costs more than recording, and is not what is governed


class Governor:
    """Told of each reading of run statistics, sets N of its probes; `changes` is what it did.

    The cost is the recorder's own CPU time and the net run time of its programs, as a share of one CPU. Probes come
    with the N that was asked for, of which N of the budget is a multiple. Those that a clock asks for records, as
    often as was said, are counted and left alone.
    """

    def __init__(self, share: float, probes: Mapping[LoadedProbe, int], floor_ns: float = 0.0) -> None:
        self.budget = Budget(share)
        self.changes: list[dict[str, float]] = []
        self.exhausted = ""  #: why the budget was not kept, if it was not
        self._probes = probes
        self._floor_ns = floor_ns
        self._own = {introspect.program(fd).prog_id for probe in probes for fd in probe.prog_fds()}
        self._cpu_s, self._at = _cpu_seconds(), time.monotonic()
        self._began = self._at
        self._seen: dict[int, tuple[int, int, int]] = {}

    def follow(self, stats: pa.RecordBatch) -> str | None:
        """Choose N anew from rows of table bpf_prog_stats; returns what to write down when it changed."""
        now, cpu_s = time.monotonic(), _cpu_seconds()
        if now - self._began < WARM_UP_S:
            self._cpu_s, self._at = cpu_s, now
            self._programs_share(stats)
            return None
        cost = (cpu_s - self._cpu_s) / max(1e-3, now - self._at) + self._programs_share(stats)
        self._cpu_s, self._at = cpu_s, now
        before, exhausted = self.budget.n, self.budget.exhausted
        n = self.budget.next_n(cost)
        if self.budget.exhausted and not exhausted:
            self.exhausted = (
                f"budget: {self.budget.share:.1%} of a CPU was asked for, and recording took {cost:.1%}: "
                f"to keep fewer events than one of {n} saves next to nothing, as those left out cost time, too; "
                "name fewer events or one process"
            )
        if n == before:
            return None
        for probe, asked in self._probes.items():
            if not probe.is_clocked:
                probe.set_one_in(min(MAX_N, asked * n))
        self.changes.append(
            {"time_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC), "one_in": n, "cost": round(cost, 4)}
        )
        return (
            f"budget: 1 of {n} events is kept from here on, 1 of {before} before; "
            f"recording took {cost:.1%} of a CPU, {self.budget.share:.1%} was asked for"
        )

    def _programs_share(self, stats: pa.RecordBatch) -> float:
        """Of one CPU, the share that the own programs took while runs were counted."""
        share = 0.0
        columns = [stats[name].to_pylist() for name in ("prog_id", "run_cnt", "run_time_ns", "counted_ns")]
        for number, runs, run_ns, counted_ns in zip(*columns, strict=True):
            if number not in self._own:
                continue
            before = self._seen.get(number, (0, 0, 0))
            self._seen[number] = (runs, run_ns, counted_ns or 0)
            if counted := (counted_ns or 0) - before[2]:
                share += max(0.0, run_ns - before[1] - (runs - before[0]) * self._floor_ns) / counted
        return share


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
