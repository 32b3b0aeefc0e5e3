"""Medians over repetitions, and what they say about the goals. Pure: trials in, figures out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tracelab.bench.drain import CALLBACKS, Recorder
from tracelab.bench.peers import Bpftrace, Perf
from tracelab.bench.tracer import RING_MIB
from tracelab.bench.trial import Mixed, Plan, Trial, undisturbed_ns

OURS = Recorder.name
DOCUMENTED, COPYING, _ = (callback.name for callback in CALLBACKS)

# What is aimed at; printed, and asserted nowhere, because machines differ and are noisy.
GOAL_EVENTS_PER_CPU_S = 2.5e6
GOAL_SHARE_OF_PERF = 1 / 3
GOAL_BYTES_PER_EVENT = 12.0
GOAL_TIMES_THROUGHPUT = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One tracer; an event is one finished call. Medians over the repetitions."""

    kept_per_s: float  #: at saturation, until the last was stored
    kept_share: float
    lost_share: float | None  #: None when the tracer does not tell
    accounted_share: float
    cpu_s_per_million: float  #: of the reader, user and system
    bytes_per_event: float | None
    added_ns: float  #: CPU time that tracing adds to a bare call, in bursts that fit into its buffers
    added_ns_lowest: float  #: of the repetitions
    added_ns_highest: float
    peak_rss_bytes: float
    lost_in_bursts_share: float


@dataclass(frozen=True, slots=True)
class Goal:
    """One aim, whether it was reached (None: not measured here), and the figure."""

    aim: str
    reached: bool | None
    figure: str


@dataclass
class Results:
    """All of one run, by name of the tracer."""

    plan: Plan
    bursts: dict[str, list[Trial]] = field(default_factory=dict)
    saturated: dict[str, list[Trial]] = field(default_factory=dict)
    refusals: dict[str, list[str]] = field(default_factory=dict)  #: what a tracer said when it was not run
    paced: Trial | None = None
    mixed: Mixed | None = None

    def refuse(self, name: str, reason: Exception) -> None:
        """Keep why a trial of a tracer came to nothing."""
        self.refusals.setdefault(name, []).append(str(reason))

    @property
    def tracers(self) -> dict[str, Figures]:
        """The figures of every tracer that was run."""
        return {name: summarise(self.bursts[name], trials) for name, trials in self.saturated.items()}

    @property
    def alone_ns(self) -> tuple[float, float, float]:
        """CPU time of a bare call without a tracer: median, lowest and highest over all trials."""
        found = [undisturbed_ns(trial.alone) for trials in self.bursts.values() for trial in trials]
        return statistics.median(found), min(found), max(found)


def summarise(bursts: Sequence[Trial], saturated: Sequence[Trial]) -> Figures:
    """The figures of one tracer, from at least one trial of either kind."""

    def median(of: Callable[[Trial], float | None], trials: Sequence[Trial] = saturated) -> float | None:
        found = [value for value in map(of, trials) if value is not None]
        return statistics.median(found) if found else None

    added = [trial.added_ns for trial in bursts]
    return Figures(
        kept_per_s=median(lambda t: t.kept_per_s) or 0.0,
        kept_share=median(lambda t: t.kept_share) or 0.0,
        lost_share=median(lambda t: t.lost_share),
        accounted_share=median(lambda t: t.accounted_share) or 0.0,
        cpu_s_per_million=median(lambda t: t.reader_cpu_s_per_million) or 0.0,
        bytes_per_event=median(lambda t: t.bytes_per_event),
        added_ns=statistics.median(added),
        added_ns_lowest=min(added),
        added_ns_highest=max(added),
        peak_rss_bytes=median(lambda t: t.cost.peak_rss_bytes) or 0.0,
        lost_in_bursts_share=median(lambda t: t.lost_share, bursts) or 0.0,
    )


def goals(results: Results) -> list[Goal]:
    """Every aim with what came of it."""
    return [_lossless(results), *_reader(results), _slowdown(results), *_disk(results), *_throughput(results)]


def _lossless(results: Results) -> Goal:
    plan, trial = results.plan, results.paced
    aim = f"nothing lost at {plan.paced_per_s / 1e6:g} M calls/s for {plan.paced_s:g} s, {RING_MIB} MiB ring"
    if trial is None:
        return Goal(aim, None, "")
    missing = trial.made - trial.outcome.kept
    rate = sum(phase.calls for phase in trial.traced) / sum(phase.wall_ns for phase in trial.traced)
    figure = f"{missing:,} of {trial.made:,} missing, at {rate * 1e3:.2f} M/s"
    full = trial.outcome.about.get("ring_high_water_bytes", 0) / (RING_MIB << 20)
    return Goal(aim, missing <= 0, f"{figure}, ring at most {full:.0%} full")


def _reader(results: Results) -> list[Goal]:
    aim = f"at least {GOAL_EVENTS_PER_CPU_S / 1e6:g} M events per reader core-second, as zstd parquet"
    costs = {}
    if OURS in results.tracers:
        costs["at saturation"] = results.tracers[OURS].cpu_s_per_million
    if results.paced:
        costs["paced"] = results.paced.reader_cpu_s_per_million
    return [
        Goal(f"{aim}, {when}", 1e6 / cost >= GOAL_EVENTS_PER_CPU_S, f"{1 / cost:.2f} M")
        for when, cost in costs.items()
    ] or [Goal(aim, None, "")]


def _slowdown(results: Results) -> Goal:
    aim = "adds to a call at most a third of what perf adds"
    ours, perf = results.tracers.get(OURS), results.tracers.get(Perf.name)
    if not ours or not perf:
        return Goal(aim, None, "")
    share = ours.added_ns / perf.added_ns
    return Goal(
        aim, share <= GOAL_SHARE_OF_PERF, f"{ours.added_ns:.0f} / {perf.added_ns:.0f} ns = {share:.2f}"
    )


def _disk(results: Results) -> list[Goal]:
    aim = f"at most {GOAL_BYTES_PER_EVENT:g} bytes per event"
    sizes = {}
    if OURS in results.tracers:
        sizes["nothing but getppid"] = results.tracers[OURS].bytes_per_event
    if results.mixed and results.mixed.outcome.size_bytes is not None:
        sizes["real programs"] = results.mixed.outcome.size_bytes / results.mixed.outcome.kept
    return [
        Goal(f"{aim}, {of}", size <= GOAL_BYTES_PER_EVENT, f"{size:.1f}")
        for of, size in sizes.items()
        if size is not None
    ] or [Goal(aim, None, "")]


def _throughput(results: Results) -> list[Goal]:
    found = []
    ours = results.tracers.get(OURS)
    for name in (DOCUMENTED, COPYING, Bpftrace.name):
        aim = f"at least {GOAL_TIMES_THROUGHPUT:g} times the throughput of {name}"
        other = results.tracers.get(name)
        if not ours or not other:
            found.append(Goal(aim, None, ""))
            continue
        times = ours.kept_per_s / max(other.kept_per_s, 1.0)
        figure = f"{ours.kept_per_s / 1e6:.2f} / {other.kept_per_s / 1e6:.2f} M/s = {times:.3g}"
        found.append(Goal(aim, times >= GOAL_TIMES_THROUGHPUT, figure))
    return found
