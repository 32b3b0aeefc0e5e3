"""A chart with its numbers as a view: a figure for plotly, a page that reads values out, a picture, and a text."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pandas as pd

from tracelab.views.chart import Chart
from tracelab.views.chart_figure import chart_figure
from tracelab.views.chart_layout import placed
from tracelab.views.chart_picture import chart_svg
from tracelab.views.chart_readout import readouts
from tracelab.views.chart_reduce import reduced
from tracelab.views.markup import html_table, text_table
from tracelab.views.saved import DrawnView, asset, packed, page, script_of
from tracelab.views.wording import visible

FIGURE_POINTS, PICTURE_POINTS = 2000, 400  #: of a series, at most
NUMBERS = 100  #: rows of the table on a page


class ChartView(DrawnView):
    """A chart and the table that it shows.

    `numbers` is what the text and the page say of it, where `table` has more rows than anyone reads.
    """

    def __init__(self, table: pd.DataFrame, chart: Chart, *, numbers: pd.DataFrame | None = None) -> None:
        self._table = table
        self._summary = table if numbers is None else numbers
        self.chart = chart
        self.title = visible(chart.title, 160)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.title!r}>"

    @property
    def table(self) -> pd.DataFrame:
        """The table that the chart shows, all of it."""
        return self._table

    @property
    def height(self) -> int:
        """Height of the iframe, pixels."""
        return round(placed(self._drawn)[-1].base + 44 + 17 * (len(self._drawn.notes) + 2)) + 40

    @functools.cached_property
    def _drawn(self) -> Chart:
        return reduced(self.chart, PICTURE_POINTS)

    @property
    def figure(self) -> Any:
        """The chart as a plotly Figure (not a widget)."""
        return chart_figure(reduced(self.chart, FIGURE_POINTS))

    def to_svg(self) -> str:
        """The chart as SVG, made without a browser."""
        return chart_svg(self._drawn)

    def to_text(self) -> str:
        """The title, the most important numbers, and what must be said of them."""
        notes = [visible(note) for note in self._drawn.notes]
        numbers = text_table(self._summary) if len(self._summary) else visible(self.chart.empty)
        return "\n".join([self.title, numbers, *notes])

    def _numbers(self) -> str:
        return html_table(self._summary, NUMBERS)

    def _page(self) -> str:
        return self._whole(f"<details><summary>the numbers</summary>{self._numbers()}</details>")

    def _cell_page(self) -> str:
        return self._whole("")

    def _whole(self, below: str) -> str:
        found = readouts(self._drawn)
        boxes = np.array([(r.left, r.top, r.right, r.bottom) for r in found], "<f4").tobytes()
        meta = {"texts": [r.text for r in found], "panels": [r.panel for r in found]}
        script = script_of(("chart.js",), "saved.js") if found else ""
        body = f"<div class='tl-chart'><div id='view'>{self.to_svg()}</div>{below}</div>"
        data = packed(meta, boxes) if found else ""
        return page(title=self.title, body=body, style=asset("chart.css"), script=script, data=data)

    def _other_forms(self) -> dict[str, Any]:
        return {**super()._other_forms(), "application/vnd.plotly.v1+json": json.loads(self.figure.to_json())}
