"""What a probe puts into its rings, and its account, without the recorder around it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.recfunctions import repack_fields

from recordings import recorded
from tracelab.recorder.accounting import COUNTERS
from tracelab.recorder.eventnames import event_names
from tracelab.recorder.filters import Filters
from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.probes import all_probes
from tracelab.recorder.recording import Recording

Records = npt.NDArray[np.void]
T = TypeVar("T")
ALL_DURATIONS = {"DURATION_ASKED(ns)": "1"}


@dataclass
class Taken:
    """What one probe took: the records of its rings, and its counters."""

    probe: LoadedProbe
    parts: list[Records] = field(default_factory=list)

    def records(self, **of: int) -> Records:
        """All records so far, in the order of time, where members have these values; copies of stacks are left out."""
        for _, struct, ring in self.probe.rings():
            while len(read := ring.read()):
                if struct != "text":
                    members = [name for name in read.dtype.names or () if name != "stack"]
                    self.parts.append(repack_fields(read[members]))
        found = np.concatenate(self.parts) if self.parts else np.zeros(0, self.dtype())
        for member, value in of.items():
            found = found[found[member] == value]
        return found[np.argsort(found["time_ns"], kind="stable")]

    def dtype(self) -> np.dtype[np.void]:
        """What a record is made of, but for the copy of a stack."""
        record = np.zeros(0, self.probe.probe.dtype("record", self.probe.macros))
        members = [name for name in record.dtype.names or () if name != "stack"]
        found: np.dtype[np.void] = repack_fields(record[members]).dtype
        return found

    def counts(self) -> dict[str, int]:
        """The account, over all CPUs; ends the probe's work, since one at work may be in the middle of an event."""
        self.probe.detach()
        time.sleep(0.01)  # for programs that run at this moment
        return dict(zip(COUNTERS, self.probe.counts().sum(axis=1).tolist(), strict=True))

    def names(self, records: Records) -> list[str]:
        """The names of events."""
        known = event_names(self.probe.probe)
        return [known[int(n)] for n in records[self.probe.probe.events.split()[0]]]


@contextlib.contextmanager
def taking(name: str, *, one_in: int = 1, **macros: object) -> Iterator[Taken]:
    """A probe at work; detached at the end of the block, when what it took can still be read, until the test ends."""
    defaults: dict[str, object] = {"OWN_TGID": os.getpid(), "RING_PAGES": 8192}
    if one_in > 1:
        defaults |= {"SAMPLED": 1, "SEED": 7}
    probe = LoadedProbe(all_probes()[name], defaults | macros)
    try:
        if one_in > 1:
            probe.set_one_in(one_in)
        probe.attach(1)
        yield Taken(probe)
    finally:
        probe.close()


def recorded_in_full(folder: Path, argv: Sequence[str], **options: object) -> Recording:
    """A recording with all its names; on a busy machine the first may say that there was no time to read some."""
    for attempt in range(5):
        recording = recorded(folder / str(attempt), argv, **options)
        if not any("no time was left" in note for note in recording.manifest.notes):
            return recording
    pytest.skip(
        "five times there was no time to read the files of a program; run it on a machine that is less busy"
    )


def adds_up(counts: dict[str, int]) -> bool:
    """Whether every event that was seen ended in one counter."""
    ends = ("kept", "lost", "sampled_out", "filtered", "own", "idle")
    return counts["seen"] == sum(counts[name] for name in ends) > 0


@contextlib.contextmanager
def ended(argv: Sequence[str | Path]) -> Iterator[int]:
    """A process that has run to its end and has not been reaped, so that the kernel still tells about it."""
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL)
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        yield process.pid
    finally:
        assert process.wait() == 0


@dataclass
class Gated:
    """A process that waits to be told to run its command, so that its number is known before."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self.process.pid

    def macros(self) -> dict[str, object]:
        """That only this process is asked for."""
        return Filters(pid=(self.pid,)).macros()

    def run(self) -> None:
        """Let it run its command to the end; it is not reaped yet, so that the kernel still tells about it."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)


@contextlib.contextmanager
def gated(*argv: str | Path | int) -> Iterator[Gated]:
    """A command that has not begun; its process sleeps already."""
    shell = ["sh", "-c", 'read go; exec "$@"', "sh", *(str(a) for a in argv)]
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        sleeps = f"/proc/{process.pid}/stat"
        until(
            lambda: Path(sleeps).read_text().rpartition(")")[2].split()[0] == "S", "the shell reads its input"
        )
        yield Gated(process)
    assert process.returncode == 0


def status(pid: int | str) -> dict[str, int]:
    """The numbers in /proc/PID/status by their names."""
    lines = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(value) for name, value in lines if value.strip().isdigit()}


def schedstat(pid: int) -> tuple[int, int, int]:
    """Time on CPUs and in run queues, ns, and how often it got a CPU: the kernel's own account of a thread."""
    ran, waited, times = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    return ran, waited, times


@contextlib.contextmanager
def hidden() -> Iterator[Callable[[], int]]:
    """How many switches may have been hidden since: those away from the threads of process 1.

    Machines that are managed from there may have a kernel that shows it to no tracer; who comes next is hidden then,
    too. Elsewhere these are a handful.
    """

    def switches() -> int:
        tasks = Path("/proc/1/task").iterdir()
        return sum(
            n for task in tasks for name, n in status(f"1/task/{task.name}").items() if "_ctxt_" in name
        )

    before = switches()
    yield lambda: switches() - before


def in_sight(take: Callable[[], T], all_there: Callable[[T], bool], tries: int = 5) -> T:
    """What is taken; taken again where some of it is missing that may have been hidden."""
    with hidden() as unseen:
        taken = take()
        may_be_hidden = unseen() > 0
    if all_there(taken) or not may_be_hidden or tries == 1:
        return taken
    return in_sight(take, all_there, tries - 1)


def until(true: Callable[[], object], what: str, patience_s: float = 10.0) -> None:
    """Wait for what the kernel does in its own time; AssertionError when it does not."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
