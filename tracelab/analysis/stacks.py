"""Weighted stacks as one tree of calls: what a flame graph draws and a table of functions adds up.

The tree is a set of arrays in preorder, so that a subtree is a slice and its weight one difference of a
prefix sum. Everything here is vectorised by level; nothing runs in Python per node or per stack.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.profile import DOMAINS, Frame, Profile

ROOT = -1  #: frame of node 0, which stands for everything
SMALL = -2  #: frame of a strip that stands for the children that prune() took away

Ints = npt.NDArray[np.int64]
Flat = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """A tree of calls in preorder, siblings by descending weight; node 0 is the root of everything.

    All arrays have shape (nodes,) except `last_line`, which has one entry per frame. Weights are in the
    unit of the profile. The subtree of node i is the slice `i:end[i]`.
    """

    frames: tuple[Frame, ...]  #: functions; `line` is the first line of it that occurred
    last_line: npt.NDArray[np.int32]  #: per function: the last line of it that occurred, 0 when unknown
    frame: npt.NDArray[np.int32]  #: index into frames, or ROOT, or SMALL
    parent: npt.NDArray[np.int32]  #: index of the caller; 0 for the root itself
    depth: npt.NDArray[np.int32]  #: 0 for the root
    end: npt.NDArray[np.int32]  #: index after the subtree
    self_weight: npt.NDArray[np.float64]  #: weight of the stacks that end here
    total: npt.NDArray[np.float64]  #: weight of the stacks that pass through or end here
    pruned: npt.NDArray[np.int32]  #: nodes that a SMALL strip stands for; 0 for every other node

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def domains(self) -> npt.NDArray[np.object_]:
        """Domain of every node; "" for the root and for strips of small frames."""
        names = np.array([*(f.domain for f in self.frames), "", ""], dtype=object)
        return names[self.frame]


def fold(profile: Profile) -> Tree:
    """The tree of calls of a profile, frames of the same function (symbol, module, domain) as one node.

    Siblings are sorted by descending total. An empty profile gives the root alone. Negative weights are
    not meant: the order of siblings and the slices would still hold, widths would not.
    """
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
    leaf = np.cumsum(new)
    self_weight = np.bincount(leaf, weights=profile.weights[order], minlength=n).astype(np.float64)
    levels = _levels(depth)
    parent = _parents(levels, n)
    end = _ends(levels, parent, n)
    total = _totals(levels, parent, self_weight)
    index = _left_heavy(levels, parent, end, total)
    place = np.empty(n, np.int64)
    place[index] = np.arange(n)
    return Tree(
        frames=frames,
        last_line=last_line,
        frame=frame[place],
        parent=index[parent[place]].astype(np.int32),
        depth=depth[place].astype(np.int32),
        end=(np.arange(n) + (end - np.arange(n))[place]).astype(np.int32),
        self_weight=self_weight[place],
        total=total[place],
        pruned=np.zeros(n, np.int32),
    )


def prune(tree: Tree, share: float = 1 / 8000) -> Tree:
    """The tree without nodes lighter than `share` of the root; a strip per parent keeps their weight.

    A strip has frame SMALL, is its parent's last child whatever it weighs, and weighs exactly what was
    taken away, so that totals stay what they were and widths add up. Nodes of weight zero go too.
    """
    n = len(tree)
    small = tree.frame == SMALL  # of an earlier cut: it becomes part of the new strip
    keep = (tree.total > 0) & (tree.total >= share * tree.total[0]) & ~small
    keep[0] = True
    if keep.all():
        return tree
    top = ~keep & keep[tree.parent]  # roots of what goes; a subtree is never heavier than its root
    weight = np.bincount(tree.parent[top], weights=tree.total[top], minlength=n)
    nodes = np.append(0, np.cumsum(np.where(small, tree.pruned, tree.total > 0)))
    size = (nodes[tree.end] - nodes[:-1])[top]
    count = np.bincount(tree.parent[top], weights=size, minlength=n).astype(np.int64)
    strip_parent = np.flatnonzero(weight > 0)

    # A strip follows the last kept node of its parent's subtree, behind the strips of deeper parents there.
    kept = np.flatnonzero(keep)
    last = np.concatenate([kept, tree.end[strip_parent] - 1])
    is_strip = np.repeat([False, True], [len(kept), len(strip_parent)])
    depth = np.concatenate([tree.depth[kept], tree.depth[strip_parent] + 1])
    order = np.lexsort((np.where(is_strip, -depth, 0), is_strip, last))
    m = len(order)
    new_index = np.empty(m, np.int64)
    new_index[order] = np.arange(m)
    of_old = np.zeros(n, np.int64)
    of_old[kept] = new_index[: len(kept)]

    parent = of_old[np.concatenate([tree.parent[kept], strip_parent])][order]
    taken = weight[strip_parent]
    levels = _levels(depth[order])
    none = np.zeros(len(kept), np.int64)
    return Tree(
        frames=tree.frames,
        last_line=tree.last_line,
        frame=np.concatenate([tree.frame[kept], np.full(len(taken), SMALL)])[order].astype(np.int32),
        parent=parent.astype(np.int32),
        depth=depth[order].astype(np.int32),
        end=_ends(levels, parent, m).astype(np.int32),
        self_weight=np.concatenate([tree.self_weight[kept], taken])[order],
        total=np.concatenate([tree.total[kept], taken])[order],
        pruned=np.concatenate([none, count[strip_parent]])[order].astype(np.int32),
    )


def functions(profile: Profile | Tree) -> pd.DataFrame:
    """One row per function, heaviest self weight first; an empty profile gives no rows.

    Columns: symbol, module, domain, file, line (first line that occurred, 0 when unknown), self and total
    (unit of the profile), self_share and share (of the whole profile, 0 to 1). A function that calls
    itself counts once per stack. `attrs` has quantity and unit when a Profile was given.
    """
    tree = profile if isinstance(profile, Tree) else fold(profile)
    n, count = len(tree), len(tree.frames)
    node = np.flatnonzero(tree.frame >= 0)
    order = node[np.argsort(tree.frame[node], kind="stable")]  # by function, preorder within it
    frame = tree.frame[order].astype(np.int64)
    reach = np.maximum.accumulate(frame * (n + 1) + tree.end[order]) if len(order) else frame
    nested = np.zeros(len(order), bool)
    nested[1:] = reach[:-1] > frame[1:] * (n + 1) + order[1:]  # inside an earlier node of its own function
    outer = order[~nested]
    own = np.bincount(tree.frame[node], weights=tree.self_weight[node], minlength=count)
    total = np.bincount(tree.frame[outer], weights=tree.total[outer], minlength=count)
    whole = float(tree.total[0]) or 1.0
    table = pd.DataFrame(
        {
            "symbol": [_storable(f.symbol) for f in tree.frames],
            "module": [_storable(f.module) for f in tree.frames],
            "domain": [_storable(f.domain) for f in tree.frames],
            "file": [_storable(f.file) for f in tree.frames],
            "line": np.array([f.line for f in tree.frames], np.int64),
            "self": own.astype(np.float64),
            "total": total.astype(np.float64),
            "self_share": own / whole,
            "share": total / whole,
        }
    )
    occurs = np.isin(np.arange(count), tree.frame[node])
    table = table[occurs].sort_values(["self", "total", "symbol"], ascending=[False, False, True])
    table = table.reset_index(drop=True)
    if isinstance(profile, Profile):
        table.attrs.update(quantity=profile.quantity, unit=profile.unit)
    return table


def domain_weights(tree: Tree) -> dict[str, float]:
    """Weight by what ran: the domain of the innermost frame, but bpf for all that an eBPF program called.

    A program's time is mostly in the kernel's helpers, so that hardly a stack ends in the program itself. Every domain
    that occurs is named, in the order of DOMAINS; the weights, in the unit of the profile, add up to the whole, but for
    what prune() took away.
    """
    names = [*DOMAINS, *sorted({f.domain for f in tree.frames} - set(DOMAINS))]
    node = np.flatnonzero(tree.frame >= 0)
    domain = np.full(len(tree), -1)
    domain[node] = np.array([names.index(f.domain) for f in tree.frames], int)[tree.frame[node]]
    bpf = np.flatnonzero(domain == names.index("bpf"))
    steps = np.bincount(bpf, minlength=len(tree) + 1) - np.bincount(tree.end[bpf], minlength=len(tree) + 1)
    ran = np.where(np.cumsum(steps)[:-1] > 0, names.index("bpf"), domain)[node]
    weights = np.bincount(ran, weights=tree.self_weight[node], minlength=len(names))
    occur = np.bincount(domain[node], minlength=len(names)) > 0
    return {name: float(w) for name, w, here in zip(names, weights, occur, strict=True) if here}


def _storable(text: str) -> str:
    """Text that Arrow strings can hold: half characters, which a foreign JSON file may have, are written out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


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


