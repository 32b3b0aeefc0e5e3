"""One tracer on the workload once, and what came of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracelab.bench.drain import session_outcome
from tracelab.bench.tracer import Cost, NotRun, Outcome, Running, Tracer
from tracelab.bench.workload import Phase, Placement, Workload

PAUSE_S = 0.1  #: between bursts
MIXED_S = 200  #: most that the recording of real programs may take


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to try what; `saturation` is at full speed, `paced` at the rate of the reach goal."""

    repetitions: int = 3
    bursts: int = 6
    burst_s: float = 0.03  #: so short that all bursts fit into a buffer of RING_MIB, read or not
    saturation_s: float = 3.0
    paced_s: float = 10.0
    paced_per_s: float = 1e6
    brief: bool = False  #: too short for figures that mean much: no real programs, no goals


QUICK = Plan(repetitions=1, bursts=3, saturation_s=0.4, paced_s=0.5, paced_per_s=2e5, brief=True)


@dataclass(frozen=True, slots=True)
class Trial:
    """A tracer from attaching to its end. An event is one finished call."""

    made: int  #: calls that the workload made
    alone: Sequence[Phase]  #: the workload just before and just after, without the tracer
    traced: Sequence[Phase]
    elapsed_s: float  #: from the first traced call until the last event was stored
    outcome: Outcome
    cost: Cost

    @property
    def kept_per_s(self) -> float:
        """Events kept per second of calling and of storing what was still in buffers then."""
        return self.outcome.kept / self.elapsed_s

    @property
    def kept_share(self) -> float:
        """Share of the calls that were kept."""
        return self.outcome.kept / self.made

    @property
    def lost_share(self) -> float | None:
        """Share of the calls that the tracer says it lost; None when it does not tell."""
        return None if self.outcome.lost is None else self.outcome.lost / self.made

    @property
    def accounted_share(self) -> float:
        """Share of the calls that were kept or are said to be lost."""
        return self.kept_share + (self.lost_share or 0.0)

    @property
    def reader_cpu_s(self) -> float:
        """CPU time, user and system, until every event was in its final form."""
        return self.cost.cpu_s + self.outcome.finishing_cpu_s

    @property
    def reader_cpu_s_per_million(self) -> float:
        """CPU seconds of the reader per million events kept."""
        return self.reader_cpu_s / max(self.outcome.kept, 1) * 1e6

    @property
    def bytes_per_event(self) -> float | None:
        """Bytes on disk per event kept; None when nothing is stored."""
        size_bytes = self.outcome.size_bytes
        return None if size_bytes is None else size_bytes / max(self.outcome.kept, 1)

    @property
    def added_ns(self) -> float:
        """CPU time that tracing adds to one call."""
        return undisturbed_ns(self.traced) - undisturbed_ns(self.alone)


def undisturbed_ns(phases: Sequence[Phase]) -> float:
    """CPU time of a call, ns, in the phase in which the machine disturbed least; other tracers' work is in it too."""
    return min(phase.cpu_ns_per_call for phase in phases)


def run_trial(
    tracer: Tracer,
    program: list[str],
    placement: Placement,
    plan: Plan,
    phases: Callable[[Workload, Plan], list[Phase]],
) -> Trial:
    """Run the workload alone, then `phases` while the tracer records it, then alone again. Raises NotRun."""
    with (
        tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder,
        Workload(program, placement) as workload,
    ):
        alone = alone_phases(workload, plan)
        before = workload.made
        running = Running(tracer, workload.pid, Path(folder))
        try:
            begun_ns = time.time_ns()
            traced = phases(workload, plan)
            made = workload.made - before
            cost = running.stop()
        finally:
            running.kill()
        try:
            outcome = tracer.outcome(Path(folder))
        except (ValueError, OSError, LookupError, subprocess.SubprocessError) as error:
            raise NotRun(f"its output makes no sense: {error}") from error
        alone += alone_phases(workload, plan)
    return Trial(made, alone, traced, (outcome.stored_ns - begun_ns) / 1e9, outcome, cost)


def alone_phases(workload: Workload, plan: Plan) -> list[Phase]:
    """The workload without a tracer, before or after, in as many bursts; the first warms up."""
    return [workload.run(plan.burst_s) for _ in range(1 + plan.bursts)][1:]


def bursts(workload: Workload, plan: Plan) -> list[Phase]:
    """Short phases at full speed, with pauses in which a reader can catch up; the first warms up."""
    found = []
    for _ in range(1 + plan.bursts):
        found.append(workload.run(plan.burst_s))
        time.sleep(PAUSE_S)
    return found[1:]


def saturation(workload: Workload, plan: Plan) -> list[Phase]:
    """Full speed, for long."""
    return [workload.run(plan.saturation_s)]


def paced(workload: Workload, plan: Plan) -> list[Phase]:
    """The rate of the reach goal."""
    return [workload.run(plan.paced_s, plan.paced_per_s)]


@dataclass(frozen=True, slots=True)
class Mixed:
    """A recording of real programs, for the bytes that real events take."""

    outcome: Outcome
    seconds: float


def run_mixed() -> Mixed:
    """Record a file walk, a sort, a Python that reads many files, and all else that runs. Raises NotRun."""
    walk = "find /usr -type f -printf '%s %p\\n' | sort -n | tail -n 1"
    read = (
        "import pathlib, json; "
        "print(sum(len(p.read_bytes()) for p in pathlib.Path(json.__file__).parents[1].rglob('*.py')))"
    )
    script = f'{walk} && "$0" -c "$1"'
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        session = Path(folder, "session")
        record = [sys.executable, "-m", "tracelab", "record", "-o", str(session), "--events", "syscalls"]
        begun = time.monotonic()
        command = [*record, "--", "sh", "-c", script, sys.executable, read]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=MIXED_S, check=True)
        except subprocess.TimeoutExpired as error:
            raise NotRun(f"recording real programs took more than {MIXED_S} s") from error
        except subprocess.CalledProcessError as error:
            raise NotRun(f"recording real programs failed: {error.stderr.strip()[-200:]}") from error
        return Mixed(session_outcome(session), time.monotonic() - begun)
