"""What became of every event that a probe saw, in the kernel's own count, per CPU and in time.

    seen = kept + lost + sampled_out + filtered + own + idle

`seen` is counted on its own, in the first instructions of a probe. While it runs, a reading can catch one event
per CPU between its two counts; the last reading is taken after the probe was detached, and is exact.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from tracelab.recorder.readings import Rows

COUNTERS = (
    "seen",
    "kept",
    "lost",
    "sampled_out",
    "filtered",
    "own",
    "idle",
    "texts_lost",
)  #: as in bpf/tracelab.h
REASONS = {
    "lost": "ring full",
    "sampled_out": "sampled out",
    "filtered": "filtered",
    "own": "own",
    "idle": "idle",
    "texts_lost": "text ring full",
}
_BUSY = "probe busy"  #: the kernel ran no program, since one of the same probe was under way on that CPU


class Accounting:
    """Follows the account of one probe from reading to reading."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.totals: npt.NDArray[np.int64] | None = None
        self.misses = 0

    def take(
        self, counts: npt.NDArray[np.int64], misses: int = 0, time_ns: int | None = None
    ) -> tuple[Rows, Rows]:
        """Rows of tables losses and accounts for what happened since the reading before.

        `counts` has the shape (COUNTERS, CPUs) and only grows. CPUs on which nothing happened have no row.
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if time_ns is None else time_ns
        grown = counts - (np.zeros_like(counts) if self.totals is None else self.totals)
        self.totals = counts
        losses: Rows = []
        accounts: Rows = []
        for cpu in np.flatnonzero(grown.any(axis=0)).tolist():
            of_cpu = grown[:, cpu].tolist()
            accounts.append((now, cpu, self.source, *of_cpu[: COUNTERS.index("texts_lost")]))
            for name, count in zip(COUNTERS, of_cpu, strict=True):
                if count and name in REASONS:
                    losses.append((now, cpu, self.source, REASONS[name], count))
        if misses > self.misses:
            losses.append((now, -1, self.source, _BUSY, misses - self.misses))
            self.misses = misses
        return losses, accounts

    def has_lost(self, counts: npt.NDArray[np.int64]) -> bool:
        """Whether something was lost since the reading that was taken last."""
        lost = [COUNTERS.index("lost"), COUNTERS.index("texts_lost")]
        before = 0 if self.totals is None else self.totals[lost].sum()
        return bool(counts[lost].sum() > before)

    def summary(self) -> dict[str, int]:
        """Totals over all CPUs; empty before the first reading."""
        if self.totals is None:
            return {}
        totals = {name: int(n) for name, n in zip(COUNTERS, self.totals.sum(axis=1), strict=True)}
        return {**totals, "missed": self.misses}
