"""The groups with the most events as a table, each with a line of how its rate went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.views.marking import markings, marks_note
from tracelab.views.markup import WrittenView
from tracelab.views.sparkline import Cells, Floats, highest, spark_svg, spark_text
from tracelab.views.wording import digits, escaped, percent, short, visible

CELLS, TEXT_CELLS = 90, 40  #: of a line, as a picture and in text
NAME = 40  #: characters of a name
NOTHING = "no events in this selection"
_STYLE = (
    ".tl-written .spark{display:block}.tl-written .spark .line{fill:#0072b2}.tl-written .spark .lost{fill:#d4002a}"
    ".tl-written .spark .base{stroke:var(--tl-line);fill:none}"
    ".tl-written .spark .mark{stroke:#6b3fa0;stroke-dasharray:2 2;fill:none}.tl-written .spark .span{fill:#8d6bbd4d}"
    "@media (prefers-color-scheme:dark){body>.tl-written .spark .line{fill:#56b4e9}"
    "body>.tl-written .spark .lost{fill:#ff5470}body>.tl-written .spark .mark{stroke:#c9a6ff}}"
    "[data-jp-theme-light=false] .tl-written .spark .line{fill:#56b4e9}"
    "[data-jp-theme-light=false] .tl-written .spark .lost{fill:#ff5470}"
    "[data-jp-theme-light=false] .tl-written .spark .mark{stroke:#c9a6ff}"
)


class TopTable(WrittenView):
    """A row per group: events, share, rate, peak, and the rate over time as a line on a scale of its own.

    `top` is a table of analysis.top.top_over_time, `rates` the one of analysis.rates that it was made of, and `marks`
    one of analysis.marks. A cell of a line is as high as its fullest bin; lossy time is underlined.
    """

    def __init__(
        self,
        top: pd.DataFrame,
        rates: pd.DataFrame,
        *,
        marks: pd.DataFrame | None = None,
        title: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self._top = top
        self.by = visible(str(top.attrs.get("by", "series")), 40)
        self.title = visible(title or f"Top {len(top)} by {self.by}", 120)
        self._notes = tuple(visible(note) for note in notes)
        bins = rates.drop_duplicates("time_s").sort_values("time_s")
        times = bins["time_s"].to_numpy(float)
        self._length_s = float(rates.attrs["bin_s"])
        shown = rates[rates["series"].isin(top["series"])]
        self._rates = shown.pivot_table(index="series", columns="time_s", values="events_per_s")
        self._lost = bins["lost_per_s"].to_numpy(float) > 0
        self._window = (
            (float(times.min()), float(times.max()) + self._length_s) if len(times) else (0.0, 0.0)
        )
        self.marks = markings(marks, self._window)

    def __repr__(self) -> str:
        return f"<TopTable {self.title!r}: {len(self._top)} rows>"

    @property
    def table(self) -> pd.DataFrame:
        """Events, share, mean rate, peak rate and its time, by series."""
        return self._top

    def notes(self) -> tuple[str, ...]:
        """What must be said beside the table: what is not in it, what was lost, and the marks."""
        said = []
        if others := int(self._top.attrs.get("others", 0)):
            events = int(self._top.attrs.get("others_events", 0))
            said.append(f"{others:,} more with {events:,} events are not in here; give n=... for more")
        if self._lost.any():
            said.append(
                f"events were lost in {digits(round(float(self._lost.sum()) * self._length_s, 6))} s, which is "
                "underlined: rates are too low there"
            )
        return (*said, *marks_note(self.marks), *self._notes)

    def to_text(self) -> str:
        """The table with lines of block characters; lossy cells have a cross below them."""
        if not len(self._top):
            return "\n".join([self.title, NOTHING, *self.notes()])
        cells = self._cells(TEXT_CELLS)
        head = f"{'events':>12} {'share':>7} {'mean/s':>8} {'peak/s':>8}"
        lines = [self.title, self._about(cells), f"{head}  {'over time':<{cells.count}}  {self.by}"]
        for row in self._top.to_dict("records"):
            numbers = (
                f"{row['events']:>12,} {percent(row['share']):>7} {short(row['events_per_s']):>8} "
                f"{short(row['peak_per_s']):>8}"
            )
            line = spark_text(self._line(row["series"], cells))
            lines.append(f"{numbers}  {line}  {visible(row['series'], NAME)}")
        if cells.lossy.any():
            crosses = "".join("×" if lossy else " " for lossy in cells.lossy)
            lines.append(f"{'':>38}  {crosses}  lost")
        return "\n".join([*lines, *self.notes()])

    def _body(self) -> str:
        notes = "".join(f"<p class='soft'>{escaped(note)}</p>" for note in self.notes())
        if not len(self._top):
            return f"<h3>{escaped(self.title)}</h3><p>{NOTHING}</p>{notes}"
        cells = self._cells(CELLS)
        names = (self.by, "over time")
        numeric = ("events", "share", "mean/s", "peak/s", "peak at")
        head = f"<th>{escaped(names[0])}</th>" + "".join(f"<th class='num'>{name}</th>" for name in numeric)
        rows = "".join(self._row(row, cells) for row in self._top.to_dict("records"))
        return (
            f"<style>{_STYLE}</style><h3>{escaped(self.title)}</h3><p class='soft'>{escaped(self._about(cells))}</p>"
            f"<table><thead><tr>{head}<th>{names[1]}</th></tr></thead><tbody>{rows}</tbody></table>{notes}"
        )

    def _row(self, row: Mapping[Any, Any], cells: Cells) -> str:
        series, peak, at = str(row["series"]), float(row["peak_per_s"]), float(row["peak_s"])
        numbers = (
            f"{row['events']:,}",
            percent(row["share"]),
            short(row["events_per_s"]),
            short(peak),
            f"{digits(round(at, 6))} s",
        )
        label = f"{visible(series, NAME)}: at most {short(peak)} events/s, at {digits(round(at, 6))} s"
        line = spark_svg(self._line(series, cells), cells, self.marks, label)
        tds = "".join(f"<td class='num'>{text}</td>" for text in numbers)
        return f"<tr><td>{escaped(series, NAME)}</td>{tds}<td>{line}</td></tr>"

    def _cells(self, count: int) -> Cells:
        count = min(count, len(self._lost))
        lossy: npt.NDArray[np.bool_] = highest(self._lost.astype(float), count) > 0
        return Cells(*self._window, count, lossy)

    def _line(self, series: str, cells: Cells) -> Floats:
        return highest(self._rates.loc[series].to_numpy(float), cells.count)

    def _about(self, cells: Cells) -> str:
        first, last = (digits(round(second, 3)) for second in self._window)
        return (
            f"{first} s to {last} s; a cell is the highest rate in {digits(round(cells.cell_s, 6))} s, "
            "and each line has a scale of its own"
        )
