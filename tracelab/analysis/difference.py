"""What changed between two profiles, function by function and in one tree of calls, and how sure that is.

Differences are after less before: positive is more in `after`. Both sides are divided by something, so that a longer
window is not read as more work: see NORMALISE.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.analysis.resampling import (
    ALIKE,
    HOW_SURE,
    UNKNOWN,
    Blocks,
    Certainty,
    certainty,
    likeness,
    merges,
)
from tracelab.analysis.shapes import Shape, shape_of
from tracelab.analysis.sides import Side, shared_share, side_of, together
from tracelab.analysis.stacks import SMALL, Tree, cut_to, left_heavy, storable, weighed
from tracelab.errors import UsageError
from tracelab.profile import Frame, Profile
from tracelab.query.tables import Tables

#: what the weights of a side are divided by
NORMALISE = {
    "share": "the weight of the whole side",
    "time": "seconds of the selected time",
    "events": "recorded events",
    "none": "nothing",
}
MAX_NODES = 20_000  #: of a larger tree, about so many of its heaviest nodes are kept, as in a flame graph
SHARE = 1 / 8000  #: and none that is lighter than this share of the whole
_FINE = 2.0**50  #: parts of the whole in which small weights are counted when frames are merged

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Nodes:
    """The merged tree of calls and what its nodes weigh on both sides, in the unit of the comparison.

    Arrays have shape (nodes,), in the tree's preorder. The weights of the tree itself are the mean of both sides, so
    that widths add up and what vanished can still be seen.
    """

    tree: Tree
    before: Floats  #: total
    after: Floats
    before_self: Floats
    after_self: Floats
    of_stack: Ints  #: per stack of both sides: the node where it ends

    @property
    def delta(self) -> Floats:
        """After less before, of totals."""
        delta: Floats = self.after - self.before
        return delta


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two sides, and what changed from `before` to `after`."""

    before: Side
    after: Side
    stacks: Profile  #: the stacks of both sides; its weights mean nothing
    first_after: int  #: number of the first stack of `after`
    normalise: str
    seed: int = 1
    max_nodes: int = MAX_NODES  #: of the merged tree; lighter ones become strips

    @property
    def unit(self) -> str:
        """Unit of every weight: "1" for shares, else as "ns/s" or "ns/event"."""
        unit = self.after.profile.unit
        return {"share": "1", "time": f"{unit}/s", "events": f"{unit}/event"}.get(self.normalise, unit)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said beside the numbers: of both sides, and of the intervals."""
        return (*_side_notes(self.before.profile, self.after.profile), *self._of_intervals())

    @functools.cached_property
    def nodes(self) -> Nodes:
        """The merged tree, cut to its heaviest nodes by the mean of both sides; siblings by descending mean."""
        shape = shape_of(self.stacks)
        scaled = [self._padded(side) / _divisor(side, self.normalise) for side in (self.before, self.after)]
        mean = (scaled[0] + scaled[1]) / 2
        tree = weighed(shape, np.rint(mean * (_FINE / (mean.sum() or 1.0))))
        # Cut and sorted with the number of each node in place of its weight, which tells where nodes went.
        numbered = replace(tree, self_weight=np.arange(len(tree), dtype=np.float64))
        cut = left_heavy(cut_to(numbered, self.max_nodes, SHARE))
        of_stack = _places(tree, cut)[shape.leaf]
        weights = [self._totals(cut, of_stack, self._padded(side)) for side in (self.before, self.after)]
        divisors = _divisor(self.before, self.normalise), _divisor(self.after, self.normalise)
        before, after = (t / d for (_, t), d in zip(weights, divisors, strict=True))
        before_self, after_self = (s / d for (s, _), d in zip(weights, divisors, strict=True))
        cut = replace(cut, self_weight=(before_self + after_self) / 2, total=(before + after) / 2)
        return Nodes(cut, before, after, before_self, after_self, of_stack)

    @functools.cached_property
    def node_certainty(self) -> Certainty:
        """How sure the difference of each node's total is."""
        nodes = self.nodes
        return certainty(
            *self._blocks(lambda weights: self._totals(nodes.tree, nodes.of_stack, weights)[1]), seed=self.seed
        )

    @functools.cached_property
    def functions(self) -> pd.DataFrame:
        """One row per function, certain changes of self weight first, largest first.

        Columns: symbol, module, domain; then for self weight, and again for total weight: self_before, self_after,
        self_delta (after less before), self_relative (of before; NaN where there was none), self_lower and self_upper
        (interval of 95 %), self_certain; total_before and so on. All in `unit`, which is in `attrs`, too. A function
        that calls itself counts once per stack. Lower and upper are NaN where it is not known how sure a difference is.
        """
        calls = _Calls.of(self.stacks, shape_of(self.stacks), self._padded(self.before) + self._padded(self.after))
        table: dict[str, object] = {
            name: [storable(getattr(f, name)) for f in calls.frames] for name in ("symbol", "module", "domain")
        }
        for kind, project in (("self", calls.own), ("total", calls.total)):
            old, new = (
                project(self._padded(side)) / _divisor(side, self.normalise) for side in (self.before, self.after)
            )
            sure = certainty(*self._blocks(project), seed=self.seed)
            table |= changes(old, new, sure, f"{kind}_")
        rows = pd.DataFrame(table)
        rows["size"] = rows["self_delta"].abs()
        rows = rows.sort_values(["self_certain", "size", "symbol"], ascending=[False, False, True])
        units = dict.fromkeys(("symbol", "module", "domain"), "name")
        for kind in ("self", "total"):
            units |= {f"{kind}_{name}": unit for name, unit in change_units(self.unit).items()}
        quantity = self.after.profile.quantity
        found = documented(rows, f"{quantity} by function: {self.after.name}, less {self.before.name}", **units)
        found.attrs.update(quantity=quantity, unit=self.unit, normalise=self.normalise)
        return found

    @property
    def block_s(self) -> tuple[float, float]:
        """Length of the blocks of time that are drawn, of before and after; NaN where there are too few."""
        merged = self._merges
        lengths = [
            side.seconds / (side.blocks >> times) if side.blocks else float("nan")
            for side, times in zip((self.before, self.after), merged, strict=True)
        ]
        return lengths[0], lengths[1]

    def _padded(self, side: Side) -> Floats:
        """Weights of a side for the stacks of both."""
        return self._widened(side, side.profile.weights)

    def _widened(self, side: Side, weights: Floats) -> Floats:
        if len(weights) == len(self.stacks):
            return weights
        wide = np.zeros(len(self.stacks))
        first = self.first_after if side is self.after else 0
        wide[first : first + len(weights)] = weights
        return wide

    @staticmethod
    def _totals(tree: Tree, of_stack: Ints, weights: Floats) -> tuple[Floats, Floats]:
        """Self and total weight of every node."""
        own = np.bincount(of_stack, weights, len(tree)).astype(np.float64)
        upto = np.concatenate([[0.0], np.cumsum(own)])
        return own, upto[tree.end] - upto[:-1]

    def _blocks(self, project: Callable[[Floats], Floats]) -> tuple[Blocks, Blocks]:
        """What `project` makes of both sides, by blocks that are long enough."""
        cut = [self._cut(side, project) for side in (self.before, self.after)]
        merged = [blocks.merged(times) for blocks, times in zip(cut, self._merges, strict=True)]
        return merged[0], merged[1]

    def _cut(self, side: Side, project: Callable[[Floats], Floats]) -> Blocks:
        cells = list(side.by_block(lambda weights: project(self._widened(side, weights))))
        weight = np.array(cells) if cells else np.zeros((0, len(project(self._padded(side)))))
        per: Floats = np.full(len(cells), 1 / max(1, len(cells)))
        if self.normalise == "share":
            per = np.array(list(side.by_block(lambda weights: weights.sum(keepdims=True)))).reshape(len(cells))
        elif self.normalise == "time":
            per = np.full(len(cells), side.seconds / max(1, len(cells)))
        elif self.normalise == "events" and side.events is not None and cells:
            per = side.events
        return Blocks(weight, per)

    @functools.cached_property
    def _cut_by_function(self) -> tuple[Blocks, Blocks]:
        """Blocks of self weight by function, as short as they are cut: what their length is decided by."""
        shape = shape_of(self.stacks)
        function = np.maximum(shape.frame[shape.leaf], 0)
        cut = [
            self._cut(side, lambda weights: np.bincount(function, weights, len(shape.frames)).astype(np.float64))
            for side in (self.before, self.after)
        ]
        return cut[0], cut[1]

    @functools.cached_property
    def _merges(self) -> tuple[int, int]:
        return merges(self._cut_by_function[0]), merges(self._cut_by_function[1])

    def _of_intervals(self) -> list[str]:
        if np.isnan(self.block_s).any():
            return [UNKNOWN]
        cut = [blocks.merged(times) for blocks, times in zip(self._cut_by_function, self._merges, strict=True)]
        said = [HOW_SURE.format(max(self.block_s), *map(len, cut))]
        if shared := shared_share(self.before, self.after):
            said.append(f"{100 * shared:.3g} % of after is in before, too, so that changes look smaller than they are")
        if max(map(likeness, cut)) > ALIKE:
            said.append("neighbouring blocks are alike, as in phases: intervals are too narrow, compare longer times")
        return said


