"""Results as text: one aligned table, then the goals. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tracelab.bench.figures import Figures, Goal, Results, goals
from tracelab.bench.tracer import RING_MIB

HEAD = (
    ("tracer", ""),
    ("kept", "M/s"),
    ("kept", "%"),
    ("lost", "%"),
    ("accounted", "%"),
    ("reader CPU", "s per M"),
    ("reader rate", "M/core-s"),
    ("on disk", "B/event"),
    ("added to a call", "ns, range"),
    ("RSS", "MB"),
)
EXPLAINED = f"""\
An event is one finished call with its duration. Every tracer has {RING_MIB} MiB of buffer and records one
process, which makes bare calls of getppid(2) at full speed. Kept and lost are shares of the calls made;
kept M/s is until the last event was stored. Reader CPU is user and system time of all the tracer's
processes, from when it records to its end. Added to a call is CPU time of the workload: the least
disturbed of some bursts, less that of bursts without a tracer just before and after. Other tracers on the
machine, and run statistics that they switch on, disturb all of it."""


def render(results: Results) -> str:
    """Everything there is to print."""
    rows = [[name, *_cells(figures)] for name, figures in results.tracers.items()]
    units = [f"({unit})" if unit else "" for _, unit in HEAD]
    parts = [EXPLAINED, aligned([[title for title, _ in HEAD], units, *rows]), "\n".join(_remarks(results))]
    if results.plan.brief:
        parts.append("Too short a run for figures that mean much: the goals are measured without --quick.")
    else:
        parts.append("\n".join(goal_lines(goals(results))))
    return "\n\n".join(parts)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns, the first to the left, the others to the right.

    >>> print(aligned([["a", "bb"], ["ccc", "d"]]))
    a    bb
    ccc   d
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def goal_lines(found: Sequence[Goal]) -> list[str]:
    """A line for each goal: whether it was reached, what it is, and the figure."""
    words = {True: "PASS", False: "FAIL", None: "not measured"}
    width = max(len(goal.aim) for goal in found)
    return [f"{words[goal.reached]:12}  {goal.aim.ljust(width)}  {goal.figure}".rstrip() for goal in found]


def _cells(f: Figures) -> list[str]:
    return [
        f"{f.kept_per_s / 1e6:.2f}",
        f"{f.kept_share:.1%}".rstrip("%"),
        "?" if f.lost_share is None else f"{f.lost_share:.1%}".rstrip("%"),
        f"{f.accounted_share:.2%}".rstrip("%"),
        f"{f.cpu_s_per_million:.2f}",
        f"{1 / f.cpu_s_per_million:.2f}" if f.cpu_s_per_million > 0 else "",
        "in memory" if f.bytes_per_event is None else f"{f.bytes_per_event:.1f}",
        f"{f.added_ns:.0f} ({f.added_ns_lowest:.0f} to {f.added_ns_highest:.0f})",
        f"{f.peak_rss_bytes / 1e6:.0f}",
    ]


def _remarks(results: Results) -> list[str]:
    found = []
    for name, reasons in results.refusals.items():
        what = f"failed {len(reasons)} times" if name in results.saturated else "not run"
        found.append(f"{name}: {what}: {reasons[-1]}")
    if results.bursts:
        alone = "{:.0f} ns of CPU time ({:.0f} to {:.0f})".format(*results.alone_ns)
        found.append(f"without a tracer, a call takes {alone}")
    found += [
        f"{name}: lost {figures.lost_in_bursts_share:.1%} even of the bursts"
        for name, figures in results.tracers.items()
        if figures.lost_in_bursts_share > 0.001
    ]
    if results.paced:
        outcome, cost = results.paced.outcome, results.paced.cost
        found.append(
            f"tracelab record, paced: {outcome.kept:,} kept, {outcome.lost:,} lost, ring held at most "
            f"{outcome.about['ring_high_water_bytes'] / (1 << 20):.1f} MiB, reader CPU "
            f"{results.paced.reader_cpu_s_per_million:.2f} s per M, peak RSS {cost.peak_rss_bytes / 1e6:.0f} MB"
        )
    if results.mixed:
        outcome = results.mixed.outcome
        found.append(
            f"tracelab record, real programs (find, sort, Python) and all else on the machine for "
            f"{results.mixed.seconds:.1f} s: {outcome.kept:,} kept, {outcome.lost:,} lost, "
            f"{(outcome.size_bytes or 0) / max(outcome.kept, 1):.1f} B/event on disk"
        )
    return found
