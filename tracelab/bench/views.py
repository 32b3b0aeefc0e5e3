"""`python -m tracelab.bench.views [--events N]`: how fast views answer, beside what a notebook does by hand.

Three questions. A window of samples as a flame graph: ours from the index of samples to the bytes for the page; by hand
a mask, a group-by, and a dict of dicts, which is what is sent to a d3 flame graph. Event rates of a zoomed window: ours
from parquet; by hand from two columns that pandas holds in memory. And what follows a brush in the explorer, of a
session of a tenth as many events.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from tracelab.analysis.samples import SampleIndex
from tracelab.analysis.shapes import shape_of
from tracelab.api import Session, open_session
from tracelab.bench.synthetic_samples import START_NS, synthetic_index
from tracelab.bench.synthetic_session import synthetic_session
from tracelab.bench.table import aligned
from tracelab.query.selection import Selection
from tracelab.views.flamegraph import FlameGraph

WINDOW_GOAL_MS, FOLLOW_GOAL_MS = 60.0, 200.0
REPEATS = 5
SHARES = (1.0, 0.1, 0.01)  #: of the time, of windows and zooms
Row = tuple[str, float, float | None, float | None]  #: what, ours ms, by hand ms, goal ms


def windows(samples: int = 5_000_000, stacks: int = 20_000) -> list[Row]:
    """Windows of a session's samples as flame graphs."""
    index = synthetic_index(samples, stacks)
    shape_of(index.profile)
    table = pd.DataFrame({"time_ns": index.time_ns, "stack": index.stack, "weight": index.weight})
    whole = int(index.time_ns[-1]) + 1 - START_NS
    rows: list[Row] = []
    for share in SHARES:
        window = (START_NS, START_NS + round(whole * share))
        ours = _ms(_drawn, index, window)
        by_hand = _ms(_nested, table, index, window, repeats=1)
        rows.append((f"{samples:,} samples, {share:.0%} of the time, as a flame graph", ours, by_hand, WINDOW_GOAL_MS))
    return rows


def rates(session: Session, events: int) -> list[Row]:
    """The first view of event rates, and zooms into it."""
    files = sorted(str(file) for file in (session.path / "events").glob("*.parquet"))
    begun = time.perf_counter()
    table = pd.concat([pd.read_parquet(file, columns=["time_ns", "event"]) for file in files], ignore_index=True)
    table["event"] = table["event"].astype("category")
    read = 1e3 * (time.perf_counter() - begun)
    view = session.event_rate()
    first, last = session.window
    rows: list[Row] = [
        (f"{events:,} events, first view (by hand: reading included)", _ms(session.event_rate, repeats=3), None, None)
    ]
    whole = _ms(_binned, table, session, first, last, repeats=1)
    rows[0] = (*rows[0][:2], read + whole, None)
    for share in SHARES[1:] + (0.001,):
        until = first + (last - first) * share
        ours = _ms(view.answer, {"view": [first, until]})
        by_hand = _ms(_binned, table, session, first, until)
        rows.append((f"{events:,} events, {share:.1%} of the time, binned anew", ours, by_hand, None))
    return rows


def explorer(session: Session, events: int) -> list[Row]:
    """What a brush, a picked process and a clicked frame take until all views have been answered, in Python."""
    view = session.explore()
    view.first()
    first, last = session.window
    tenth = [first, first + (last - first) / 10]
    asked: list[tuple[str, dict[str, Any], list[str]]] = [
        ("a brushed time", {"time": tenth}, ["flame", "top"]),
        ("a picked process", {"pids": [1001]}, ["rate", "heatmap", "flame"]),
        ("a clicked frame", {"time": tenth, "frames": ["f1"]}, ["top"]),
    ]
    return [
        (
            f"explorer, {events:,} events: {name}",
            _ms(view.answer, {"select": selection, "parts": parts}),
            None,
            FOLLOW_GOAL_MS,
        )
        for name, selection, parts in asked
    ]


def render(rows: list[Row]) -> str:
    """The rows as an aligned table, ratios to what is done by hand, and goals."""
    head = ["", "ours, ms", "by hand, ms", "ratio", "goal, ms"]
    cells = [
        [
            what,
            f"{ours:,.1f}",
            "" if other is None else f"{other:,.1f}",
            "" if other is None else f"{other / ours:,.1f}",
            "" if goal is None else f"{goal:,.0f} {'PASS' if ours <= goal else 'FAIL'}",
        ]
        for what, ours, other, goal in rows
    ]
    return aligned([head, *cells])


def main() -> int:
    """Print the timings; returns the exit code, which is 0 however far the goals were met."""
    parser = argparse.ArgumentParser(prog="python -m tracelab.bench.views", description=__doc__)
    parser.add_argument("--events", type=float, default=1e8, help="of the session whose rates are drawn")
    events = int(parser.parse_args().events)
    rows = windows()
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        large = synthetic_session(Path(folder) / "large.tracelab", events)
        rows += rates(open_session(large), events)
        usual = synthetic_session(Path(folder) / "usual.tracelab", events // 10, samples=1_000_000)
        rows += explorer(open_session(usual), events // 10)
    print(render(rows))
    return 0


def _drawn(index: SampleIndex, window: tuple[int, int]) -> object:
    """A window as the bytes of a flame graph."""
    return FlameGraph(index.profile_of(Selection(window))).first()


def _ms(work: Callable[..., object], *given: object, repeats: int = REPEATS) -> float:
    """Median time of some work, ms."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work(*given)
        times.append(1e3 * (time.perf_counter() - begun))
    return median(times)


def _nested(table: pd.DataFrame, index: SampleIndex, window: tuple[int, int]) -> str:
    """A window as nested dicts in JSON, for a flame graph of d3."""
    part = table[(table["time_ns"] >= window[0]) & (table["time_ns"] < window[1])]
    profile, root = index.profile, {"name": "all", "value": 0.0, "children": {}}
    weights = part.groupby("stack")["weight"].sum()
    for stack, weight in zip(weights.index.to_numpy(np.int64).tolist(), weights.tolist(), strict=True):
        node: dict[str, Any] = root
        node["value"] += weight
        for frame in profile.stack_frames[profile.offsets[stack] : profile.offsets[stack + 1]].tolist():
            node = node["children"].setdefault(frame, {"name": frame, "value": 0.0, "children": {}})
            node["value"] += weight
    return json.dumps(root)


def _binned(table: pd.DataFrame, session: Session, first: float, last: float) -> pd.Series[int]:
    """A window's events by kind in 300 bins."""
    start = session.manifest.start_ns
    begin, end = start + first * 1e9, start + last * 1e9
    part = table[(table["time_ns"] >= begin) & (table["time_ns"] < end)]
    number = ((part["time_ns"] - begin) // ((end - begin) / 300)).astype(np.int32)
    counted: pd.Series[int] = part.groupby([part["event"], number], observed=True).size()
    return counted


if __name__ == "__main__":
    sys.exit(main())
