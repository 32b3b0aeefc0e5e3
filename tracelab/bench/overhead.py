"""`python -m tracelab.bench.overhead`: how much slower real work gets, and what each tool takes, machine-wide.

Four workloads do a fixed amount of work each: bare system calls, a storm of short processes as a build makes it,
SQLite, and a Python loop. They run without a tool, then beside each tool, again and again in turn, so that what the
machine does meanwhile hits all alike. Slowdowns are ratios to the same round without a tool; medians are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tracelab.bench import machine, tools
from tracelab.bench.table import aligned
from tracelab.bench.tracer import NotRun, Outcome, Running, Tracer, group_cpu_s
from tracelab.bench.workload import Placement, Workload, build
from tracelab.errors import TracelabError

STEADY_S, WARM_UP_S = 20.0, 5.0
LONG_S = 40.0  #: a tool beside which one round takes longer gets no second one
PACED_S = 8.0
PACED_RING_MIB = 16
_SQLITE = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1] + "/x.db", isolation_level=None)
c.execute("pragma synchronous=off")
c.execute("create table t(a, b)")
for i in range(40000):
    c.execute("insert into t values(?, ?)", (i, i * i))
for i in range(600):
    c.execute("select b from t where a=?", (i,)).fetchall()
"""


@dataclass(frozen=True, slots=True)
class Work:
    """A fixed amount of work, as a command; the folder is its own."""

    name: str
    command: Callable[[Path], list[str]]

    def seconds(self) -> float:
        """Wall time of doing it once."""
        with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
            begun = time.monotonic()
            subprocess.run(self.command(Path(folder)), check=True, stdout=subprocess.DEVNULL)
            return time.monotonic() - begun


WORKS = (
    Work("getppid loop", lambda _: ["perl", "-e", "getppid() for 1..5000000"]),
    Work("fork storm", lambda _: ["sh", "-c", "i=0; while [ $i -lt 1500 ]; do /bin/true; i=$((i+1)); done"]),
    Work("SQLite", lambda folder: [sys.executable, "-c", _SQLITE, str(folder)]),
    Work("Python loop", lambda _: [sys.executable, "-c", "x = 0\nfor i in range(30_000_000):\n    x += i"]),
)


@dataclass(slots=True)
class Row:
    """One tool in one mode: a value per round, or none where it could not be run."""

    tool: str
    slowdown: dict[str, list[float]] = field(
        default_factory=dict
    )  #: by workload, over the round without a tool
    cpu_share: list[float] = field(
        default_factory=list
    )  #: of one CPU, user and system, from recording to its end
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0  #: that all workloads took in the last round
    refusal: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """One aim and what was measured."""

    aim: str
    reached: bool
    figure: str


def measure(title: str, recorders: Sequence[Tracer], rounds: int) -> list[Row]:
    """Every workload without a tool and beside each of them, in turn."""
    rows = {tool.name: Row(tool.name) for tool in recorders}
    for number in range(rounds):
        alone = {work.name: work.seconds() for work in WORKS}
        for tool in recorders:
            row = rows[tool.name]
            if row.refusal or row.seconds > LONG_S:
                continue
            _progress(f"{title}, round {number + 1} of {rounds}: {tool.name}")
            try:
                if reason := tool.refusal():
                    raise NotRun(reason)
                _beside(tool, row, alone)
            except (NotRun, OSError, ValueError, subprocess.SubprocessError) as refusal:
                row.refusal = str(refusal) or type(refusal).__name__
    return list(rows.values())


def _beside(tool: Tracer, row: Row, alone: dict[str, float]) -> None:
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        running = Running(tool, 0, Path(folder))
        try:
            begun = time.monotonic()
            for work in WORKS:
                row.slowdown.setdefault(work.name, []).append(work.seconds() / alone[work.name])
            row.seconds = elapsed = time.monotonic() - begun
            cost = running.stop()
        finally:
            running.kill()
        row.cpu_share.append(cost.cpu_s / elapsed)
        if elapsed > LONG_S:
            row.remark = f"one round only, which took {elapsed:.0f} s"
        try:
            row.outcomes.append(tool.outcome(Path(folder)))
        except (NotRun, OSError, ValueError, subprocess.SubprocessError) as error:
            row.remark = f"what it kept cannot be told: {error}"


