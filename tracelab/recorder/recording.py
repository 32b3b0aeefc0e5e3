"""A recording: from the options to a closed session, whatever happens on the way.

    with Recording("out.tracelab", Options(events="syscalls")) as recording:
        ...
    recording.path

Everything that can be refused is refused before the output folder is made.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from tracelab.errors import SessionExists, TracelabError, UsageError
from tracelab.recorder import host, introspect, memory, readings, sizes, uprobes
from tracelab.recorder.accounting import COUNTERS
from tracelab.recorder.cgroups import cgroup_id
from tracelab.recorder.child import Control
from tracelab.recorder.description import describe_probes, name_tables
from tracelab.recorder.eventnames import event_names, event_numbers, path_arguments
from tracelab.recorder.filters import Filters, numbers_asked
from tracelab.recorder.followed import Followed
from tracelab.recorder.governor import Governor
from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.maps import AddressSpaces
from tracelab.recorder.options import Options, Progress
from tracelab.recorder.pipeline import Pipeline, Stream
from tracelab.recorder.probes import all_probes
from tracelab.recorder.pythonframes import PythonFrames
from tracelab.recorder.requirements import allow_open_files, check_machine
from tracelab.recorder.ring import pages_for
from tracelab.recorder.sampling import parse_budget
from tracelab.recorder.sideband import SideBand
from tracelab.recorder.sites import MAX_SITES, function_sites, usdt_sites
from tracelab.recorder.stacks import StackResolver
from tracelab.recorder.symbols import KernelSymbols
from tracelab.recorder.targets import Targets
from tracelab.recorder.tasks import TaskTable
from tracelab.session.manifest import Manifest, clock_reading, clock_steps
from tracelab.session.writer import SessionWriter


class Recording:
    """Records from `start` to `stop`, or while used as a context manager.

    Raises, before anything is written: UsageError, NoSuchProcess, NeedsBcc, NeedsRoot, ProbeUnavailable,
    SessionExists. What fails later is raised by `stop`, after everything that can be kept was kept.
    """

    def __init__(self, path: str | os.PathLike[str], options: Options | None = None) -> None:
        self.path = Path(path)
        self.options = options or Options()
        self._asked = self.options.check()
        self._sites = {
            "uprobes": [site for text in self.options.uprobe for site in function_sites(text)],
            "usdt": [site for text in self.options.usdt for site in usdt_sites(text)],
        }
        if sum(map(len, self._sites.values())) > MAX_SITES:
            raise UsageError(f"--uprobe and --usdt: more than {MAX_SITES} places; use a narrower pattern")
        self.manifest = Manifest(created_by=f"tracelab {_version()}", options=asdict(self.options))
        self._cleanup = contextlib.ExitStack()
        self._pipeline: Pipeline | None = None
        self._command: subprocess.Popen[bytes] | None = None
        self._python: PythonFrames | None = None
        self._loaded: list[LoadedProbe] = []
        self._streams: list[Stream] = []
        self._own_fds: list[int] = []
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._targets = Targets(self.options.target)

    def start(self) -> Recording:
        """Load the probes, make the session and begin."""
        check_machine()
        if self.path.exists():
            raise SessionExists(f"{self.path} exists already; choose another folder with -o")
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def stop(self) -> Path:
        """Detach, write what is left and close the session; returns its path.

        Raises what went wrong on the way: StorageFull, or whatever ended a part of the recording.
        """
        if self._pipeline is None:
            return self.path
        pipeline, self._pipeline = self._pipeline, None
        try:
            for probe in self._loaded:
                probe.detach()
            self.manifest.clock_end = clock_reading()
            self.manifest.end_ns = int(self.manifest.clock_end["monotonic_ns"])
            self.manifest.notes += clock_steps(self.manifest.clock, self.manifest.clock_end)
            self._reap()
            self._stop_python()
            pipeline.stop()
            self._account(pipeline)
            self._close_session(pipeline)
        finally:
            self._cleanup.close()
        return self.path

    def __enter__(self) -> Recording:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def run(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a command whose pid and exit code the session keeps; raises UsageError."""
        try:
            self._command = subprocess.Popen(argv)
        except OSError as error:
            raise UsageError(f"cannot run {argv[0]!r}: {error.strerror}") from error
        self.manifest.command = {
            "argv": list(argv),
            "pid": self._command.pid,
            "exit_code": None,
            "outlived": True,  # it still ran when the recording ended
        }
        if self._python is not None and "auto" in self.options.python:
            self._python.follow(self._command.pid, children=True)
        return self._command

    def mark(self, text: str, time_ns: int | None = None, author: str = "user") -> None:
        """Put an annotation on the time axis, now or at a CLOCK_MONOTONIC time."""
        at = time.clock_gettime_ns(time.CLOCK_MONOTONIC) if time_ns is None else time_ns
        if self._pipeline is not None:
            self._pipeline.put("marks", readings.batch("marks", [(at, None, author, text)]))

    def progress(self) -> Progress:
        """Where the recording stands."""
        pipeline = self._pipeline
        elapsed = (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self.manifest.start_ns) / 1e9
        if pipeline is None:
            return Progress(elapsed, 0, 0, 0)
        lost = sum(a.summary().get("lost", 0) for a in pipeline.accounting.values())
        events = sum(n for name, n in pipeline.kept.items() if all_probes()[name].table == "events")
        return Progress(elapsed, events, lost, pipeline.session.size_bytes())

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @property
    def failure(self) -> Exception | None:
        """What went wrong so far, if anything; `stop` raises it."""
        return self._pipeline.failure if self._pipeline else None

    def _start(self) -> None:
        """Everything that may be refused comes before the folder is made; the rings hold what happens meanwhile."""
        allow_open_files()
        memory.stay_small()
        has_stats = self._calibrate()
        sideband = SideBand()
        self._cleanup.callback(sideband.close)
        self._load()
        resolver = self._resolver()
        if resolver is not None:
            self._cleanup.callback(resolver.spaces.images.close)
        own_rings = {}
        for probe in self._loaded:
            names = tuple(site.name for site in probe.sites) or event_names(probe.probe)
            for map_fd, struct, ring in probe.rings():
                own_rings[introspect.map_id(map_fd)] = ring
                self._streams.append(Stream(probe, ring, struct, names))
        own_fds = [*self._own_fds, *(fd for probe in self._loaded for fd in probe.prog_fds())]
        programs = [introspect.program(fd) for fd in own_fds]
        own = [p.prog_id for p in programs]
        own_maps = {m for p in programs for m in p.map_ids} | own_rings.keys()
        bpf = readings.BpfReadings(own, own_maps, own_rings) if has_stats else None
        if bpf is not None:
            self._cleanup.callback(bpf.close)
        self.manifest.recorder = {"pid": os.getpid(), "prog_ids": own}
        self.manifest.host = host.describe()
        self.manifest.clock = clock_reading()
        self._targets.look(host.processes() if self._targets else ())
        self.manifest.targets = self._targets.describe()
        describe_probes(self.manifest, self._loaded)
        name_tables(self.manifest, self._streams, bpf=bpf is not None, python=bool(self.options.python))
        readings.batch(
            "marks", [(0, None, "", "")]
        )  # Arrow's first look at Python values takes 0.2 s: not later
        tasks = TaskTable()
        self.manifest.start_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        running = tasks.first_sight(self.manifest.start_ns)  # before any event of theirs
        for probe in self._loaded:
            probe.attach(self.options.hz)
        memory.give_back()
        session = SessionWriter(self.path, self.manifest)
        self._pipeline = Pipeline(
            session,
            self._streams,
            sideband,
            tasks,
            resolver,
            bpf,
            stats_window_ns=self.options.stats_ms * 1_000_000,
            governor=self._governor(),
            targets=self._targets,
        )
        self._pipeline.put("tasks", running)
        self._pipeline.start()
        self._start_python(self._pipeline)

    def _start_python(self, pipeline: Pipeline) -> None:
        if self.options.python:
            self._python = PythonFrames(pipeline.put, self.options.hz)
            self._cleanup.callback(self._python.stop)
            for pid in self.options.python:
                if pid != "auto":
                    self._python.follow(int(pid))

    def _stop_python(self) -> None:
        if self._python is not None:
            self._python.stop()
            self.manifest.notes += self._python.notes
            self.manifest.achieved["python"] = self._python.achieved
            self.manifest.recorder["python_reader_pids"] = self._python.reader_pids

    def _calibrate(self) -> bool:
        """Measure what counting adds to a run; whether the kernel counts at all."""
        try:
            fd = introspect.enable_stats()
        except OSError as error:
            self.manifest.not_recorded["bpf_prog_stats"] = (
                f"run statistics of eBPF programs: {error.strerror}; they need root and Linux 5.8"
            )
            return False
        with contextlib.suppress(OSError):
            self.manifest.calibration["bpf_stats_floor_ns"] = round(introspect.stats_floor_ns(), 1)
        os.close(fd)
        return True

    def _load(self) -> None:
        filters = self._filters()
        if filters.children:
            followed = Followed(filters.pid or (os.getpid(),))  # what the recorder starts is its child
            self._own_fds += followed.prog_fds()
            self._cleanup.callback(followed.close)
        for name, events in self._asked.probes.items():
            sampling = self.options.sampling(name)
            macros = {**self._macros(name, events), **filters.macros(), **sampling.macros()}
            probe = LoadedProbe(all_probes()[name], macros, self._sites.get(name, ()))
            self._loaded.append(probe)
            self._cleanup.callback(probe.close)
            if "SAMPLED" in macros:
                probe.set_one_in(sampling.n)
            if name == "syscalls" and self.options.paths:
                arguments = probe.table("path_arguments")
                for number, argument in path_arguments().items():
                    arguments[arguments.Key(number)] = arguments.Leaf(argument)

    def _filters(self) -> Filters:
        options = self.options
        return Filters(
            pid=options.pid,
            tid=options.tid,
            children=options.children,
            comm=options.comm,
            uid=options.uid,
            cgroup=tuple(cgroup_id(asked) for asked in options.cgroup),
            min_ns=round(options.min_us * 1000),
            errors=options.errors,
        )

    def _macros(self, probe: str, events: frozenset[str]) -> dict[str, object]:
        about = all_probes()[probe]
        shards = self.options.rings or sizes.shards()
        mib = (
            self.options.ring_mib
            if about.table == "events" and self.options.ring_mib
            else sizes.ring_mib(about)
        )
        macros: dict[str, object] = {
            "OWN_TGID": os.getpid(),
            "SHARDS": shards,
            "RING_PAGES": pages_for(mib / shards),
            "SLOTS": sizes.slots(),
            "STACKS": sizes.stack_slots()[0],
            "DEEP_STACKS": sizes.stack_slots()[1],
            "PERIOD": 1_000_000_000 // self.options.hz,
        }
        if self.options.paths:
            macros["PATHS"] = 1
        if probe == "usdt":
            macros |= {f"ARGUMENT{n}": f"({uprobes.argument(self._sites['usdt'], n)})" for n in (0, 1)}
        if events:
            macros["EVENT_ASKED(nr)"] = numbers_asked(event_numbers(about, events))
        return macros

    def _governor(self) -> Governor | None:
        """What keeps the recorder in its budget, if one was asked for."""
        if not self.options.budget:
            return None
        probes = {p: self.options.sampling(p.probe.name).n for p in self._loaded}
        floor_ns = float(self.manifest.calibration.get("bpf_stats_floor_ns", 0.0))
        return Governor(parse_budget(self.options.budget), probes, floor_ns)

    def _resolver(self) -> StackResolver | None:
        if not any(p.probe.table == "samples" for p in self._loaded):
            return None
        return StackResolver(AddressSpaces.running(), KernelSymbols.running())

    def _reap(self) -> None:
        if self._command is not None and self.manifest.command is not None:
            self.manifest.command["exit_code"] = self._command.poll()

    def _account(self, pipeline: Pipeline) -> None:
        seconds = max(1e-9, ((self.manifest.end_ns or 0) - self.manifest.start_ns) / 1e9)
        for name, accounting in pipeline.accounting.items():
            about = self.manifest.probes[name]
            about["counts"] = accounting.summary()
            about["rows"] = pipeline.kept[name]
            if name == "oncpu" and accounting.totals is not None:
                per_cpu = accounting.totals[COUNTERS.index("seen")] / seconds
                self.manifest.achieved["hz_per_cpu"] = [round(float(hz), 2) for hz in per_cpu]
            missing = about["counts"].get("kept", 0) - about["rows"]
            if missing:
                self.manifest.notes.append(f"{missing} records of {name} were submitted but never read")
        self.manifest.achieved["ring_high_water_bytes"] = {
            name: max(s.ring.high_water_bytes for s in self._streams if s.probe.probe.name == name)
            for name in pipeline.accounting
        }
        self.manifest.notes += pipeline.notes()
        self.manifest.targets = self._targets.describe()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = usage.ru_utime + usage.ru_stime - self._usage.ru_utime - self._usage.ru_stime
        cpu_s += pipeline.resolver.child_cpu_s if pipeline.resolver else 0.0
        self.manifest.recorder["cpu_ns"] = int(cpu_s * 1e9)
        self.manifest.recorder["max_rss_bytes"] = usage.ru_maxrss << 10

    def _close_session(self, pipeline: Pipeline) -> None:
        failure: Exception | None = pipeline.failure
        if failure is not None:
            self.manifest.notes.append(f"the recording ended early: {failure}")
        try:
            pipeline.session.close()
        except TracelabError as error:
            failure = failure or error
        if isinstance(failure, TracelabError):
            raise failure
        if failure is not None:
            raise TracelabError(
                f"the recorder failed: {failure!r}; what it had recorded is kept in {self.path}, see --verbose"
            ) from failure


