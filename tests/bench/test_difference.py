"""The samples that differences are timed on, and the timing itself, small."""

from __future__ import annotations

import numpy as np

from tracelab.analysis.shapes import shape_of
from tracelab.bench.difference import Timing, timings, two_windows
from tracelab.bench.synthetic_samples import START_NS, synthetic_index, synthetic_profile


def test_the_same_arguments_give_the_same_samples() -> None:
    one, other = (synthetic_index(1000, 50) for _ in range(2))
    for column in ("time_ns", "stack", "cpu", "weight"):
        assert np.array_equal(getattr(one, column), getattr(other, column))
    assert np.array_equal(one.profile.stack_frames, other.profile.stack_frames)
    assert not np.array_equal(one.stack, synthetic_index(1000, 50, seed=2).stack)


def test_stacks_are_as_deep_as_asked_and_share_their_outer_frames() -> None:
    profile = synthetic_profile(2000)
    assert abs(np.diff(profile.offsets).mean() - 38) < 0.5
    assert len(shape_of(profile)) < 0.8 * len(profile.stack_frames)


def test_a_few_stacks_have_most_samples_and_all_times_are_in_the_recording() -> None:
    index = synthetic_index(100_000, 2000, seconds=20)
    share = np.sort(index.profile.weights)[::-1] / index.profile.total
    assert share[:100].sum() > 0.5
    assert np.all(np.diff(index.time_ns) >= 0)
    assert (index.time_ns >= START_NS).all()
    assert (index.time_ns < START_NS + 20 * 10**9).all()
    assert index.tables.window_ns == (START_NS, START_NS + 20 * 10**9)


def test_a_stack_changes_in_the_second_half_by_its_factor() -> None:
    index = synthetic_index(200_000, 100, changed={0: 2.0})
    nodes = two_windows(index).nodes
    node = int(nodes.of_stack[0])
    assert 1.7 < nodes.after_self[node] / nodes.before_self[node] < 1.95  # its share of a larger whole


def test_every_step_is_timed_and_printed_beside_its_goal() -> None:
    found = timings(20_000, 100, repeats=2)
    assert [timing.goal_ms for timing in found] == [None, 120, 1000, 1000]
    assert all(0 < timing.median_ms <= timing.worst_ms for timing in found)
    assert Timing("a step", 41.94, 50, 120).line().split() == (
        ["a", "step", "41.9", "ms", "(worst", "50.0)", "goal", "120", "ms"]
    )
