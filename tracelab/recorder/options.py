"""What can be asked of a recording, and how it tells where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from pathlib import Path
from typing import Any

from tracelab.errors import NoSuchProcess, UsageError
from tracelab.recorder.probes import Asked
from tracelab.recorder.sampling import Sampling, parse_budget, parse_sample

DEFAULT_EVENTS = "syscalls,oncpu"
DEFAULT_HZ = 49
DEFAULT_STATS_MS = 100
MAX_ASKED = 64  #: conditions of one kind, each a few instructions


def _option(default: Any, metavar: str, help: str) -> Any:
    """A field with what the command line says of it."""
    return field(default=default, metadata={"metavar": metavar, "help": help})


@dataclass(frozen=True, slots=True)
class Options:
    """What to record; every field is a command line option, and a keyword of `tl.record`."""

    events: str = _option(
        DEFAULT_EVENTS,
        "LIST",
        "probes, or probe:event, or system calls, with commas between; see `tracelab probes`",
    )
    hz: int = _option(DEFAULT_HZ, "N", "stack samples per second and CPU")
    pid: tuple[int, ...] = _option((), "P", "only this process")
    children: bool = _option(
        False, "", "with --pid, its children too; without, only the command and its children"
    )
    tid: tuple[int, ...] = _option((), "T", "only this thread")
    comm: tuple[str, ...] = _option((), "C", "only threads of this name; NAME* is a prefix")
    uid: tuple[int, ...] = _option((), "U", "only processes of this user")
    cgroup: tuple[str, ...] = _option((), "G", "only inside this control group or container")
    target: tuple[str, ...] = _option(
        (), "T", "read more of this: PID with its children, NAME, NAME*, /control/group or container id"
    )
    min_us: float = _option(0.0, "US", "only events that took as long, of probes whose value is a duration")
    errors: bool = _option(False, "", "only calls that failed")
    python: tuple[str, ...] = _option(
        (), "PID|auto", "name the Python functions of this process, or of all that the command starts; by py-spy"
    )
    paths: bool = _option(False, "", "keep the path of system calls that take one")
    uprobe: tuple[str, ...] = _option((), "BIN:FUNC", "calls of a function in a program or library")
    usdt: tuple[str, ...] = _option((), "BIN:PROVIDER:NAME", "a USDT probe of a program or library")
    sample: tuple[str, ...] = _option(
        (), "N", "keep one of N events, or with P% each by that chance; PROBE=N for one probe"
    )
    limit: int = _option(0, "N", "of each kind of event, keep about N a second on each CPU")
    budget: str = _option(
        "", "P%", "keep fewer events, by chance, while recording takes more than P% of a CPU"
    )
    seed: int = _option(1, "N", "of the chances that sampling takes")
    stats_ms: int = _option(
        DEFAULT_STATS_MS,
        "N",
        "of every second, count runs of eBPF programs for N ms: counting slows them down",
    )
    ring_mib: float | None = _option(
        None, "MIB", "ring of each probe of events; by default from CPUs and memory"
    )
    rings: int | None = _option(None, "N", "rings of each probe, which the CPUs share out: 1, 2, 4 or 8")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """Options from values by name, of which lists become tuples; names that are none are passed over."""
        given: dict[str, Any] = {}
        for name in (f.name for f in fields() if values.get(f.name) is not None):
            given[name] = tuple(values[name]) if isinstance(values[name], list) else values[name]
        return cls(**given)

    def check(self) -> Asked:
        """The probes asked for; raises UsageError or NoSuchProcess."""
        if not 1 <= self.hz <= 10_000:
            raise UsageError(f"--hz {self.hz}: a sampling rate is from 1 to 10000 per second")
        if self.ring_mib is not None and not 0 < self.ring_mib <= 2048:
            raise UsageError(f"--ring-mib {self.ring_mib}: a ring is from a page to 2048 MiB")
        if not 1 <= self.stats_ms <= 1000:
            raise UsageError(f"--stats-ms {self.stats_ms}: from 1 to 1000 of every second")
        for name in ("pid", "tid", "comm", "uid", "cgroup"):
            if len(getattr(self, name)) > MAX_ASKED:
                raise UsageError(f"--{name}: at most {MAX_ASKED} can be asked for")
        if self.rings not in (None, 1, 2, 4, 8):
            raise UsageError(f"--rings {self.rings}: 1, 2, 4 or 8 rings")
        if self.min_us < 0 or self.limit < 0:
            raise UsageError("--min-us and --limit are not negative")
        for pid in self.pid:
            if not Path(f"/proc/{pid}").is_dir():
                raise NoSuchProcess(f"there is no process {pid}; `ps -e` lists those that run")
        for which in self.python:
            if which != "auto" and not (which.isdigit() and Path(f"/proc/{which}").is_dir()):
                raise NoSuchProcess(f"--python {which}: neither a process that runs nor `auto`, which is the command's")
        for tid in self.tid:
            if not Path(f"/proc/{tid}").is_dir():
                raise NoSuchProcess(f"there is no thread {tid}; `ps -eL` lists those that run")
        asked = Asked.parse(self.events)
        for probe, option in (("uprobes", self.uprobe), ("usdt", self.usdt)):
            if option:
                asked.probes[probe] = frozenset()
            elif probe in asked.probes:
                raise UsageError(
                    f"probe {probe} needs places to be put: name them with --{probe.rstrip('s')}"
                )
        for text in self.sample:
            of_probe, _, _ = parse_sample(text)
            if of_probe is not None and of_probe not in asked.probes:
                raise UsageError(f"--sample {text}: probe {of_probe} is not asked for with --events")
        if self.budget:
            parse_budget(self.budget)
        return asked

    def sampling(self, probe: str) -> Sampling:
        """How the events of a probe are sampled."""
        n, by_chance = 1, False
        for text in self.sample:
            of_probe, of_n, chance = parse_sample(text)
            if of_probe in (None, probe):
                n, by_chance = of_n, chance
        return Sampling(n, by_chance, self.limit, bool(self.budget), self.seed)


def fields() -> tuple[Field[Any], ...]:
    """The options, in the order in which they are told."""
    return dataclasses.fields(Options)


def kind_of(option: Field[Any]) -> tuple[Callable[[str], Any], bool]:
    """The type of an option's value, and whether it may be given several times."""
    kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "str": str, "bool": bool}
    text = str(option.type)
    return next(kind for name, kind in kinds.items() if name in text), text.startswith("tuple")


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
