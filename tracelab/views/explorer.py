"""The explorer: rates, heat map, flame graph, processes and findings on one page, linked by one selection.

Each part is the view that stands alone too: its script runs here in a host of its own, whose questions go through this
one to the part's Python. What is set in a part changes the selection, and the other parts are made anew of what is
selected. The selection prints as the code that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from tracelab.errors import MissingTable, UsageError
from tracelab.views.findings import FindingLike
from tracelab.views.live import Answer, LiveView
from tracelab.views.markup import text_table
from tracelab.views.saved import asset, packed, page, script_of
from tracelab.views.wording import visible

TOP = 40  #: processes in the table
PARTS = ("rate", "heatmap", "flame")  #: in the order of the page
#: by what each part is narrowed: those that show time show all of it, and what is selected as a range
NARROWED_BY = {
    "rate": ("pids", "comms", "cpus", "events", "cgroups"),
    "heatmap": ("pids", "comms", "cpus", "cgroups"),
    "flame": ("time", "pids", "comms", "cpus", "cgroups"),
    "top": ("time", "comms", "cpus", "cgroups", "frames"),
}


@dataclass(frozen=True)
class Chosen:
    """What is selected, as the page has it; None leaves everything in. Times are seconds since the recording began."""

    time: tuple[float, float] | None = None
    baseline: tuple[float, float] | None = None  #: another time, to compare with
    pids: tuple[int, ...] | None = None
    comms: tuple[str, ...] | None = None
    cpus: tuple[int, ...] | None = None
    events: tuple[str, ...] | None = None
    cgroups: tuple[str, ...] | None = None
    frames: tuple[str, ...] | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Chosen:
        """From what a page says; raises UsageError when it makes no sense."""
        if unknown := said.keys() - cls.__dataclass_fields__.keys():
            raise UsageError(f"a selection has no {min(unknown)}")
        return cls(**{key: None if value is None else tuple(value) for key, value in said.items()})

    def only(self, names: Sequence[str]) -> Chosen:
        """The same with only some of what it is narrowed by."""
        return Chosen(**{name: getattr(self, name) for name in names})


class Source(Protocol):
    """Where the parts come from: a session."""

    def rate(self, chosen: Chosen) -> LiveView:
        """Event rates of what is selected."""

    def heatmap(self, chosen: Chosen) -> LiveView:
        """The heat map of what is selected."""

    def flame(self, chosen: Chosen) -> LiveView:
        """The flame graph of what is selected, or its difference from the baseline."""

    def top(self, chosen: Chosen) -> pd.DataFrame:
        """Processes: pid, comm, on_cpu_ns, share, events; the largest first."""

    def findings(self, chosen: Chosen) -> Sequence[FindingLike]:
        """What the pitfalls came to."""

    def code(self, chosen: Chosen) -> str:
        """The code that makes the selection."""

    def refresh(self) -> tuple[float, float, bool]:
        """Look again at a session that is being recorded: its time, and whether it still is."""


@dataclass
class _Parts:
    views: dict[str, LiveView] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


class Explorer(LiveView):
    """Everything that a session has, on one page: brush a time, pick a process, click a frame, and the rest follows.

    `selection` is what is selected, `code` the line of Python that makes the same part of the session. With
    `player`, the page has what plays a recording against the clock.
    """

    modules = (
        "event_rate.js",
        "heatmap.js",
        "flametree.js",
        "flamepane.js",
        "flamesearch.js",
        "flamemenu.js",
        "flametable.js",
        "flamegraph.js",
        "player.js",
        "explorer.js",
    )
    style = "explorer.css"

    def __init__(self, source: Source, *, title: str, player: bool = False) -> None:
        self.source = source
        self.title = visible(title, 120)
        self.player = player
        self._parts = _Parts()
        self.window = (0.0, 0.0)
        self.recording = False

    @property
    def height(self) -> int:
        """Height of the iframe, pixels."""
        return 1320

    def stylesheet(self) -> str:
        """The style sheets of all parts."""
        return "\n".join(asset(name) for name in ("event_rate.css", "heatmap.css", "flamegraph.css", self.style))

    @property
    def selection(self) -> Chosen:
        """What is selected."""
        return Chosen.of(self.state.get("selection", {}))

    def select(self, **changes: Any) -> None:
        """Select something else, as a person would: `select(time=(2, 3), pids=[7])`; None takes one back."""
        chosen = {**self.state.get("selection", {}), **changes}
        Chosen.of(chosen)
        self.state = {**self.state, "selection": {k: v if v is None else list(v) for k, v in chosen.items()}}

    @property
    def code(self) -> str:
        """The code that makes what is selected: it can be pasted into a cell."""
        return self.source.code(self.selection)

    @property
    def table(self) -> pd.DataFrame:
        """The processes of what is selected."""
        return self.source.top(self.selection.only(NARROWED_BY["top"]))

    def to_svg(self) -> str:
        """The flame graph of what is selected, as a picture."""
        return self._part("flame").to_svg()

    def to_text(self) -> str:
        """The code that selects, and the heaviest processes."""
        return "\n".join([self.title, visible(self.code, 400), text_table(self.table, 10)])

    def first(self) -> Answer:
        """All parts of what is selected."""
        self.window = tuple(self.source.refresh()[:2])  # type: ignore[assignment]
        meta, data = self._answered(self.selection, (*PARTS, "top", "findings"))
        about = {"title": self.title, "state": self.state, "player": self.player}
        return {**meta, **about}, data

    def answer(self, ask: Mapping[str, Any]) -> Answer:
        """{"part", "ask"}: a question to a part; {"select", "parts"}: parts anew; {"refresh"}: has there come more?"""
        if "part" in ask:
            return self._part(ask["part"]).answer(ask["ask"])
        return self._answered(Chosen.of(ask["select"]), ask["parts"])

    def _part(self, name: str) -> LiveView:
        if name not in self._parts.views:
            self._make(name, self.selection)
        if name not in self._parts.views:
            raise UsageError(self._parts.missing[name])
        return self._parts.views[name]

    def _make(self, name: str, chosen: Chosen) -> None:
        """Make a part anew; what a person has set in it stays."""
        make: Callable[[Chosen], LiveView] = getattr(self.source, name)
        wanted = chosen.only(NARROWED_BY[name])
        if name == "flame" and chosen.time and chosen.baseline:
            wanted = Chosen(**{**vars(wanted), "baseline": chosen.baseline})
        try:
            view = make(wanted)
        except MissingTable as missing:
            self._parts.missing[name] = str(missing)
            self._parts.views.pop(name, None)
            return
        self._parts.views[name] = view
        self._parts.missing.pop(name, None)

    def _answered(self, chosen: Chosen, names: Sequence[str]) -> Answer:
        first, last, recording = self.source.refresh()
        self.window, self.recording = (first, last), recording
        meta: dict[str, Any] = {"window": [first, last], "recording": recording, "code": self.source.code(chosen)}
        blobs: list[bytes] = []
        at = 0
        parts: dict[str, Any] = {}
        for name in names:
            if name == "top":
                meta["top"] = _rows(self.source.top(chosen.only(NARROWED_BY["top"])))
            elif name == "findings":
                meta["findings"] = [_finding(f) for f in self.source.findings(chosen)]
            else:
                self._make(name, chosen)
                if name in self._parts.missing:
                    parts[name] = {"missing": visible(self._parts.missing[name])}
                    continue
                said, data = self._parts.views[name].first()
                parts[name] = {"meta": said, "at": at, "size": len(data)}
                blobs.append(data + bytes(-len(data) % 8))
                at += len(blobs[-1])
        return {**meta, "parts": parts}, b"".join(blobs)

    def _page(self) -> str:
        meta, data = self.first()
        return page(
            title=self.title,
            body="<div id='view' class='tl-explorer'></div>",
            style=self.stylesheet(),
            script=script_of(self.modules, "saved.js"),
            data=packed(meta, data),
        )


def _rows(top: pd.DataFrame) -> list[list[Any]]:
    """pid, name, on-CPU time in ns, its share, events: what explorer.js puts into the table."""
    rows = top.head(TOP)
    columns = (rows[c].tolist() for c in ("pid", "comm", "on_cpu_ns", "share", "events"))
    return [
        [int(pid), visible(str(comm), 40), float(ns), float(share), int(events)]
        for pid, comm, ns, share, events in zip(*columns, strict=True)
    ]


def _finding(found: FindingLike) -> dict[str, Any]:
    window = getattr(found, "window_s", None)
    return {
        "title": visible(found.title, 160),
        "outcome": found.outcome,
        "severity": found.severity or "",
        "actual": visible(found.actual, 120),
        "action": visible(found.action, 300),
        "time": list(window) if window else None,
    }
