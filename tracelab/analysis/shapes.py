"""The shape of a set of stacks: the tree of calls that they make, whatever they weigh.

A shape is made once, and then takes any weights: those of a window, of a process, of the other side of a
difference. Everything here is vectorised by level; nothing runs in Python per node or per stack.
"""

from __future__ import annotations

import itertools
import weakref
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracelab.profile import Frame, Profile

ROOT = -1  #: frame of node 0, which stands for everything

Ints = npt.NDArray[np.int64]
Flat = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Shape:
    """A tree of calls in preorder without weights; node 0 is the root of everything.

    Arrays have shape (nodes,) except `last_line`, which has one entry per frame, and `leaf`, which has one per stack.
    The subtree of node i is the slice `i:end[i]`.
    """

    frames: tuple[Frame, ...]  #: functions; `line` is the first line of it that occurred
    last_line: Flat  #: per function: the last line of it that occurred, 0 when unknown
    frame: Flat  #: index into frames, or ROOT
    parent: Flat  #: index of the caller; 0 for the root itself
    depth: Flat  #: 0 for the root
    end: Flat  #: index after the subtree
    leaf: Flat  #: per stack: the node where it ends
    function_of: Flat  #: per frame of the profile: the function that it belongs to

    def __len__(self) -> int:
        return len(self.frame)


_made: dict[int, tuple[tuple[Frame, ...], Ints, Shape]] = {}  #: by the id of a profile's stacks, while they live


def shape_of(profile: Profile) -> Shape:
    """The shape of a profile's stacks; profiles that share their stacks share it, as long as one of them lives."""
    key = id(profile.stack_frames)
    frames, offsets, shape = _made.get(key, (None, None, None))
    if shape is not None and frames is profile.frames and offsets is profile.offsets:
        return shape
    shape = _shape(profile)
    if key not in _made:
        weakref.finalize(profile.stack_frames, _made.pop, key, None)
    _made[key] = (profile.frames, profile.offsets, shape)
    return shape


def _shape(profile: Profile) -> Shape:
    frames, last_line, function_of = _functions_of(profile.frames)
    flat = np.append(function_of[profile.stack_frames], np.int32(-1))
    starts, lengths = profile.offsets[:-1], np.diff(profile.offsets)
    order, common = _sorted_stacks(flat, starts, lengths)
    new = lengths[order] - common  # frames that the stack before does not share: each is a new node
    n = int(new.sum()) + 1
    first = np.cumsum(new) - new + 1  # preorder index of a stack's first new node

    stack_of = np.repeat(np.arange(len(new)), new)
    depth = np.zeros(n, np.int64)
    depth[1:] = np.arange(1, n) + (common - first + 1)[stack_of]
    frame = np.full(n, ROOT, np.int32)
    frame[1:] = flat[starts[order][stack_of] + depth[1:] - 1]

    # A stack without new nodes equals the one before, so that its leaf is that one's: the last node made.
    leaf = np.empty(len(order), np.int32)
    leaf[order] = np.cumsum(new)
    by_level = levels(depth)
    parent = parents(by_level, n)
    return Shape(
        frames=frames,
        last_line=last_line,
        frame=frame,
        parent=parent.astype(np.int32),
        depth=depth.astype(np.int32),
        end=ends(by_level, parent, n).astype(np.int32),
        leaf=leaf,
        function_of=function_of,
    )


def _functions_of(
    frames: tuple[Frame, ...],
) -> tuple[tuple[Frame, ...], Flat, Flat]:
    """Distinct functions, the last line of each, and for every frame the function it belongs to."""
    index: dict[tuple[str, str, str], int] = {}
    chosen: list[Frame] = []
    last: list[int] = []
    function_of = np.empty(len(frames), np.int32)
    for i, frame in enumerate(frames):
        key = (frame.symbol, frame.module, frame.domain)
        j = index.setdefault(key, len(chosen))
        function_of[i] = j
        if j == len(chosen):
            chosen.append(frame)
            last.append(frame.line)
        elif frame.line and frame.file == chosen[j].file:
            last[j] = max(last[j], frame.line)
            if not chosen[j].line or frame.line < chosen[j].line:
                chosen[j] = frame
    return tuple(chosen), np.array(last, np.int32), function_of


def _sorted_stacks(flat: Flat, starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """An order in which equal beginnings are neighbours, and the frames that each shares with the one before.

    Several frames are packed into one integer, and a pass sorts the stacks that are still equal by it, so
    that stacks of forty frames take about ten passes. `flat` ends with one -1, to which short stacks point.
    """
    order = np.arange(len(lengths))
    common = np.zeros(len(lengths), np.int64)
    bits = max(int(flat.max(initial=0)) + 1, 1).bit_length()  # of a frame + 1: the end of a stack sorts first
    frames = max((63 - len(order).bit_length()) // bits, 1)  # per pass
    open_ = order.copy()  # positions in `order` whose stack may still have an equal neighbour
    group = np.zeros(len(order), np.int64)
    start = 0
    while len(open_):
        stacks = order[open_]
        key = group
        for depth in range(start, start + frames):
            at = np.where(depth < lengths[stacks], starts[stacks] + depth, len(flat) - 1)
            key = (key << bits) + (flat[at] + 1)
        turn = np.argsort(key)
        key = key[turn]
        order[open_] = stacks[turn]
        ended = key & ((1 << bits) - 1) == 0
        differ = key[1:] ^ key[:-1]
        same = differ == 0
        parted = (differ >> (bits * frames) == 0) & ~same
        equal = sum(differ[parted] >> (bits * i) == 0 for i in range(frames))
        common[open_[1:][parted]] = start + equal
        repeated = open_[1:][same & ended[1:]]
        common[repeated] = lengths[order[repeated]]
        group = np.cumsum(np.append(False, ~same))
        more = (np.append(False, same) | np.append(same, False)) & ~ended
        open_, group = open_[more], group[more]
        start += frames
    return order, common


def levels(depth: Ints | Flat) -> list[Ints]:
    """Nodes of every depth, in preorder."""
    small = depth.astype(np.int16) if len(depth) and depth.max() < 1 << 15 else depth  # int16 sorts by radix
    order = np.argsort(small, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(depth[order])) + 1)


def parents(by_level: list[Ints], n: int) -> Ints:
    """The parent of a node is the last node before it that is one level up."""
    parent = np.zeros(n, np.int64)
    for above, level in itertools.pairwise(by_level):
        parent[level] = above[np.searchsorted(above, level) - 1]
    return parent


def ends(by_level: list[Ints], parent: Ints, n: int) -> Ints:
    """Index after each subtree: the end of the last child, which is the last one at the level below."""
    end = np.arange(1, n + 1)
    for level in reversed(by_level[1:]):
        over = parent[level]
        last = np.append(over[1:] != over[:-1], True)
        end[over[last]] = end[level[last]]
    return end