def _levels(depth: Ints) -> list[Ints]:
    """Nodes of every depth, in preorder."""
    small = depth.astype(np.int16) if len(depth) and depth.max() < 1 << 15 else depth  # int16 sorts by radix
    order = np.argsort(small, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(depth[order])) + 1)


def _parents(levels: list[Ints], n: int) -> Ints:
    """The parent of a node is the last node before it that is one level up."""
    parent = np.zeros(n, np.int64)
    for above, level in itertools.pairwise(levels):
        parent[level] = above[np.searchsorted(above, level) - 1]
    return parent


def _ends(levels: list[Ints], parent: Ints, n: int) -> Ints:
    """Index after each subtree: the end of the last child, which is the last one at the level below."""
    end = np.arange(1, n + 1)
    for level in reversed(levels[1:]):
        over = parent[level]
        last = np.append(over[1:] != over[:-1], True)
        end[over[last]] = end[level[last]]
    return end


def _totals(levels: list[Ints], parent: Ints, self_weight: Floats) -> Floats:
    """Weight of every subtree: added up from the leaves, so that light ones lose nothing to rounding."""
    total = self_weight.copy()
    for level in reversed(levels[1:]):
        over = parent[level]
        first = np.flatnonzero(np.append(True, over[1:] != over[:-1]))
        total[over[first]] += np.add.reduceat(total[level], first)
    return total


def _left_heavy(levels: list[Ints], parent: Ints, end: Ints, total: Floats) -> Ints:
    """New preorder index of every node when siblings are sorted by descending total."""
    n = len(parent)
    size = end - np.arange(n)
    step = np.ones(n, np.int64)  # distance from the parent; 1 for an only child
    children = np.bincount(parent[1:], minlength=n)
    sibling = np.flatnonzero(children[parent] > 1)
    sibling = sibling[sibling > 0]
    ordered = sibling[np.lexsort((-total[sibling], parent[sibling]))]
    before = np.cumsum(size[ordered]) - size[ordered]
    family = parent[ordered]
    first = np.flatnonzero(np.concatenate([[True], family[1:] != family[:-1]])) if len(family) else family
    step[ordered] = 1 + before - np.repeat(before[first], np.diff(np.append(first, len(family))))
    index = np.zeros(n, np.int64)
    for level in levels[1:]:
        index[level] = index[parent[level]] + step[level]
    return index
