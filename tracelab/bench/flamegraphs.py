"""`python -m tracelab.bench.flamegraphs [--nodes N ...]`: our flame graph beside speedscope, on the same profiles.

Both are drawn in the same headless Chromium, on a page of 1200 x 900. Ours is the live view, as a notebook has it: time
runs from `FlameGraph(profile)` in Python until the pixels are there. Speedscope, the released page from npm served on
loopback, is given the same stacks as its own JSON, in its left-heavy view: time runs from the opening of its page, and
has fetching and reading that file in it, but not writing it. Zooms are clicks (in speedscope double clicks) at the same
places, from the event to the first paint that follows. A frame is the time from one animation frame to the next while
the view is zoomed and moved in every one of them, so that 16.7 ms is the best there is at 60 Hz.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracelab.bench import machine
from tracelab.bench.browser import SIZE, Page, chromium
from tracelab.bench.drawers import Drawer, Ours, speedscope
from tracelab.bench.figures import Goal
from tracelab.bench.synthetic import synthetic
from tracelab.bench.table import aligned, goal_lines
from tracelab.bench.tracer import NotRun
from tracelab.errors import TracelabError, UsageError

NODES = (10_000, 100_000, 1_000_000)
LOADS, CLICKS, STEPS = 3, 20, 120
GOAL_NODES = 1_000_000  #: the goals are for this many, and judged at the largest number that was measured
GOALS = {"first_ms": 1000.0, "frame_ms": 17.0, "worst_frame_ms": 34.0, "heap_mb": 100.0}


@dataclass(frozen=True, slots=True)
class Drawn:
    """What it took one drawer to draw one profile. Times in milliseconds."""

    first_ms: float  #: median of the loads
    python_ms: float  #: of CPU, in Python: folding and pruning
    zoom_ms: float  #: median of the clicks
    worst_zoom_ms: float
    whole_zoom_ms: float  #: median until the last paint: what was too light to be there at first is asked of Python
    frame_ms: float  #: median of the frames while moving
    worst_frame_ms: float
    load_cpu_ms: float  #: of the browser's main thread
    zoom_cpu_ms: float  #: per click
    frame_cpu_ms: float  #: per frame
    heap_mb: float


ROWS = {
    "first_ms": "first paint, ms",
    "python_ms": "Python, CPU ms",
    "zoom_ms": "zoom, median ms",
    "worst_zoom_ms": "zoom, worst ms",
    "whole_zoom_ms": "zoom, median to last paint, ms",
    "frame_ms": "frame, median ms",
    "worst_frame_ms": "frame, worst ms",
    "load_cpu_ms": "main thread: first paint, CPU ms",
    "zoom_cpu_ms": "main thread: a zoom, CPU ms",
    "frame_cpu_ms": "main thread: a frame, CPU ms",
    "heap_mb": "heap after collection, MB",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each number of nodes, then the goals; returns the exit code, 0 however far they were met."""
    parser = argparse.ArgumentParser(prog="python -m tracelab.bench.flamegraphs", description="see the module")
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES, metavar="N", help="nodes of the trees of calls")
    parser.add_argument("--loads", type=int, default=LOADS, help="times that each is opened (default: %(default)s)")
    args = parser.parse_args(argv)
    others, ours = machine.Others(), {}
    try:
        with chromium() as browser:
            print(f"{machine.describe()}, Chromium {browser.version}\n")
            for nodes in args.nodes:
                ours[nodes] = _compare(browser, nodes, args.loads)
    except TracelabError as error:
        print(f"tracelab.bench.flamegraphs: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(goal_lines(goals(max(ours), ours[max(ours)]))))
    print(f"\nmeanwhile others used {others.share():.0%} of the machine")
    return 0


def goals(nodes: int, drawn: Drawn) -> list[Goal]:
    """What is aimed at, and what came of it at `nodes` nodes; not measured with fewer than they are for."""
    aims = {
        "first_ms": "first paint within 1 s",
        "frame_ms": "half of the frames within 17 ms (60 a second)",
        "worst_frame_ms": "every frame within 34 ms (30 a second)",
        "heap_mb": "less than 100 MB of heap",
    }
    enough = nodes >= GOAL_NODES
    return [
        Goal(
            f"{aim}, at {GOAL_NODES:,} nodes",
            getattr(drawn, name) <= GOALS[name] if enough else None,
            f"{getattr(drawn, name):.1f}" if enough else "",
        )
        for name, aim in aims.items()
    ]


def _compare(browser: Any, nodes: int, loads: int) -> Drawn:
    profile = synthetic(nodes)
    measured = {Ours.name: _measured(browser, Ours(profile), loads)}
    try:
        with speedscope(profile) as peer:
            measured[peer.name] = _measured(browser, peer, loads)
    except NotRun as reason:
        print(f"speedscope: not run: {reason}")
    print(f"{nodes:,} nodes in {len(profile):,} stacks\n\n{render(measured)}\n")
    return measured[Ours.name]


def render(measured: dict[str, Drawn]) -> str:
    """A row for each figure, a column for each drawer, and how many times ours the others are."""
    rows = [["", *measured, *("ratio" for _ in list(measured)[1:])]]
    for name, title in ROWS.items():
        values = [getattr(drawn, name) for drawn in measured.values()]
        ratios = [f"{value / values[0]:.1f}" if value and values[0] else "" for value in values[1:]]
        rows.append([title, *(f"{value:,.1f}" if value else "" for value in values), *ratios])
    return aligned(rows)


def _measured(browser: Any, drawer: Drawer, loads: int) -> Drawn:
    firsts = []
    for number in range(loads):
        with Page.opened(browser) as page:
            before = page.cpu_ms()
            firsts.append((*drawer.draw(page), page.cpu_ms() - before))
            if number == loads - 1:
                zooms, zoom_cpu_ms = _zooms(page, drawer)
                times, frame_cpu_ms = _frames(page, drawer)
                heap_mb = page.heap_mb()
    first_ms, python_ms, load_cpu_ms = (statistics.median(column) for column in zip(*firsts, strict=True))
    return Drawn(
        first_ms=first_ms,
        python_ms=python_ms,
        zoom_ms=statistics.median(first for first, _ in zooms),
        worst_zoom_ms=max(first for first, _ in zooms),
        whole_zoom_ms=statistics.median(last for _, last in zooms),
        frame_ms=statistics.median(times),
        worst_frame_ms=max(times),
        load_cpu_ms=load_cpu_ms,
        zoom_cpu_ms=zoom_cpu_ms,
        frame_cpu_ms=frame_cpu_ms,
        heap_mb=heap_mb,
    )


def _zooms(page: Page, drawer: Drawer) -> tuple[list[list[float]], float]:
    """Milliseconds to the first and last paint of each zoom into a frame, and the main thread's CPU time for one."""
    rng = np.random.default_rng(5)
    box = page.page.evaluate(f"(() => {{ const b = {drawer.canvas}.getBoundingClientRect(); return [b.x, b.y]; }})()")
    found, cpu_ms = [], 0.0
    for _ in range(4 * CLICKS):
        x, y = SIZE["width"] * rng.random(), drawer.top + drawer.row * (int(rng.integers(3, 30)) + 0.5)
        page.page.mouse.move(box[0] + x, box[1] + y)
        page.quiet()
        before = page.cpu_ms()
        page.page.mouse.click(box[0] + x, box[1] + y, click_count=2 if drawer.zooms == "dblclick" else 1)
        if answer := page.answer_ms(drawer.zooms):  # else there was no frame
            found.append(answer)
            cpu_ms += page.cpu_ms() - before
        page.page.keyboard.press("0")
        page.quiet()
        if len(found) == CLICKS:
            break
    return found, cpu_ms / len(found)


def _frames(page: Page, drawer: Drawer) -> tuple[list[float], float]:
    """Times from frame to frame while the wheel turns, and the main thread's CPU time for one."""
    before = page.cpu_ms()
    moved = page.page.evaluate(f"watched.wheel({drawer.canvas}, {STEPS})")
    if moved["painted"] < STEPS / 4:
        raise UsageError(f"{drawer.name} painted {moved['painted']} times in {STEPS} frames: it ignores the wheel")
    return moved["times"], (page.cpu_ms() - before) / STEPS


if __name__ == "__main__":
    sys.exit(main())
