"""The two sides of a difference: what each stack weighs there, and when that was sampled.

Sides of one session share their stacks. Stacks of two sessions are put together by their functions: symbol, file name
of the module, and domain. Build ids are left out, because a program that was built again is what is mostly compared;
and so are the folder of a module, the tag of an eBPF program and the pid of a process, which are others every time.
Addresses without a symbol are the same in the same build only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tracelab.analysis.profiles import shared_profile
from tracelab.analysis.resampling import block_count
from tracelab.analysis.samples import sample_index
from tracelab.errors import UsageError
from tracelab.profile import Frame, Profile
from tracelab.query import kernels
from tracelab.query.selection import Selection, Window
from tracelab.query.tables import Tables

Ints = npt.NDArray[np.int64]
Flat = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_TAG = re.compile(r"^bpf_prog_[0-9a-f]{16}_")
_PID = re.compile(r" \(\d+\)$")


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a side, sorted by time."""

    time_ns: Ints  #: CLOCK_MONOTONIC
    stack: Flat  #: number of the stack in the profile
    weight: Floats
    window_ns: Window  #: the time that was looked at
    rows: slice | Ints  #: which rows of the session's samples they are


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a difference."""

    name: str  #: what it is of, in words
    profile: Profile
    samples: Samples | None = None  #: None for a profile without times: nothing is known of its noise then
    events: Floats | None = None  #: events in each block; None unless it is these that are divided by

    @property
    def seconds(self) -> float:
        """Length of the window; NaN when it is not known."""
        window = self.samples.window_ns if self.samples else None
        return (window[1] - window[0]) / 1e9 if window else float("nan")

    @property
    def blocks(self) -> int:
        """Blocks of time that it is cut into; 0 when it is too short, or has no times."""
        return block_count(self.samples.window_ns) if self.samples else 0

    def by_block(self, project: Callable[[Floats], Floats]) -> Iterator[Floats]:
        """For each block what `project` makes of the weights of the profile's stacks in it."""
        if self.samples is None or not self.blocks:
            return
        rows, (first, last) = self.samples, self.samples.window_ns
        edges = first + (np.arange(self.blocks + 1) * (last - first)) // self.blocks
        at = np.searchsorted(rows.time_ns, edges)
        at[0], at[-1] = 0, len(rows.time_ns)  # what is at the very end of a recording is in the last block
        for begin, end in itertools.pairwise(at):
            counted = np.bincount(rows.stack[begin:end], rows.weight[begin:end], len(self.profile))
            yield project(counted.astype(np.float64))


def side_of(tables: Tables, kind: str, by: str | None = None, events: tuple[str, ...] | None = None) -> Side:
    """The samples of a kind of what is selected; with `events`, also how many events there were ((), all of them).

    Raises MissingTable and UsageError as a profile does, and MissingTable where events are asked for and were not
    recorded.
    """
    profile = shared_profile(tables, kind, by)
    index = sample_index(tables, kind)
    index = index.by(by) if by else index
    rows = index.rows(tables.selection)
    samples = Samples(index.time_ns[rows], index.stack[rows], index.weight[rows], tables.window_ns, rows)
    side = Side(described(tables), profile, samples)
    return side if events is None else replace(side, events=event_blocks(tables, events, max(1, side.blocks)))


def shared_share(before: Side, after: Side) -> float:
    """Share of the samples of `after` that are in `before`, too; 0 for sides of two sessions."""
    mine, theirs = after.samples, before.samples
    if mine is None or theirs is None or before.profile.stack_frames is not after.profile.stack_frames:
        return 0.0
    (first, last), (begin, end) = mine.window_ns, theirs.window_ns
    if max(first, begin) >= min(last, end) or not len(mine.time_ns):
        return 0.0
    tops = [r.stop if isinstance(r, slice) else int(r.max(initial=-1)) + 1 for r in (mine.rows, theirs.rows)]
    taken = np.zeros(max(tops), bool)
    taken[theirs.rows] = True
    return float(taken[mine.rows].mean())


def described(tables: Tables) -> str:
    """The session's name and what is selected of it, in words."""
    selected = tables.selection.describe(tables.start_ns)
    return tables.store.path.name + (f": {selected}" if selected else "")


def event_blocks(tables: Tables, events: tuple[str, ...], blocks: int) -> Floats:
    """Events by block of the window; shape (blocks,)."""
    narrowed = tables.narrowed(Selection(events=events)) if events else tables
    first, last = tables.window_ns
    found = kernels.event_counts(narrowed, "probe", max(1, -(-(last - first) // blocks)))
    return np.bincount(found["bin"], found["count"], blocks).astype(np.float64)[:blocks]


def together(before: Profile, after: Profile) -> tuple[Profile, int]:
    """A profile with the stacks of both, weights left as they are, and the number of the first stack of `after`.

    Profiles that share their stacks already are told by 0 stacks before it. Raises UsageError for profiles of
    different quantities or units.
    """
    mine, theirs = (before.quantity, before.unit), (after.quantity, after.unit)
    if mine != theirs:
        raise UsageError(
            f"before is {mine[0]} in {mine[1]}, after is {theirs[0]} in {theirs[1]}: "
            "only profiles of one quantity and unit can be compared"
        )
    if before.stack_frames is after.stack_frames and before.offsets is after.offsets and before.frames is after.frames:
        return after, 0
    frames = _shared_functions(after.frames, before.frames)
    joined = replace(
        after,
        frames=frames[len(after.frames) :] + frames[: len(after.frames)],
        offsets=np.concatenate([before.offsets, before.offsets[-1] + after.offsets[1:]]),
        stack_frames=np.concatenate([before.stack_frames, after.stack_frames + np.int32(len(before.frames))]),
        weights=np.concatenate([before.weights, after.weights]),
        complete=None,
    )
    return joined, len(before)


def _shared_functions(*sides: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """All frames, those of one function with the same symbol and module: those of its first frame."""
    first: dict[tuple[str, str, str], str] = {}
    shared = []
    for frame in (frame for frames in sides for frame in frames):
        symbol = _symbol(frame)
        module = first.setdefault((symbol, frame.module.rpartition("/")[2], frame.domain), frame.module)
        shared.append(replace(frame, symbol=symbol, module=module))
    return tuple(shared)


def _symbol(frame: Frame) -> str:
    """The symbol without what is another in every recording."""
    if frame.domain == "bpf":
        return _TAG.sub("bpf_prog_", frame.symbol)
    if frame.domain == "process":
        return _PID.sub("", frame.symbol)
    if not frame.symbolised and frame.build_id:
        return f"{frame.symbol} (build {frame.build_id[:8]})"
    return frame.symbol
