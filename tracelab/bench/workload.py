"""A process that makes a known number of bare system calls, on a CPU of its own.

It is compiled from workload.c; where there is no C compiler, Python does the same with a higher cost per call.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tracelab.errors import TracelabError

SOURCE = Path(__file__).with_name("workload.c")
IN_PYTHON = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
for line in sys.stdin:
    seconds, rate = map(float, line.split())
    calls, passed, getppid, clock = 0, 0.0, os.getppid, time.perf_counter
    cpu, start = time.process_time_ns(), clock()
    while passed < seconds:
        if rate == 0 or calls <= passed * rate:
            for _ in range(64):
                getppid()
            calls += 64
        passed = clock() - start
    print(calls, int(passed * 1e9), time.process_time_ns() - cpu, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Phase:
    """What the workload did in one go."""

    calls: int
    wall_ns: int
    cpu_ns: int  #: user and system time; the kernel side of a tracer is in it, other processes are not

    @property
    def cpu_ns_per_call(self) -> float:
        """CPU time of one call."""
        return self.cpu_ns / self.calls


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the workload runs, and where everything else of the benchmark."""

    workload_cpu: int
    reader_cpus: frozenset[int]

    @classmethod
    def here(cls) -> Placement:
        """The first CPU that may be used for the workload, the others for the readers; with one, both share it."""
        first, *others = sorted(os.sched_getaffinity(0))
        return cls(first, frozenset(others or [first]))


class Workload:
    """The process, waiting for what to do. Raises TracelabError when it does not start or dies."""

    BESIDES = 4  #: calls per phase that a tracer sees besides those counted: read, twice the clock, write

    def __init__(self, program: list[str], placement: Placement) -> None:
        self.made = 0  #: calls that a tracer which began before the first phase has seen the end of
        self._process = subprocess.Popen(
            [*program, str(placement.workload_cpu)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def run(self, seconds: float, rate: float = 0) -> Phase:
        """Make calls for `seconds`, `rate` of them per second, or as many as can be when it is 0."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(f"{seconds} {rate}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().split()
        except OSError as error:
            raise TracelabError(f"the workload of the benchmark died: {error}") from error
        if len(answer) != 3:
            raise TracelabError("the workload of the benchmark died; was it killed?")
        phase = Phase(*map(int, answer))
        self.made += phase.calls + self.BESIDES
        return phase

    def __enter__(self) -> Workload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def build(folder: Path) -> list[str]:
    """Command line of the workload, compiled into `folder`; in Python when there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler:
        program = folder / "workload"
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True, capture_output=True)
            return [str(program)]
    return [sys.executable, "-c", IN_PYTHON]


def in_c(program: list[str]) -> bool:
    """Whether `build` found a compiler."""
    return len(program) == 1
