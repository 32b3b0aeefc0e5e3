"""The benchmark of flame graphs: its profiles, its peer's file, and what it prints."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from tracelab.analysis.stacks import fold
from tracelab.bench import drawers
from tracelab.bench.flamegraphs import Drawn, goals, render
from tracelab.bench.synthetic import synthetic
from tracelab.bench.table import goal_lines
from tracelab.bench.tracer import NotRun
from tracelab.profile import Frame, Profile

OURS = Drawn(
    first_ms=500.0,
    python_ms=300.0,
    zoom_ms=20.0,
    worst_zoom_ms=40.0,
    whole_zoom_ms=90.0,
    frame_ms=16.7,
    worst_frame_ms=50.0,
    load_cpu_ms=100.0,
    zoom_cpu_ms=10.0,
    frame_cpu_ms=5.0,
    heap_mb=4.0,
)
THEIRS = replace(OURS, first_ms=15_000.0, python_ms=0.0, frame_ms=33.4, heap_mb=1_000.0)


def test_a_synthetic_profile_has_as_many_nodes_as_asked_and_is_the_same_every_time():
    first, again = synthetic(5_000), synthetic(5_000)
    assert len(fold(first)) == pytest.approx(5_000, rel=0.02)
    assert np.array_equal(first.stack_frames, again.stack_frames)
    assert np.array_equal(first.weights, again.weights)
    depths = np.diff(first.offsets)
    assert (depths.min() >= 30, depths.max() <= 60, 37 <= np.median(depths) <= 41) == (True, True, True)


def test_speedscope_is_given_the_same_stacks_and_weights(tmp_path):
    a, b = Frame("a", "/bin/app"), Frame("b", "[kernel]", domain="kernel")
    profile = Profile.from_stacks([([a, b], 3), ([a], 1)], unit="ns", name="two")
    drawers.write_speedscope(profile, tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": "a", "file": "/bin/app"}, {"name": "b", "file": "[kernel]"}]},
        "profiles": [
            {
                "type": "sampled",
                "name": "two",
                "unit": "nanoseconds",
                "startValue": 0,
                "endValue": 4.0,
                "samples": [[0, 1], [0]],
                "weights": [3.0, 1.0],
            }
        ],
    }


def test_a_table_has_each_drawer_and_how_many_times_ours_the_other_is():
    assert render({"tracelab": OURS, "speedscope": THEIRS}) == (
        """\
                                  tracelab  speedscope  ratio
first paint, ms                      500.0    15,000.0   30.0
Python, CPU ms                       300.0
zoom, median ms                       20.0        20.0    1.0
zoom, worst ms                        40.0        40.0    1.0
zoom, median to last paint, ms        90.0        90.0    1.0
frame, median ms                      16.7        33.4    2.0
frame, worst ms                       50.0        50.0    1.0
main thread: first paint, CPU ms     100.0       100.0    1.0
main thread: a zoom, CPU ms           10.0        10.0    1.0
main thread: a frame, CPU ms           5.0         5.0    1.0
heap after collection, MB              4.0     1,000.0  250.0"""
    )


def test_the_goals_are_judged_at_a_million_nodes_only():
    assert "\n".join(goal_lines(goals(1_000_000, OURS))) == (
        """\
PASS          first paint within 1 s, at 1,000,000 nodes                         500.0
PASS          half of the frames within 17 ms (60 a second), at 1,000,000 nodes  16.7
FAIL          every frame within 34 ms (30 a second), at 1,000,000 nodes         50.0
PASS          less than 100 MB of heap, at 1,000,000 nodes                       4.0"""
    )
    assert {goal.reached for goal in goals(10_000, OURS)} == {None}


def test_without_npm_or_its_registry_speedscope_is_not_run_and_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(drawers.shutil, "which", lambda name: None)
    with pytest.raises(NotRun, match="npm is missing"), drawers.speedscope(synthetic(100)):
        pass
    monkeypatch.setattr(drawers.shutil, "which", lambda name: "/usr/bin/npm")
    refused = subprocess.CompletedProcess([], 1, stdout="", stderr="npm error\nnpm error network is unreachable\n")
    monkeypatch.setattr(drawers.subprocess, "run", lambda *_, **__: refused)
    with pytest.raises(NotRun, match="npm could not get it; it said: npm error network is unreachable"):
        with drawers.speedscope(synthetic(100)):
            pass
