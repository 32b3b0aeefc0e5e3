"""N as it follows a budget."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from tracelab.errors import UsageError
from tracelab.recorder.sampling import MAX_N, PATIENCE, Budget, Sampling, parse_budget, parse_sample


def followed(budget: Budget, cost_of: Callable[[int], float], readings: int) -> list[int]:
    """N after each reading of what a given N costs."""
    return [budget.next_n(cost_of(budget.n)) for _ in range(readings)]


def test_n_rises_until_the_cost_is_within_the_budget_and_stays_there() -> None:
    budget = Budget(0.02)
    chosen = followed(budget, lambda n: 0.25 / n + 0.005, 30)
    assert chosen[:3] == [4, 8, 16]
    assert set(chosen[4:]) == {chosen[4]}
    assert 0.25 / budget.n + 0.005 <= 0.02
    assert not budget.exhausted


def test_n_comes_down_when_there_is_less_to_do_and_not_below_one() -> None:
    budget = Budget(0.02, n=64)
    chosen = followed(budget, lambda _: 0.001, 100)
    assert all(before in (after, 2 * after) for before, after in pairwise(chosen))
    assert budget.n == 1


def test_where_leaving_out_more_saves_nothing_events_are_kept_and_it_is_said() -> None:
    budget = Budget(0.02)
    chosen = followed(budget, lambda n: 0.1 + 0.2 / n, 60)
    assert budget.exhausted
    assert max(chosen) <= 64, "what a larger N would save is less than a tenth of the cost"
    raised = [k for k, (before, after) in enumerate(pairwise(chosen)) if after > before]
    assert all(b - a > PATIENCE for a, b in pairwise(raised[3:])), "it is not tried at every reading"
    followed(budget, lambda n: 0.001 + 0.2 / n, 12)
    assert not budget.exhausted


def test_n_has_an_end() -> None:
    budget = Budget(1e-9)
    followed(budget, lambda n: 1 / n, 100)
    assert budget.n == MAX_N


@pytest.mark.parametrize("text", ["0", "101%", "two", "-1%"])
def test_a_budget_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="budget"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0", "0%", "syscalls=", "1/100", str(MAX_N + 1)])
def test_a_share_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="sample"):
        parse_sample(text)


def test_what_keeps_all_costs_the_kernel_nothing() -> None:
    assert Sampling().macros() == {}
