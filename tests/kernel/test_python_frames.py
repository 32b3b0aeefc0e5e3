"""Python functions in the stacks of real interpreters, read by py-spy or listed by the interpreter itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tracelab as tl
from recordings import command_pid, recorded, rows, start_recorder, workload
from tracelab.profile import Frame, Profile, Stack
from tracelab.recorder.options import Options
from tracelab.recorder.pyspy import py_spy
from tracelab.recorder.recording import Recording

LOOP = "_PyEval_EvalFrameDefault"
PYTHONS = ("3.10", "3.12", "3.13")


def interpreter(version: str) -> str:
    """A Python of this version, on PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = shutil.which(f"python{version}") or next(map(str, pyenv.glob(f"{version}.*/bin/python")), None)
    if found is None or "shims" in found:
        found = next(map(str, pyenv.glob(f"{version}.*/bin/python")), None)
    if found is None:
        pytest.skip(f"there is no Python {version}; install python{version}, or `pyenv install {version}`")
    return found


@pytest.fixture(autouse=True)
def _needs_py_spy() -> None:
    if py_spy() is None:
        pytest.skip("py-spy is missing; pip install py-spy")


def weight_of(profile: Profile, wanted: Callable[[Stack], bool]) -> float:
    return sum(weight for stack, weight in profile.stacks() if wanted(stack))


def has_loop(stack: Stack) -> bool:
    return any(f.symbol.startswith(LOOP) for f in stack)


def python_of(stack: Stack) -> list[str]:
    return [f.symbol for f in stack if f.domain == "python"]


def share_of_heavy(profile: Profile) -> float:
    heavy = weight_of(profile, lambda stack: "heavy" in python_of(stack))
    light = weight_of(profile, lambda stack: "light" in python_of(stack))
    return heavy / (heavy + light)


def named_share(profile: Profile) -> float:
    """Share of the interpreter's time that has Python functions."""
    return weight_of(profile, lambda s: has_loop(s) and bool(python_of(s))) / weight_of(profile, has_loop)


@pytest.mark.timing
def test_python_functions_share_time_as_they_spent_it(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("pysplit", 5), events="oncpu", hz=199, python=("auto",))
    profile = tl.open(tmp_path / "s").select(pid=command_pid(recording)).profile()
    assert share_of_heavy(profile) == pytest.approx(0.70, abs=0.05)
    assert named_share(profile) >= 0.95


@pytest.mark.timing
def test_python_functions_stand_between_the_native_frames_that_run_them_and_those_that_they_call(
    tmp_path: Path,
) -> None:
    recording = recorded(tmp_path / "s", workload("pysplit", 3), events="oncpu", hz=199, python=("auto",))
    profile = tl.open(tmp_path / "s").select(pid=command_pid(recording)).profile()
    between = 0.0
    for stack, weight in profile.stacks():
        symbols = [f.symbol for f in stack]
        if "heavy" in python_of(stack) and "crc32_z" in symbols:
            loop = next(i for i, s in enumerate(symbols) if s.startswith(LOOP))
            between += weight * (
                0 < loop < symbols.index("<module>") < symbols.index("heavy") < symbols.index("crc32_z")
            )
    assert between > 0.2 * profile.total
    module = next(f for f in profile.frames if f.symbol == "heavy")
    assert module.domain == "python"
    assert module.file.endswith("/workloads/pysplit.py")
    assert module.line > 0


@pytest.mark.timing
def test_a_callback_from_c_stands_above_the_native_frames_that_call_it(tmp_path: Path) -> None:
    argv = [interpreter("3.13"), *workload("pysplit", 4)[1:]]
    recording = recorded(tmp_path / "s", argv, events="oncpu", hz=199, python=("auto",))
    profile = tl.open(tmp_path / "s").select(pid=command_pid(recording)).profile()

    def called_by_sort(stack: Stack) -> bool:
        symbols = [f.symbol for f in stack]
        key = next((i for i, s in enumerate(symbols) if s.startswith("of_")), None)
        return key is not None and "list_sort_impl" in symbols[:key]

    assert weight_of(profile, called_by_sort) > 0


@pytest.mark.timing
@pytest.mark.parametrize("version", PYTHONS)
def test_other_versions_are_read_as_well(tmp_path: Path, version: str) -> None:
    argv = [interpreter(version), *workload("pysplit", 4)[1:]]
    recording = recorded(tmp_path / "s", argv, events="oncpu", hz=199, python=("auto",))
    profile = tl.open(tmp_path / "s").select(pid=command_pid(recording)).profile()
    assert share_of_heavy(profile) == pytest.approx(0.70, abs=0.05)
    assert named_share(profile) >= 0.95


@pytest.mark.timing
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_interpreters_own_perf_map_names_every_function_of_every_sample(
    tmp_path: Path, version: str
) -> None:
    argv = [interpreter(version), "-X", "perf", *workload("pysplit", 5)[1:]]
    recording = recorded(tmp_path / "s", argv, events="oncpu", hz=199)
    profile = tl.open(tmp_path / "s").select(pid=command_pid(recording)).profile()
    assert share_of_heavy(profile) == pytest.approx(0.70, abs=0.05)
    assert profile.complete_share is not None
    assert profile.complete_share >= 0.99
    called = weight_of(profile, lambda stack: "crc32_z" in [f.symbol for f in stack])
    by_heavy = weight_of(
        profile, lambda s: "crc32_z" in [f.symbol for f in s] and python_of(s)[-1:] == ["heavy"]
    )
    assert by_heavy == called > 0
    keys = weight_of(
        profile, lambda stack: python_of(stack)[:4] == ["<module>", "split", "heavy", "of_heavy"]
    )
    assert keys > 0


