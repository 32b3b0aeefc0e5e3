"""A flame chart: what each thread did, in the order of time, with the gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracelab.analysis.samples import SampleIndex
from tracelab.analysis.shapes import ROOT, Shape, ends, levels, parents, shape_of
from tracelab.analysis.stacks import GAP, SMALL, Tree
from tracelab.errors import UsageError
from tracelab.query.selection import Selection

MAX_THREADS = 24  #: those with the most weight; a chart with more of them is not read
MAX_SAMPLES = 1_000_000  #: in one chart: about two seconds of work
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Runs:
    """Stacks one after the other, thread after thread: what stands above the other in a chart, and for how long."""

    stack: Ints  #: number of a stack whose first frame is the thread; -1 for a gap
    thread: Ints  #: place of the thread
    width: Ints  #: ns


def flame_chart(index: SampleIndex, selection: Selection, first_ns: int, last_ns: int) -> tuple[Tree, int]:
    """Threads side by side, each as wide as the window; and how many threads were left out.

    A sample covers the time that it stands for, up to its own, and no more than is left since the one before. Frames of
    neighbouring samples are one node as long as nothing lies between. Own weight is in GAP nodes only: where a
    frame called nobody, and where nothing was recorded of the thread. Weights are ns. Threads stand by descending
    weight, the rest in the order of time. Raises UsageError for more than MAX_SAMPLES.
    """
    rows = index.rows(selection)
    count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    if count > MAX_SAMPLES:
        raise UsageError(f"{count:,} samples are too many for a flame chart; select a shorter time, or some threads")
    by_thread = index.by("thread")
    shape = shape_of(by_thread.profile)
    runs, left_out = _runs(by_thread, selection, first_ns, last_ns)
    return _tree(shape, by_thread.profile.offsets, shape.function_of[by_thread.profile.stack_frames], runs), left_out


def _runs(index: SampleIndex, selection: Selection, first_ns: int, last_ns: int) -> tuple[_Runs, int]:
    rows = index.rows(selection)
    stack = index.stack[rows].astype(np.int64)
    thread = index.profile.stack_frames[index.profile.offsets[stack]].astype(np.int64)
    until, weight = index.time_ns[rows], index.weight[rows]
    heaviest = np.argsort(-np.bincount(thread, weights=weight), kind="stable")
    heaviest = heaviest[np.isin(heaviest, thread)]
    place = np.full(int(heaviest.max(initial=0)) + 1, -1)
    place[heaviest[:MAX_THREADS]] = np.arange(min(len(heaviest), MAX_THREADS))
    keep = np.flatnonzero(place[thread] >= 0)
    order = keep[np.lexsort((until[keep], place[thread[keep]]))]
    stack, lane, until, weight = stack[order], place[thread[order]], until[order], weight[order]
    new_lane = np.append(True, lane[1:] != lane[:-1]) if len(lane) else np.zeros(0, bool)
    before = np.where(new_lane, first_ns, np.append(first_ns, until[:-1])[: len(until)])
    begin = np.minimum(np.maximum(until - weight.astype(np.int64), before), until)
    last_of = np.append(new_lane[1:], True) if len(lane) else new_lane
    tail = np.flatnonzero(last_of)
    # Before each sample a gap, and one behind the last of each thread; those of no length go.
    at = np.concatenate([np.arange(len(stack)) * 2, np.arange(len(stack)) * 2 + 1, tail * 2 + 1.5])
    stacks = np.concatenate([np.full(len(stack), -1), stack, np.full(len(tail), -1)])
    lanes = np.concatenate([lane, lane, lane[tail]])
    widths = np.concatenate([begin - before, until - begin, np.maximum(last_ns - until[tail], 0)])
    there = np.flatnonzero(widths > 0)
    there = there[np.argsort(at[there], kind="stable")]
    runs = _Runs(stacks[there], lanes[there], widths[there].astype(np.int64))
    return _with_threads(runs, index, heaviest), max(0, len(heaviest) - MAX_THREADS)


def _with_threads(runs: _Runs, index: SampleIndex, heaviest: Ints) -> _Runs:
    """A gap gets the number of its thread's frame, less one and negated, instead of -1."""
    gap = runs.stack < 0
    stack = np.where(gap, -1 - heaviest[runs.thread] if len(heaviest) else -1, runs.stack)
    return _Runs(stack, runs.thread, runs.width)


