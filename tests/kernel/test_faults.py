"""What goes wrong around a recorder does not go wrong in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from c_programs import compiled, needs_gcc
from loaded_bpf import tracing_programs
from recordings import command_pid, recorded, rows, rows_of, start_recorder, workload
from tracelab.recorder.options import Options
from tracelab.recorder.recording import Recording

RECORD = [sys.executable, "-m", "tracelab", "record"]
FORKS = """
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct timespec a, b;
	long made = 0, wanted = atol(argv[1]);

	(void)argc;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (; made < wanted; made++) {
		pid_t pid = vfork();
		if (!pid)
			_exit(0);
		if (pid < 0)
			return 1;
		waitpid(pid, 0, 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	double s = b.tv_sec - a.tv_sec + (b.tv_nsec - a.tv_nsec) / 1e9;
	char out[32];
	int n = 0;
	for (long rate = made / s; rate; rate /= 10)
		out[n++] = '0' + rate % 10;
	while (n)
		write(1, &out[--n], 1);
	write(1, "\\n", 1);
	return 0;
}
"""


def _manifest(path: Path) -> dict[str, object]:
    return dict(json.loads((path / "manifest.json").read_text()))


def _shell(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a mount namespace of its own, in which $RECORD records for a moment."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is missing; install util-linux")
    env = {**os.environ, "RECORD": f"{sys.executable} -m tracelab record -o {path}"}
    return subprocess.run(
        ["unshare", "-m", "sh", "-ec", script], capture_output=True, text=True, timeout=120, env=env
    )


def test_a_killed_recorder_leaves_nothing_in_the_kernel(tmp_path: Path) -> None:
    before = set(tracing_programs())
    recorder = start_recorder(tmp_path / "s", "--events", "syscalls,oncpu")
    assert set(tracing_programs()) - before
    recorder.send_signal(signal.SIGKILL)
    recorder.communicate()
    deadline = time.monotonic() + 20
    while set(tracing_programs()) - before:
        assert time.monotonic() < deadline, "programs of the killed recorder are still loaded"
        time.sleep(0.05)


def test_a_target_that_dies_ends_nothing_else(tmp_path: Path) -> None:
    target = subprocess.Popen(workload("calls"))
    options = Options(events="syscalls,oncpu", pid=(target.pid,))
    with Recording(tmp_path / "s", options) as recording:
        while not recording.progress().events:
            time.sleep(0.02)
        target.kill()
        target.wait()
        time.sleep(0.5)
        assert recording.failure is None
    assert {r["change"] for r in rows(recording, "tasks", pid=target.pid)} >= {"seen", "exit"}
    assert recording.manifest.state == "complete"


@needs_gcc
def test_thousands_of_short_processes_a_second_are_all_told_of(tmp_path: Path) -> None:
    program = compiled(tmp_path, FORKS, "-O1")
    made = 40_000  # so that numbers come again: a call that never returned is not the next process's
    recording = recorded(tmp_path / "s", [str(program), str(made)], events="exit_group,vfork,oncpu")
    pid = command_pid(recording)
    tasks = rows(recording, "tasks")
    lost = sum(int(str(r["count"])) for r in rows(recording, "losses") if r["reason"] == "side-band full")
    forks = sum(r["change"] == "fork" and r["ppid"] == pid for r in tasks)
    assert forks == made or (lost > 0 and forks + lost >= made)
    counts = recording.manifest.probes["syscalls"]["counts"]
    assert counts["lost"] == 0
    events = [e["event"] for e in rows(recording, "events") if e["value"] is not None]
    assert events.count("vfork") >= made
    assert "exit_group" not in events


@pytest.mark.timing
def test_ten_busy_threads_neither_stop_it_nor_lose_events_uncounted(tmp_path: Path) -> None:
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(10)]
    try:
        recording = recorded(tmp_path / "s", workload("calls", 200_000), events="syscalls,oncpu")
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    counts = recording.manifest.probes["syscalls"]["counts"]
    assert counts["kept"] + counts["lost"] >= 200_000
    assert len(rows(recording, "events")) == counts["kept"]
    busy = {r["pid"] for r in rows(recording, "samples")}
    assert busy & {hog.pid for hog in hogs}


@contextlib.contextmanager
def _clock_set_back_afterwards() -> Iterator[None]:
    offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
    except PermissionError:
        pytest.skip("the clock cannot be set here; it takes CAP_SYS_TIME")
    try:
        yield
    finally:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_MONOTONIC) + offset)


def test_a_step_of_the_wall_clock_moves_no_event_and_is_told(tmp_path: Path) -> None:
    with _clock_set_back_afterwards(), Recording(tmp_path / "s", Options(events="syscalls")) as recording:
        subprocess.run(workload("reads", 5), check=True)
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME) + 3_000_000_000)
        subprocess.run(workload("reads", 5), check=True)
    (said,) = [note for note in recording.manifest.notes if "wall clock" in note]
    assert 2.5 < float(said.split("was set by ")[1].split()[0]) < 3.1  # a busy machine sets it later than it was read
    times = [int(str(e["time_ns"])) for e in rows(recording, "events")]
    assert recording.manifest.start_ns <= min(times)
    assert max(times) <= (recording.manifest.end_ns or 0)


def test_without_a_step_the_clocks_agree_at_both_ends(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("sleeps", 0.2), events="syscalls")
    start, end = recording.manifest.clock, recording.manifest.clock_end
    drift = (end["realtime_ns"] - start["realtime_ns"]) - (end["monotonic_ns"] - start["monotonic_ns"])
    assert abs(drift) < 10_000_000
    assert not [note for note in recording.manifest.notes if "wall clock" in note]


@pytest.mark.timing
def test_two_recorders_at_once_both_have_it_all(tmp_path: Path) -> None:
    recorders = [start_recorder(tmp_path / f"s{n}", "--events", "syscalls,oncpu") for n in range(2)]
    worker = subprocess.Popen(workload("calls", 30_000))
    worker.wait()
    for recorder in recorders:
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=60)
        assert recorder.returncode == 0
    counted = [sum(r["pid"] == worker.pid for r in rows_of(tmp_path / f"s{n}", "events")) for n in range(2)]
    assert counted[0] == counted[1] > 30_000
    seen = [{r["pid"] for r in rows_of(tmp_path / f"s{n}", "events")} for n in range(2)]
    assert recorders[0].pid not in seen[0]
    assert recorders[1].pid not in seen[1]


def test_a_limit_of_open_files_that_is_too_low_is_told_with_the_remedy(tmp_path: Path) -> None:
    script = f"ulimit -n 20; exec {' '.join(RECORD)} -o {tmp_path / 's'} -d 0.2"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "20 open files are allowed here" in done.stderr
    assert "ulimit -n" in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_soft_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    script = f"ulimit -Sn 30; exec {' '.join(RECORD)} -o {tmp_path / 's'} -d 0.2"
    subprocess.run(["sh", "-c", script], check=True, capture_output=True, timeout=60)
    assert _manifest(tmp_path / "s")["state"] == "complete"


def test_no_locked_memory_is_needed(tmp_path: Path) -> None:
    script = f"ulimit -l 0; exec {' '.join(RECORD)} -o {tmp_path / 's'} -d 0.2"
    subprocess.run(["sh", "-c", script], check=True, capture_output=True, timeout=60)
    assert _manifest(tmp_path / "s")["state"] == "complete"


@pytest.mark.parametrize(
    "trouble",
    [
        "for fs in /sys/kernel/tracing /sys/kernel/debug; do umount -R $fs 2>/dev/null || true; done",
        "mount --rbind /sys /sys; mount -o remount,bind,ro /sys",
    ],
    ids=["tracefs and debugfs not mounted", "read-only /sys"],
)
def test_what_is_missing_below_sys_is_not_needed(tmp_path: Path, trouble: str) -> None:
    done = _shell(f"{trouble}; $RECORD --events syscalls,oncpu -- ls /", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    assert len(rows_of(tmp_path / "s", "events")) > 0


def test_memory_stays_flat_at_full_rate(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Of one process: to read the symbols of a very large library for the first time takes more for a moment."""
    seconds = float(request.config.getoption("--soak"))
    spinner = subprocess.Popen(workload("calls"))
    try:
        recorder = start_recorder(tmp_path / "s", "--events", "syscalls,oncpu", "--pid", str(spinner.pid))
        time.sleep(seconds / 2)
        middle = _resident_kib(recorder.pid)
        time.sleep(seconds / 2)
        assert recorder.poll() is None, recorder.communicate()[1].decode()[-2000:]
        end = _resident_kib(recorder.pid)
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=120)
    finally:
        spinner.kill()
        spinner.wait()
    assert end < 1.1 * middle + 8_192
    assert end < 300 << 10
    manifest = _manifest(tmp_path / "s")
    assert manifest["state"] == "complete"
    print(
        f"after {seconds / 2:.0f} s: {middle >> 10} MiB, after {seconds:.0f} s: {end >> 10} MiB",
        manifest["tables"],
    )


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
