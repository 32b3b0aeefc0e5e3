"""Recording from Python and from a notebook cell, and the demo: one way to record, three ways to ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tracelab as tl
from probe_records import until
from tracelab.errors import SessionExists, UsageError

READ_23_TIMES = "import os\nfd = os.open('/dev/zero', os.O_RDONLY)\nfor _ in range(23): os.read(fd, 4093)\nos.close(fd)"


def reads(session: tl.Session) -> int:
    events = session.select(pid=os.getpid(), event="read").table("events")
    return int((events["ret"] == 4093).sum())


def test_what_this_process_does_inside_the_block_is_recorded(tmp_path: Path) -> None:
    with tl.record(tmp_path / "s", events="syscalls") as recording:
        exec(READ_23_TIMES, {})
        recording.mark("half way")
    assert reads(recording.session) == 23
    assert list(recording.session.table("marks")["text"]) == ["half way"]
    assert recording.session.manifest.state == "complete"


def test_a_live_session_is_read_as_far_as_it_has_come(tmp_path: Path) -> None:
    with tl.record(tmp_path / "s", events="syscalls") as recording:
        seen = 0
        while seen < 23:
            exec(READ_23_TIMES, {})
            seen = reads(recording.session)
        assert recording.session.manifest.state == "recording"
    assert reads(recording.session) >= seen


def test_an_explorer_follows_a_session_that_is_being_recorded(tmp_path: Path) -> None:
    def events(answer: tuple[dict, bytes]) -> int:
        return sum(row[4] for row in answer[0]["top"] if row[0] == os.getpid())

    ask = {"select": {}, "parts": ["rate", "heatmap", "flame", "top"]}
    with tl.record(tmp_path / "s", events="syscalls,oncpu") as recording:
        view = recording.session.explore()
        first = view.first()
        assert first[0]["recording"] is True
        for _ in range(2):  # each time more than before
            before = events(view.answer(ask))
            exec(READ_23_TIMES, {})
            until(lambda before=before: events(view.answer(ask)) >= before + 23, "the events did not come")
    answer = view.answer(ask)
    assert answer[0]["recording"] is False
    assert answer[0]["window"][1] >= first[0]["window"][1]
    assert "missing" not in answer[0]["parts"]["flame"]


def test_another_process_sets_marks_while_this_one_records(tmp_path: Path) -> None:
    other = "import sys, tracelab as tl; tl.open(sys.argv[1]).mark(0, text='by another')"
    with tl.record(tmp_path / "s", events="syscalls") as recording:
        recording.mark("before")
        subprocess.run([sys.executable, "-c", other, str(tmp_path / "s")], check=True, timeout=60)
        recording.mark("after")
        exec(READ_23_TIMES, {})
    session = tl.open(tmp_path / "s")
    assert session.marks()["text"].tolist() == ["by another", "before", "after"]
    assert (session.manifest.state, session.manifest.tables["marks"]) == ("complete", {"rows": 3})
    assert reads(session) == 23


def test_the_recorder_s_refusal_is_raised_where_it_was_asked(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(SessionExists, match="choose another folder with -o"):
        tl.record(tmp_path / "s")
    with pytest.raises(UsageError, match="did you mean read"):
        tl.record(tmp_path / "t", events="raed")


def test_a_cell_is_recorded_and_its_session_is_in_a_variable(tmp_path: Path) -> None:
    interactive = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is missing")
    shell = interactive.InteractiveShell()
    shell.run_line_magic("load_ext", "tracelab")
    line = f"storm --events syscalls -o {tmp_path / 's'}"
    shown = shell.run_cell_magic("record", line, READ_23_TIMES)
    assert shown is shell.user_ns["storm"]
    assert reads(shown) == 23
    with pytest.raises(UsageError, match="invalid int value"):
        shell.run_cell_magic("record", "storm --hz many", "pass")


def test_a_cell_that_raises_leaves_its_session_behind(tmp_path: Path) -> None:
    interactive = pytest.importorskip("IPython.core.interactiveshell", reason="IPython is missing")
    shell = interactive.InteractiveShell()
    shell.run_line_magic("load_ext", "tracelab")
    with pytest.raises(ZeroDivisionError):
        shell.run_cell_magic("record", f"broken --events syscalls -o {tmp_path / 's'}", "1 / 0")
    assert shell.user_ns["broken"].manifest.state == "complete"


@pytest.mark.slow
def test_the_demo_records_and_makes_the_report(tmp_path: Path) -> None:
    demo = [sys.executable, "-m", "tracelab", "demo", "-o", str(tmp_path)]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "traced every system call" in done.stdout
    assert str(tmp_path / "first_session.html") in done.stdout
    session = tl.open(tmp_path / "demo.tracelab")
    comms = set(session.tasks()["comm"])
    assert {"python3"} < comms
    found = {f.id: f.outcome for f in session.findings()}
    assert found["expensive_program"] == "found"
    assert session.tracers()


@pytest.mark.slow
def test_where_nothing_can_be_recorded_the_demo_says_why_and_uses_the_shipped_session(tmp_path: Path) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is missing; it is in util-linux")
    drop = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    demo = [*drop, sys.executable, "-m", "tracelab", "demo", "-o", str(tmp_path)]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    why = next(line for line in done.stdout.splitlines() if line.startswith("cannot record here: "))
    assert "needs root, with CAP_SYS_ADMIN" in why
    assert "first_session.tracelab" in done.stdout
    assert (tmp_path / "first_session.html").stat().st_size > 100_000
