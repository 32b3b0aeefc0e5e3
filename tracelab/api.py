"""The entry object: a session, or a part of one, with a short verb for every question.

    s = open_session("x.tracelab")
    s.select(comm="python3", time=(2, 3)).latency()

Every verb returns a table, a Profile or a view; nothing is printed or shown by itself. Verbs that return a table say
in `attrs["units"]` what its columns are counted in.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tracelab.errors import UsageError
from tracelab.query.selection import FOREVER_NS, Selection
from tracelab.recorder.child import ChildRecording, arguments
from tracelab.recorder.options import fields, kind_of
from tracelab.session.manifest import Manifest
from tracelab.session.reader import Store

if TYPE_CHECKING:
    import pandas as pd

    from tracelab.pitfalls import Finding
    from tracelab.profile import Profile
    from tracelab.query.tables import Tables
    from tracelab.views.event_rate import EventRate
    from tracelab.views.findings import FindingsView
    from tracelab.views.flamegraph import FlameGraph
    from tracelab.views.summary import SessionSummary

By = Literal["event", "probe", "comm", "cpu", "pid", "tid", "cgroup", "process", "thread"]
FOREVER_S = 1e9  #: a later end than this means no end


class Session:
    """A recorded session, or the part of it that was selected."""

    def __init__(
        self, store: Store, selection: Selection | None = None, whole: Session | None = None
    ) -> None:
        self._store = store
        self._selection = selection or Selection()
        self._whole = whole  # the session that this is a part of: they share an engine

    @functools.cached_property
    def _tables(self) -> Tables:
        from tracelab.query.tables import Tables

        return (
            self._whole._tables.narrowed(self._selection)
            if self._whole
            else Tables(self._store, self._selection)
        )

    @property
    def path(self) -> Path:
        """The session's folder."""
        return self._store.path

    @property
    def manifest(self) -> Manifest:
        """Everything about the session that is not a row of a table: host, clocks, probes, options."""
        return self._store.manifest

    @property
    def selection(self) -> Selection:
        """What part of the session this is."""
        return self._selection

    @property
    def window(self) -> tuple[float, float]:
        """The selected time: from and until, seconds since the recording began."""
        first, last = self._tables.window_ns
        return (first - self.manifest.start_ns) / 1e9, (last - self.manifest.start_ns) / 1e9

    @property
    def duration_s(self) -> float:
        """Length of the selected time, seconds."""
        first, last = self._tables.window_ns
        return (last - first) / 1e9

    @property
    def tables(self) -> list[str]:
        """Names of the tables that were recorded."""
        from tracelab.schema import TABLES

        return [name for name in TABLES if self._store.has(name)]

    def select(
        self,
        selection: Selection | None = None,
        *,
        time: tuple[float | None, float | None] | None = None,
        pid: int | Iterable[int] | None = None,
        tid: int | Iterable[int] | None = None,
        comm: str | Iterable[str] | None = None,
        event: str | Iterable[str] | None = None,
        cpu: int | Iterable[int] | None = None,
        cgroup: str | Iterable[str] | None = None,
    ) -> Session:
        """The part of this session that fits everything given; each may be one value or several.

        `time` is from and until, seconds since the recording began, either of them None for the recording's own.
        `comm` is the name that the thread had at the moment, `cgroup` a control group and those below it.
        Selecting further narrows further. Raises UsageError for a time that ends before it begins.
        """
        asked = Selection(
            window_ns=None if time is None else self._window_ns(time),
            pids=_several(pid),
            tids=_several(tid),
            comms=_several(comm),
            cpus=_several(cpu),
            events=_several(event),
            cgroups=_several(cgroup),
        )
        narrowed = self._selection.narrowed(asked).narrowed(selection or Selection())
        return Session(self._store, narrowed, self._whole or self)

    def rates(self, by: By = "event", bin_s: float | None = None) -> pd.DataFrame:
        """Events per second over time: time_s, series, events, events_per_s, lost_per_s; see analysis.rates."""
        from tracelab.analysis.rates import rates

        return rates(self._tables, by, bin_s)

    def top(self, by: By = "event", n: int | None = 20) -> pd.DataFrame:
        """The groups with the most events, with share, rate and what their values add up to; see analysis.top."""
        from tracelab.analysis.top import top

        return top(self._tables, by, n)

    def latency(self, by: By = "event", *, exact: bool = False) -> pd.DataFrame:
        """Count, mean, p50, p90, p99, max and total of what events measured, by group; see analysis.latency."""
        from tracelab.analysis.latency import latency

        return latency(self._tables, by, exact=exact)

    def losses(self) -> pd.DataFrame:
        """What was lost, and what was left out on purpose, by source and reason; see analysis.losses."""
        from tracelab.analysis.losses import losses

        return losses(self._tables)

    def programs(self) -> pd.DataFrame:
        """What each eBPF program cost, less what measuring it costs; see analysis.cost."""
        from tracelab.analysis.cost import programs

        return programs(self._tables)

    def processes(self) -> pd.DataFrame:
        """What each process used of the CPUs; see analysis.cost."""
        from tracelab.analysis.cost import processes

        return processes(self._tables)

    def targets(self, *asked: str) -> pd.DataFrame:
        """What each target, or what is named here, cost by itself and by its eBPF programs; see analysis.targets."""
        from tracelab.analysis.targets import targets

        return targets(self._tables, *asked)

    def target_readings(self, *asked: str) -> pd.DataFrame:
        """The same over time, once a second; see analysis.targets."""
        from tracelab.analysis.targets import target_readings

        return target_readings(self._tables, *asked)

    def target_profile(self, target: str) -> Profile:
        """On-CPU time of a target and, beside it, of its eBPF programs; see analysis.targetprofile."""
        from tracelab.analysis.targetprofile import target_profile

        return target_profile(self._tables, target)

    def busiest(self, comm: str) -> int:
        """The process of this name that used most CPU time, as its pid; raises UsageError when there is none."""
        from tracelab.analysis.cost import busiest

        return busiest(self._tables, comm)

    def tracers(self) -> list[int]:
        """Processes that hold eBPF programs for tracing, other than the recorder, as pids."""
        from tracelab.analysis.cost import tracers

        return tracers(self._tables)

    def tasks(self) -> pd.DataFrame:
        """Every thread and the names it had, with the time from when until when; see analysis.tasks."""
        from tracelab.analysis.tasks import tasks

        return tasks(self._tables)

    def profile(self, kind: str = "on-CPU", by: Literal["process", "thread"] | None = None) -> Profile:
        """The stack samples of a kind as weighted stacks; see analysis.profiles."""
        from tracelab.analysis.profiles import profile

        return profile(self._tables, kind, by)

    def thread_times(self, by: By = "thread") -> pd.DataFrame:
        """Seconds on a CPU, waiting for one, and off-CPU, by thread or another group; see analysis.offcpu."""
        from tracelab.analysis.offcpu import thread_times

        return thread_times(self._tables, by)

    def table(self, name: str) -> pd.DataFrame:
        """The selected rows of a stored table as they are, all in memory; schema.py says what the columns mean.

        Integers stay integers, with <NA> where there is none. Raises MissingTable, and UsageError for a table
        that there is not.
        """
        from tracelab.query import kernels
        from tracelab.schema import TABLES

        rows = kernels.rows(self._tables, name)
        rows.attrs = {"about": TABLES[name].row, "units": {c.name: c.unit for c in TABLES[name].columns}}
        return rows

    def sql(self, query: str) -> pd.DataFrame:
        """The answer to one SELECT in DuckDB's SQL, over the stored tables by their names.

        It sees the whole session, whatever is selected, and nothing else: no files, no network, no variables; it
        can change nothing. Only where the session is on this machine: other engines do not speak it. Raises
        UsageError with DuckDB's message when the query is wrong, and MissingTable.
        """
        from tracelab.query.sql import select

        return select(self._tables, query)

    def event_rate(self, by: By = "event", bin_s: float | None = None) -> EventRate:
        """A plot of events per second over time, stacked by group; lossy time is marked."""
        from tracelab.analysis.rates import lost_over_time
        from tracelab.views.event_rate import EventRate

        return EventRate(
            self.rates(by, bin_s),
            losses=lost_over_time(self._tables, bin_s),
            title=f"Events per second by {by}{self._of_what()}",
            notes=self._notes(),
        )

    def flamegraph(
        self,
        by: Literal["process", "thread"] | None = None,
        kind: str = "on-CPU",
        title: str = "",
        target: str | None = None,
    ) -> FlameGraph:
        """A flame graph of the samples of one kind; each process or thread on a frame of its own if asked.

        `kind` is "on-CPU", "off-CPU" (where threads waited, probe offcpu), "wakeup" (who ended their waits, probe
        wakeups) or what another probe samples; kinds are never added up. Raises MissingTable for one not recorded.
        With `target` it is of that target's on-CPU time, and of its eBPF programs beside it.
        """
        from tracelab.views.flamegraph import FlameGraph

        profile = self.target_profile(target) if target is not None else self.profile(kind, by)
        return FlameGraph(profile.renamed(profile.name, *self._notes()), title=title)

    def diagnose(self, **thresholds: dict[str, Any]) -> FindingsView:
        """What every pitfall came to, worst first: found, clear, or not checked.

        A threshold is changed by the pitfall's name: `s.diagnose(dominant_event={"share": 0.3})`. Raises UsageError for
        one that there is not.
        """
        from tracelab.views.findings import FindingsView

        return FindingsView(
            self.findings(**thresholds), title=f"Findings in {self.path.name}{self._of_what()}"
        )

    def findings(self, **thresholds: dict[str, Any]) -> list[Finding]:
        """What `diagnose` shows, as objects: outcome, severity, evidence, action."""
        from tracelab.pitfalls import diagnose

        return diagnose(self._tables, **thresholds)

    def summary(self) -> SessionSummary:
        """What the session holds, at a glance; it stands for the session in a notebook."""
        from tracelab.analysis.overview import overview
        from tracelab.views.summary import SessionFacts, SessionSummary

        return SessionSummary(SessionFacts(**overview(self._tables)))

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        try:
            return self.summary()._repr_mimebundle_(include, exclude)
        except Exception as error:  # a notebook waits for something to show
            return {"text/plain": f"{self!r}: {error}"}

    def __repr__(self) -> str:
        return f"<Session {str(self.path)!r}{self._of_what()}>"

    def _of_what(self) -> str:
        selected = self._selection.describe(self.manifest.start_ns)
        return f": {selected}" if selected else ""

    def _window_ns(self, time: tuple[float | None, float | None]) -> tuple[int, int]:
        first, last = (0.0 if time[0] is None else time[0]), (FOREVER_S if time[1] is None else time[1])
        if not first <= last:
            raise UsageError(f"time={time}: a time is (from, until), in seconds since the recording began")
        start_ns = self.manifest.start_ns
        until_ns = FOREVER_NS if last >= FOREVER_S else start_ns + round(last * 1e9)
        return start_ns + round(max(first, 0.0) * 1e9), max(until_ns, start_ns)

    def _notes(self) -> tuple[str, ...]:
        if self.manifest.state == "recovered":
            return ("the recorder died: what was lost in its last moments is not known",)
        return ("still recording",) if self.manifest.state == "recording" else ()


