"""Fewer points where there are more than a screen can show: what is seen stays, and the chart says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tracelab.views.chart import Bars, Cells, Chart, Floats, Ints, Layer, Line, Points, Spans


def reduced(chart: Chart, limit: int) -> Chart:
    """The same chart with at most `limit` points in a series, columns in a heat map, and twice as many boxes.

    Lines keep the lowest and highest value of each part, bars become the mean of neighbours, cells their sum, and of
    points the highest and of boxes the longest stay.
    """
    said: list[str] = []
    panels = tuple(
        replace(panel, layers=tuple(_reduced(layer, limit, said) for layer in panel.layers)) for panel in chart.panels
    )
    return replace(chart, panels=panels, notes=(*chart.notes, *dict.fromkeys(said)))


def _reduced(layer: Layer, limit: int, said: list[str]) -> Layer:
    if isinstance(layer, Line) and len(layer.x) > limit:
        said.append("drawn with fewer points: lowest and highest of each moment; .table has them all")
        keep = _extremes(layer.y, limit)
        return replace(layer, x=layer.x[keep], y=layer.y[keep])
    if isinstance(layer, Points) and len(layer.x) > limit:
        said.append(f"drawn: the highest {limit:,} of {len(layer.x):,} points; .table has them all")
        keep = _longest(layer.y, limit)
        texts = tuple(layer.texts[i] for i in keep) if layer.texts else ()
        return replace(layer, x=layer.x[keep], y=layer.y[keep], texts=texts)
    if isinstance(layer, Spans) and len(layer.start) > 2 * limit:
        said.append(f"drawn: the longest {2 * limit:,} of {len(layer.start):,} boxes; .table has them all")
        return _some_spans(layer, _longest(layer.end - layer.start, 2 * limit))
    if isinstance(layer, Bars) and len(layer.y) > limit:
        return _merged_bars(layer, limit, said)
    if isinstance(layer, Cells) and layer.values.shape[1] > limit:
        return _merged_cells(layer, limit, said)
    return layer


def _extremes(values: Floats, limit: int) -> Ints:
    """Rows with the lowest and the highest value of each of limit/3 parts, and one that is missing, in their order."""
    parts = np.array_split(np.arange(len(values)), max(1, limit // 3))
    keep: set[int] = set()
    for part in parts:
        known = part[np.isfinite(values[part])]
        if len(known):
            keep |= {int(known[values[known].argmin()]), int(known[values[known].argmax()])}
        if len(known) < len(part):
            keep.add(int(part[~np.isfinite(values[part])][0]))
    return np.array(sorted(keep), np.int64)


def _longest(lengths: Floats, limit: int) -> Ints:
    return np.sort(np.argsort(-np.nan_to_num(lengths), kind="stable")[:limit])


def _some_spans(layer: Spans, keep: Ints) -> Spans:
    texts = tuple(layer.texts[i] for i in keep) if layer.texts else ()
    columns = {name: getattr(layer, name)[keep] for name in ("row", "start", "end", "group")}
    return replace(layer, texts=texts, **columns)


def _merged_bars(layer: Bars, limit: int, said: list[str]) -> Bars:
    factor = -(-len(layer.y) // limit)
    said.append(f"each bar is the mean of {factor} of .table")
    at = np.arange(0, len(layer.y), factor)
    length = np.where(np.isfinite(layer.y), layer.end - layer.start, 0)
    whole = np.add.reduceat(length, at)
    total = np.add.reduceat(np.nan_to_num(layer.y) * length, at)
    with np.errstate(invalid="ignore"):
        mean = np.where(whole > 0, total / np.where(whole > 0, whole, 1), np.nan)
    return replace(layer, start=layer.start[at], end=np.maximum.reduceat(layer.end, at), y=mean)


def _merged_cells(layer: Cells, limit: int, said: list[str]) -> Cells:
    factor = -(-layer.values.shape[1] // limit)
    said.append(f"each column is the sum of {factor} of .table")
    at = np.arange(0, layer.values.shape[1], factor)
    return replace(
        layer, x=np.append(layer.x[at], layer.x[-1]), values=np.add.reduceat(np.nan_to_num(layer.values), at, axis=1)
    )
