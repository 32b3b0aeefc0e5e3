"""In what order tracers are tried, and what becomes of those that refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracelab.bench import rounds
from tracelab.bench.figures import Results
from tracelab.bench.tracer import Cost, NotRun, Outcome, Tracer
from tracelab.bench.trial import Plan, Trial
from tracelab.bench.workload import Phase, Placement

PHASE = Phase(10, 1000, 1000)
TRIAL = Trial(10, [PHASE], [PHASE], 1.0, Outcome(10, 0, 50, 0), Cost(0.1, 0))


class Named(Tracer):
    """A tracer that is never started."""

    def __init__(self, name: str, refusal: str | None = None) -> None:
        self.name = name
        self._refusal = refusal

    def refusal(self) -> str | None:
        return self._refusal

    def command(self, pid: int, folder: Path) -> list[str]:
        raise AssertionError("started")

    def records(self, own_pid: int, folder: Path) -> bool:
        raise AssertionError("started")

    def outcome(self, folder: Path) -> Outcome:
        raise AssertionError("started")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was tried, in order; a tracer called `flaky` crashes at first, one called `broken` always."""
    order: list[str] = []

    def run_trial(tracer, program, placement, plan, phases):
        order.append(f"{tracer.name} {phases.__name__}")
        if tracer.name == "broken" or (order.count("flaky bursts") == 1 and tracer.name == "flaky"):
            raise NotRun("it crashed")
        return TRIAL

    monkeypatch.setattr(rounds, "run_trial", run_trial)
    return order


def run(*tracers: Tracer) -> Results:
    placement = Placement(0, frozenset([1]))
    return rounds.run(tracers, [], placement, Plan(repetitions=3), on_progress=lambda what: None)


def test_tracers_take_turns_and_the_first_is_paced_at_the_end(tried: list[str]) -> None:
    results = run(Named("a"), Named("b"))
    turn = ["a bursts", "a saturation", "b bursts", "b saturation"]
    assert tried == [*turn, *turn, *turn, "a paced"]
    assert results.bursts == results.saturated == {"a": [TRIAL] * 3, "b": [TRIAL] * 3}
    assert results.paced == TRIAL


def test_a_tracer_that_crashed_once_is_tried_again(tried: list[str]) -> None:
    results = run(Named("a"), Named("flaky"))
    assert len(results.saturated["flaky"]) == 2
    assert results.refusals == {"flaky": ["it crashed"]}


def test_a_tracer_that_crashed_twice_is_left_alone(tried: list[str]) -> None:
    results = run(Named("a"), Named("broken"))
    assert tried.count("broken bursts") == 2
    assert "broken" not in results.saturated
    assert results.refusals == {"broken": ["it crashed", "it crashed"]}


def test_a_tracer_that_cannot_run_here_is_not_tried_and_says_why(tried: list[str]) -> None:
    results = run(Named("a"), Named("absent", "absent is not installed"))
    assert not [what for what in tried if what.startswith("absent")]
    assert results.refusals["absent"][-1] == "absent is not installed"


def test_nothing_is_paced_when_ours_does_not_run(tried: list[str]) -> None:
    results = run(Named("broken"), Named("a"))
    assert results.paced is None
    assert "broken paced" not in tried
