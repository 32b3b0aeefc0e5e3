"""Stacks of programs in all the languages that matter: whole up to where a thread begins, or marked with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from c_programs import needs_gcc
from probe_records import recorded_in_full
from recordings import PYTHON, WORKLOADS, command_pid
from sampled import C_ROOTS, Sampled, check_roots, samples_of

SOURCES = WORKLOADS / "languages"
SECONDS = "3"
CLANG = next(filter(shutil.which, ("clang++", *(f"clang++-{n}" for n in range(24, 13, -1)))), "clang++")
HZ = 199
BUILDS = {
    "position independent": ["-O2"],
    "at a fixed address": ["-O2", "-no-pie"],
    "static": ["-O2", "-static"],
    "static and position independent": ["-O2", "-static-pie"],
    "stripped": ["-O2", "-s"],
    "not optimised": ["-O0"],
    "with lazy PLTs for indirect branch tracking": ["-O2", "-fcf-protection=full", "-Wl,-z,lazy,-z,ibtplt"],
    "linked by gold": ["-O2", "-fuse-ld=gold"],
}


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Skip a test where a program is missing."""
    return pytest.mark.skipif(
        shutil.which(program) is None, reason=f"{program} is missing; install {package}"
    )


def sampled(folder: Path, *argv: str | Path, comm: str = "") -> list[Sampled]:
    """Samples of a command, or of all threads that are named so."""
    recording = recorded_in_full(folder, [str(a) for a in argv], events="oncpu", hz=HZ)
    return samples_of(recording, comm=comm, pid=None if comm else command_pid(recording))


@needs_gcc
@pytest.mark.parametrize("flags", BUILDS.values(), ids=BUILDS)
def test_c_reaches_its_root_through_signals_threads_assembly_and_the_vdso(
    tmp_path: Path, flags: list[str]
) -> None:
    program = tmp_path / "busy_c"
    made = subprocess.run(
        ["gcc", *flags, "-o", str(program), str(SOURCES / "busy.c"), "-lm", "-lpthread"], capture_output=True
    )
    if made.returncode:
        pytest.skip(
            f"gcc cannot link so: {made.stderr.decode().splitlines()[-1]}; install the static libc, or gold"
        )
    samples = sampled(tmp_path, program, SECONDS)
    assert check_roots(samples, C_ROOTS) >= 0.99
    in_handler = [s.user for s in samples if "on_signal" in s.user]
    assert in_handler or "-s" in flags
    through = [names for names in in_handler if names.index("on_signal") > 2]
    assert len(through) >= 0.9 * len(in_handler), "what a signal interrupted is below its handler"
    assert {s.user[0] for s in samples} >= {"_start"}
    assert any(s.user[0] in C_ROOTS - {"_start"} for s in samples), "no thread was sampled"


@pytest.mark.timing
@pytest.mark.parametrize(
    ("compiler", "comm"),
    [
        pytest.param(CLANG, "clang", marks=needs(CLANG, "clang")),
        pytest.param("g++", "cc1plus", marks=needs("g++", "g++")),
    ],
)
def test_a_cplusplus_compiler_reaches_its_root_from_its_first_sample_on(
    tmp_path: Path, compiler: str, comm: str
) -> None:
    samples = sampled(tmp_path, compiler, "-O2", "-c", "-o", tmp_path / "o", SOURCES / "busy.cpp", comm=comm)
    assert check_roots(samples, C_ROOTS) >= 0.99
    assert sum(len(s.user) > 40 for s in samples) > 20, "its stacks are not as deep as thought"


@pytest.mark.timing
def test_python_reaches_its_root(tmp_path: Path) -> None:
    assert check_roots(sampled(tmp_path, PYTHON, SOURCES / "busy.py", SECONDS), C_ROOTS) >= 0.99


@needs("perl", "perl")
def test_perl_reaches_its_root(tmp_path: Path) -> None:
    assert check_roots(sampled(tmp_path, "perl", SOURCES / "busy.pl", SECONDS), C_ROOTS) >= 0.99


@pytest.mark.timing
@needs("node", "nodejs")
def test_node_reaches_its_root_through_jit_code_which_keeps_frame_pointers(tmp_path: Path) -> None:
    samples = sampled(tmp_path, "node", SOURCES / "busy.js", SECONDS)
    assert check_roots(samples, C_ROOTS) >= 0.97
    assert sum(any(name.startswith("[jit]") for name in s.user) for s in samples) > 20


@pytest.mark.timing
@needs("java", "default-jdk-headless")
@needs("javac", "default-jdk-headless")
def test_java_without_frame_pointers_is_marked_and_with_them_reaches_its_root(tmp_path: Path) -> None:
    subprocess.run(["javac", "-d", tmp_path, SOURCES / "Busy.java"], check=True, timeout=120)
    program = ["-cp", str(tmp_path), "Busy", SECONDS]
    without = sampled(tmp_path / "without", "java", *program)
    assert check_roots(without, C_ROOTS) < 0.5
    in_jit = [s for s in without if s.user and s.user[0].startswith("[jit]")]
    assert {s.outcome for s in in_jit} == {"JIT code without frame pointers"}
    samples = sampled(tmp_path / "with", "java", "-XX:+PreserveFramePointer", *program)
    assert check_roots(samples, C_ROOTS) >= 0.97
    assert sum(any(name.startswith("[jit]") for name in s.user) for s in samples) > 20


#: where goroutines begin, and stacks of the scheduler: those of new threads, and of calls that never return
GO_ROOTS = {
    "runtime.goexit",
    "runtime.mstart",
    "runtime.rt0_go",
    "runtime.mcall",
    "runtime.morestack",
    "runtime.clone",
}
GO_BUILDS = {
    "as usual": [],
    "stripped": ["-ldflags=-s -w"],
    "position independent": ["-buildmode=pie"],
    "linked by gcc": ["-ldflags=-linkmode=external"],
}


@needs("go", "golang-go")
@pytest.mark.parametrize("flags", GO_BUILDS.values(), ids=GO_BUILDS)
def test_go_reaches_the_beginning_of_its_goroutines_or_says_that_the_stack_was_switched(
    tmp_path: Path, flags: list[str]
) -> None:
    program = tmp_path / "busy_go"
    built = subprocess.run(
        ["go", "build", *flags, "-o", str(program), str(SOURCES / "busy.go")],
        capture_output=True,
        text=True,
        env={**os.environ, "CGO_ENABLED": "1"},
    )
    if built.returncode:
        pytest.skip(f"go build {' '.join(flags)}: {built.stderr.splitlines()[-1]}")
    samples = [
        replace(s, symbols=[name.removesuffix(".abi0") for name in s.symbols])
        for s in sampled(tmp_path, program, SECONDS)
    ]
    check_roots(samples, C_ROOTS | GO_ROOTS)
    switched = [s for s in samples if s.outcome.startswith("stack switched")]
    assert {s.user[0] for s in switched} <= {
        "runtime.systemstack",
        "runtime.asmcgocall",
        "runtime.nanotime1",
        "time.now",
        "gogo",
    }
    rest = [s for s in samples if s not in switched and s.user]
    assert sum(s.outcome == "complete" for s in rest) >= 0.97 * len(rest)
    at_work = [s.user for s in rest if "main.work" in s.user and s.outcome == "complete"]
    assert len(at_work) > 60
    assert {tuple(names[:3]) for names in at_work} == {("runtime.goexit", "main.main.gowrap1", "main.work")}
    recursive = [names for names in at_work if "main.down" in names and "crypto/sha256.Sum256" in names]
    assert all(names.count("main.down") == 51 for names in recursive), (
        "no frame is missing and none is too many"
    )
