"""A tracer as a process: started, waited for until it records, stopped, and asked what it kept and what it cost."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

RING_MIB = 64  #: buffer of every tracer; of those with one per CPU, of each CPU
READY_S = 60.0  #: longest wait for a tracer to record
SETTLE_S = 0.3  #: from then to the first call, so that what loading cost is over
STOP_S = (
    60.0  #: longest wait for a tracer to end: BCC's poll, for one, does not return while events keep coming
)
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class NotRun(Exception):
    """A tracer is missing here, or refuses; says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tracer says of itself. An event is one finished call, in however many records it is kept."""

    kept: int
    lost: int | None  #: None when the tracer does not tell
    size_bytes: int | None  #: on disk; None when it stores nothing
    stored_ns: int  #: CLOCK_REALTIME at which the last event was stored
    finishing_cpu_s: float = (
        0.0  #: CPU time of what it left to be done by others before its files are in final form
    )
    about: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """What all processes and threads of a tracer used, from the moment it recorded to its end."""

    cpu_s: float
    peak_rss_bytes: int


class Tracer(ABC):
    """One way to record the calls of a process; `folder` is where it may write."""

    name: str
    environment: Mapping[str, str] = {}

    def refusal(self) -> str | None:
        """Why it cannot run here, as far as one can tell beforehand."""
        return None

    @abstractmethod
    def command(self, pid: int, folder: Path) -> list[str]:
        """The command line that records process `pid` until SIGINT."""

    @abstractmethod
    def records(self, own_pid: int, folder: Path) -> bool:
        """Whether it has begun to record; `own_pid` is its own process."""

    @abstractmethod
    def outcome(self, folder: Path) -> Outcome:
        """What it kept, once it has ended; raises NotRun, ValueError or OSError when its output makes no sense."""


class Running:
    """A tracer that records, from construction to `stop`; raises NotRun when it does not come to that."""

    def __init__(self, tracer: Tracer, pid: int, folder: Path) -> None:
        self._folder = folder
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            self._process = subprocess.Popen(
                tracer.command(pid, folder),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **tracer.environment},
                process_group=0,  # of the same session, which has one share of the CPUs
            )
        self._usage: resource.struct_rusage | None = None
        try:
            self._wait_until_it_records(tracer)
            time.sleep(SETTLE_S)
            self._cpu_before_s = group_cpu_s(self._process.pid)
        except BaseException:
            self.kill()
            raise

    @property
    def group(self) -> int:
        """Its process group."""
        return self._process.pid

    def stop(self) -> Cost:
        """Interrupt the tracer and wait for its end; raises NotRun when it dies of something else or does not end."""
        if self.ended():
            raise NotRun(f"ended too early: {self._last_words()}")
        self._process.send_signal(signal.SIGINT)
        until = time.monotonic() + STOP_S
        while not self.ended():
            if time.monotonic() > until:
                self.kill()
                raise NotRun(f"did not end within {STOP_S:.0f} s of SIGINT")
            time.sleep(0.005)
        assert self._usage is not None
        if self._process.returncode not in (0, -signal.SIGINT, 128 + signal.SIGINT):
            raise NotRun(f"ended with status {self._process.returncode}: {self._last_words()}")
        cpu_s = self._usage.ru_utime + self._usage.ru_stime - self._cpu_before_s
        return Cost(cpu_s, self._usage.ru_maxrss << 10)

    def kill(self) -> None:
        """End it by force, with whatever it has started."""
        if not self.ended():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            while not self.ended():
                time.sleep(0.005)

    def _wait_until_it_records(self, tracer: Tracer) -> None:
        until = time.monotonic() + READY_S
        while not tracer.records(self._process.pid, self._folder):
            if self.ended():
                raise NotRun(self._last_words())
            if time.monotonic() > until:
                raise NotRun(f"did not record within {READY_S:.0f} s")
            time.sleep(0.02)

    def ended(self) -> bool:
        """Whether its own process has ended."""
        if self._usage is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._usage = usage
                self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._usage is not None

    def _last_words(self) -> str:
        said = [(self._folder / name).read_text(errors="replace") for name in ("stdout", "stderr")]
        lines = [line.strip() for text in said for line in text.splitlines() if line.strip()]
        return "; ".join(lines[-2:]) or f"status {self._process.returncode}, without a word"


def group_cpu_s(group: int) -> float:
    """CPU time so far of every process in a process group, and of the children they have waited for."""
    total = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                total += _group_ticks(Path(entry.path, "stat").read_bytes(), group)
    return total * _TICK_S


def _group_ticks(stat: bytes, group: int) -> int:
    """utime, stime, cutime and cstime of a line of /proc/PID/stat; 0 when it is of another group."""
    fields = stat.rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) if int(fields[2]) == group else 0