def _tree(shape: Shape, offsets: Ints, flat: npt.NDArray[np.int32], runs: _Runs) -> Tree:
    count = len(runs.stack)
    gap = runs.stack < 0
    start = np.where(gap, 0, offsets[np.maximum(runs.stack, 0)])
    length = np.where(gap, 1, offsets[np.maximum(runs.stack, 0) + 1] - start)  # without the GAP behind it
    lane_frame = np.where(gap, shape.function_of[np.where(gap, -1 - runs.stack, 0)], 0)

    padded = np.append(flat, 0)

    def frame_at(run: Ints, depth: Ints) -> Ints:
        """Frame of a run at a depth, 0 for the thread; GAP behind its last one."""
        inside = depth < length[run]
        cell = np.where(inside & ~gap[run], start[run] + depth, len(flat))
        return np.where(inside, np.where(gap[run], lane_frame[run], padded[cell]), GAP).astype(np.int64)

    common = _common(count, runs.thread, gap, length, frame_at)
    new = length + 1 - common
    n = int(new.sum()) + 1
    first = np.cumsum(new) - new + 1
    run = np.repeat(np.arange(count), new)
    depth = np.zeros(n, np.int64)
    depth[1:] = np.arange(1, n) + (common - first + 1)[run]
    frame = np.full(n, ROOT, np.int64)
    frame[1:] = frame_at(run, depth[1:] - 1)
    weight = np.zeros(n)
    np.add.at(weight, np.cumsum(new), runs.width)
    by_level = levels(depth)
    parent = parents(by_level, n)
    end = ends(by_level, parent, n)
    upto = np.concatenate([[0.0], np.cumsum(weight)])
    return Tree(
        frames=shape.frames,
        last_line=shape.last_line,
        frame=frame.astype(np.int32),
        parent=parent.astype(np.int32),
        depth=depth.astype(np.int32),
        end=end.astype(np.int32),
        self_weight=weight,
        total=upto[end] - upto[:-1],
        pruned=np.zeros(n, np.int32),
    )


def _common(
    count: int, thread: Ints, gap: Bools, length: Ints, frame_at: Callable[[Ints, Ints], Ints]
) -> Ints:
    """How many frames each run shares with the one before; a run that is the same shares all, its GAP too."""
    common = np.zeros(count, np.int64)
    open_ = np.flatnonzero(thread[1:] == thread[:-1]) + 1
    common[open_] = 1  # the thread's own frame
    open_ = open_[~gap[open_] & ~gap[open_ - 1]]
    depth = 1
    while len(open_):
        at = np.full(len(open_), depth)
        both = (depth <= length[open_]) & (depth <= length[open_ - 1])
        same = both & (frame_at(open_, at) == frame_at(open_ - 1, at))
        open_ = open_[same]
        depth += 1
        common[open_] = depth
    return common


def coarser(tree: Tree, narrowest: float) -> Tree:
    """The chart without nodes narrower than `narrowest`: neighbours become one strip, in their place."""
    n = len(tree)
    narrow = (tree.total < narrowest) & (np.arange(n) > 0)
    narrow &= tree.depth > 1  # threads stay
    inside = narrow[tree.parent] & (tree.depth > 1)
    levels_ = levels(tree.depth)
    for level in levels_[2:]:
        inside[level] |= inside[tree.parent[level]]
    top = narrow & ~inside
    kept = np.flatnonzero(~inside)
    frame = np.where(top & (tree.frame != GAP), SMALL, tree.frame)[kept]
    parent, narrow_, end = tree.parent[kept], top[kept], tree.end[kept]
    joins = np.zeros(len(kept), bool)
    joins[1:] = narrow_[1:] & narrow_[:-1] & (parent[1:] == parent[:-1]) & (end[:-1] == kept[1:])
    group = np.cumsum(~joins) - 1
    first = np.flatnonzero(~joins)
    own = np.where(narrow_, tree.total[kept], tree.self_weight[kept])
    count = np.where(narrow_ & (frame == SMALL), (tree.end - np.arange(n))[kept], 0)
    some = np.bincount(group, weights=frame == SMALL, minlength=len(first)) > 0
    depth = tree.depth[kept][first].astype(np.int64)
    by_level = levels(depth)
    above = parents(by_level, len(first))
    after = ends(by_level, above, len(first))
    weight = np.bincount(group, weights=own, minlength=len(first)).astype(np.float64)
    upto = np.concatenate([[0.0], np.cumsum(weight)])
    return Tree(
        frames=tree.frames,
        last_line=tree.last_line,
        frame=np.where(narrow_[first] & some, SMALL, frame[first]).astype(np.int32),
        parent=above.astype(np.int32),
        depth=depth.astype(np.int32),
        end=after.astype(np.int32),
        self_weight=weight,
        total=upto[after] - upto[:-1],
        pruned=np.bincount(group, weights=count, minlength=len(first)).astype(np.int32),
    )
