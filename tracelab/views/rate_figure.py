"""Event rates as a plotly figure: for a live notebook, where plotly's own script is there to draw it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracelab.views import palette
from tracelab.views.rate_bins import Bins
from tracelab.views.rate_picture import NO_BINS, colours_of
from tracelab.views.wording import amount, digits, escaped

LABELS = 8  #: loss windows that get a text, those with the most lost; all are shaded


def rate_figure(bins: Bins, *, title: str, by: str, notes: tuple[str, ...]) -> Any:
    """The rates as a plotly Figure (not a widget): stacked bars, losses hatched on top, gaps grey.

    plotly reads a few tags in its texts, so that recorded names are escaped.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="none",
        title={"text": escaped(title), "x": 0.01},
        barmode="stack",
        bargap=0,
        hovermode="x unified",
        legend={"title": {"text": escaped(by)}, "traceorder": "reversed"},
        xaxis={
            "title": {"text": "time since the session began (s)", "standoff": 6},
            "hoverformat": ".6~g",
            "unifiedhovertitle": {"text": "%{x} s"},
            "showgrid": False,
        },
        yaxis={"title": {"text": "events per second"}, "rangemode": "tozero", "tickformat": "~s"},
        margin={"l": 70, "r": 20, "t": 70, "b": 70 + 16 * len(notes)},
        height=360 + 16 * len(notes),
    )
    _add_bars(figure, bins)
    _add_windows(figure, bins)
    if notes:
        text = "<br>".join(escaped(note, 140) for note in notes)
        below = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "yshift": -52, "yanchor": "top"}
        figure.add_annotation(text=text, showarrow=False, align="left", xanchor="left", **below)
    if not len(bins):
        figure.add_annotation(text=NO_BINS, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    return figure


def _add_bars(figure: Any, bins: Bins) -> None:
    grid = {"x0": bins.start_s + bins.bin_s / 2, "dx": bins.bin_s, "width": bins.bin_s}
    for name, colour, rate in zip(bins.names, colours_of(bins), bins.rates, strict=True):
        figure.add_bar(
            **grid,
            y=np.where(bins.recorded, rate, np.nan).astype(np.float32),
            name=escaped(name),
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate="%{y:,.4~s} events/s",
        )
    if bins.fine_s:
        figure.add_scatter(
            x0=grid["x0"],
            dx=bins.bin_s,
            y=np.where(bins.recorded, bins.peak, np.nan).astype(np.float32),
            name=f"peak in {amount(bins.fine_s * 1e9, 'ns')}",
            mode="lines",
            line={"shape": "hvh", "width": 1, "color": "#666"},
            hovertemplate="%{y:,.4~s} events/s",
        )
    if bins.lost.any():
        pattern = {"shape": "/", "fgcolor": palette.LOST, "size": 6}
        figure.add_bar(
            **grid,
            y=np.where(bins.lost > 0, bins.lost, np.nan).astype(np.float32),
            name="lost",
            customdata=np.stack([bins.kept, bins.kept + bins.lost], axis=1).astype(np.float32),
            marker={"color": "rgba(0,0,0,0)", "line": {"width": 0}, "pattern": pattern},
            hovertemplate="%{y:,.4~s} events/s: the rate lies between "
            "%{customdata[0]:,.4~s} and %{customdata[1]:,.4~s}",
        )


def _add_windows(figure: Any, bins: Bins) -> None:
    for gap in bins.gaps:
        figure.add_vrect(
            x0=gap.start_s,
            x1=gap.end_s,
            fillcolor="#888",
            opacity=0.25,
            line_width=0,
            annotation={"text": "not recorded", "yanchor": "bottom"},
            annotation_position="top",
        )
    losses = sorted(bins.loss_windows, key=lambda window: -window.count)
    for i, window in enumerate(losses):
        label = {"text": f"lost {digits(round(window.count))}", "yanchor": "bottom"}
        figure.add_vrect(
            x0=window.start_s,
            x1=window.end_s,
            fillcolor="#d4002a",
            opacity=0.13,
            layer="below",
            line_width=0,
            annotation=label if i < LABELS else None,
            annotation_position="top",
        )
