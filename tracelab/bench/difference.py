"""`python -m tracelab.bench.difference`: how long a difference of two windows takes, beside the goals.

Of a synthetic session of 5 M samples with 20,000 distinct stacks, whose samples have been read and folded before, as
they are when a window is dragged.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from tracelab.analysis.difference import Comparison, comparison
from tracelab.analysis.samples import SampleIndex
from tracelab.analysis.shapes import shape_of
from tracelab.analysis.sides import Samples, Side
from tracelab.bench.synthetic_samples import START_NS, synthetic_index
from tracelab.query.selection import Selection, Window

TREE_GOAL_MS = 120.0
TABLE_GOAL_MS = 1000.0


@dataclass(frozen=True)
class Timing:
    """How long one step took."""

    step: str
    median_ms: float
    worst_ms: float
    goal_ms: float | None = None

    def line(self) -> str:
        """The step with its time and its goal, for people."""
        goal = f"  goal {self.goal_ms:,.0f} ms" if self.goal_ms else ""
        return f"{self.step:<58} {self.median_ms:8.1f} ms  (worst {self.worst_ms:,.1f}){goal}"


def timings(samples: int = 5_000_000, stacks: int = 20_000, repeats: int = 7) -> list[Timing]:
    """Medians of `repeats`, each of other windows: the merged tree, its certainty, and the table of functions."""
    index = synthetic_index(samples, stacks)
    begun = time.perf_counter()
    nodes = len(shape_of(index.profile))
    folded = 1e3 * (time.perf_counter() - begun)
    made = [two_windows(index, shift) for shift in range(repeats)]
    trees = _timed(lambda shift: two_windows(index, shift).nodes, range(repeats))
    sure = _timed(lambda made: made.node_certainty, [found for found in made if found.nodes])
    tables = _timed(lambda made: made.functions, made)
    drawn = len(made[0].nodes.tree)
    return [
        Timing(f"folding {stacks:,} stacks to {nodes:,} nodes, once a session", folded, folded),
        Timing(f"two windows of {samples:,} samples to {drawn:,} nodes", *trees, TREE_GOAL_MS),
        Timing("which of these nodes changed for certain", *sure, TABLE_GOAL_MS),
        Timing(f"table of {len(made[0].functions):,} functions with intervals", *tables, TABLE_GOAL_MS),
    ]


def two_windows(index: SampleIndex, shift: int = 0) -> Comparison:
    """The second half of the time against the first, both narrowed by `shift` seconds."""
    first, last = START_NS, int(index.time_ns[-1]) + 1
    middle, cut = (first + last) // 2, shift * 1_000_000_000
    return comparison(_side(index, (first + cut, middle)), _side(index, (middle, last - cut)))


def main() -> int:
    """Print the timings; returns the exit code, which is 0 however far the goals were met."""
    for timing in timings():
        print(timing.line())
    return 0


def _side(index: SampleIndex, window: Window) -> Side:
    rows = index.rows(Selection(window))
    samples = Samples(index.time_ns[rows], index.stack[rows], index.weight[rows], window, rows)
    return Side("synthetic", index.profile_of(Selection(window)), samples)


def _timed(step: Callable[[Any], object], given: Iterable[object]) -> tuple[float, float]:
    """Median and worst time of a step, ms."""
    taken = []
    for what in given:
        begun = time.perf_counter()
        step(what)
        taken.append(1e3 * (time.perf_counter() - begun))
    return median(taken), max(taken)


if __name__ == "__main__":
    sys.exit(main())
