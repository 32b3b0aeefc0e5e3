"""Starting, measuring and ending a tracer, with shell scripts in place of tracers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tracelab.bench import tracer
from tracelab.bench.tracer import NotRun, Outcome, Running, Tracer, group_cpu_s

WORK = 'sh -c "$WORK"; times > $2/times'  # work done by a child, and what that took
WAIT = "echo ready; while :; do sleep 0.01; done"


class Script(Tracer):
    """A shell script that says `ready` when it has begun."""

    name = "script"
    environment = {"GREETING": "hello", "WORK": "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"}

    def __init__(self, script: str) -> None:
        self.script = script

    def command(self, pid: int, folder: Path) -> list[str]:
        return ["sh", "-c", self.script, "sh", str(pid), str(folder)]

    def records(self, own_pid: int, folder: Path) -> bool:
        return "ready" in (folder / "stdout").read_text()

    def outcome(self, folder: Path) -> Outcome:
        return Outcome(int((folder / "kept").read_text()), 0, None, 0)


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "SETTLE_S", 0.0)


def test_a_tracer_is_given_the_process_and_a_folder_and_ends_at_sigint(tmp_path: Path) -> None:
    script = Script(f'trap "echo $1 > $2/kept; exit" INT; {WAIT}')
    Running(script, 42, tmp_path).stop()
    assert script.outcome(tmp_path).kept == 42


def test_a_tracer_has_its_environment_beside_that_of_everybody(tmp_path: Path) -> None:
    running = Running(Script('echo "$GREETING $HOME" > $2/said; echo ready; sleep 100'), 1, tmp_path)
    running.kill()
    assert (tmp_path / "said").read_text() == f"hello {os.environ['HOME']}\n"


def test_what_the_children_of_a_tracer_use_is_in_its_cpu_time(tmp_path: Path) -> None:
    cost = Running(Script(f"trap '{WORK}; exit' INT; {WAIT}"), 1, tmp_path).stop()
    assert cost.cpu_s >= _children_s(tmp_path) > 0


def test_what_was_used_before_it_recorded_is_not_in_its_cpu_time(tmp_path: Path) -> None:
    cost = Running(Script(f"{WORK}; trap exit INT; {WAIT}"), 1, tmp_path).stop()
    assert cost.cpu_s < _children_s(tmp_path)


def test_a_tracer_that_dies_before_it_records_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match=r"^Can't enable ftrace; Operation not permitted$"):
        Running(Script('echo "Can\'t enable ftrace"; echo Operation not permitted >&2; exit 1'), 1, tmp_path)


def test_a_tracer_that_dies_without_a_word_is_told_by_its_status(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match=r"^status 7, without a word$"):
        Running(Script("exit 7"), 1, tmp_path)


def test_a_tracer_that_ends_while_it_should_record_was_not_run(tmp_path: Path) -> None:
    running = Running(Script("echo ready; sleep 0.1; echo out of memory >&2; exit 1"), 1, tmp_path)
    while (tmp_path / "stderr").read_text() == "" or not running.ended():
        time.sleep(0.01)
    with pytest.raises(NotRun, match=r"^ended too early: ready; out of memory$"):
        running.stop()


def test_a_tracer_that_crashes_at_its_end_was_not_run(tmp_path: Path) -> None:
    running = Running(Script(f'trap "echo assertion failed >&2; kill -ABRT \\$\\$" INT; {WAIT}'), 1, tmp_path)
    with pytest.raises(NotRun, match=r"^ended with status -6: ready; assertion failed$"):
        running.stop()


def test_a_tracer_that_does_not_end_is_killed_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer, "STOP_S", 0.2)
    script = Script('trap "" INT; sleep 1000 & echo $! > $2/child; echo ready; while :; do sleep 0.1; done')
    running = Running(script, 1, tmp_path)
    child = int((tmp_path / "child").read_text())
    with pytest.raises(NotRun, match="did not end within"):
        running.stop()
    assert _gone(child)


def test_a_tracer_that_never_records_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "READY_S", 0.2)
    with pytest.raises(NotRun, match="did not record within"):
        Running(Script("echo $$ > $2/pid; while :; do sleep 0.1; done"), 1, tmp_path)
    assert _gone(int((tmp_path / "pid").read_text()))


def test_the_cpu_time_of_a_group_that_does_not_exist_is_none() -> None:
    assert group_cpu_s(2**22 + 1) == 0


def _children_s(folder: Path) -> float:
    """The second line of the shell's `times`: 0m0.12s 0m0.01s."""
    spent = (folder / "times").read_text().splitlines()[1].split()
    return sum(60 * float(m) + float(s) for m, s in (value.rstrip("s").split("m") for value in spent))


def _gone(pid: int) -> bool:
    """Whether a process ends soon: it was killed, and somebody has to reap it."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return False
