"""Intervals of differences: what they are known to be, and how often they are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tracelab.analysis.resampling import (
    LEAST_BLOCKS,
    Blocks,
    block_count,
    certainty,
    discoveries,
    likeness,
    merges,
    two_sided,
)

SECOND = 1_000_000_000


def blocks(random: np.random.Generator, count: int, means: list[float]) -> Blocks:
    """Counted events of rows in blocks of one second."""
    return Blocks(random.poisson(means, (count, len(means))).astype(np.float64), np.ones(count))


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.7, 0), (0.8, 8), (1.7, 16), (3.3, 32), (10, 64), (3600, 64)]
)
def test_a_window_is_cut_into_a_power_of_two_of_blocks_of_a_tenth_of_a_second_or_more(seconds, count):
    assert block_count((5 * SECOND, 5 * SECOND + round(seconds * SECOND))) == count


def test_student_s_tails_are_those_of_the_tables():
    """5 % and 1 % points of Student's t, as in any table of it."""
    freedom = np.array([7.0, 14.0, 30.0, 7.0, 14.0, 30.0])
    t = np.array([2.3646, 2.1448, 2.0423, 3.4995, 2.9768, 2.7500])
    assert two_sided(t, freedom) == pytest.approx([0.05] * 3 + [0.01] * 3, rel=0.02)


def test_discoveries_are_the_rows_below_benjamini_and_hochberg_s_line():
    """The example of their paper: fifteen p-values, of which four are discoveries at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert discoveries(np.array([*p, math.nan])).tolist() == [True] * 4 + [False] * 12
    assert discoveries(np.array([])).tolist() == []


def test_with_too_few_blocks_nothing_is_known_and_nothing_is_certain():
    random = np.random.default_rng(1)
    few, many = blocks(random, LEAST_BLOCKS - 1, [10]), blocks(random, 64, [1000])
    sure = certainty(few, many)
    assert np.isnan([*sure.lower, *sure.upper, *sure.p]).all()
    assert not sure.certain.any()


def test_what_is_in_a_few_blocks_only_is_not_known():
    weight = np.zeros((32, 2))
    weight[:5, 0] = weight[:6, 1] = 1
    sure = certainty(Blocks(np.zeros((32, 2)), np.ones(32)), Blocks(weight, np.ones(32)))
    assert np.isnan(sure.lower).tolist() == [True, False]


def test_the_interval_is_as_wide_as_the_theory_of_means_says():
    random = np.random.default_rng(2)
    before, after = blocks(random, 64, [100.0]), blocks(random, 64, [100.0])
    sure = certainty(before, after)
    error = math.sqrt(sum(side.weight.var(ddof=1) / 64 for side in (before, after)))
    assert (sure.upper - sure.lower)[0] == pytest.approx(2 * 1.979 * error, rel=0.1)  # 1.979: t of 126


def test_intervals_hold_the_truth_in_19_of_20_cases_and_hardly_a_run_names_a_change_that_is_none():
    missed, named, runs = 0, 0, 40
    for seed in range(runs):
        random = np.random.default_rng(seed)
        means = [0.5, 2.0, 10.0, 100.0] * 25
        sure = certainty(blocks(random, 32, means), blocks(random, 32, means), seed)
        missed += int(((sure.lower > 0) | (sure.upper < 0)).sum())
        named += bool(sure.certain.any())
    assert 0.03 < missed / (100 * runs) < 0.07
    assert named / runs < 0.15


def test_neighbours_are_merged_until_they_are_no_longer_alike():
    random = np.random.default_rng(3)
    phases = np.repeat(random.poisson(50, (16, 3)), 4, axis=0).astype(np.float64)  # four blocks of each phase
    assert merges(Blocks(phases, np.ones(64))) == 2
    assert merges(blocks(random, 64, [50.0] * 3)) == 0
    assert likeness(Blocks(phases, np.ones(64)).merged(2)) < 0.2


def test_merged_blocks_have_the_values_of_what_they_are_made_of():
    before = blocks(np.random.default_rng(4), 32, [3.0, 8.0])
    assert before.merged(2).values == pytest.approx(before.values)
    assert len(before.merged(2)) == 8
