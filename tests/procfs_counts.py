"""Counts of interrupts that the kernel keeps for everybody, over all CPUs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from probe_records import Records, taking

Counts = Counter[str]


def soft_interrupts() -> Counts:
    """By vector, as the kernel calls it in small letters."""
    return _by_cpu("/proc/softirqs")


def hard_interrupts() -> Counts:
    """By number, or by the short name that those of the CPU itself have."""
    return _by_cpu("/proc/interrupts")


def _by_cpu(path: str) -> Counts:
    head, *lines = Path(path).read_text().splitlines()
    cpus = len(head.split())
    rows = (line.split() for line in lines)
    return Counter(
        {row[0].rstrip(":").lower(): sum(int(n) for n in row[1 : 1 + cpus] if n.isdigit()) for row in rows}
    )


@dataclass(frozen=True)
class Bracket:
    """What a probe took between two readings of a count, all of it told by name."""

    taken: dict[str, int]  #: events by name
    records: Records
    account: dict[str, int]
    surely: Counts  #: while the probe was attached for sure: it must have seen these
    perhaps: Counts  #: from before it was attached until after: it cannot have seen more

    def agrees(self, events: int, count: str) -> bool:
        """Whether that many events are those of a count of the kernel.

        Up to one in a hundred interrupts of the CPU itself was seen to reach no tracepoint, however many programs there
        are, and without the kernel counting a miss.
        """
        return 0.97 * self.surely[count] - 5 <= events <= self.perhaps[count]


def bracketed(
    probe: str, read: Callable[[], Counts], work: Callable[[], object], **macros: object
) -> Bracket:
    """A probe, while some work is done that makes events for it."""
    before = read()
    with taking(probe, **macros) as taken:
        began = read()
        work()
        surely = read() - began
        taken.probe.detach()
        perhaps = read() - before
        records = taken.records()
        return Bracket(Counter(taken.names(records)), records, taken.counts(), surely, perhaps)