@pytest.mark.timing
def test_each_thread_has_its_own_functions(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("pysplit", 2, 3), events="oncpu", hz=199, python=("auto",))
    session = tl.open(tmp_path / "s").select(pid=command_pid(recording))
    workers: Counter[str] = Counter()
    spent = 0.0
    for tid in {int(str(s["tid"])) for s in rows(recording, "samples", pid=command_pid(recording))}:
        profile = session.select(tid=tid).profile()
        seen = {
            name for stack, _ in profile.stacks() for name in python_of(stack) if name.startswith("worker_")
        }
        assert len(seen) <= 1, seen
        if seen:
            spent += weight_of(profile, has_loop)
            workers[seen.pop()] += weight_of(
                profile, lambda s: any(n.startswith("worker_") for n in python_of(s))
            )  # type: ignore[assignment]
    assert set(workers) == {"worker_0", "worker_1", "worker_2"}
    assert sum(workers.values()) >= 0.9 * spent


@pytest.fixture
def spinning() -> Iterator[subprocess.Popen[bytes]]:
    """A Python process that was there before the recording."""
    process = subprocess.Popen(workload("pysplit", 600))
    yield process
    process.kill()
    process.wait()


def record_until(
    path: Path, process: subprocess.Popen[bytes], done: Callable[[Recording], bool]
) -> Recording:
    """Record a process by its pid until something is true of the recording."""
    options = Options(events="oncpu", hz=99, python=(str(process.pid),))
    with Recording(path, options) as recording:
        until = time.monotonic() + 120
        while not done(recording) and time.monotonic() < until:
            time.sleep(0.05)
    return recording


def read_while_it_took(process: subprocess.Popen[bytes], cpu_s: float) -> Callable[[Recording], bool]:
    """Whether a process has been read while it took so much CPU time."""
    since: list[int] = []

    def done(recording: Recording) -> bool:
        assert recording._python is not None
        now = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0])
        if recording._python.reader_pids:
            since.append(now)
        return bool(since) and now - since[0] > cpu_s * 1e9

    return done


def test_a_process_that_runs_already_is_named_by_its_pid(
    tmp_path: Path, spinning: subprocess.Popen[bytes]
) -> None:
    recording = record_until(tmp_path / "s", spinning, read_while_it_took(spinning, 2))
    profile = tl.open(tmp_path / "s").select(pid=spinning.pid).profile()
    assert recording.manifest.achieved["python"][str(spinning.pid)]["hz"] > 0
    assert weight_of(profile, lambda stack: "split" in python_of(stack)) > 0.5 * profile.total


def test_a_reader_that_is_killed_costs_python_functions_and_nothing_else(
    tmp_path: Path, spinning: subprocess.Popen[bytes]
) -> None:
    def killed(recording: Recording) -> bool:
        assert recording._python is not None
        for pid in recording._python.reader_pids:
            os.kill(pid, signal.SIGKILL)
        return bool(recording._python.reader_pids)

    recording = record_until(tmp_path / "s", spinning, killed)
    assert recording.manifest.state == "complete"
    assert tl.open(tmp_path / "s").profile().total > 0
    assert spinning.poll() is None


def test_a_process_that_ends_meanwhile_keeps_what_was_read_of_it(
    tmp_path: Path, spinning: subprocess.Popen[bytes]
) -> None:
    enough = read_while_it_took(spinning, 2)

    def ended(recording: Recording) -> bool:
        if enough(recording):
            spinning.kill()
            spinning.wait()
        return spinning.poll() is not None

    record_until(tmp_path / "s", spinning, ended)
    profile = tl.open(tmp_path / "s").select(pid=spinning.pid).profile()
    assert weight_of(profile, lambda stack: "split" in python_of(stack)) > 0.5 * profile.total


@pytest.mark.timing
def test_programs_that_a_shell_starts_are_found(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", f"{' '.join(workload('pysplit', 2))}; exit 0"]
    recorded(tmp_path / "s", command, events="oncpu", hz=99, python=("auto",))
    profile = tl.open(tmp_path / "s").profile()
    assert weight_of(profile, lambda stack: "heavy" in python_of(stack)) > 0


def test_readers_end_when_the_recorder_is_killed(tmp_path: Path, spinning: subprocess.Popen[bytes]) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing, which has a reader end with the recorder; install util-linux")
    recorder = start_recorder(tmp_path / "s", "--events", "oncpu", "--python", str(spinning.pid))
    until = time.monotonic() + 30
    while not (readers := readers_of(spinning.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    assert readers
    recorder.kill()
    recorder.communicate()
    while readers_of(spinning.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert readers_of(spinning.pid) == []
    assert spinning.poll() is None


def readers_of(pid: int) -> list[int]:
    """Processes of py-spy that record this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"py-spy") for word in words[:1]) and str(pid).encode() in words:
            found.append(int(folder.name))
    return found


@pytest.mark.timing
def test_a_python_frame_is_no_native_one(tmp_path: Path) -> None:
    recorded(tmp_path / "s", workload("pysplit", 2), events="oncpu", hz=99, python=("auto",))
    wall = tl.open(tmp_path / "s").profile(kind="python")
    assert {f.domain for f in wall.frames} - {"python"} <= {Frame("[no stack]").domain}
    assert wall.unit == "ns"
    assert weight_of(wall, lambda stack: "split" in python_of(stack)) > 1e9
