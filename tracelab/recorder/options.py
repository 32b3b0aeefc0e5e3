"""What can be asked of a recording, and how it tells where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tracelab.errors import NoSuchProcess, UsageError
from tracelab.recorder.probes import Asked

DEFAULT_EVENTS = "syscalls,oncpu"
DEFAULT_HZ = 49
DEFAULT_STATS_MS = 100


@dataclass(frozen=True, slots=True)
class Options:
    """What to record; every field has the meaning of the command line option of its name."""

    events: str = DEFAULT_EVENTS
    hz: int = DEFAULT_HZ  #: stack samples per second and CPU
    pid: tuple[int, ...] = ()  #: only these processes
    comm: tuple[str, ...] = ()  #: only threads of these names
    ring_mib: float | None = None  #: ring of table events, in MiB
    stats_ms: int = DEFAULT_STATS_MS  #: of every second, for how long runs of eBPF programs are counted

    def check(self) -> Asked:
        """The probes asked for; raises UsageError or NoSuchProcess."""
        if not 1 <= self.hz <= 10_000:
            raise UsageError(f"--hz {self.hz}: a sampling rate is from 1 to 10000 per second")
        if self.ring_mib is not None and not 0 < self.ring_mib <= 2048:
            raise UsageError(f"--ring-mib {self.ring_mib}: a ring is from a page to 2048 MiB")
        if not 1 <= self.stats_ms <= 1000:
            raise UsageError(f"--stats-ms {self.stats_ms}: from 1 to 1000 of every second")
        if len(self.pid) > 64 or len(self.comm) > 64:
            raise UsageError("at most 64 processes and 64 names can be asked for")
        for pid in self.pid:
            if not Path(f"/proc/{pid}").is_dir():
                raise NoSuchProcess(f"there is no process {pid}; `ps -e` lists those that run")
        return Asked.parse(self.events)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a recording stands."""

    elapsed_s: float
    events: int  #: rows kept so far
    lost: int  #: events lost so far
    size_bytes: int  #: on disk

    def line(self, since: Progress | None = None) -> str:
        """One line for a terminal; the rate is since an earlier progress."""
        seconds = self.elapsed_s - (since.elapsed_s if since else 0.0)
        rate = (self.events - (since.events if since else 0)) / max(seconds, 1e-9)
        return (
            f"{self.elapsed_s:7.1f} s  {rate:12,.0f} events/s  {self.events:13,} kept  "
            f"{self.lost:,} lost  {self.size_bytes / 1e6:,.1f} MB"
        )
