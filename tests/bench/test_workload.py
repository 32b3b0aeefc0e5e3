"""The workload does what it is asked, in C and in Python, and says what it did."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tracelab.bench import workload
from tracelab.bench.workload import IN_PYTHON, Phase, Placement, Workload, build, in_c
from tracelab.errors import TracelabError

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="this is not Linux: no getppid to be pinned to a CPU"
)


@pytest.fixture(params=["C", "Python"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    if request.param == "Python":
        return [sys.executable, "-c", IN_PYTHON]
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler; install gcc")
    return build(tmp_path)


@linux
def test_a_phase_at_full_speed_lasts_as_long_as_asked(program: list[str]) -> None:
    with Workload(program, _placement()) as running:
        phase = running.run(0.05)
    assert phase.calls > 100
    assert phase.wall_ns >= 50_000_000
    assert phase.cpu_ns_per_call > 0


@linux
def test_a_paced_phase_makes_no_more_calls_than_its_rate_allows(program: list[str]) -> None:
    with Workload(program, _placement()) as running:
        phase = running.run(0.2, 10_000)
    assert 64 <= phase.calls <= 10_000 * phase.wall_ns / 1e9 + 64


@linux
def test_calls_of_all_phases_add_up_with_those_that_each_makes_besides(program: list[str]) -> None:
    with Workload(program, _placement()) as running:
        phases = [running.run(0.01), running.run(0.01)]
        assert running.made == sum(phase.calls for phase in phases) + 2 * Workload.BESIDES


@linux
def test_a_workload_that_died_is_an_error_that_says_so(program: list[str]) -> None:
    with Workload(program, _placement()) as running:
        os.kill(running.pid, 9)
        with pytest.raises(TracelabError, match="the workload of the benchmark died"):
            running.run(0.01)


def test_without_a_compiler_the_workload_is_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not in_c(build(tmp_path))


def test_a_compiler_that_fails_leaves_the_workload_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "SOURCE", tmp_path / "missing.c")
    assert not in_c(build(tmp_path))


@pytest.mark.parametrize(
    ("allowed", "placement"),
    [({3, 1, 2}, Placement(1, frozenset([2, 3]))), ({5}, Placement(5, frozenset([5])))],
)
def test_the_workload_has_a_cpu_of_its_own_where_there_is_more_than_one(
    allowed: set[int], placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: allowed, raising=False)
    assert Placement.here() == placement


def test_the_cost_of_a_call_is_its_share_of_the_cpu_time() -> None:
    assert Phase(calls=10, wall_ns=5000, cpu_ns=1200).cpu_ns_per_call == 120


def _placement() -> Placement:
    return Placement.here()