def steady_share(tool: Tracer) -> float:
    """Share of one CPU that a tool takes while a Python loop runs, once it has warmed up; raises NotRun."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
            running = Running(tool, 0, Path(folder))
            try:
                time.sleep(WARM_UP_S)
                before = group_cpu_s(running.group)
                time.sleep(STEADY_S)
                return (group_cpu_s(running.group) - before) / STEADY_S
            finally:
                running.kill()
    finally:
        busy.kill()
        busy.wait()


def paced(program: list[str], placement: Placement, rate: float) -> tuple[float, Outcome]:
    """Share of one CPU that recording takes at a rate of calls, with a ring of 16 MiB, and the outcome."""
    with (
        tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder,
        Workload(program, placement) as workload,
    ):
        tool = tools.Ours(
            "--events", "syscalls", "--pid", str(workload.pid), "--ring-mib", str(PACED_RING_MIB)
        )
        running = Running(tool, workload.pid, Path(folder))
        try:
            workload.run(1.0, rate)
            before = group_cpu_s(running.group)
            workload.run(PACED_S, rate)
            share = (group_cpu_s(running.group) - before) / PACED_S
            running.stop()
        finally:
            running.kill()
        return share, tool.outcome(Path(folder))


def render(title: str, rows: Sequence[Row]) -> str:
    """One table: slowdowns by workload, what the tool took, lost and wrote."""
    head = [title, *(work.name for work in WORKS), "tool CPU", "lost", "B/event"]
    units = ["", *("x" for _ in WORKS), "% of one", "%", ""]
    body = [["none", *("1.00" for _ in WORKS), "0.0", "", ""]]
    for row in rows:
        if row.refusal:
            body.append([row.tool, *("" for _ in WORKS), "", "", ""])
            continue
        slowed = [f"{statistics.median(row.slowdown[work.name]):.2f}" for work in WORKS]
        body.append(
            [row.tool, *slowed, f"{statistics.median(row.cpu_share):.1%}".rstrip("%"), *_kept(row.outcomes)]
        )
    remarks = [f"{row.tool}: not run: {row.refusal}" for row in rows if row.refusal]
    remarks += [f"{row.tool}: {row.remark}" for row in rows if row.remark]
    return "\n".join([aligned([head, units, *body]), *remarks])


def _kept(outcomes: Sequence[Outcome]) -> list[str]:
    """Share lost and bytes per event, where a tool keeps events."""
    events = [o for o in outcomes if o.kept and o.lost is not None]
    if not events:
        return ["", ""]
    lost = statistics.median((o.lost or 0) / (o.kept + (o.lost or 0)) for o in events)
    sizes = [o.size_bytes / o.kept for o in events if o.size_bytes]
    return [f"{lost:.1%}".rstrip("%"), f"{statistics.median(sizes):.1f}" if sizes else "in memory"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run it all and print; returns the exit code, which is 0 however far the goals were met."""
    parser = argparse.ArgumentParser(prog="python -m tracelab.bench.overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of which medians are taken (3)")
    args = parser.parse_args(argv)
    placement = Placement.here()
    others, begun = machine.Others(), time.monotonic()
    print(machine.describe(), flush=True)
    try:
        profiled = measure("profiling", tools.PROFILERS, args.rounds)
        print("\n" + render(f"profile at {tools.HZ} Hz", profiled), flush=True)
        recorded = measure("system calls", tools.RECORDERS, args.rounds)
        print("\n" + render("every system call", recorded) + "\n", flush=True)
        goals = _goals(profiled, recorded, placement)
    except TracelabError as error:
        print(f"tracelab.bench: {error}", file=sys.stderr)
        return error.exit_code
    _progress("")
    print("\n".join(f"{'PASS' if g.reached else 'FAIL'}  {g.aim}: {g.figure}" for g in goals))
    print(f"in {time.monotonic() - begun:.0f} s, of which others used {others.share():.0%} of the machine")
    return 0


def _goals(profiled: Sequence[Row], recorded: Sequence[Row], placement: Placement) -> list[Goal]:
    ours = tools.PROFILERS[0]
    _progress("steady")
    share = steady_share(ours)
    found = [
        Goal("profiling everything at 49 Hz takes at most 1 % of one core", share <= 0.01, f"{share:.2%}")
    ]
    peers = []
    for tool in tools.PROFILERS[1:]:
        with contextlib.suppress(NotRun):
            if tool.refusal() is None:
                peers.append(f"{tool.name} {steady_share(tool):.2%}")
    found.append(Goal("the same, of others", True, ", ".join(peers) or "none was run"))
    slowed = (
        [statistics.median(profiled[0].slowdown[w.name]) for w in WORKS] if not profiled[0].refusal else []
    )
    worst = max(slowed, default=float("nan"))
    found.append(
        Goal("profiling slows no workload by more than noise (5 %)", worst <= 1.05, f"{worst:.2f} x")
    )
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        program = build(Path(folder))
        for rate, most in ((200_000.0, 0.10), (500_000.0, float("inf"))):
            _progress(f"{rate:,.0f} calls a second")
            share, outcome = paced(program, placement, rate)
            size = (outcome.size_bytes or 0) / max(1, outcome.kept)
            figure = (
                f"{share:.1%} of one core, {outcome.kept:,} kept, {outcome.lost:,} lost, {size:.1f} B/event"
            )
            aim = f"{rate:,.0f} events a second in a ring of {PACED_RING_MIB} MiB: nothing lost"
            if most < 1:
                aim += f", at most {most:.0%} of one core"
            found.append(Goal(aim, share <= most and outcome.lost == 0, figure))
    sizes = _kept(recorded[0].outcomes)[1] if recorded[0].outcomes else ""
    found.append(
        Goal("12 bytes per event or fewer on disk", bool(sizes) and float(sizes) <= 12, f"{sizes} B/event")
    )
    return found


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
