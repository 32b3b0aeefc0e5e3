"""The targets of a recording: which processes they are, from moment to moment, and which eBPF programs are theirs.

A target is asked for as a pid, a name, a control group or a container. The once-a-second look at all processes finds
those that match; the side band tells of children and of what is too short-lived to be seen by looking.
"""

from __future__ import annotations

import collections
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracelab.errors import NoSuchProcess, UsageError
from tracelab.recorder import host
from tracelab.recorder.cgroups import clean_path
from tracelab.recorder.containers import Containers
from tracelab.recorder.filters import COMM_BYTES
from tracelab.recorder.sideband import Exit, Fork, Record, Rename

MAX_PIDS = 10_000  #: of one target that the manifest names; of more it tells the number
GROUPS_AGAIN = 10  #: control groups of a process are read again every so many looks: it may have been moved
PATIENCE_S = (
    5.0  #: after which a member that is not found has ended; the side band, which tells of that, may lag
)
_CONTAINER = re.compile(r"^[0-9a-f]{12,64}$")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a target is asked for by: a pid, a name or the begin of one, a control group, a container."""

    asked: str
    pid: int | None = None
    comm: str = ""
    prefix: bool = False
    group: str = ""  #: it and those below it
    container: str = ""  #: begin of an id

    @classmethod
    def parse(cls, asked: str) -> Wanted:
        """What is meant; raises UsageError for what cannot be a target.

        >>> Wanted.parse("417").pid, Wanted.parse("trace*").prefix, Wanted.parse("/system.slice/a.service").group
        (417, True, '/system.slice/a.service')
        """
        if not asked or asked == "*" or "\0" in asked:
            raise UsageError(
                f"--target {asked!r}: a target is a PID, a name, NAME*, a /control/group or a container id"
            )
        if asked.isascii() and asked.isdigit() and len(asked) < 12:
            return cls(asked, pid=int(asked))
        if asked.startswith("/"):
            if Path(asked).is_file():
                raise UsageError(f"--target {asked}: this is a file; a program is named as ps -e shows it")
            return cls(asked, group=clean_path(asked))
        name = asked.removesuffix("*").encode()[:COMM_BYTES].decode("utf-8", "ignore")
        container = asked if _CONTAINER.match(asked) else ""
        return cls(asked, comm=name, prefix=asked.endswith("*"), container=container)

    @property
    def kind(self) -> str:
        """pid, comm or cgroup."""
        return "pid" if self.pid is not None else "cgroup" if self.group else "comm"

    @property
    def by_group(self) -> bool:
        """Whether control groups must be known to tell what matches."""
        return bool(self.group or self.container)

    def named(self, comm: str) -> bool:
        """Whether a process of this name is meant."""
        return bool(self.comm) and (comm.startswith(self.comm) if self.prefix else comm == self.comm)

    def inside(self, groups: Sequence[str], container: str | None) -> bool:
        """Whether a process in these control groups, and in this container, is meant."""
        if self.group and any(g == self.group or g.startswith(self.group.rstrip("/") + "/") for g in groups):
            return True
        return bool(self.container and container and container.startswith(self.container))


@dataclass
class _Target:
    """The processes of one target."""

    wanted: Wanted
    now: set[int] = field(default_factory=set)
    ever: set[int] = field(default_factory=set)
    comms: collections.Counter[str] = field(default_factory=collections.Counter)

    def join(self, pid: int, comm: str = "") -> None:
        if pid not in self.now:
            self.now.add(pid)
            self.ever.add(pid)
        if comm:
            self.comms[comm] += 1


class Targets:
    """The targets asked for; all methods may be called from several threads.

    Raises UsageError for what cannot be a target, and NoSuchProcess for a pid that there is not.
    """

    def __init__(
        self,
        asked: Iterable[str],
        containers: Containers | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._targets = [_Target(Wanted.parse(text)) for text in dict.fromkeys(asked)]
        self._containers = containers or Containers()
        self._lock = threading.Lock()
        self._known: dict[int, tuple[int, str]] = {}  #: start and name of each process when it was looked at
        self._owners: dict[int, set[int]] = {}  #: processes that held each eBPF program
        self._looks = 0
        self._patience_s = patience_s
        self._missing: dict[int, float] = {}  #: since when members were not found
        for target in self._targets:
            if (pid := target.wanted.pid) is not None and not Path(f"/proc/{pid}").is_dir():
                raise NoSuchProcess(f"--target {pid}: there is no such process; `ps -e` lists those that run")
            if pid is not None:
                target.join(pid)

    def __bool__(self) -> bool:
        return bool(self._targets)

    def look(self, processes: Sequence[host.Process]) -> set[int]:
        """The processes of all targets, given all there are."""
        with self._lock:
            self._looks += 1
            there = {p.pid: p for p in processes}
            for pid, (start, _) in list(self._known.items()):
                if pid not in there or there[pid].start_ticks != start:
                    del self._known[pid]
                    if pid in there:  # the same number, another process
                        self._leave({pid})
            for process in processes if self._targets else ():
                self._look_at(process)
            self._adopt(processes)
            members = set().union(*(target.now for target in self._targets))
            now = time.monotonic()
            self._missing = {pid: self._missing.get(pid, now) for pid in members - there.keys()}
            self._leave({pid for pid, since in self._missing.items() if now - since >= self._patience_s})
            return members & there.keys()

    def follow(self, records: Iterable[Record]) -> None:
        """Children join when they are forked, programs when they are executed; who exits leaves."""
        if not self._targets:
            return
        with self._lock:
            for record in records:
                if isinstance(record, Fork) and record.pid != record.parent_pid:
                    for target in self._targets:
                        if record.parent_pid in target.now:
                            target.join(record.pid)
                elif isinstance(record, Rename) and record.tid == record.pid:
                    self._renamed(record)
                elif isinstance(record, Exit) and record.tid == record.pid:
                    self._leave({record.pid})

    def see(self, table: str, rows: pa.RecordBatch) -> None:
        """Learn from rows who holds which program (bpf_progs), and who is in which group (tasks), before `follow`."""
        if not self._targets:
            return
        with self._lock:
            if table == "bpf_progs":
                pairs = zip(rows["prog_id"].to_pylist(), rows["owner_pids"].to_pylist(), strict=True)
                for program, owners in pairs:
                    self._owners.setdefault(program, set()).update(owners or ())
            elif table == "tasks" and any(target.wanted.by_group for target in self._targets):
                for row in rows.select(["pid", "change", "comm", "cgroup", "container"]).to_pylist():
                    self._placed(**row)

    def describe(self) -> list[dict[str, Any]]:
        """What the manifest keeps of each: asked, kind, pids, comm (the commonest name), prog_ids, more_pids."""
        with self._lock:
            return [self._described(target) for target in self._targets]

    def _leave(self, pids: set[int]) -> None:
        for target in self._targets:
            target.now -= pids

    def _described(self, target: _Target) -> dict[str, Any]:
        pids = sorted(target.ever)
        common = target.comms.most_common(1)
        return {
            "asked": target.wanted.asked,
            "kind": target.wanted.kind,
            "pids": pids[:MAX_PIDS],
            "more_pids": len(pids[MAX_PIDS:]),
            "comm": common[0][0] if common else None,
            "prog_ids": sorted(p for p, owners in self._owners.items() if owners & target.ever),
        }

    def _look_at(self, process: host.Process) -> None:
        pid, identity = process.pid, (process.start_ticks, process.comm)
        again = (pid + self._looks) % GROUPS_AGAIN == 0
        if self._known.get(pid) == identity and not again:
            return
        self._known[pid] = identity
        groups: list[str] | None = None
        for target in self._targets:
            wanted = target.wanted
            meant = pid == wanted.pid or wanted.named(process.comm)
            if not meant and wanted.by_group:
                groups = host.cgroups(pid) if groups is None else groups
                meant = wanted.inside(groups, self._containers.id_of(groups) if wanted.container else None)
            if meant:
                target.join(pid, process.comm)

    def _adopt(self, processes: Sequence[host.Process]) -> None:
        """Children of a process that was asked for by pid, however deep; those of others must match themselves."""
        children: dict[int, list[host.Process]] = {}
        for process in processes:
            children.setdefault(process.ppid, []).append(process)
        for target in self._targets:
            open_ = list(target.now) if target.wanted.pid is not None else []
            while open_:
                for child in children.get(open_.pop(), ()):
                    if child.pid not in target.now:
                        target.join(child.pid, child.comm)
                        open_.append(child.pid)

    def _placed(self, pid: int, change: str, comm: str, cgroup: str | None, container: str | None) -> None:
        for target in self._targets if change in ("seen", "fork", "exec") else ():
            if target.wanted.inside([cgroup or ""], container):
                target.join(pid, "" if change == "fork" else comm)

    def _renamed(self, record: Rename) -> None:
        for target in self._targets:
            wanted = target.wanted
            if wanted.named(record.comm):
                target.join(record.pid, record.comm)
            elif (
                record.by_exec and record.pid in target.now and wanted.kind == "comm" and not wanted.container
            ):
                target.now.discard(record.pid)  # a child of the target became another program
                if record.pid not in self._known:
                    target.ever.discard(record.pid)
            elif record.pid in target.now:
                target.comms[record.comm] += 1
