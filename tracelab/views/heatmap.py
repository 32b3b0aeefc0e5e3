"""The heat map of a session's moments: where ranges of time are picked, down to 20 ms, for what else is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tracelab.analysis.heatmap import Floats, Moments
from tracelab.views import palette
from tracelab.views.heat_picture import heat_svg
from tracelab.views.live import Answer, LiveView
from tracelab.views.marking import said_marks
from tracelab.views.saved import packed, page, script_of
from tracelab.views.wording import amount, digits, visible

SAVED_CELLS = 40_000  #: in a saved page; of more, neighbours are added up
LOST, NOT_RECORDED = 1, 2  #: flags of cells
PICTURE_CELLS = 12_000


@dataclass(frozen=True)
class Choice:
    """What a heat map can be of."""

    of: str  #: samples, events or latency
    name: str | None  #: the kind of samples, or the event

    @property
    def text(self) -> str:
        """How it is called in a list."""
        what = {"samples": "samples", "events": "events", "latency": "time of"}[self.of]
        return f"{what}: {visible(self.name, 60)}" if self.name else f"all {what}"

    def said(self) -> dict[str, Any]:
        """As the script has it."""
        return {"of": self.of, "name": self.name, "text": self.text}


class Source(Protocol):
    """Where moments come from: a session; see analysis.sessionmoments."""

    def names(self) -> Sequence[tuple[str, str | None]]:
        """What a heat map can be of here."""

    @property
    def searchable(self) -> bool:
        """Whether there are stacks to be searched."""

    def moments(self, of: str, name: str | None, column_s: float | None) -> Moments:
        """What happened in each moment."""

    def matching(self, made: Moments, pattern: str) -> Floats:
        """What of the samples in each moment has a stack that matches."""


class Heatmap(LiveView):
    """A heat map: a column of some seconds beside the other, a cell for each moment in it.

    Drag a range of time, and with Ctrl a second one, to compare with: `range` and `baseline` have them, in seconds
    since the recording began. A search paints the moments whose stacks match. `state` keeps both, search, and log.
    """

    modules = ("heatmap.js",)
    style = "heatmap.css"

    def __init__(
        self,
        source: Source,
        choice: Choice,
        *,
        column_s: float | None = None,
        title: str = "",
        marks: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.source = source
        self.choice = choice
        self.marks = marks
        self.made = source.moments(choice.of, choice.name, column_s)
        self.title = visible(title or f"Moments by {self.made.quantity}", 120)
        self._notes = tuple(visible(note) for note in notes)

    def __repr__(self) -> str:
        return f"<Heatmap {self.title!r}: {self.made.columns} columns of {self.made.column_s:g} s>"

    @property
    def height(self) -> int:
        """Height of the iframe, pixels."""
        return 330 + 18 * len(self.notes())

    @property
    def range(self) -> tuple[float, float] | None:
        """The selected time; None for none. Assigning one shows it."""
        return self._span("range")

    @range.setter
    def range(self, span: Sequence[float] | None) -> None:
        self.state = {**self.state, "range": None if span is None else list(span)}

    @property
    def baseline(self) -> tuple[float, float] | None:
        """The time to compare with; None for none. Assigning one shows it."""
        return self._span("baseline")

    @baseline.setter
    def baseline(self, span: Sequence[float] | None) -> None:
        self.state = {**self.state, "baseline": None if span is None else list(span)}

    def _span(self, name: str) -> tuple[float, float] | None:
        span = self.state.get(name)
        return None if span is None else (float(span[0]), float(span[1]))

    @property
    def table(self) -> pd.DataFrame:
        """One row per recorded moment: time_s (its begin), value, lost."""
        made = self.made
        time_s = made.start_s + np.arange(len(made.values)) * made.cell_s
        table = pd.DataFrame({"time_s": time_s, "value": made.values, "lost": made.lost})[made.recorded]
        table.attrs["units"] = {"time_s": "s", "value": made.unit, "lost": "name"}
        return table.reset_index(drop=True)

    def notes(self) -> tuple[str, ...]:
        """What must be said beside the picture."""
        lost = int(self.made.lost.sum())
        said = [f"something was lost in {digits(lost)} of the moments: marked at their left edge"] if lost else []
        return (*said, *self._notes)

    def first(self) -> Answer:
        """The grid, colours, and what else it could be of."""
        return self._packed(self.made, self.choice)

    def answer(self, ask: Mapping[str, Any]) -> Answer:
        """{"moments": {choice, columnS}}: another grid; {"match", "columnS"}: what of it matches."""
        if "match" in ask:
            made = self.made
            if made.column_s != ask["columnS"]:
                made = self.source.moments(self.choice.of, self.choice.name, float(ask["columnS"]))
            cells = self.source.matching(made, str(ask["match"]))
            whole = float(self.source.matching(made, "").sum())
            return {"cells": len(cells), "share": float(cells.sum()) / (whole or 1.0)}, cells.astype("<f4").tobytes()
        asked = ask["moments"]
        choice = Choice(asked["choice"]["of"], asked["choice"]["name"])
        self.made, self.choice = self.source.moments(choice.of, choice.name, float(asked["columnS"])), choice
        return self._packed(self.made, choice)

    def _packed(self, made: Moments, choice: Choice) -> Answer:
        choices = [Choice(*name) for name in self.source.names()]
        if choice not in choices:
            choices.insert(0, choice)
        flags = np.where(~made.recorded, NOT_RECORDED, np.where(made.lost, LOST, 0))
        meta = {
            "title": self.title,
            "cells": len(made.values),
            "columns": made.columns,
            "rows": made.rows,
            "startS": made.start_s,
            "cellS": made.cell_s,
            "columnS": made.column_s,
            "quantity": visible(made.quantity, 80),
            "unit": made.unit,
            "searchUnit": "ns",
            "searchable": self.source.searchable,
            "choices": [c.said() for c in choices],
            "chosen": choices.index(choice),
            "notes": self.notes(),
            "marks": said_marks(self.marks),
            "colours": palette.heat_colours(),
            "state": self.state,
        }
        return meta, made.values.astype("<f4").tobytes() + flags.astype("<f4").tobytes()

    def to_text(self) -> str:
        """What there is in all, and the busiest moments."""
        made, table = self.made, self.table
        lines = [self.title, f"{made.columns} columns of {made.column_s:g} s, a moment is {1000 * made.cell_s:g} ms"]
        for row in table.nlargest(5, "value").to_dict("records"):
            lines.append(f"{row['time_s']:10.3f} s  {amount(row['value'], made.unit)}")
        return "\n".join([*lines, *self.notes()])

    def to_svg(self) -> str:
        """The heat map as SVG, made without a browser."""
        return heat_svg(_coarser(self.made, PICTURE_CELLS), title=self.title, notes=self.notes())

    def _page(self) -> str:
        meta, data = self._packed(_coarser(self.made, SAVED_CELLS), self.choice)
        return page(
            title=self.title,
            body="<div id='view' class='tl-heat'></div>",
            style=self.stylesheet(),
            script=script_of(self.modules, "saved.js"),
            data=packed(meta, data),
        )


def _coarser(made: Moments, cells: int) -> Moments:
    """The same moments in no more cells than that: neighbours of a column are added up."""
    factor = next((f for f in (1, 2, 5, 10, 25, 50) if len(made.values) / f <= cells), made.rows)
    if factor == 1:
        return made
    return Moments(
        start_s=made.start_s,
        cell_s=made.cell_s * factor,
        rows=made.rows // factor,
        values=made.values.reshape(-1, factor).sum(axis=1),
        recorded=made.recorded.reshape(-1, factor).max(axis=1),
        lost=made.lost.reshape(-1, factor).max(axis=1),
        quantity=made.quantity,
        unit=made.unit,
    )
