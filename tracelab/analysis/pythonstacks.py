"""Python functions in native stacks: which Python stack belongs to a sample, and where its frames go.

A sample gets the Python stack that its thread had at that time, as py-spy saw it, or the nearest one up to REACH mean
gaps between py-spy's samples away. What py-spy tells are the times of its own samples, so that a stack that is new at
t began somewhere in the gap before: it is taken to begin EARLIER mean gaps before t, where both are as likely. Native
and Python samples are never of the same moment: functions that take longer than a gap are right sample by sample; of
shorter ones the shares of time are right, but which native function goes with which of them is by chance.

Python frames are put above the frame of the interpreter's evaluation loop that runs them, and below what that
calls; nothing native is taken away. Before CPython 3.11 there is a loop for each Python function. Since then a loop
goes on with the functions that Python calls, and only those that C calls (a sort's key, a class, an import) begin a new
one. The recorder marks as `inlined` the frames that are known to go on in their caller's loop (see
recorder/pycalls.py); one that is not marked is taken to begin one, as long as there are loops left, from the root on. A
loop for which the Python stack has no function stays as it is: the stack is of another moment.

Left as they are: stacks without an evaluation loop (start-up, threads of C libraries), stacks that have Python frames
already, from the interpreter's perf map, and samples for which no Python stack is near in time.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.profile import Frame
from tracelab.query import pythonsamples
from tracelab.query.pythonsamples import KIND
from tracelab.query.tables import Tables

__all__ = ["KIND", "merge", "note", "python_ids", "recorded"]

REACH = 1.5  #: mean gaps between py-spy's samples that a Python stack may be away
EARLIER = 0.27  #: where the chance that a stack had begun is a half, when samples come at random
DEFAULT_HZ = 49
LOOPS = ("_PyEval_EvalFrameDefault", "PyEval_EvalFrameEx")  #: since 3.6, and before
NONE, NOT_READ = -1, -2
_FAR = np.iinfo(np.int64).max

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Stacks(Protocol):
    """Stacks by row: frames by number, and a slice of `flat` for each row."""

    @property
    def frames(self) -> tuple[Frame, ...]: ...
    @property
    def flat(self) -> Ints: ...
    @property
    def starts(self) -> Ints: ...
    @property
    def lengths(self) -> Ints: ...


class Merged(NamedTuple):
    """Native stacks with Python frames in them, as Stacks have them, and for which that was known."""

    frames: tuple[Frame, ...]
    flat: Ints
    starts: Ints
    lengths: Ints
    read: Bools  #: whether it is of an interpreter whose Python stacks were read
    known: Bools  #: whether its Python functions are known


def recorded(tables: Tables) -> bool:
    """Whether Python stacks were recorded beside the native ones."""
    return tables.has("samples") and bool(tables.store.manifest.achieved.get("python"))


def python_ids(tables: Tables, samples: pd.DataFrame) -> Ints:
    """For each sample (time_ns, pid, tid) the stack_id of the Python stack that its thread held.

    NONE where none fits, and NOT_READ for a process whose Python stacks were not asked for.
    """
    hz = reading_hz(tables)
    held = pythonsamples.held(tables, int(REACH * 1e9 / hz))
    read = samples["pid"].isin(held["pid"].unique()).to_numpy(bool)
    found = np.full(len(samples), NOT_READ, np.int64)
    found[read] = at_the_time(samples[read], held, hz)
    return found


def reading_hz(tables: Tables) -> float:
    """The lowest rate at which Python stacks were read."""
    about = tables.store.manifest.achieved.get("python")
    rates = [float(a["hz"]) for a in about.values() if a.get("hz")] if isinstance(about, dict) else []
    return min(rates, default=DEFAULT_HZ)


def at_the_time(samples: pd.DataFrame, held: pd.DataFrame, hz: float) -> Ints:
    """For each sample (tid, time_ns) the stack_id of the Python stack that its thread held, or NONE.

    `held` has tid, time_ns, weight (for how long, ns) and stack_id, sorted by tid and time.
    """
    reach, earlier = int(REACH * 1e9 / hz), int(EARLIER * 1e9 / hz)
    found = np.full(len(samples), NONE, np.int64)
    if not len(held):
        return found
    tids, first = np.unique(held["tid"].to_numpy(), return_index=True)
    last = np.append(first[1:], len(held))
    begin, length, number = (held[c].to_numpy(np.int64) for c in ("time_ns", "weight", "stack_id"))
    when = samples["time_ns"].to_numpy(np.int64)
    rows_of = samples.groupby("tid").indices
    for tid, a, b in zip(tids.tolist(), first.tolist(), last.tolist(), strict=True):
        rows = rows_of.get(tid)
        if rows is None:
            continue
        held_before = np.concatenate([[0], length[a : b - 1]])
        start = begin[a:b] - np.minimum(earlier, held_before // 2)
        end = np.minimum(begin[a:b] + length[a:b], np.append(start[1:], _FAR))
        at = when[rows]
        i = np.searchsorted(start, at, "right") - 1
        before, after = np.maximum(i, 0), np.minimum(i + 1, b - a - 1)
        since = np.where(i >= 0, np.maximum(at - end[before], 0), _FAR)
        until = np.where(after > i, np.maximum(start[after] - at, 0), _FAR)
        nearest = np.where(since <= until, before, after)
        found[rows] = np.where(np.minimum(since, until) <= reach, number[a + nearest], NONE)
    return found


def merge(native: Stacks, native_of: Ints, python: Stacks, python_of: Ints, python_id: Ints) -> Merged:
    """Native stacks with Python stacks in them, for each entry of `python_id`.

    Entry i has the native stack number native_of[i] and, unless its python_id is negative, the Python stack number
    python_of[i]; the stacks are distinct ones.
    """
    stack, flat, first = _compact(native)
    is_loop = np.array([f.symbol.startswith(LOOPS) and f.domain == "user" for f in native.frames], bool)[flat]
    is_python = np.array([f.domain == "python" for f in native.frames], bool)[flat]
    loops = np.bincount(stack[is_loop], minlength=len(first))
    loop_place = np.flatnonzero(is_loop) - first[stack[is_loop]]  # in its stack; of one stack after another
    first_loop = np.cumsum(loops) - loops
    already = (np.bincount(stack[is_python], minlength=len(first)) > 0)[native_of]
    has_loop = (loops > 0)[native_of]
    merged = (python_id >= 0) & has_loop & ~already

    rows = np.flatnonzero(merged)
    _, above_flat, above_first = _compact(python)
    length = python.lengths[python_of[rows]]
    row, depth = np.repeat(rows, length), _positions(np.zeros(len(rows), np.int64), length)
    cell = np.repeat(above_first[python_of[rows]], length) + depth
    loop = np.minimum(_loop_wanted(python)[cell], loops[native_of[row]] - 1)

    below = native.lengths[native_of]
    lengths = below + np.where(merged, python.lengths[python_of], 0)
    begin = np.cumsum(lengths) - lengths
    place = begin[row] + loop_place[first_loop[native_of[row]] + loop] + 1 + depth
    out = np.empty(int(lengths.sum()), np.int64)
    rest = np.ones(len(out), bool)
    rest[place] = False
    out[place] = above_flat[cell] + len(native.frames)
    out[rest] = flat[_positions(first[native_of], below)]
    read = has_loop & (python_id != NOT_READ)
    return Merged((*native.frames, *python.frames), out, begin, lengths, read, read & (merged | already))


def note(read: float, known: float) -> tuple[str, ...]:
    """How much of the time of the interpreters that were read has Python functions, if not all."""
    if not read or known >= 0.9995 * read:
        return ()
    return (
        f"Python functions are known for {known / read:.1%} of the time of the interpreters that were read",
    )


def _loop_wanted(python: Stacks) -> Ints:
    """For each frame in which loop of its stack it runs, 0 for the outermost, if there are as many.

    The first frame begins one, and so do those that are not known to go on in their caller's.
    """
    _, flat, first = _compact(python)
    begun: Ints = np.cumsum(~np.array([f.inlined for f in python.frames], bool)[flat], dtype=np.int64)
    at_first = begun[np.minimum(first, len(begun) - 1)] if len(begun) else first
    return begun - np.repeat(at_first, python.lengths)


def _compact(stacks: Stacks) -> tuple[Ints, Ints, Ints]:
    """One stack after the other: the number of its stack and the frame, for each place; and where each begins."""
    stack = np.repeat(np.arange(len(stacks.lengths)), stacks.lengths)
    flat = stacks.flat[_positions(stacks.starts, stacks.lengths)]
    return stack, flat, np.cumsum(stacks.lengths) - stacks.lengths


def _positions(starts: Ints, lengths: Ints) -> Ints:
    """The numbers starts[i] to starts[i] + lengths[i] - 1, one slice after the other."""
    before = np.cumsum(lengths) - lengths
    positions: Ints = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return positions
