"""Verbs that return a table, a Profile or objects: the numbers behind every view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tracelab.api.part import By, Part

if TYPE_CHECKING:
    import pandas as pd

    from tracelab.pitfalls import Finding
    from tracelab.profile import Profile


class TableVerbs(Part):
    """What can be asked of a part of a session."""

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

    def outliers(self, event: str | None = None, n: int = 20) -> pd.DataFrame:
        """The slowest events, each with thread, text and the stack that its thread had; see analysis.outliers."""
        from tracelab.analysis.outliers import outliers

        return outliers(self._tables, event, n)

    def losses(self) -> pd.DataFrame:
        """What was lost, and what was left out on purpose, by source and reason; see analysis.losses."""
        from tracelab.analysis.losses import losses

        return losses(self._tables)

    def programs(self) -> pd.DataFrame:
        """What each eBPF program cost, less what measuring it costs; see analysis.cost."""
        from tracelab.analysis.cost import programs

        return programs(self._tables)

    def busy(self) -> pd.DataFrame:
        """Who was busy: on-CPU time by samples, and events, of each process; see analysis.busy."""
        from tracelab.analysis.busy import busy

        return busy(self._tables)

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

    def profile(
        self, kind: str = "on-CPU", by: Literal["process", "thread", "comm", "cgroup", "cpu"] | None = None
    ) -> Profile:
        """The stack samples of a kind as weighted stacks; see analysis.profiles."""
        from tracelab.analysis.profiles import profile

        return profile(self._tables, kind, by)

    def event_changes(self, other: Part, by: By = "event") -> pd.DataFrame:
        """What changed since `other` in events per second, and in latency; see analysis.event_changes."""
        from tracelab.analysis.event_changes import event_changes

        return event_changes(other._tables, self._tables, by)

    def thread_times(self, by: By = "thread") -> pd.DataFrame:
        """Seconds on a CPU, waiting for one, and off-CPU, by thread or another group; see analysis.offcpu."""
        from tracelab.analysis.offcpu import thread_times

        return thread_times(self._tables, by)

    def marks(self) -> pd.DataFrame:
        """Named instants and times: time_s, until_s (NaN for an instant), author, text; see analysis.marks."""
        from tracelab.analysis.marks import marks

        return marks(self._tables)

    def mark(
        self, time: float, until: float | None = None, *, text: str, author: str = "user"
    ) -> pd.DataFrame:
        """Name an instant, or a time, in seconds since the recording began; stored in the session. All marks.

        It may still be recording. Raises UsageError for a time that is not in it, and SessionError where its folder
        cannot be written.
        """
        from tracelab.analysis.marks import add_mark

        add_mark(self._tables, time, until, text, author)
        return self.marks()

    def unmark(self, text: str, time: float | None = None) -> pd.DataFrame:
        """Take away what `mark` has set: all of this text, or the one at `time`. The marks that are left.

        What was set while recording stays. Raises UsageError when there is none such, with the near names.
        """
        from tracelab.analysis.marks import remove_marks

        remove_marks(self._tables, text, time)
        return self.marks()

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

    def findings(self, **thresholds: dict[str, Any]) -> list[Finding]:
        """What `diagnose` shows, as objects: outcome, severity, evidence, action."""
        from tracelab.pitfalls import diagnose

        return diagnose(self._tables, **thresholds)