@dataclass(frozen=True, eq=False)
class _Calls:
    """Which functions each stack has: what adds up weights of stacks to weights of functions."""

    frames: tuple[Frame, ...]  #: functions
    leaf: Ints  #: per stack: its innermost function; the last one more for empty stacks
    stack: Ints  #: stacks, those of one function after the other, each once
    first: Ints  #: per function: where its stacks begin

    @classmethod
    def of(cls, stacks: Profile, shape: Shape, weights: Floats) -> _Calls:
        """Of the stacks that weigh something."""
        lengths = np.diff(stacks.offsets)
        stack = np.repeat(np.arange(len(lengths)), lengths)
        cells = (weights != 0)[stack]
        n = max(1, len(lengths))
        pairs = np.sort(shape.function_of[stacks.stack_frames[cells]].astype(np.int64) * n + stack[cells])
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
        function = pairs // n
        first = np.flatnonzero(np.append(True, function[1:] != function[:-1])[: len(pairs)])
        used = function[first]
        number = np.full(len(shape.frames) + 1, len(used))
        number[used] = np.arange(len(used))
        frames = tuple(shape.frames[i] for i in used)
        return cls(frames, number[shape.frame[shape.leaf]], pairs % n, first)

    def own(self, weights: Floats) -> Floats:
        """Weight of the stacks that end in each function."""
        return np.bincount(self.leaf, weights, len(self.frames) + 1).astype(np.float64)[:-1]

    def total(self, weights: Floats) -> Floats:
        """Weight of the stacks that have each function."""
        return np.add.reduceat(weights[self.stack], self.first) if len(self.first) else np.zeros(0)


