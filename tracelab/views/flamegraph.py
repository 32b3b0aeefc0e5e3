"""Flame graphs: in a live notebook, in a saved one, as a picture and as text.

NumPy folds and prunes, because what can be seen does not grow with the profile; flamegraph.js lays out and
draws. Both the live widget and the saved page run that one file on the same bytes.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tracelab.analysis.flamechart import coarser
from tracelab.analysis.shapes import shape_of
from tracelab.analysis.stacks import Tree, cut_to, domain_weights, functions, left_heavy, weighed
from tracelab.analysis.transform import applied, callees, callers, inverted
from tracelab.errors import UsageError
from tracelab.profile import Profile
from tracelab.views.flame_payload import MAX_SYMBOL, colours, packed_tree
from tracelab.views.flame_picture import flame_svg
from tracelab.views.live import Answer, LiveView
from tracelab.views.saved import asset, packed, page, script_of
from tracelab.views.wording import amount, escaped, percent, visible

MAX_NODES = 20_000  #: of a larger tree, about so many of its heaviest frames are drawn
CELL_NODES = 5_000  #: in the saved form of a cell, of which there are many in a notebook; as many as a screen shows
SHARE = 1 / 8000  #: and none that is lighter than this share of the whole
PICTURE_BYTES = 30_000  #: of the picture inside a notebook cell, where it is stored twice

_NO_DATA = "no {quantity} in this profile: nothing was sampled, or the selection left nothing"
_BODY = "<div id='picture'>{picture}</div><div id='view' class='tl-fill'></div>"


class Stacks(Protocol):
    """Where more stacks come from than one profile has: a session's samples."""

    @property
    def groups(self) -> tuple[str, ...]:
        """By what they can be told apart."""

    @property
    def in_time(self) -> bool:
        """Whether they are times, so that they can be shown in their order."""

    def profile(self, by: str | None) -> Profile:
        """The profile, those of each group on a frame of their own."""

    def chart(self) -> tuple[Tree, int, int]:
        """A flame chart, when it begins (ns since the recording began), and threads that were left out."""


