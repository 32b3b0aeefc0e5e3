"""Replaying a session to code, against a clock that does what the test says."""

from __future__ import annotations

import math

import pytest

from sessions import session
from tracelab.api.replay import replay
from tracelab.errors import UsageError

EVENTS = "time_s pid\n" + "\n".join(f"{i / 10} 1" for i in range(100)) + "\n10 1"


class Clock:
    """Time that passes while somebody sleeps, or works."""

    def __init__(self) -> None:
        self.now = 50.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


def windows(parts):
    return [tuple(round(t, 6) for t in part.window) for part in parts]


def test_parts_come_at_their_time_and_are_together_the_whole(tmp_path):
    clock, seen, counts = Clock(), [], []
    for part in replay(session(tmp_path, events=EVENTS), 10, clock=clock, sleep=clock.sleep):
        seen.append((round(clock.now - 50, 6), *windows([part])))
        counts.append(int(part.rates()["events"].sum()))
    assert seen == [(round((i + 1) / 10, 6), (float(i), float(i + 1))) for i in range(10)]
    assert counts == [10] * 9 + [11]  # the very end of the recording is in the last one
    assert clock.slept == [0.1] * 10


def test_who_is_slow_gets_longer_parts_and_misses_nothing(tmp_path):
    clock, seen = Clock(), []
    for part in replay(session(tmp_path, events=EVENTS), 1, step_s=1, clock=clock, sleep=clock.sleep):
        seen += windows([part])
        clock.now += 3.5 if len(seen) == 1 else 0.1
    assert seen == [(0, 1), (1, 4.5), (4.5, 5.5), (5.5, 6.5), (6.5, 7.5), (7.5, 8.5), (8.5, 9.5), (9.5, 10)]


def test_without_limit_nobody_waits(tmp_path):
    clock = Clock()
    parts = list(replay(session(tmp_path, events=EVENTS), math.inf, 4, clock=clock, sleep=clock.sleep))
    assert windows(parts) == [(0, 4), (4, 8), (8, 10)]
    assert clock.slept == []


def test_a_part_can_be_replayed_and_an_empty_one_gives_nothing(tmp_path):
    whole = session(tmp_path, events=EVENTS)
    assert windows(whole.select(time=(2, 4)).replay(math.inf, 1)) == [(2, 3), (3, 4)]
    assert list(whole.select(time=(2, 2)).replay()) == []


@pytest.mark.parametrize("wrong", [{"speed": 0}, {"speed": -1}, {"step_s": 0}, {"step_s": math.inf}])
def test_a_speed_and_a_step_are_positive(tmp_path, wrong):
    with pytest.raises(UsageError, match="positive"):
        next(session(tmp_path, events=EVENTS).replay(**wrong))
