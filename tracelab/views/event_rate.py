"""Event rates over time: a plotly figure where one can live, a small page and a picture where not.

A rate with losses is a range, not a line: what was kept stands at the bottom, and what was lost is hatched
on top of it, because the true rate lies between the two.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tracelab.analysis.sessionrates import Counts
from tracelab.errors import UsageError
from tracelab.views import palette
from tracelab.views.live import Answer, LiveView
from tracelab.views.marking import said_marks
from tracelab.views.rate_bins import Bins, Window, bins_of, bins_of_counts
from tracelab.views.rate_figure import rate_figure
from tracelab.views.rate_picture import HEIGHT, colours_of, rate_svg
from tracelab.views.saved import packed, page, script_of
from tracelab.views.wording import amount, digits, percent, visible

FIGURE_BINS, PICTURE_BINS, SMALL_PICTURE_BINS = 600, 300, 100  #: at most; neighbours are averaged, and the view says so


class Source(Protocol):
    """Where a live plot gets the counts of a part of its time from; see analysis.sessionrates."""

    @property
    def table(self) -> pd.DataFrame:
        """The table of rates of all of it."""

    def counts(self, first_s: float | None = None, last_s: float | None = None) -> Counts:
        """Counts of a part of the time, all of it by default."""


class EventRate(LiveView):
    """Events per second over time, by series.

    `rates` is tidy, as analysis.rates makes it: time_s (begin of a bin, seconds since the session began),
    series (text), events_per_s (events kept in that bin). A bin with a row for any series was recorded: a
    series without a row in it is zero there. A bin without rows, or with NaN only, was not recorded, and is
    drawn as a gap. `losses` has time_s and lost_per_s (events lost in that bin, all series together); a
    column lost_per_s of `rates`, the same in all rows of a bin, is taken where `losses` is not given. The
    length of a bin and what the series are come from the attributes of `rates` unless they are given.

    A `source` is taken instead of `rates`: then bins are counted anew, and finely, for the part of the time that is
    zoomed to. `marks` has time_s, until_s and text. `range` is the time that was brushed; `state` has it, view (the
    time zoomed to), hidden (series) and lines (instead of a stack).

    Raises UsageError when a column or the length of a bin is missing.
    """

    modules = ("event_rate.js",)
    style = "event_rate.css"

    def __init__(
        self,
        rates: pd.DataFrame | None = None,
        *,
        source: Source | None = None,
        bin_s: float | None = None,
        by: str | None = None,
        title: str = "",
        losses: pd.DataFrame | None = None,
        marks: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
        lines: bool = False,
    ) -> None:
        if (rates is None) == (source is None):
            raise UsageError("a plot of rates is of a table or of a source of counts: give one of both")
        self._rates = rates
        self.source = source
        self.losses = losses
        self.marks = marks
        attrs = {} if rates is None else rates.attrs
        self.by = visible(str(by or attrs.get("by", "series")), 40)
        self.title = visible(title or f"Events per second by {self.by}", 120)
        self._notes = tuple(visible(note) for note in notes)
        if source is not None:
            self.bins = bins_of_counts(source.counts())
        else:
            assert rates is not None
            self.bins = bins_of(rates, losses, attrs.get("bin_s") if bin_s is None else bin_s)
        self.bin_s = self.bins.bin_s
        if lines:
            self.state = {"lines": True}

    def __repr__(self) -> str:
        return f"<EventRate {self.title!r}: {len(self.bins.names)} series, {len(self.bins)} bins of {self.bin_s:g} s>"

    @property
    def height(self) -> int:
        """Height of the iframe, pixels."""
        return HEIGHT + 90 + 20 * len(self.notes())

    @property
    def range(self) -> tuple[float, float] | None:
        """The brushed time, seconds since the recording began; None for none. Assigning one shows it."""
        span = self.state.get("range")
        return None if span is None else (float(span[0]), float(span[1]))

    @range.setter
    def range(self, span: Sequence[float] | None) -> None:
        self.state = {**self.state, "range": None if span is None else list(span)}

    @property
    def table(self) -> pd.DataFrame:
        """The table of rates that the view was made from."""
        if self._rates is None:
            assert self.source is not None
            self._rates = self.source.table
        return self._rates

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """One row per drawn series: events, mean_per_s over the recorded time, peak_per_s of the fullest bin."""
        bins, seconds = self.bins, float(self.bins.recorded.sum()) * self.bin_s
        counts = bins.rates.sum(axis=1) * self.bin_s
        return pd.DataFrame(
            {
                "series": list(bins.names),
                "events": counts,
                "mean_per_s": counts / seconds if seconds else counts,
                "peak_per_s": bins.rates.max(axis=1, initial=0.0),
            }
        )

    def notes(self, bins: Bins | None = None) -> tuple[str, ...]:
        """What must be said beside the plot: losses, gaps, folded series and averaged bins."""
        bins = bins or self.bins
        said = []
        if windows := self.bins.loss_windows:
            lost, kept = sum(w.count for w in windows), float(self.bins.kept.sum() * self.bin_s)
            share = percent(lost / (lost + kept))
            said.append(
                f"lost {digits(round(lost))} events in {_times(len(windows))}, {share} of all: "
                "there the true rate lies between the solid and the hatched edge"
            )
        if gaps := self.bins.gaps:
            length = digits(round(sum(gap.end_s - gap.start_s for gap in gaps), 6))
            said.append(f"not recorded: {length} s in {_times(len(gaps))}, left empty")
        if bins.folded:
            said.append(f"{bins.folded} series with few events are added up as “other”; .table has them all")
        if bins.merged > 1:
            said.append(
                f"drawn in bins of {bins.bin_s:g} s, each the mean of {bins.merged} bins of {self.bin_s:g} s"
            )
        if bins.fine_s:
            said.append(f"the line is the highest rate in {amount(bins.fine_s * 1e9, 'ns')} of each bin")
        return (*said, *self._notes)

    @property
    def figure(self) -> Any:
        """The rates as a plotly Figure (not a widget), stacked bars with losses hatched on top."""
        bins = self.bins.at_most(FIGURE_BINS)
        return rate_figure(bins, title=self.title, by=self.by, notes=self.notes(bins))

    def to_svg(self) -> str:
        """The rates as SVG, made without a browser."""
        return self._picture(PICTURE_BINS)

    def _small_picture(self) -> str:
        return self._picture(SMALL_PICTURE_BINS)

    def _picture(self, at_most: int) -> str:
        bins = self.bins.at_most(at_most)
        return rate_svg(bins, title=self.title, by=self.by, notes=self.notes(bins))

    def to_text(self) -> str:
        """Events, mean and peak rate by series, and what was lost or not recorded."""
        bins = self.bins
        lines = [self.title]
        if len(bins):
            end = bins.start_s + len(bins) * bins.bin_s
            lines.append(f"{bins.start_s:g} s to {end:g} s in {len(bins):,} bins of {bins.bin_s:g} s")
            lines.append(f"{'events':>14} {'mean/s':>12} {'peak/s':>12}  {self.by}")
        else:
            lines.append("no events in this selection")
        for row in self.summary.to_dict("records"):
            numbers = (
                f"{row['events']:>14,.0f} {digits(row['mean_per_s']):>12} {digits(row['peak_per_s']):>12}"
            )
            lines.append(f"{numbers}  {row['series']}")
        lines += [_window_line(w) for w in bins.loss_windows[:10]]
        return "\n".join([*lines, *self.notes()])

    def first(self) -> Answer:
        """The bins of all of the time, and everything that is said beside them."""
        bins = self.bins.at_most(PICTURE_BINS)
        meta, data = _packed(bins)
        about = {
            "title": self.title,
            "by": self.by,
            "whole": [bins.start_s, bins.start_s + len(bins) * bins.bin_s],
            "marks": said_marks(self.marks),
            "notes": list(self.notes(bins)),
            "colours": colours_of(bins),
            "lostColour": palette.LOST,
            "finer": self.source is not None,
            "state": self.state,
        }
        return {**meta, **about}, data

    def answer(self, ask: Mapping[str, Any]) -> Answer:
        """{"view": [from, until]}: the bins of that part of the time, counted anew."""
        if self.source is None:
            raise UsageError("this plot is of a table: it has no finer bins")
        first_s, last_s = ask["view"]
        return _packed(bins_of_counts(self.source.counts(float(first_s), float(last_s)), self.bins.names))

    def _page(self) -> str:
        return self._page_with(self.to_svg())

    def _cell_page(self) -> str:
        return self._page_with("" if len(self.bins) else self.to_svg())

    def _page_with(self, picture: str) -> str:
        if not len(self.bins):
            return page(title=self.title, body=f"<div class='tl-rate'>{picture}</div>", style=self.stylesheet())
        meta, data = self.first()
        body = f"<div id='picture'>{picture}</div><div id='view'></div>"
        script = script_of(self.modules, "saved.js")
        return page(title=self.title, body=body, style=self.stylesheet(), script=script, data=packed(meta, data))

    def _other_forms(self) -> dict[str, Any]:
        figure = json.loads(self.figure.to_json())
        return {**super()._other_forms(), "application/vnd.plotly.v1+json": figure}


def _packed(bins: Bins) -> Answer:
    """What event_rate.js reads: f32, the rates series by series, peaks, losses, and flags: 1 for what was recorded."""
    columns = [*bins.rates, bins.peak, bins.lost, bins.recorded]
    data = np.concatenate([np.asarray(column, "<f4") for column in columns]).astype("<f4").tobytes()
    meta = {"names": list(bins.names), "start": bins.start_s, "bin": bins.bin_s, "bins": len(bins), "fine": bins.fine_s}
    return meta, data


def _times(count: int) -> str:
    return "1 window" if count == 1 else f"{count} windows"


def _window_line(window: Window) -> str:
    return f"lost {window.count:,.0f} events from {window.start_s:g} s to {window.end_s:g} s"
