"""What is read out of a chart under the pointer: boxes in its picture, and the words of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracelab.views.chart import Bars, Cells, Chart, Layer, Line, Points, RowBars, Spans
from tracelab.views.chart_layout import Place, placed
from tracelab.views.wording import visible


@dataclass(frozen=True)
class Readout:
    """A box of the picture, px, and what it stands for, line by line."""

    panel: int
    left: float
    top: float
    right: float
    bottom: float
    text: str


def readouts(chart: Chart) -> list[Readout]:
    """Everything that can be read out, panel by panel, from left to right and then from top to bottom."""
    found: list[Readout] = []
    for number, place in enumerate(placed(chart)):
        here = _of_series(number, place)
        for layer in place.panel.layers:
            here += _of_layer(number, place, layer)
        found += sorted(here, key=lambda r: (r.left, r.top))
    return found


def _of_series(number: int, place: Place) -> list[Readout]:
    """One per moment: the values of all lines and bars at it."""
    lines: dict[tuple[float, float], list[str]] = {}
    for layer in place.panel.layers:
        if isinstance(layer, Bars):
            starts, ends = layer.start, layer.end
        elif isinstance(layer, Line):
            starts, ends = layer.x, layer.x
        else:
            continue
        for start, end, value in zip(starts.tolist(), ends.tolist(), layer.y.tolist(), strict=True):
            said = lines.setdefault((start, end), [])
            if value == value:
                said.append(f"{visible(layer.name, 60)}: {place.y.axis.words(value)}")
    moments = sorted(lines)
    if not moments:
        return []
    x0 = place.x.at(np.array([m[0] for m in moments]))
    x1 = place.x.at(np.array([m[1] for m in moments]))
    same = x1 <= x0  # of lines: a moment reaches halfway to its neighbours
    middle = (x0[1:] + x0[:-1]) / 2
    left = np.where(same, np.concatenate([[place.left], middle]), x0)
    right = np.where(same, np.concatenate([middle, [place.left + place.width]]), x1)
    words = place.x.axis.words
    return [
        Readout(
            number,
            float(a),
            place.top,
            float(b),
            place.base,
            "\n".join(
                [words(m[0]) if m[0] == m[1] else f"{words(m[0])} to {words(m[1])}", *(lines[m] or ["not recorded"])]
            ),
        )
        for m, a, b in zip(moments, left, right, strict=True)
    ]


def _of_layer(number: int, place: Place, layer: Layer) -> list[Readout]:
    if isinstance(layer, Cells):
        return _of_cells(number, place, layer)
    if isinstance(layer, Spans):
        return _of_spans(number, place, layer)
    if isinstance(layer, Points):
        return _of_points(number, place, layer)
    return _of_rows(number, place, layer) if isinstance(layer, RowBars) else []


def _of_cells(number: int, place: Place, layer: Cells) -> list[Readout]:
    x, y = place.x.at(layer.x), place.y.at(layer.y)
    across, up, found = place.x.axis.words, place.y.axis.words, []
    for r, c in np.argwhere(np.nan_to_num(layer.values) > 0).tolist():
        text = (
            f"{across(layer.x[c])} to {across(layer.x[c + 1])}\n{up(layer.y[r])} to {up(layer.y[r + 1])}\n"
            f"{visible(layer.name, 60)}: {layer.values[r, c]:,.6g}"
        )
        found.append(Readout(number, float(x[c]), float(y[r + 1]), float(x[c + 1]), float(y[r]), text))
    return found


def _of_spans(number: int, place: Place, layer: Spans) -> list[Readout]:
    x0, x1, words, found = place.x.at(layer.start), place.x.at(layer.end), place.x.axis.words, []
    for i in range(len(layer.start)):
        top, height = place.row(int(layer.row[i]))
        times = f"{words(layer.start[i])} to {words(layer.end[i])}"
        text = layer.texts[i] if layer.texts else f"{layer.groups[layer.group[i]]}\n{times}"
        right = max(float(x1[i]), float(x0[i]) + 1)
        shown = "\n".join(visible(line, 120) for line in text.split("\n"))
        found.append(Readout(number, float(x0[i]), top, right, top + height, shown))
    return found


def _of_points(number: int, place: Place, layer: Points) -> list[Readout]:
    x, y, found = place.x.at(layer.x), place.y.at(layer.y), []
    for i in np.flatnonzero(np.isfinite(layer.y)).tolist():
        values = f"{place.x.axis.words(layer.x[i])}: {place.y.axis.words(layer.y[i])}"
        text = "\n".join(visible(line, 160) for line in layer.texts[i].split("\n")) if layer.texts else layer.name
        found.append(Readout(number, x[i] - 4, y[i] - 4, x[i] + 4, y[i] + 4, f"{values}\n{text}"))
    return found


def _of_rows(number: int, place: Place, layer: RowBars) -> list[Readout]:
    found = []
    for i, value in enumerate(layer.values.tolist()):
        top, height = place.row(i)
        words = place.x.axis.words(value) if value == value else "not recorded"
        text = f"{visible(place.panel.rows[i], 120)}\n{visible(layer.name, 60)}: {words}"
        found.append(Readout(number, place.left, top, place.left + place.width, top + height, text))
    return found