class FlameGraph(LiveView):
    """A flame graph of a profile, root at the top, wide frames left.

    Frames of the same function under the same caller are one; frames too light to be seen are merged into
    strips that keep their weight. `table` has every function, also those too light to be drawn.

    With `stacks`, a live flame graph can be had by process, thread, comm, cgroup and CPU, and in the order of time.
    `state` says how it is shown: layout ("merged", "inverted", "sandwich", "time"), by, steps (see
    analysis.transform), of (the function of a sandwich), selection, search, up, colours ("domain", "module").
    """

    modules = ("flametree.js", "flamepane.js", "flamesearch.js", "flamemenu.js", "flametable.js", "flamegraph.js")
    style = "flamegraph.css"

    def __init__(
        self,
        profile: Profile,
        *,
        title: str = "",
        by: str | None = None,
        layout: str = "merged",
        stacks: Stacks | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.profile = profile
        self.by = by
        self.layout = layout
        self.stacks = stacks
        self._nodes: int | None = None
        self.title = visible(title or profile.name or f"Flame graph of {profile.quantity}", 120)
        if state:
            self.state = dict(state)

    def __repr__(self) -> str:
        return f"<FlameGraph {self.title!r}: {amount(self.profile.total, self.profile.unit)}>"

    @functools.cached_property
    def tree(self) -> Tree:
        """The whole tree of calls, siblings in no particular order."""
        return weighed(shape_of(self.profile), self.profile.weights)

    @functools.cached_property
    def drawn(self) -> Tree:
        """The tree that is drawn: all of it, or without frames lighter than SHARE of the whole."""
        if self.layout == "time":
            return _readable(self._chart[0], self._nodes or MAX_NODES)
        profile = self._rewritten({"layout": self.layout, "by": self.by})
        tree = weighed(shape_of(profile), profile.weights)
        return left_heavy(cut_to(tree, self._nodes or MAX_NODES, SHARE))

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row per function: symbol, module, domain, self, total, shares; see analysis.stacks.functions."""
        table = functions(self.tree)
        table.attrs.update(quantity=self.profile.quantity, unit=self.profile.unit)
        return table

    @property
    def height(self) -> int:
        """Height of the iframe in pixels: what the tree needs, between a usable and a tolerable one."""
        return min(max(int(self.drawn.depth.max()) * 18 + 150, 260), 560)

    def domains(self) -> dict[str, float]:
        """Weight by what ran, in the profile's unit: see analysis.stacks.domain_weights."""
        return domain_weights(self.tree)

    def about(self) -> list[str]:
        """What must be said beside the picture: total, complete stacks, merged frames; notes come after it."""
        profile, tree = self.profile, self.drawn
        if not profile.total:
            return [visible(_NO_DATA.format(quantity=profile.quantity))]
        complete = profile.complete_share
        unwound = (
            "not known which stacks are complete"
            if complete is None
            else f"{percent(complete)} of it in stacks that are complete to the outermost frame"
        )
        said = [visible(f"{amount(profile.total, profile.unit)} of {profile.quantity}; {unwound}")]
        if self.layout == "time" and self._chart[2]:
            said.append(f"{self._chart[2]:,} threads with less time are left out")
        if merged := int(tree.pruned.sum()):
            said.append(f"{merged:,} frames of the tree are too light to be drawn, and merged (hatched)")
        return said

    @property
    def notes(self) -> list[str]:
        """The profile's notes: what was lost or cut off."""
        return [visible(note) for note in self.profile.notes]

    def to_svg(self, max_bytes: int = 150_000) -> str:
        """The flame graph as SVG, made without a browser."""
        return self._picture(max_bytes)

    def _picture(self, max_bytes: int, fills: Sequence[str] | None = None) -> str:
        return flame_svg(
            self.drawn,
            whole=self.profile.total,
            title=self.title,
            unit=self.profile.unit,
            domains=self.domains(),
            notes=self.about() + self.notes,
            max_bytes=max_bytes,
            fills=fills,
        )

    def to_text(self, top: int = 10) -> str:
        """The heaviest functions by self weight, with their numbers."""
        unit, rows = self.profile.unit, self.table.head(top)
        lines = [self.title, *self.about(), *self.notes]
        if len(rows):
            lines.append(f"{'self':>10} {'share':>7} {'total':>10} {'share':>7}  function")
        for row in rows.to_dict("records"):
            where = visible(str(row["module"]), 40) or row["domain"]
            lines.append(
                f"{amount(row['self'], unit):>10} {percent(row['self_share']):>7} "
                f"{amount(row['total'], unit):>10} {percent(row['share']):>7}  "
                f"{visible(str(row['symbol']), 80)}  ({where})"
            )
        if len(self.table) > top:
            lines.append(f"... and {len(self.table) - top:,} more functions in .table")
        return "\n".join(lines)

    @property
    def selection(self) -> list[str]:
        """The path of the frame last clicked, root first; empty for none. Assigning one shows it."""
        return list(self.state.get("selection", []))

    @selection.setter
    def selection(self, path: Iterable[str]) -> None:
        self.state = {**self.state, "selection": list(path)}

    def highlight(self, pattern: str) -> None:
        """Show frames that match a text, or a /regular expression/, and their share."""
        self.state = {**self.state, "search": pattern}

    def selected(self) -> Profile:
        """The stacks below the selected frame, after the steps that are set; all of them without a selection."""
        layout, steps = self.state.get("layout", self.layout), self.state.get("steps", [])
        by = self.state.get("by", self.by)
        layout = "focus" if layout == "sandwich" else layout
        profile = self._rewritten({**self.state, "by": by, "layout": layout, "steps": steps})
        path = self.selection
        keep = np.diff(profile.offsets) >= len(path)
        names = [visible(f.symbol, MAX_SYMBOL) for f in profile.frames]
        for depth, name in enumerate(path):
            cell = np.where(keep, profile.offsets[:-1] + depth, 0)
            wanted = np.array([n == name for n in names], bool)
            keep &= wanted[profile.stack_frames[cell]] if len(profile.stack_frames) else False
        return replace(profile, weights=np.where(keep, profile.weights, 0.0)).compact()

    def first(self) -> Answer:
        """The tree as it was asked for in Python, and everything that is said beside it."""
        if self.layout == "time":
            meta, data = self._packed_chart()
        else:
            meta, data = packed_tree(self.drawn, self.profile.unit, self.layout)
        return {**meta, **self._about_view(), **colours()}, data

    def answer(self, ask: Mapping[str, Any]) -> Answer:
        """Another tree: {"tree": {layout, by, steps, of, root}}; root is a path of functions to look into."""
        asked = ask["tree"]
        if asked["layout"] == "time":
            return self._packed_chart()
        profile = self._rewritten(asked)
        tree = weighed(shape_of(profile), profile.weights)
        node = node_at(tree, asked.get("root") or [])
        drawn = left_heavy(cut_to(tree, MAX_NODES, SHARE, within=node))
        return packed_tree(drawn, profile.unit, asked["layout"])

    def _rewritten(self, asked: Mapping[str, Any]) -> Profile:
        by = asked.get("by") or None
        if by != self.by and self.stacks is None:
            raise UsageError(f"stacks {by or 'of everything'} are not in this profile")
        profile = self.stacks.profile(by) if by != self.by and self.stacks else self.profile
        profile = applied(profile, asked.get("steps") or [])
        layout, of = asked.get("layout"), str(asked.get("of", ""))
        if layout == "inverted":
            return inverted(profile)
        return callers(profile, of) if layout == "callers" else callees(profile, of) if layout == "focus" else profile

    @functools.cached_property
    def _chart(self) -> tuple[Tree, int, int]:
        if self.stacks is None or not self.stacks.in_time:
            raise UsageError("this profile has no times: only a session's samples can be shown in their order")
        return self.stacks.chart()

    def _packed_chart(self) -> Answer:
        chart, start_ns, _ = self._chart
        meta, data = packed_tree(_readable(chart, self._nodes or MAX_NODES), "ns", "time")
        return {**meta, "startNs": start_ns}, data

    def _about_view(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "whole": self.profile.total,
            "about": self.about(),
            "notes": self.notes,
            "domains": self.domains(),
            "by": self.by or "",
            "groups": [] if self.stacks is None else ["", *self.stacks.groups],
            "layouts": [] if self.stacks is None or not self.stacks.in_time else ["time"],
            "state": self.state,
        }

    def _page(self) -> str:
        return self._page_with(self.to_svg(PICTURE_BYTES))

    def _cell_page(self) -> str:
        cell = copy.copy(self)
        cell._nodes = min(CELL_NODES, MAX_NODES)
        cell.__dict__.pop("drawn", None)
        return cell._page_with("")

    def _small_picture(self) -> str:
        return self.to_svg(PICTURE_BYTES)

    def _page_with(self, picture: str) -> str:
        meta, data = self.first()
        return page(
            title=self.title,
            body=_BODY.format(picture=picture),
            style=asset("flamegraph.css"),
            script=script_of(self.modules, "saved.js"),
            data=packed(meta, data),
        )

    def _other_forms(self) -> dict[str, Any]:
        return {"image/svg+xml": self.to_svg(PICTURE_BYTES)}

    def _numbers(self) -> str:
        unit = self.profile.unit
        rows = [
            f"<tr><td>{amount(row['self'], unit)}</td><td>{percent(row['self_share'])}</td>"
            f"<td>{amount(row['total'], unit)}</td><td>{percent(row['share'])}</td>"
            f"<td>{escaped(row['symbol'], 120)}</td><td>{escaped(row['module'], 80)}</td>"
            f"<td>{escaped(row['domain'])}</td></tr>"
            for row in self.table.head(20).to_dict("records")
        ]
        names = ("self", "share", "total", "share", "function", "module", "domain")
        head = "".join(f"<th>{name}</th>" for name in names)
        notes = "".join(f"<p>{escaped(note)}</p>" for note in self.about() + self.notes)
        return f"{notes}<table><tr>{head}</tr>{''.join(rows)}</table>"


def node_at(tree: Tree, path: Iterable[Iterable[str]]) -> int:
    """The node at the end of a path of functions (symbol, module, domain), or as far as there are such callees."""
    node = 0
    for wanted in path:
        symbol, module, domain = wanted
        child = node + 1
        while child < tree.end[node]:
            frame = tree.frames[tree.frame[child]] if tree.frame[child] >= 0 else None
            if frame and frame.domain == domain and _is(frame.symbol, symbol) and _is(frame.module, module):
                break
            child = int(tree.end[child])
        else:
            return node
        node = child
    return node


def _is(text: str, shown: str) -> bool:
    return text == shown or visible(text, MAX_SYMBOL) == shown


def _readable(chart: Tree, nodes: int) -> Tree:
    """A chart without what is too narrow to be seen, coarser until it is small enough to be sent."""
    narrowest = chart.total[0] / max(1, int((chart.depth == 1).sum())) / 20_000
    while len(chart) > nodes:
        chart, narrowest = coarser(chart, narrowest), narrowest * 2
    return chart