def difference(
    before: Tables,
    after: Tables,
    *,
    kind: str = "on-CPU",
    by: str | None = None,
    normalise: str = "share",
    events: tuple[str, ...] = (),
    seed: int = 1,
) -> Comparison:
    """What changed in the samples of a kind, from one selection to another, of one session or of two.

    `events` are those to divide by with normalise="events": none for all. Raises MissingTable, and UsageError for
    what cannot be compared or divided.
    """
    counted = events if normalise == "events" else None
    return comparison(side_of(before, kind, by, counted), side_of(after, kind, by, counted), normalise, seed)


def comparison(before: Side, after: Side, normalise: str = "share", seed: int = 1) -> Comparison:
    """The same of two sides, which may be profiles without times: then it is not known how sure differences are."""
    if normalise not in NORMALISE:
        raise UsageError(f"normalise={normalise!r}: weights are divided by {', '.join(NORMALISE)}")
    stacks, first = together(before.profile, after.profile)
    for name, side in (("before", before), ("after", after)):
        if not _divisor(side, normalise) > 0:
            raise UsageError(
                f"{name} ({side.name}) has nothing to divide by: "
                f"normalise={normalise!r} divides by {NORMALISE[normalise]}"
            )
    return Comparison(before, after, stacks, first, normalise, seed)


def changes(old: Floats, new: Floats, sure: Certainty, prefix: str = "") -> dict[str, object]:
    """Columns before, after, delta, relative, lower, upper and certain."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(old != 0, (new - old) / old, np.nan)
    columns = (old, new, new - old, relative, sure.lower, sure.upper, sure.certain)
    return {f"{prefix}{name}": column for name, column in zip(change_units(""), columns, strict=True)}


def change_units(unit: str) -> dict[str, str]:
    """Those columns and their units."""
    units = dict.fromkeys(("before", "after", "delta", "relative", "lower", "upper"), unit)
    return units | {"relative": "1", "certain": "bool"}


def _divisor(side: Side, normalise: str) -> float:
    if normalise == "share":
        return side.profile.total
    if normalise == "events":
        return float(side.events.sum()) if side.events is not None else float("nan")
    return side.seconds if normalise == "time" else 1.0


def _places(tree: Tree, cut: Tree) -> Ints:
    """For every node of a tree where it is after the cut, whose self weights are numbers of nodes; else its strip."""
    strips = np.flatnonzero(cut.frame == SMALL)
    kept = np.flatnonzero(cut.frame != SMALL)
    number = cut.self_weight.astype(np.int64)
    place = np.full(len(tree), -1)
    place[number[kept]] = kept
    strip = np.zeros(len(tree), np.int64)  # the root, where nothing weighs anything
    strip[number[cut.parent[strips]]] = strips
    gone = place < 0
    tops = np.flatnonzero(gone & ~gone[tree.parent])
    place[gone] = np.repeat(strip[tree.parent[tops]], tree.end[tops] - tops)
    return place


def _side_notes(before: Profile, after: Profile) -> list[str]:
    """Notes of both, those that they share once."""
    shared = [note for note in before.notes if note in after.notes]
    own = [("before", note) for note in before.notes] + [("after", note) for note in after.notes]
    return shared + [f"{name}: {note}" for name, note in own if note not in shared]

