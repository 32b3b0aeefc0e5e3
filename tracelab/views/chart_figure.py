"""A chart as a plotly figure: for a live notebook, where plotly's own script is there to draw it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tracelab.views import palette
from tracelab.views.chart import (
    HEAT,
    LOST,
    Axis,
    Bars,
    Cells,
    Chart,
    Layer,
    Line,
    Panel,
    Points,
    RowBars,
    Spans,
    colours_of,
    empty,
)
from tracelab.views.chart_layout import HEIGHT, ROW, Place, placed
from tracelab.views.wording import escaped, short

LABELS = 12  #: bands with a text, the longest ones


def chart_figure(chart: Chart) -> Any:
    """The chart as a plotly Figure (not a widget), one subplot per panel.

    plotly reads a few tags in its texts, so that recorded names are escaped.
    """
    from plotly.subplots import make_subplots

    places, count = placed(chart), len(chart.panels)
    heights = [p.height or (ROW * len(p.rows) + 10 if p.rows else HEIGHT) for p in chart.panels]
    figure = make_subplots(
        rows=count,
        cols=1,
        shared_xaxes=chart.shared,
        row_heights=heights,
        vertical_spacing=(0.06 if chart.shared else 0.16) / max(1, count - 1),
        subplot_titles=[escaped(p.title, 110) for p in chart.panels] if any(p.title for p in chart.panels) else None,
    )
    notes = 16 * len(chart.notes)
    figure.update_layout(
        template="none",
        title={"text": escaped(chart.title), "x": 0.01},
        height=sum(heights) + 190 + 60 * (0 if chart.shared else count - 1) + notes,
        margin={"l": 70, "r": 20, "t": 80, "b": 70 + notes},
        bargap=0,
        barmode="stack" if any(p.stacked for p in chart.panels) else "overlay",
        hovermode="x unified" if all(_of_series(p) for p in chart.panels) else "closest",
    )
    colours, named = colours_of(chart), set[str]()
    for number, place in enumerate(places, 1):
        for layer in place.panel.layers:
            for trace in _traces(layer, place, colours):
                trace["showlegend"] = trace.get("name") not in named and trace["type"] != "heatmap"
                named.add(str(trace.get("name")))
                figure.add_trace(trace, row=number, col=1)
        _axes(figure, chart, place, number)
    if chart.shared:
        _add_bands(figure, chart)
    _add_notes(figure, chart)
    return figure


def _of_series(panel: Panel) -> bool:
    return all(isinstance(layer, (Line, Bars)) for layer in panel.layers)


def _traces(layer: Layer, place: Place, colours: dict[str, str]) -> Iterator[dict[str, Any]]:
    if isinstance(layer, Line):
        shape = {"shape": "hv" if layer.steps else "linear", "color": colours[layer.name], "width": 1.6}
        yield {"type": "scatter", "mode": "lines", "x": layer.x, "y": layer.y, "line": shape, **_named(layer, place)}
    elif isinstance(layer, Bars):
        middle, width = (layer.start + layer.end) / 2, layer.end - layer.start
        style: dict[str, Any] = {"marker": {"color": colours[layer.name], "line": {"width": 0}}}
        yield {"type": "bar", "x": middle, "width": width, "y": layer.y, **style, **_named(layer, place)}
    elif isinstance(layer, Points):
        style = {"mode": "markers", "marker": {"color": colours[layer.name], "size": 7}}
        texts = [_lines(text) for text in layer.texts]
        yield {"type": "scatter", "x": layer.x, "y": layer.y, "text": texts or None, **style, **_named(layer, place)}
    elif isinstance(layer, Cells):
        yield _heat(layer)
    elif isinstance(layer, Spans):
        yield from _spans(layer, place, colours)
    else:
        style = {"marker": {"color": layer.colour or palette.SERIES[0]}, "name": escaped(layer.name)}
        rows = np.arange(len(layer.values))
        yield {"type": "bar", "orientation": "h", "x": layer.values, "y": rows, "width": 0.8, **style}


def _lines(text: str) -> str:
    return "<br>".join(escaped(line, 160) for line in text.split("\n"))


def _named(layer: Line | Bars | Points, place: Place) -> dict[str, Any]:
    unit = {"ns": " ns", "share": ""}.get(place.y.axis.unit, f" {place.y.axis.unit}")
    shown = "%{y:.3p}" if place.y.axis.unit == "share" else f"%{{y:,.4~s}}{escaped(unit)}"
    text = "<br>%{text}" if isinstance(layer, Points) and layer.texts else ""
    return {"name": escaped(layer.name), "hovertemplate": f"{shown}{text}"}


def _heat(layer: Cells) -> dict[str, Any]:
    known = np.where(np.nan_to_num(layer.values) > 0, layer.values, np.nan)
    levels = [10.0**p for p in range(13)] if np.isfinite(known).any() else []
    levels = [v for v in levels if v <= np.nanmax(known)] if levels else []
    last = len(HEAT["light"]) - 1
    return {
        "type": "heatmap",
        "x": layer.x,
        "y": layer.y,
        "z": np.log10(known),
        "customdata": known,
        "colorscale": [(i / last, colour) for i, colour in enumerate(HEAT["light"])],
        "colorbar": {
            "title": {"text": escaped(layer.name, 30)},
            "tickvals": [float(np.log10(v)) for v in levels],
            "ticktext": [short(v) for v in levels],
        },
        "hoverongaps": False,
        "hovertemplate": f"%{{x}}<br>%{{y:,.4~s}}<br>{escaped(layer.name, 30)}: %{{customdata:,}}<extra></extra>",
    }


def _spans(layer: Spans, place: Place, colours: dict[str, str]) -> Iterator[dict[str, Any]]:
    words = place.x.axis.words
    for number, name in enumerate(layer.groups):
        rows = np.flatnonzero(layer.group == number)
        if not len(rows):
            continue
        texts = [
            layer.texts[i] if layer.texts else f"{name}\n{words(layer.start[i])} to {words(layer.end[i])}"
            for i in rows.tolist()
        ]
        yield {
            "type": "bar",
            "orientation": "h",
            "base": layer.start[rows],
            "x": (layer.end - layer.start)[rows],
            "y": layer.row[rows],
            "width": 0.8,
            "name": escaped(name),
            "marker": {"color": colours[name], "line": {"width": 0}},
            "customdata": [_lines(text) for text in texts],
            "hovertemplate": "%{customdata}<extra></extra>",
        }


def _axes(figure: Any, chart: Chart, place: Place, number: int) -> None:
    panel = place.panel
    across: dict[str, Any] = _axis(place.x.axis, place.names_x)
    if not any(isinstance(layer, RowBars) for layer in panel.layers) and not place.x.axis.log:
        across["range"] = [place.x.low, place.x.high]
    figure.update_xaxes(**across, showgrid=False, row=number, col=1)
    if panel.rows:
        names = {"tickvals": list(range(len(panel.rows))), "ticktext": [escaped(n, 30) for n in panel.rows]}
        figure.update_yaxes(**names, range=[len(panel.rows) - 0.5, -0.5], automargin=True, row=number, col=1)
    else:
        figure.update_yaxes(**_axis(panel.y, True), row=number, col=1)
        if not panel.y.log and _of_series(panel):
            figure.update_yaxes(rangemode="tozero", row=number, col=1)
    if all(empty(layer) for layer in panel.layers):
        figure.add_annotation(
            text=escaped(chart.empty),
            showarrow=False,
            xref="x domain",
            yref="y domain",
            x=0.5,
            y=0.5,
            row=number,
            col=1,
        )


def _axis(axis: Axis, named: bool) -> dict[str, Any]:
    """Numbers of an axis; of nanoseconds they are told in seconds with a prefix, so that 1 µs is 1000 ns."""
    found: dict[str, Any] = {"type": "log"} if axis.log else {}
    found["title"] = {"text": escaped(axis.title) if named else "", "standoff": 8}
    if axis.unit == "ns":
        steps = range(13)
        if axis.log:
            found |= {"tickvals": [10.0**p for p in steps], "ticktext": [axis.tick(10.0**p) for p in steps]}
        else:
            found["ticksuffix"] = " ns"
    elif axis.unit == "share":
        found["tickformat"] = ".0%"
    return found


def _add_bands(figure: Any, chart: Chart) -> None:
    longest = sorted(chart.bands, key=lambda band: band.start - band.end)
    for i, band in enumerate(longest):
        text = {"text": escaped(band.text or band.kind, 40), "yanchor": "bottom"}
        lost = band.kind == LOST
        figure.add_vrect(
            x0=band.start,
            x1=band.end,
            fillcolor="#d4002a" if lost else "#888",
            opacity=0.13 if lost else 0.25,
            layer="below",
            line_width=0,
            annotation=text if i < LABELS else None,
            annotation_position="top",
        )
    for mark in chart.marks:
        text = {"text": escaped(mark.text, 40), "yanchor": "bottom"}
        if mark.until is None:
            figure.add_vline(x=mark.x, line={"color": "#5b2a86", "width": 1}, annotation=text)
        else:
            figure.add_vrect(
                x0=mark.x, x1=mark.until, fillcolor="#5b2a86", opacity=0.15, line_width=0, annotation=text
            )


def _add_notes(figure: Any, chart: Chart) -> None:
    if chart.notes:
        text = "<br>".join(escaped(note, 170) for note in chart.notes)
        below = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "yshift": -52, "yanchor": "top"}
        figure.add_annotation(text=text, showarrow=False, align="left", xanchor="left", **below)
