"""Event rates over time: a plotly figure where one can live, a small page and a picture where not.

A rate with losses is a range, not a line: what was kept stands at the bottom, and what was lost is hatched
on top of it, because the true rate lies between the two.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tracelab.views.rate_bins import Bins, Window, bins_of
from tracelab.views.rate_figure import rate_figure
from tracelab.views.rate_picture import HEIGHT, Plot, colours_of, rate_svg
from tracelab.views.saved import DrawnView, asset, packed, page, script_of
from tracelab.views.wording import digits, escaped, percent, visible

FIGURE_BINS, PICTURE_BINS, SMALL_PICTURE_BINS = 600, 300, 100  #: at most; neighbours are averaged, and the view says so


class EventRate(DrawnView):
    """Events per second over time, stacked by series.

    `rates` is tidy, as analysis.rates makes it: time_s (begin of a bin, seconds since the session began),
    series (text), events_per_s (events kept in that bin). A bin with a row for any series was recorded: a
    series without a row in it is zero there. A bin without rows, or with NaN only, was not recorded, and is
    drawn as a gap. `losses` has time_s and lost_per_s (events lost in that bin, all series together); a
    column lost_per_s of `rates`, the same in all rows of a bin, is taken where `losses` is not given. The
    length of a bin and what the series are come from the attributes of `rates` unless they are given.

    Raises UsageError when a column or the length of a bin is missing.
    """

    def __init__(
        self,
        rates: pd.DataFrame,
        *,
        bin_s: float | None = None,
        by: str | None = None,
        title: str = "",
        losses: pd.DataFrame | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self._rates = rates
        self.losses = losses
        self.by = visible(str(by or rates.attrs.get("by", "series")), 40)
        self.title = visible(title or f"Events per second by {self.by}", 120)
        self._notes = tuple(visible(note) for note in notes)
        self.bins = bins_of(rates, losses, rates.attrs.get("bin_s") if bin_s is None else bin_s)
        self.bin_s = self.bins.bin_s

    def __repr__(self) -> str:
        return f"<EventRate {self.title!r}: {len(self.bins.names)} series, {len(self.bins)} bins of {self.bin_s:g} s>"

    @property
    def height(self) -> int:
        """Height of the iframe, pixels."""
        return HEIGHT + 90 + 20 * len(self.notes())

    @property
    def table(self) -> pd.DataFrame:
        """The table of rates that the view was made from."""
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

    def _page(self) -> str:
        bins = self.bins.at_most(PICTURE_BINS)
        plot = Plot()
        meta = {
            "title": self.title,
            "names": bins.names,
            "start": bins.start_s,
            "bin": bins.bin_s,
            "bins": len(bins),
            "gaps": np.flatnonzero(~bins.recorded).tolist(),
            "plot": [plot.left, plot.top, plot.width, plot.height],
        }
        data = np.concatenate([bins.rates.ravel(), bins.lost]).astype("<f4").tobytes()
        swatches = "".join(
            f"<li><button type='button' aria-pressed='true' data-series='{i}'>"
            f"<span style='background:{colour}'></span>{escaped(name)}</button></li>"
            for i, (name, colour) in enumerate(zip(bins.names, colours_of(bins), strict=True))
        )
        if bins.lost.any():
            swatches += "<li><span class='tl-hatch'></span>lost: the true rate lies up to its upper edge</li>"
        notes = "".join(f"<p>{escaped(note)}</p>" for note in self.notes(bins))
        body = (
            f"<div id='view' class='tl-rate'>{rate_svg(bins, title=self.title, by=self.by, legend=False)}"
            f"<ul aria-label='{escaped(self.by)}'>{swatches}</ul><div class='tl-about'>{notes}</div></div>"
        )
        script = script_of(("event_rate.js",), "saved.js") if len(bins) else ""
        return page(
            title=self.title, body=body, style=asset("event_rate.css"), script=script, data=packed(meta, data)
        )

    def _other_forms(self) -> dict[str, Any]:
        figure = json.loads(self.figure.to_json())
        return {**super()._other_forms(), "application/vnd.plotly.v1+json": figure}


def _times(count: int) -> str:
    return "1 window" if count == 1 else f"{count} windows"


def _window_line(window: Window) -> str:
    return f"lost {window.count:,.0f} events from {window.start_s:g} s to {window.end_s:g} s"
