from __future__ import annotations

from pathlib import Path

import pytest

from sessions import tables_of
from tracelab.pitfalls import Finding, all_pitfalls

STACKS = "stack_id frames\n1 1,2\n2 1,3"
FRAMES = """
    frame_id  symbol             module
    1         main               /bin/app
    2         work               /bin/app
    3         [libx.so]+0x1234   /lib/libx.so
"""
TASKS = "time_s tid comm\n0 7 java\n0 8 sh"


def check(folder: Path, *, whole: int = 0, cut: int = 0, unnamed: int = 0, **thresholds: float) -> Finding:
    """`whole` good samples, `cut` ones that are cut off, and `unnamed` with a leaf that has no name."""
    lines = (
        ["1 8 1 10 complete"] * whole
        + ["1 7 1 10 'stack copy too short'"] * cut
        + ["1 8 2 10 complete"] * unnamed
    )
    samples = "\n".join(["time_s pid stack_id weight unwound", *lines])
    tables = tables_of(folder, samples=samples, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    return all_pitfalls()["poor_stacks"].run(tables, **thresholds)


@pytest.mark.parametrize(("cut", "severity"), [(10, "info"), (20, "warning")])
def test_stacks_that_are_cut_off_are_found_with_whose_they_are_and_why(
    tmp_path: Path, cut: int, severity: str
) -> None:
    found = check(tmp_path, whole=100 - cut, cut=cut)
    assert (found.outcome, found.severity, found.title) == ("found", severity, "Stacks are cut off")
    assert found.actual == f"{cut} % of the samples' weight in stacks that are cut off"
    assert found.evidence.to_numpy().tolist() == [["java (7)", "stack copy too short", cut / 100]]


@pytest.mark.parametrize(("warn_factor", "severity"), [(3, "info"), (1.5, "warning")])
def test_frames_without_names_are_found_with_their_module(
    tmp_path: Path, warn_factor: float, severity: str
) -> None:
    found = check(tmp_path, whole=20, unnamed=80, warn_factor=warn_factor)
    assert (found.outcome, found.severity, found.title) == ("found", severity, "Frames have no names")
    assert found.actual == "40 % of the frames without a name"
    assert found.evidence.to_numpy().tolist() == [["/lib/libx.so", "frames without a name", 0.4]]


def test_whole_stacks_with_names_are_clear(tmp_path: Path) -> None:
    found = check(tmp_path, whole=98, cut=2)
    assert (found.outcome, found.severity) == ("clear", None)
    assert found.actual == "2 % of the samples' weight in stacks that are cut off"


def test_a_few_samples_or_none_tell_nothing(tmp_path: Path) -> None:
    few = check(tmp_path / "few", cut=19)
    assert (few.outcome, few.why) == ("not checked", "only 19 samples; 20 are needed")
    none = all_pitfalls()["poor_stacks"].run(tables_of(tmp_path / "none", events="time_s pid"))
    assert (none.outcome, none.action) == ("not checked", "record with --events oncpu")


def test_other_kinds_of_samples_are_not_taken_for_too_few(tmp_path: Path) -> None:
    samples = "time_s pid stack_id kind\n" + "1 7 1 off-CPU\n" * 30
    tables = tables_of(tmp_path, samples=samples, stacks=STACKS, frames=FRAMES, tasks=TASKS)
    found = all_pitfalls()["poor_stacks"].run(tables)
    assert (found.outcome, found.why) == ("not checked", "no stacks of kind on-CPU were sampled")
    assert found.action == "record with --events oncpu"
