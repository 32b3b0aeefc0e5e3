"""Targets of real recordings: tracers with eBPF programs, families of processes, control groups."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tracelab as tl
from groups import control_group, entering
from loaded_bpf import tracing_programs
from probe_records import gated
from recordings import COUNT_BY_PROCESS, PYTHON, recorded, rows, workload
from tracelab.profile import Profile
from tracelab.recorder.loader import import_bcc
from tracelab.recorder.options import Options
from tracelab.recorder.probes import bpf_dir
from tracelab.recorder.recording import Recording

BRANCH = "eBPF programs in the kernel"
BPFTRACE = "tracepoint:raw_syscalls:sys_enter { @[comm, args->id] = count(); @h = hist(args->id); }"
needs_bpftrace = pytest.mark.skipif(
    shutil.which("bpftrace") is None, reason="bpftrace is missing; install bpftrace"
)
BCC_TRACER = f"""
import sys
sys.path.insert(0, {str(Path(import_bcc().__file__ or "").parents[1])!r})
import bcc
program = bcc.BPF(text={COUNT_BY_PROCESS!r}, cflags=["-w"])
print("ready", flush=True)
sys.stdin.read()
program.cleanup()
"""


@contextmanager
def tracing(*argv: str, program: str) -> Iterator[tuple[int, int]]:
    """A tracer that holds a program of this type and name: its pid, and the id of the program."""
    environment = {**os.environ, "BCC_KERNEL_SOURCE": str(bpf_dir() / "headers")}
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
    try:
        while not (held := held_programs(process.pid, program)):
            assert process.poll() is None, f"{argv[0]} ended before it had loaded its program"
            time.sleep(0.05)
        yield process.pid, held.pop()
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=5)
        process.kill()
        process.communicate()


def held_programs(pid: int, program: str) -> set[int]:
    """Ids of the programs of a type and name that a process holds, by its descriptors."""
    held: set[int] = set()
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                held |= {int(line.split()[1]) for line in file.read_text().splitlines() if "prog_id:" in line}
    return {number for number in held if tracing_programs().get(number) == program}


def below(profile: Profile, frame: str) -> float:
    """Weight of the stacks that begin with a frame."""
    return sum(weight for stack, weight in profile.stacks() if stack and stack[0].symbol == frame)


@needs_bpftrace
def test_the_kernel_time_of_bpftrace_s_program_is_found_beside_its_own(tmp_path: Path) -> None:
    with tracing("bpftrace", "-e", BPFTRACE, program="tracepoint sys_enter") as (pid, program):
        recording = recorded(
            tmp_path / "s", workload("calls", 1_000_000), events="oncpu", target=("bpftrace",), stats_ms=1000
        )
    (about,) = recording.manifest.targets
    assert (about["asked"], about["comm"], about["prog_ids"]) == ("bpftrace", "bpftrace", [program])
    assert pid in about["pids"]
    session = tl.open(tmp_path / "s")
    ran = session.programs().set_index("prog_id").loc[program]
    assert ran["runs"] >= 100_000  # of a million, those while runs were counted
    summary = session.targets().iloc[0]
    assert summary["programs"] == 1
    assert summary["bpf_share"] == pytest.approx(ran["cpu_share"])
    assert (
        0 < summary["bpf_share"] < ran["runs"] * ran["ns_per_run"] / 1e9 / ran["counted_s"]
    )  # less the floor
    assert summary["bpf_s"] == pytest.approx(summary["bpf_share"] * summary["seconds"])
    profile = session.target_profile("bpftrace")
    assert below(profile, BRANCH) == pytest.approx(summary["bpf_share"] * session.duration_s * 1e9)
    assert next(f.symbol for f in profile.frames if f.domain == "bpf").startswith("sys_enter (tracepoint")


def test_samples_of_others_tell_what_a_bcc_tracer_s_program_does(tmp_path: Path) -> None:
    with tracing(PYTHON, "-c", BCC_TRACER, program="raw_tracepoint sys_exit") as (pid, _):
        recorded(tmp_path / "s", workload("calls", 2_000_000), events="oncpu", hz=997, target=(str(pid),))
    profile = tl.open(tmp_path / "s").target_profile(str(pid))
    stacks = [[frame.symbol for frame in stack] for stack, _ in profile.stacks()]
    caught = [names for names in stacks if names[0] == BRANCH and len(names) > 2]
    assert caught, profile.notes
    assert all(names[1] == "sys_exit (raw_tracepoint sys_exit)" for names in caught)
    assert any(names[2].startswith("in python") and names[3].startswith("bpf_prog_") for names in caught)


def test_all_columns_are_read_of_a_target_and_of_none_else(tmp_path: Path) -> None:
    with gated(*workload("naps", 40, 0.05)) as command:
        with Recording(tmp_path / "s", Options(events="oncpu", target=(str(command.pid),))) as recording:
            command.run()
    readings = rows(recording, "procs", pid=command.pid)
    found = [row for row in readings if row["rss_bytes"]]  # it may be a zombie in the end
    assert all(0 < int(str(row["pss_bytes"])) <= int(str(row["rss_bytes"])) for row in found)
    for column in ("voluntary_switches", "involuntary_switches", "read_bytes", "write_bytes"):
        assert all(row[column] is not None for row in found)
    assert found
    assert {row["pss_bytes"] for row in rows(recording, "procs", pid=1)} == {None}


def test_a_family_of_short_lived_processes_is_complete(tmp_path: Path) -> None:
    script = "read go; for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done"
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE) as shell:
        with Recording(tmp_path / "s", Options(events="oncpu", target=(str(shell.pid),))) as recording:
            shell.communicate(b"go\n", timeout=30)
    (about,) = recording.manifest.targets
    family = {row["pid"] for row in rows(recording, "tasks") if row["ppid"] == shell.pid}
    assert len(family) == 10
    assert set(about["pids"]) == {shell.pid, *family}
    assert tl.open(tmp_path / "s").targets()["processes"].tolist() == [11]


def test_what_starts_in_a_control_group_belongs_to_it(tmp_path: Path) -> None:
    with control_group("tracelab-test/inner") as group:
        target = "/tracelab-test"
        with Recording(tmp_path / "s", Options(events="oncpu", target=(target,))) as recording:
            inside = subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(2.5)"], preexec_fn=entering(group)
            )
            outside = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(2.5)"])
            assert (inside.wait(30), outside.wait(30)) == (0, 0)
    assert recording.manifest.targets[0]["pids"] == [inside.pid]
    readings = tl.open(tmp_path / "s").target_readings(target)
    assert readings["pss_bytes"].max() > 1 << 20
