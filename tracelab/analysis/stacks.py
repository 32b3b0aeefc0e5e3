"""Weighted stacks as one tree of calls: what a flame graph draws and a table of functions adds up.

The tree is a set of arrays in preorder, so that a subtree is a slice and its weight one difference of a
prefix sum. Everything here is vectorised by level; nothing runs in Python per node or per stack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.shapes import ROOT, Shape, ends, levels, shape_of
from tracelab.profile import DOMAINS, Frame, Profile

__all__ = [
    "GAP",
    "ROOT",
    "SMALL",
    "Tree",
    "cut_to",
    "domain_weights",
    "fold",
    "functions",
    "left_heavy",
    "prune",
    "storable",
    "weighed",
]

SMALL = -2  #: frame of a strip that stands for the children that prune() took away
GAP = -3  #: in a flame chart: time in which the frame above called nobody, or nothing was recorded

Ints = npt.NDArray[np.int64]
Flat = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tree:
    """A tree of calls in preorder; node 0 is the root of everything.

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
        """Domain of every node; "" for the root, for strips of small frames and gaps."""
        names = np.array([*(f.domain for f in self.frames), "", "", ""], dtype=object)
        return names[self.frame]


def fold(profile: Profile) -> Tree:
    """The tree of calls of a profile, frames of the same function (symbol, module, domain) as one node.

    Siblings are sorted by descending total. An empty profile gives the root alone. Negative weights are
    not meant: the order of siblings and the slices would still hold, widths would not.
    """
    return left_heavy(weighed(shape_of(profile), profile.weights))


def weighed(shape: Shape, weights: Floats) -> Tree:
    """The tree of a shape whose stacks weigh `weights`; siblings in no particular order.

    Totals are differences of one prefix sum: exact for whole numbers below 2^53, which all recorded weights are.
    """
    n = len(shape)
    self_weight = np.bincount(shape.leaf, weights=weights, minlength=n).astype(np.float64)
    upto = np.concatenate([[0.0], np.cumsum(self_weight)])
    total = upto[shape.end] - upto[:-1]
    if not np.array_equal(self_weight, np.rint(self_weight)):  # fractions: light subtrees would lose to rounding
        total = _totals(levels(shape.depth), shape.parent, self_weight)
    return Tree(
        frames=shape.frames,
        last_line=shape.last_line,
        frame=shape.frame,
        parent=shape.parent,
        depth=shape.depth,
        end=shape.end,
        self_weight=self_weight,
        total=total,
        pruned=np.zeros(n, np.int32),
    )


def left_heavy(tree: Tree) -> Tree:
    """The same tree, siblings by descending total; a strip of small frames stays its parent's last child."""
    n = len(tree)
    index = _left_heavy(levels(tree.depth), tree)
    place = np.empty(n, np.int64)
    place[index] = np.arange(n)
    return replace(
        tree,
        frame=tree.frame[place],
        parent=index[tree.parent[place]].astype(np.int32),
        depth=tree.depth[place],
        end=(np.arange(n) + (tree.end - np.arange(n))[place]).astype(np.int32),
        self_weight=tree.self_weight[place],
        total=tree.total[place],
        pruned=tree.pruned[place],
    )


def prune(tree: Tree, share: float = 1 / 8000, *, within: int = 0) -> Tree:
    """The tree without nodes lighter than `share` of the root; a strip per parent keeps their weight.

    A strip has frame SMALL, is its parent's last child whatever it weighs, and weighs exactly what was
    taken away, so that totals stay what they were and widths add up. Nodes of weight zero go too. With `within` it is a
    share of that node, and of the rest of the tree only its callers stay.
    """
    n = len(tree)
    small = tree.frame == SMALL  # of an earlier cut: it becomes part of the new strip
    keep = (tree.total > 0) & (tree.total >= share * tree.total[within]) & ~small
    if within:
        node = np.arange(n)
        keep &= (node >= within) & (node < tree.end[within]) | (node < within) & (tree.end > within)
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
    by_level = levels(depth[order])
    none = np.zeros(len(kept), np.int64)
    return Tree(
        frames=tree.frames,
        last_line=tree.last_line,
        frame=np.concatenate([tree.frame[kept], np.full(len(taken), SMALL)])[order].astype(np.int32),
        parent=parent.astype(np.int32),
        depth=depth[order].astype(np.int32),
        end=ends(by_level, parent, m).astype(np.int32),
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
            "symbol": [storable(f.symbol) for f in tree.frames],
            "module": [storable(f.module) for f in tree.frames],
            "domain": [storable(f.domain) for f in tree.frames],
            "file": [storable(f.file) for f in tree.frames],
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


def storable(text: str) -> str:
    """Text that Arrow strings can hold: half characters, which a foreign JSON file may have, are written out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _totals(by_level: list[Ints], parent: Flat, self_weight: Floats) -> Floats:
    """Weight of every subtree: added up from the leaves, so that light ones lose nothing to rounding."""
    total = self_weight.copy()
    for level in reversed(by_level[1:]):
        over = parent[level]
        first = np.flatnonzero(np.append(True, over[1:] != over[:-1]))
        total[over[first]] += np.add.reduceat(total[level], first)
    return total


def _left_heavy(by_level: list[Ints], tree: Tree) -> Ints:
    """New preorder index of every node when siblings are sorted by descending total."""
    parent, end, n = tree.parent.astype(np.int64), tree.end, len(tree)
    total = np.where(tree.frame == SMALL, -1.0, tree.total)
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
    for level in by_level[1:]:
        index[level] = index[parent[level]] + step[level]
    return index


def cut_to(tree: Tree, nodes: int, share: float, *, within: int = 0) -> Tree:
    """The tree cut to about as many of its heaviest nodes, none lighter than `share`; the whole one if it is small."""
    total = tree.total[within : tree.end[within]]
    if np.count_nonzero(total) <= nodes:
        return prune(tree, 0, within=within)
    heaviest = np.partition(total, len(total) - nodes)[len(total) - nodes]
    least = float(heaviest) / float(total[0]) * (1 - 1e-9)  # rounding must not make it lighter than itself
    return prune(tree, max(share, least), within=within)
