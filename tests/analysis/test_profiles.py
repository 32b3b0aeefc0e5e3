from __future__ import annotations

from pathlib import Path

import pytest

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.profiles import NO_FRAME, NO_STACK, profile
from tracelab.errors import MissingTable, UsageError
from tracelab.profile import Frame
from tracelab.query import Selection

SAMPLES = """
    time_s  pid  tid  stack_id  weight  unwound
    1       7    7    1         10      complete
    2       7    8    2         10      complete
    3       9    9    2         10      'stack copy too short'
    4       9    9    -         10      'no user stack'
"""
STACKS = "stack_id frames\n1 1,2\n2 1,2,3\n5 3"
FRAMES = """
    frame_id  symbol           module    domain  file    line  inlined  build_id  offset
    1         _start           app       user    -       -     0        -         -
    2         main             app       user    main.c  12    1        ab12      64
    3         do_syscall_64    [kernel]  kernel  -       -     0        -         -
    4         unused           app       user    -       -     0        -         -
"""
TASKS = "time_s tid comm\n0 7 sh\n0 8 worker\n0 9 cc"
ALL = {"samples": SAMPLES, "stacks": STACKS, "frames": FRAMES, "tasks": TASKS}


def test_samples_become_weighted_stacks_root_first(tmp_path: Path) -> None:
    found = profile(tables_of(tmp_path, **ALL))
    assert found.collapsed() == {
        "_start;main": 10.0,
        "_start;main;do_syscall_64": 20.0,
        "[no stack]": 10.0,
    }
    assert (found.quantity, found.unit, found.name) == ("on-CPU time", "ns", "on-CPU time")
    assert found.complete_share == 0.5
    assert found.frames == (
        Frame("_start", "app"),
        Frame("main", "app", "user", "main.c", 12, True, "ab12", 64),
        Frame("do_syscall_64", "[kernel]", "kernel"),
        NO_STACK,
    )


def test_each_process_may_stand_on_a_frame_of_its_own(tmp_path: Path) -> None:
    found = profile(tables_of(tmp_path, **ALL), by="process")
    assert found.collapsed() == {
        "sh (7);_start;main": 10.0,
        "sh (7);_start;main;do_syscall_64": 10.0,
        "cc (9);_start;main;do_syscall_64": 10.0,
        "cc (9);[no stack]": 10.0,
    }
    assert {f.domain for f in found.frames if f.symbol in ("sh (7)", "cc (9)")} == {"process"}


def test_each_thread_may_stand_on_a_frame_of_its_own(tmp_path: Path) -> None:
    found = profile(tables_of(tmp_path, **ALL), by="thread")
    assert {key.split(";")[0] for key in found.collapsed()} == {"sh (7)", "worker (8)", "cc (9)"}


@pytest.mark.parametrize("by", [None, "process", "thread", "comm", "cgroup", "cpu"])
def test_no_weight_is_lost(tmp_path: Path, by: str | None) -> None:
    assert profile(tables_of(tmp_path, **ALL), by=by).total == 40


def test_a_selection_gives_the_profile_of_a_part_and_says_of_which(tmp_path: Path) -> None:
    chosen = Selection(window_ns=(START_NS, START_NS + 2 * SECOND), comms=("sh",))
    found = profile(tables_of(tmp_path, **ALL).narrowed(chosen))
    assert found.collapsed() == {"_start;main": 10.0}
    assert found.name == "on-CPU time, 0 s to 2 s, comm sh"


def test_an_empty_selection_gives_an_empty_profile(tmp_path: Path) -> None:
    found = profile(tables_of(tmp_path, **ALL).narrowed(Selection(pids=(1,))), by="process")
    assert (len(found), found.total, found.unit) == (0, 0.0, "ns")


def test_stacks_and_frames_that_are_not_there_are_shown_as_such(tmp_path: Path) -> None:
    texts = ALL | {"stacks": "stack_id frames\n1 1,99\n2 -", "frames": "frame_id symbol\n1 _start"}
    found = profile(tables_of(tmp_path, **texts))
    assert found.collapsed() == {f"_start;{NO_FRAME.symbol}": 10.0, NO_STACK.symbol: 30.0}


def test_a_session_whose_stacks_all_got_lost_still_has_its_weight(tmp_path: Path) -> None:
    texts = ALL | {"stacks": "stack_id frames", "frames": "frame_id symbol"}
    assert profile(tables_of(tmp_path, **texts)).collapsed() == {NO_STACK.symbol: 40.0}


def test_the_notes_say_what_was_lost(tmp_path: Path) -> None:
    losses = """
        time_s  source     reason            count
        1       oncpu      'ring full'       1200
        1       syscalls   'ring full'       5
        1       side-band  'side-band full'  3
    """
    assert profile(tables_of(tmp_path, **ALL, losses=losses)).notes == (
        "1,200 samples lost (ring full)",
        "mappings of processes were lost, so that some frames may have wrong names or none",
    )
    assert profile(tables_of(tmp_path / "b", **ALL, losses="time_s count")).notes == ()
    assert profile(tables_of(tmp_path / "c", **ALL)).notes == ("not known whether samples were lost",)


def test_weights_of_different_units_are_not_added_up(tmp_path: Path) -> None:
    text = "time_s pid stack_id weight unit\n1 7 1 10 ns\n2 7 1 10 bytes"
    with pytest.raises(UsageError, match="have several units, bytes, ns"):
        profile(tables_of(tmp_path, **ALL | {"samples": text}))


def test_a_profile_by_something_that_has_no_stacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"by='event': a profile is of everything \(None\), or by process"):
        profile(tables_of(tmp_path, **ALL), by="event")


def test_without_samples_there_is_no_profile(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match="record with --events oncpu"):
        profile(tables_of(tmp_path, events="time_s pid"))


OFF_CPU = """
    time_s  pid  kind     stack_id  weight
    1       7    on-CPU   1         10
    2       7    off-CPU  2         5000000
    3       7    off-CPU  2         7000000
"""
BOTH = {"oncpu": {"table": "samples", "kind": "on-CPU"}, "offcpu": {"table": "samples", "kind": "off-CPU"}}


def test_kinds_of_samples_are_never_added_up(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **(ALL | {"samples": OFF_CPU}), manifest={"probes": BOTH})
    waits = profile(tables, "off-CPU")
    assert waits.collapsed() == {"_start;main;do_syscall_64": 12_000_000.0}
    assert (waits.quantity, waits.unit) == ("off-CPU time", "ns")
    assert "only waits of 1 ms or longer" in waits.notes
    assert profile(tables).collapsed() == {"_start;main": 10.0}


def test_a_kind_that_was_not_recorded_is_missing_rather_than_empty(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **ALL)
    with pytest.raises(MissingTable, match=r"off-CPU.*record with --events offcpu"):
        profile(tables, "off-CPU")
    with pytest.raises(UsageError, match=r"samples are of kind .*off-CPU"):
        profile(tables, "no such")
