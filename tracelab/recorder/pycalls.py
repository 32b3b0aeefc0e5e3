"""Which calls of one Python function by another go on in the same evaluation loop of the interpreter.

Since CPython 3.11 a loop goes on with the functions that Python calls; those that C calls (a sort's key, a class, an
import) begin a new one, with native frames in between. py-spy's traces do not tell them apart, but its snapshots
do, and a call at a line is nearly always of one kind. A snapshot takes 3 ms of CPU time, a few are enough.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator, Sequence

from tracelab.profile import Frame
from tracelab.recorder.pyspy import py_spy

OFTEN_S, SELDOM_S = 0.25, 1.0  #: between snapshots: at first, and later
OFTEN = 20  #: snapshots that are taken often
SHARE = 0.05  #: of the time that snapshots may take, most of which is not CPU time
TIMEOUT_S = 0.5  #: a recording that ends waits for one that is under way
MAX_CALLS = 1 << 16

_Call = tuple[str, str, int, str, str]  #: caller, its file and line; callee and its file


class Calls:
    """What snapshots have told of calls, of all processes together."""

    def __init__(self) -> None:
        self._same_loop: dict[_Call, bool] = {}
        self._python: set[int] = set()
        self._not_python: set[int] = set()
        self._next: dict[int, float] = {}
        self._taken: dict[int, int] = {}

    def look(self, pids: Sequence[int]) -> None:
        """Take a snapshot of each of these processes for which it is time; one that is not Python is passed over."""
        for pid in pids:
            now = time.monotonic()
            if pid in self._not_python or now < self._next.get(pid, 0.0):
                continue
            taken = self._taken[pid] = self._taken.get(pid, 0) + 1
            stacks = _snapshot(pid)
            if stacks is None and taken > 20 and pid not in self._python:
                self._not_python.add(pid)
            if stacks:
                self._python.add(pid)
            for stack in stacks or ():
                self._learn(stack)
            cost = time.monotonic() - now
            self._next[pid] = now + max(OFTEN_S if taken < OFTEN else SELDOM_S, cost / SHARE)

    def marked(self, stack: Sequence[Frame]) -> tuple[Frame, ...]:
        """A stack, root first, whose frames are `inlined` where they run in the loop of their caller."""
        frames = list(stack)
        for i in range(1, len(frames)):
            caller, callee = frames[i - 1], frames[i]
            call = (caller.symbol, caller.file, caller.line, callee.symbol, callee.file)
            if self._same_loop.get(call):
                frames[i] = _inlined(callee)
        return tuple(frames)

    def _learn(self, stack: Sequence[dict[str, object]]) -> None:
        if len(self._same_loop) > MAX_CALLS:
            self._same_loop.clear()
        for callee, caller in itertools.pairwise(stack):  # leaf first
            call = (
                *(caller[k] for k in ("name", "filename", "line")),
                *(callee[k] for k in ("name", "filename")),
            )
            self._same_loop[call] = not (callee["is_entry"] or callee["is_shim_entry"])  # type: ignore[index]


def descendants(pid: int) -> Iterator[int]:
    """A process and all that it started, as far as the kernel tells (CONFIG_PROC_CHILDREN)."""
    yield pid
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            found = [int(child) for child in children.read().split()]
    except (OSError, ValueError):
        return
    for child in found:
        yield from descendants(child)


def _snapshot(pid: int) -> list[list[dict[str, object]]] | None:
    """The stacks of a process, leaf first; None when it is not Python, or cannot be read just now."""
    program = py_spy()
    if program is None:
        return None
    argv = [program, "dump", "--pid", str(pid), "--json"]
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=TIMEOUT_S, check=True, stdin=subprocess.DEVNULL
        )
        return [thread["frames"] for thread in json.loads(done.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def _inlined(frame: Frame) -> Frame:
    return Frame(frame.symbol, frame.module, frame.domain, frame.file, frame.line, inlined=True)
