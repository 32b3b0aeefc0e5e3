"""What to leave out in the kernel, as macros of bpf/tracelab.h: the first instructions of every probe.

Conditions of one kind are alternatives, those of different kinds must all hold: one of these processes, and one of
these names, and one of these users.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

COMM_BYTES = 15  #: longest name of a thread that the kernel keeps


@dataclass(frozen=True, slots=True)
class Filters:
    """What was asked for; nothing of a kind means all."""

    pid: tuple[int, ...] = ()
    tid: tuple[int, ...] = ()
    children: bool = False  #: the children of `pid` too, from their first instruction
    comm: tuple[str, ...] = ()  #: names of threads; `name*` is a prefix
    uid: tuple[int, ...] = ()
    cgroup: tuple[tuple[int, int], ...] = ()  #: id and level below the root; what is inside is included
    min_ns: int = 0  #: shortest duration, for probes that have one
    errors: bool = False  #: only what failed, for probes that have a result

    def macros(self) -> dict[str, object]:
        """The macros that say so; what is not filtered by has none, and costs nothing."""
        found: dict[str, object] = {}
        if self.children:
            found["FOLLOWED"] = 1
        elif self.pid:
            found["PID_ASKED(pid)"] = _any(f"(pid)=={pid}" for pid in self.pid)
        if self.tid:
            found["TID_ASKED(tid)"] = _any(f"(tid)=={tid}" for tid in self.tid)
        if self.comm:
            found["COMM_ASKED(low,high)"] = _any(_named(comm) for comm in self.comm)
        if self.uid:
            found["UID_ASKED(uid)"] = _any(f"(uid)=={uid}" for uid in self.uid)
        if self.cgroup:
            found["CGROUP_ASKED(ANCESTOR)"] = _any(
                f"ANCESTOR({level})=={number}ULL" for number, level in self.cgroup
            )
        if self.min_ns:
            found["DURATION_ASKED(ns)"] = f"((ns)>={self.min_ns}ULL)"
        if self.errors:
            found["RESULT_ASKED(ret)"] = "((u64)(ret)>=(u64)-4095LL)"
        return found


def numbers_asked(numbers: Iterable[int]) -> str:
    """The condition that `nr` is one of these."""
    return _any(f"(nr)=={number}" for number in numbers)


def _any(conditions: Iterable[str]) -> str:
    return "(" + "||".join(conditions) + ")"


def _named(comm: str) -> str:
    """The condition on the two words of a name; the byte that ends it belongs to it, unless it is a prefix."""
    prefix = comm.endswith("*")
    name = comm.removesuffix("*").encode()[:COMM_BYTES]
    compared = name if prefix else name + b"\0"
    conditions = []
    for word, part in (("low", compared[:8]), ("high", compared[8:])):
        if part:
            mask = (1 << 8 * len(part)) - 1
            conditions.append(f"((({word})&{mask:#x}ULL)=={int.from_bytes(part, 'little'):#x}ULL)")
    return "(" + "&&".join(conditions or ["1"]) + ")"