class Recording(ChildRecording):
    """A recording under way in another process; leave the `with` block, or call `stop`, to end it."""

    @property
    def session(self) -> Session:
        """The session; while recording, as far as it has come."""
        return open_session(self.path)


def open_session(path: str | os.PathLike[str]) -> Session:
    """The session in folder `path`. Reads its manifest only: tables are read when they are asked for.

    One whose recorder was killed is recovered first. Raises NotASession for a folder that is foreign, damaged or
    of a newer tracelab, with what was found and what to do.
    """
    return Session(Store.open(path))


def record(path: str | os.PathLike[str], **options: Any) -> Recording:
    """Record this machine into folder `path` while the `with` block runs.

        with record("x.tracelab", events="syscalls", comm="python3*", sample=10) as recording:
            ...
        recording.session

    The keywords are the options of `tracelab record`, with `_` for `-`: events, hz, pid, comm, cgroup, min_us, sample,
    budget, paths and so on; `tracelab record --help` tells of each. One value or several may be given where
    several make sense.

    Raises CannotRecord with what would make it work, SessionExists, NoSuchProcess and UsageError.
    """
    known = {option.name: kind_of(option)[1] for option in fields()}
    words: dict[str, object] = {}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"record() has no option {name!r}; {hint}")
        if name == "events" and not isinstance(value, str):
            value = ",".join(value)
        words[name] = list(_several(value) or ()) if known[name] else value
    return Recording(Path(path), arguments(**words))


def _several(values: Any) -> tuple[Any, ...] | None:
    """One value or several as a tuple; NumPy's numbers become Python's."""
    if values is None:
        return None
    several = [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    return tuple(value.item() if hasattr(value, "item") else value for value in several)
