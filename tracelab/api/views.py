"""Verbs that return a view: something to look at, made of what the verbs of tables.py return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from tracelab.api.part import By, Part, several
from tracelab.api.tables import TableVerbs

if TYPE_CHECKING:
    from tracelab.views.chart_view import ChartView
    from tracelab.views.difference import Difference, EventDifference
    from tracelab.views.event_rate import EventRate
    from tracelab.views.findings import FindingsView
    from tracelab.views.flamegraph import FlameGraph
    from tracelab.views.heatmap import Heatmap
    from tracelab.views.machine_time import MachineTime
    from tracelab.views.process_tree import ProcessTree
    from tracelab.views.summary import SessionSummary
    from tracelab.views.top_table import TopTable


class ViewVerbs(TableVerbs):
    """What can be seen of a part of a session."""

    def event_rate(self, by: By = "event", bin_s: float | None = None, lines: bool = False) -> EventRate:
        """A plot of events per second over time, stacked by group, or as `lines`; lossy time is marked.

        Zoomed, it is counted anew, and finer; peaks stay visible at every zoom. A brushed time is its `.range`.
        """
        from tracelab.analysis.sessionrates import SessionRates
        from tracelab.views.event_rate import EventRate

        return EventRate(
            source=SessionRates(self._tables, by, bin_s),
            by=by,
            title=f"Events per second by {by}{self._of_what()}",
            marks=self.marks(),
            notes=self._notes(),
            lines=lines,
        )

    def flamegraph(
        self,
        by: Literal["process", "thread", "comm", "cgroup", "cpu"] | None = None,
        kind: str = "on-CPU",
        title: str = "",
        target: str | None = None,
        layout: Literal["merged", "inverted", "time"] = "merged",
        state: Mapping[str, Any] | None = None,
    ) -> FlameGraph:
        """A flame graph of the samples of one kind; each process, thread, ... on a frame of its own if asked.

        `kind` is "on-CPU", "off-CPU" (where threads waited, probe offcpu), "wakeup" (who ended their waits, probe
        wakeups) or what another probe samples; kinds are never added up, but for "wall-clock": on- and off-CPU time
        of each thread, stacked to the length of its life. Raises MissingTable for a kind that was not recorded.
        With `target` it is of that target's on-CPU time, and of its eBPF programs beside it. Layout "time" is a flame
        chart: each thread in the order of time, with the gaps. `state` is that of another flame graph, to be restored.
        """
        from tracelab.analysis.sessionstacks import SessionStacks
        from tracelab.views.flamegraph import FlameGraph

        if target is not None:
            profile, stacks = self.target_profile(target), None
        else:
            stacks = SessionStacks(self._tables, kind)
            profile = stacks.profile(by)
        profile = profile.renamed(profile.name, *self._notes())
        return FlameGraph(profile, title=title, by=by if stacks else None, layout=layout, stacks=stacks, state=state)

    def top_table(self, by: By = "event", n: int = 20, bin_s: float | None = None) -> TopTable:
        """The groups with the most events, with share, rate and peak, and a line of how the rate of each went.

        Raises MissingTable, and UsageError for a `by` or `bin_s` that makes no sense.
        """
        from tracelab.analysis.top import top_over_time
        from tracelab.views.top_table import TopTable

        rates = self.rates(by, bin_s)
        top = top_over_time(rates, n)
        title = f"Top {len(top)} by {by}{self._of_what()}"
        return TopTable(top, rates, marks=self.marks(), title=title, notes=self._notes())

    def program_time(self, *, own: bool = False, bin_s: float | None = None) -> ChartView:
        """What eBPF programs cost over time, stacked, and the user time of those who hold them; of one CPU.

        The recorder's own are left out, and said, unless `own`. Raises MissingTable.
        """
        from tracelab.analysis.programtime import owner_time, program_time
        from tracelab.views import program_time as view

        return view.program_time(
            program_time(self._tables, bin_s),
            owner_time(self._tables, bin_s),
            own=own,
            title=f"CPU time of eBPF programs{self._of_what()}",
            **self._in_time(),
        )

    def map_fill(self, *, own: bool = False) -> ChartView:
        """How full eBPF maps and ring buffers were over time, with the fullest named, and the memory charged.

        The recorder's own are left out, and said, unless `own`. Raises MissingTable.
        """
        from tracelab.analysis.occupancy import map_peaks, map_readings
        from tracelab.views import map_fill as view

        return view.map_fill(
            map_readings(self._tables),
            map_peaks(self._tables),
            own=own,
            title=f"Fill of eBPF maps{self._of_what()}",
            **self._in_time(),
        )

    def machine(self, bin_s: float | None = None) -> MachineTime:
        """The time of each CPU, memory, load and context switches over time. Raises MissingTable."""
        from tracelab.analysis.machine import NO_PRESSURE, cpu_time, machine
        from tracelab.views.machine_time import machine_time

        rest = self._in_time()
        rest["notes"] = (*rest["notes"], NO_PRESSURE)
        return machine_time(
            cpu_time(self._tables, bin_s),
            machine(self._tables),
            title=f"The machine{self._of_what()}",
            **rest,
        )

    def process_tree(self) -> ProcessTree:
        """Processes as bars over time, in the order of their tree, with the names that they had and how they ended.

        Exit statuses are known where the probe `process` was recorded. Raises MissingTable.
        """
        from tracelab.analysis.processtree import process_names, process_tree
        from tracelab.views.process_tree import ProcessTree

        return ProcessTree(
            process_tree(self._tables),
            process_names(self._tables),
            title=f"Processes{self._of_what()}",
            **self._in_time(),
        )

    def heatmap(
        self,
        of: Literal["samples", "events", "latency"] = "samples",
        event: str | None = None,
        kind: str = "on-CPU",
        column_s: float | None = None,
    ) -> Heatmap:
        """A heat map of moments down to 20 ms: samples of a kind, events (of one name, if given), or what they took.

        Drag a range of time in it, with Ctrl a second one to compare with: `.range` and `.baseline` have them. Without
        samples it is of events. `column_s` is the length of a column. Raises MissingTable.
        """
        from tracelab.analysis.sessionmoments import SessionMoments
        from tracelab.views.heatmap import Choice, Heatmap

        if of == "samples" and "samples" not in self.tables:
            of = "events"
        choice = Choice(of, kind if of == "samples" else event)
        title = f"Moments{self._of_what()}"
        rest: dict[str, Any] = {"marks": self.marks(), "notes": self._notes()}
        return Heatmap(SessionMoments(self._tables), choice, column_s=column_s, title=title, **rest)

    def latency_histogram(self, event: str | None = None, probe: str | None = None) -> ChartView:
        """Events by how long they took, of all probes with that unit, or of one event or probe. Raises MissingTable."""
        from tracelab.analysis.latencytime import latency_grid
        from tracelab.views.latency_charts import latency_histogram

        grid = latency_grid(self._tables, event, probe)
        return latency_histogram(grid, title=self._took(event, probe), notes=self._notes())

    def latency_heatmap(self, event: str | None = None, probe: str | None = None) -> ChartView:
        """The same over time: a column for each moment, the darker, the more events took so long."""
        from tracelab.analysis.latencytime import latency_grid
        from tracelab.views.latency_charts import latency_heatmap

        grid = latency_grid(self._tables, event, probe)
        return latency_heatmap(grid, title=self._took(event, probe), **self._in_time())

    def percentiles(self, event: str | None = None, probe: str | None = None) -> ChartView:
        """The median, p90, p99 and longest of each moment."""
        from tracelab.analysis.latencytime import latency_grid
        from tracelab.views.latency_charts import percentiles

        grid = latency_grid(self._tables, event, probe)
        return percentiles(grid, title=self._took(event, probe), **self._in_time())

    def run_queue(self) -> ChartView:
        """How long threads that could run waited for a CPU, over time (probe runqueue). Raises MissingTable."""
        return self.percentiles(probe="runqueue")

    def cpu_timeline(self) -> ChartView:
        """Who had each CPU, and when: from context switches (probe switches), else from samples, which it says."""
        from tracelab.analysis.cputimeline import cpu_spans
        from tracelab.views.cpu_timeline import cpu_timeline

        spans, exact = cpu_spans(self._tables)
        return cpu_timeline(spans, exact, title=f"Who had each CPU{self._of_what()}", **self._in_time())

    def waits(self, bin_s: float | None = None) -> ChartView:
        """Off-CPU time of all threads by the state that they waited in (probe offcpu). Raises MissingTable."""
        from tracelab.analysis.cputimeline import waits
        from tracelab.views.cpu_timeline import waits as view

        return view(waits(self._tables, bin_s), title=f"Waits by state{self._of_what()}", **self._in_time())

    def compare(
        self,
        other: Part,
        *,
        kind: str = "on-CPU",
        by: Literal["process", "thread", "comm", "cgroup", "cpu"] | None = None,
        normalise: Literal["share", "time", "events", "none"] = "share",
        event: str | Iterable[str] | None = None,
    ) -> Difference:
        """What changed in sampled stacks since `other`, the baseline: a part of this session, or another one.

        Weights are divided by those of the whole side, by seconds, or by events (all, or those named); more in this
        one is positive. Intervals tell what is noise. Raises MissingTable, and UsageError for sides without anything.
        """
        from tracelab.analysis.difference import difference
        from tracelab.views.difference import Difference

        events = several(event) or ()
        found = difference(other._tables, self._tables, kind=kind, by=by, normalise=normalise, events=events)
        return Difference(found, notes=self._notes())

    def compare_events(self, other: Part, by: By = "event") -> EventDifference:
        """What changed since `other` in events per second, and how long they took."""
        from tracelab.analysis.sides import described
        from tracelab.views.difference import EventDifference

        before, after = described(other._tables), described(self._tables)
        return EventDifference(self.event_changes(other, by), before=before, after=after)

    def diagnose(self, **thresholds: dict[str, Any]) -> FindingsView:
        """What every pitfall came to, worst first: found, clear, or not checked.

        A threshold is changed by the pitfall's name: `s.diagnose(dominant_event={"share": 0.3})`. Raises UsageError for
        one that there is not.
        """
        from tracelab.views.findings import FindingsView

        return FindingsView(
            self.findings(**thresholds), title=f"Findings in {self.path.name}{self._of_what()}"
        )

    def summary(self) -> SessionSummary:
        """What the session holds, at a glance; it stands for the session in a notebook."""
        from tracelab.analysis.overview import overview
        from tracelab.views.summary import SessionFacts, SessionSummary

        return SessionSummary(SessionFacts(**overview(self._tables)))

    def _took(self, event: str | None, probe: str | None) -> str:
        return f"How long {event or probe or 'events'} took{self._of_what()}"

    def _in_time(self) -> dict[str, Any]:
        """What every view over time is told: the selected time, the marks in it, and what must be said."""
        return {"window": self.window, "marks": self.marks(), "notes": self._notes()}

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        try:
            return self.summary()._repr_mimebundle_(include, exclude)
        except Exception as error:  # a notebook waits for something to show
            return {"text/plain": f"{self!r}: {error}"}
