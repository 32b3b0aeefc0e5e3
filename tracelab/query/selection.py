"""A selection: the part of a session that is meant."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tracelab.errors import UsageError

FOREVER_NS = 1 << 62  #: the end of a window that has none
Window = tuple[int, int]  #: from, and until but not including; ns


@dataclass(frozen=True, slots=True)
class Selection:
    """What part of a session is meant; a field that is None leaves everything in.

    >>> Selection(pids=(1, 2)).narrowed(Selection(pids=(2, 3), comms=("sh",))).code()
    "pid=2, comm='sh'"
    """

    window_ns: Window | None = None  #: CLOCK_MONOTONIC, half open
    pids: tuple[int, ...] | None = None
    tids: tuple[int, ...] | None = None
    comms: tuple[str, ...] | None = None  #: names that the thread had at the moment
    cpus: tuple[int, ...] | None = None
    events: tuple[str, ...] | None = None
    cgroups: tuple[str, ...] | None = None  #: control groups, with those below them
    frames: tuple[str, ...] | None = None  #: symbols; of samples, those whose stack has one of them

    def __post_init__(self) -> None:
        if self.window_ns is not None and self.window_ns[0] > self.window_ns[1]:
            raise UsageError(f"a time window begins before it ends; asked for {self.window_ns} ns")

    def narrowed(self, other: Selection) -> Selection:
        """What is in both selections."""
        mine, theirs = self.window_ns, other.window_ns
        window = mine or theirs
        if mine and theirs:
            start, end = max(mine[0], theirs[0]), min(mine[1], theirs[1])
            window = (start, max(start, end))
        rest: dict[str, Any] = {
            f.name: _both(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)
            if f.name != "window_ns"
        }
        return Selection(window, **rest)

    def describe(self, start_ns: int = 0) -> str:
        """The selection in words, times in seconds since `start_ns`; empty for everything.

        >>> Selection(window_ns=(1_000_000_000, 2_500_000_000), comms=("sh", "ls")).describe()
        '1 s to 2.5 s, comm sh or ls'
        """
        words = []
        if self.window_ns:
            first, last = ((t - start_ns) / 1e9 for t in self.window_ns)
            until = f"to {last:.6g} s" if self.window_ns[1] < FOREVER_NS else "to the end"
            words.append(f"{first:.6g} s {until}")
        for f in fields(self):
            values = getattr(self, f.name)
            if f.name != "window_ns" and values is not None:
                words.append(f"{f.name[:-1]} {' or '.join(map(str, values)) or '(none)'}")
        return ", ".join(words)

    def code(self, start_ns: int = 0) -> str:
        """The keywords of `Session.select` that make this selection; empty for everything.

        >>> print(Selection(window_ns=(1_000_000_000, FOREVER_NS), pids=(7, 8), comms=("it's",)).code())
        time=(1.0, None), pid=[7, 8], comm="it's"
        """
        words = []
        if self.window_ns:
            first, last = (round((t - start_ns) / 1e9, 6) for t in self.window_ns)
            words.append(f"time=({first}, {last if self.window_ns[1] < FOREVER_NS else None})")
        for f in fields(self):
            values = getattr(self, f.name)
            if f.name != "window_ns" and values is not None:
                words.append(f"{f.name[:-1]}={values[0]!r}" if len(values) == 1 else f"{f.name[:-1]}={list(values)!r}")
        return ", ".join(words)


def _both(mine: tuple[Any, ...] | None, theirs: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    return tuple(value for value in mine if value in theirs)