def record(
    path: str | os.PathLike[str],
    options: Options,
    argv: Sequence[str] = (),
    *,
    duration_s: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress, Progress | None], None] | None = None,
    control: Control | None = None,
) -> Recording:
    """Record until the command ends, the duration is over, or `stop()` is true; returns the closed recording.

    What `tracelab record` does. A command that still runs at the end is asked to terminate. A `control` socket
    is told when recording has begun, may set marks, and ends the recording by closing.
    """
    if argv and not shutil.which(argv[0]):
        raise UsageError(f"cannot run {argv[0]!r}: there is no such program")
    if options.children and not options.pid and not argv:
        raise UsageError("--children goes with --pid or with a command: whose children?")
    recording = Recording(path, options).start()
    try:
        if control:
            control.tell(ready=True)
        command = recording.run(argv) if argv else None
        before: Progress | None = None
        next_progress = time.monotonic() + 1.0
        until = time.monotonic() + duration_s if duration_s is not None else float("inf")
        while not stop() and recording.failure is None and time.monotonic() < until:
            if command is not None and command.poll() is not None:
                break
            if control:
                for message in control.messages():
                    recording.mark(str(message["mark"]), int(message["time_ns"]))
                if control.closed:
                    break
            if on_progress and time.monotonic() >= next_progress:
                now = recording.progress()
                on_progress(now, before)
                before, next_progress = now, next_progress + 1.0
            time.sleep(0.1)
        if command is not None and command.poll() is not None:
            assert recording.manifest.command is not None
            recording.manifest.command["outlived"] = False
        elif command is not None:
            command.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                command.wait(0.2)
    finally:
        recording.stop()
    return recording


def _version() -> str:
    try:
        return importlib.metadata.version("tracelab-ebpf")
    except importlib.metadata.PackageNotFoundError:
        return "from source"
