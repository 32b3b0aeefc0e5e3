"""However a recording ends, the session is closed and nothing that was appended is missing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tracelab as tl
from recordings import count_rows, recorded, start_recorder, workload


def test_a_recording_of_stacks_gives_back_every_file_that_it_opened(tmp_path: Path) -> None:
    recorded(tmp_path / "warm", workload("sleeps", 0.1), events="oncpu")  # what stays open is open now
    before = len(os.listdir("/proc/self/fd"))
    recorded(tmp_path / "s", workload("sleeps", 0.1), events="oncpu")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_session(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "s"
    recorder = start_recorder(path, "--events", "syscalls")
    recorder.send_signal(number)
    out, err = recorder.communicate(timeout=30)
    assert (recorder.returncode, out.decode().strip()) == (0, str(path))
    assert "recorded" in err.decode()
    assert _state(path) == "complete"
    assert not list(path.rglob("*.tmp"))


def test_a_signal_closes_the_session_while_more_comes_than_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spinners = [subprocess.Popen(workload("calls")) for _ in range(2)]
    try:
        recorder = start_recorder(path, "--events", "syscalls", "--ring-mib", "1")
        time.sleep(1.0)
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=30)
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
    manifest = json.loads((path / "manifest.json").read_text())
    counts = manifest["probes"]["syscalls"]["counts"]
    assert manifest["state"] == "complete"
    assert manifest["tables"]["events"]["rows"] == counts["kept"] == count_rows(path, "events")


def test_the_end_of_the_command_ends_the_recording_and_gives_its_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracelab", "record", "-o", str(tmp_path / "s"), "--events", "syscalls"]
    done = subprocess.run([*command, "--", "/bin/sh", "-c", "exit 7"], capture_output=True, timeout=60)
    assert done.returncode == 7
    assert json.loads((tmp_path / "s/manifest.json").read_text())["command"]["exit_code"] == 7


def test_a_command_that_outlives_the_recording_is_ended_and_its_exit_code_is_not_ours(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tracelab", "record", "-o", str(tmp_path / "s"), "--events", "syscalls"]
    done = subprocess.run([*command, "-d", "0.5", "--", *workload("sleeps", 60)], capture_output=True, timeout=30)
    assert done.returncode == 0
    about = json.loads((tmp_path / "s/manifest.json").read_text())["command"]
    assert (about["exit_code"], about["outlived"]) == (-signal.SIGTERM, True)


def test_what_was_appended_before_a_kill_is_all_there_when_the_session_is_opened(tmp_path: Path) -> None:
    spinner = subprocess.Popen(workload("calls"))
    try:
        for attempt in range(3):
            path = tmp_path / f"s{attempt}"
            recorder = start_recorder(path, "--events", "syscalls", "--pid", str(spinner.pid))
            while not count_rows(path, "events"):
                time.sleep(0.05)
            time.sleep(random.uniform(0.0, 2.0))
            recorder.kill()
            recorder.communicate()
            appended = count_rows(path, "events")
            assert _state(path) == "recording"
            session = tl.open(path)
            assert session.manifest.state == "recovered"
            events = session.table("events")
            assert len(events) == appended > 0
            assert set(events["pid"]) == {spinner.pid}
            assert events["time_ns"].is_monotonic_increasing
            assert not list(path.rglob("*.arrows"))
    finally:
        spinner.kill()
        spinner.wait()


def _state(path: Path) -> str:
    return str(json.loads((path / "manifest.json").read_text())["state"])
