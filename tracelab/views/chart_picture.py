"""A chart as SVG, made without a browser: for saved notebooks, and for pages that show no scripts."""

from __future__ import annotations

import zlib

import numpy as np

from tracelab.views import palette
from tracelab.views.chart import (
    HEAT,
    LOST,
    Bars,
    Cells,
    Chart,
    Floats,
    Layer,
    Line,
    Points,
    RowBars,
    Spans,
    colours_of,
    empty,
    names_of,
)
from tracelab.views.chart_layout import LEGEND, MAX_NAME, TOP, WIDTH, Place, placed, stacked
from tracelab.views.rate_picture import CHAR
from tracelab.views.wording import escaped, short, visible

LINE = 17  #: height of a line of notes, px
LABELS = 80  #: boxes with their names in them, at most
_ROOM = int((WIDTH - 8) / 6.4)  #: characters of a line across the picture, in usual text


def _heat(theme: str) -> str:
    return "".join(f".tl-c .h{i}{{fill:{colour}}}" for i, colour in enumerate(HEAT[theme]))


_STYLE = (
    ".tl-c{font:13px system-ui,sans-serif}.tl-c text{fill:#222}.tl-c .bg{fill:#fff}.tl-c .grid{stroke:#ddd}"
    ".tl-c .axis{stroke:#444}.tl-c .gap{fill:#8884}.tl-c .loss{fill:#d4002a;fill-opacity:.13}"
    f".tl-c .warn{{fill:#a3001f;font-weight:600}}.tl-c .hatch{{fill:{palette.LOST}}}.tl-c .mark{{stroke:#5b2a86}}"
    f".tl-c .time{{fill:#5b2a86;fill-opacity:.15}}.tl-c text.said{{fill:#5b2a86}}{_heat('light')}"
    ".tl-c text.in0{fill:#fff;font-size:12px}.tl-c text.in1{fill:#111;font-size:12px}.tl-c text.b{font-weight:600}"
    "@media (prefers-color-scheme:dark){.tl-c text{fill:#ddd}.tl-c .bg{fill:#1b1b1b}.tl-c .grid{stroke:#444}"
    ".tl-c .axis{stroke:#bbb}.tl-c .loss{fill:#ff5470;fill-opacity:.25}.tl-c .warn,.tl-c .hatch{fill:#ff8fa3}"
    f".tl-c .mark{{stroke:#d0a8ff}}.tl-c .time{{fill:#d0a8ff}}.tl-c text.said{{fill:#d0a8ff}}{_heat('dark')}}}"
)


def chart_svg(chart: Chart) -> str:
    """The chart as one SVG; it follows the reader's theme, and every text is escaped."""
    places = placed(chart)
    notes = [line for note in chart.notes for line in _lines(note)]
    bottom = places[-1].base + 44 if places else TOP + 40
    height = round(bottom + LINE * len(notes) + 4)
    mark = f"tl{zlib.crc32(repr((chart.title, chart.notes, height)).encode('utf-8', 'replace')):08x}"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' class='tl-c' role='img' "
        f"aria-label='{escaped(chart.title)}' style='max-width:100%'><style>{_STYLE}</style><defs>"
        f"<pattern id='{mark}' width='6' height='6' patternUnits='userSpaceOnUse' patternTransform='rotate(45)'>"
        f"<rect class='hatch' width='1.6' height='6'/></pattern></defs>",
        f"<rect class='bg' width='{WIDTH}' height='{height}'/>",
        f"<text x='4' y='16' class='b'>{escaped(chart.title, _ROOM)}</text>",
    ]
    named: set[str] = set()
    for place in places:
        parts += _panel(chart, place, mark, named)
    if chart.shared and places:
        parts += _labels(chart, places[0])
    parts += [f"<text x='4' y='{bottom + 8 + LINE * i:.0f}'>{escaped(n)}</text>" for i, n in enumerate(notes)]
    return "".join([*parts, "</svg>"])


def _lines(note: str) -> list[str]:
    """A note in as many lines as it needs."""
    lines = [""]
    for word in visible(note, 1000).split(" "):
        if lines[-1] and len(lines[-1]) + len(word) + 1 > _ROOM:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word[:_ROOM]}".strip()
    return lines


def _panel(chart: Chart, place: Place, mark: str, named: set[str]) -> list[str]:
    colours, panel = colours_of(chart), place.panel
    parts = ["<g class='panel'>", *_y_axis(place)]
    if panel.title:
        parts.append(f"<text x='{place.left:.0f}' y='{place.top - 7:.0f}'>{escaped(panel.title, 110)}</text>")
    if chart.shared:
        parts += _bands(chart, place, mark)
    if all(empty(layer) for layer in panel.layers):
        middle = place.top + place.height / 2
        parts.append(f"<text x='{place.left + 12:.0f}' y='{middle:.0f}'>{escaped(chart.empty)}</text>")
    else:
        edges = stacked(panel)
        for i, layer in enumerate(panel.layers):
            parts += _layer(layer, place, colours, edges.get(i))
        parts += _legend(place, colours, named)
    return [*parts, *_x_axis(place), "</g>"]


def _y_axis(place: Place) -> list[str]:
    right, parts = place.left + place.width, []
    for i, name in enumerate(place.panel.rows):
        top, height = place.row(i)
        y = top + height / 2
        parts.append(
            f"<text x='{place.left - 6:.0f}' y='{y:.1f}' dy='.35em' text-anchor='end'>{escaped(name, MAX_NAME)}</text>"
        )
        parts.append(f"<line class='grid' x1='{place.left:.0f}' x2='{right:.0f}' y1='{y:.1f}' y2='{y:.1f}'/>")
    if place.panel.rows:
        return parts
    for value in place.y.ticks():
        y = float(place.y.at(value))
        parts.append(f"<line class='grid' x1='{place.left:.0f}' x2='{right:.0f}' y1='{y:.1f}' y2='{y:.1f}'/>")
        text = escaped(place.y.axis.tick(value))
        parts.append(f"<text x='{place.left - 6:.0f}' y='{y:.1f}' dy='.35em' text-anchor='end'>{text}</text>")
    turned = f"transform='translate(14 {place.top + place.height / 2:.0f}) rotate(-90)'"
    room = int(place.height / 6.4) + 6
    return [*parts, f"<text text-anchor='middle' {turned}>{escaped(place.y.axis.title, room)}</text>"]


def _x_axis(place: Place) -> list[str]:
    base, right = place.base, place.left + place.width
    parts = [f"<line class='axis' x1='{place.left:.0f}' x2='{right:.0f}' y1='{base:.0f}' y2='{base:.0f}'/>"]
    if not place.names_x:
        return parts
    for value in place.x.ticks():
        x = float(place.x.at(value))
        parts.append(f"<line class='axis' x1='{x:.1f}' x2='{x:.1f}' y1='{base:.0f}' y2='{base + 4:.0f}'/>")
        text = escaped(place.x.axis.tick(value))
        parts.append(f"<text x='{x:.1f}' y='{base + 17:.0f}' text-anchor='middle'>{text}</text>")
    middle = place.left + place.width / 2
    title = escaped(place.x.axis.title, 90)
    return [*parts, f"<text x='{middle:.0f}' y='{base + 34:.0f}' text-anchor='middle'>{title}</text>"]


def _bands(chart: Chart, place: Place, mark: str) -> list[str]:
    parts = []
    for band in chart.bands:
        x0, x1 = place.x.at(np.array([band.start, band.end])).tolist()
        box = f"x='{x0:.1f}' y='{place.top:.0f}' width='{max(x1 - x0, 1):.1f}' height='{place.height:.0f}'"
        parts.append(f"<rect class='{'loss' if band.kind == LOST else 'gap'}' {box}/>")
        if band.kind == LOST:
            parts.append(f"<rect fill='url(#{mark})' fill-opacity='.45' {box}/>")
    for said in chart.marks:
        x0, x1 = place.x.at(np.array([said.x, said.x if said.until is None else said.until])).tolist()
        if x1 > x0:
            box = f"x='{x0:.1f}' y='{place.top:.0f}' width='{x1 - x0:.1f}' height='{place.height:.0f}'"
            parts.append(f"<rect class='time' {box}/>")
        parts.append(f"<line class='mark' x1='{x0:.1f}' x2='{x0:.1f}' y1='{place.top:.0f}' y2='{place.base:.0f}'/>")
    return parts


def _labels(chart: Chart, place: Place) -> list[str]:
    """A text per band and mark above the first panel, as far as there is room: marks first, then the longest bands."""
    wanted = [(m.x, m.x if m.until is None else m.until, visible(m.text, 40), "said") for m in chart.marks]
    longest = sorted(chart.bands, key=lambda b: b.start - b.end)
    wanted += [(b.start, b.end, visible(b.text or b.kind, 40), "warn" if b.kind == LOST else "") for b in longest]
    parts: list[str] = []
    taken = [(place.left, place.left + len(place.panel.title) * CHAR)] if place.panel.title else []
    for start, end, text, kind in wanted:
        half = len(text) * CHAR / 2
        x = float(place.x.at((start + end) / 2))
        x = min(max(x, place.left + half), place.left + place.width + LEGEND - half)
        if all(x + half < a or x - half > b for a, b in taken):
            taken.append((x - half, x + half))
            where = f"x='{x:.1f}' y='{place.top - 7:.0f}' text-anchor='middle'"
            parts.append(f"<text class='{kind}' {where}>{escaped(text)}</text>")
    return parts


def _legend(place: Place, colours: dict[str, str], named: set[str]) -> list[str]:
    """The names that no panel above has explained."""
    x, y, parts = WIDTH - LEGEND + 10, place.top + 4, []
    lines = max(1, int((place.height + 20) / 18))
    heat = [layer for layer in place.panel.layers if isinstance(layer, Cells)]
    if heat:
        parts += _heat_legend(heat[0], x, y)
        y, lines = y + 42, lines - 3
    names = [n for layer in place.panel.layers for n in names_of(layer) if n not in named]
    names = list(dict.fromkeys(names))
    named.update(names)
    if len(names) == 1 and len(place.panel.layers) == 1 and not isinstance(place.panel.layers[0], Spans):
        names = []  # the axis says it
    more = len(names) - lines
    for i, name in enumerate(names[: lines - 1] if more > 0 else names):
        at = y + 18 * i
        parts.append(f"<rect x='{x}' y='{at:.0f}' width='12' height='12' fill='{colours[name]}'/>")
        parts.append(f"<text x='{x + 17}' y='{at + 11:.0f}'>{escaped(name, 22)}</text>")
    if more > 0:
        parts.append(f"<text x='{x + 17}' y='{y + 18 * (lines - 1) + 11:.0f}'>and {more + 1} more</text>")
    return parts


def _heat_legend(layer: Cells, x: float, y: float) -> list[str]:
    shades = len(HEAT["light"])
    step = (LEGEND - 30) / shades
    parts = [f"<text x='{x:.0f}' y='{y + 8:.0f}'>{escaped(layer.name, 24)}</text>"]
    parts += [
        f"<rect class='h{i}' x='{x + i * step:.1f}' y='{y + 14:.0f}' width='{step:.1f}' height='10'/>"
        for i in range(shades)
    ]
    known = layer.values[np.nan_to_num(layer.values) > 0]
    parts.append(f"<text x='{x:.0f}' y='{y + 38:.0f}'>{short(float(known.min()))}</text>")
    right = f"x='{x + shades * step:.0f}' y='{y + 38:.0f}' text-anchor='end'"
    return [*parts, f"<text {right}>{short(float(known.max()))}</text>"]


def _layer(layer: Layer, place: Place, colours: dict[str, str], edges: tuple[Floats, Floats] | None) -> list[str]:
    if isinstance(layer, Bars) and edges is not None:
        path = _bars(layer, place, *edges)
        return [f"<path data-series='{escaped(layer.name)}' fill='{colours[layer.name]}' d='{path}'/>"]
    if isinstance(layer, Line):
        style = f"fill='none' stroke-width='1.6' stroke-linejoin='round' stroke='{colours[layer.name]}'"
        return [f"<path data-series='{escaped(layer.name)}' {style} d='{_line(layer, place)}'/>"]
    if isinstance(layer, Points):
        xs, ys = place.x.at(layer.x), place.y.at(layer.y)
        dots = (f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3'/>" for x, y in zip(xs, ys, strict=True) if y == y)
        return [f"<g data-series='{escaped(layer.name)}' fill='{colours[layer.name]}'>", *dots, "</g>"]
    if isinstance(layer, Cells):
        return _cells(layer, place)
    if isinstance(layer, Spans):
        return _spans(layer, place, colours)
    return _row_bars(layer, place) if isinstance(layer, RowBars) else []


def _bars(layer: Bars, place: Place, lower: Floats, upper: Floats) -> str:
    x0, x1 = place.x.at(layer.start), place.x.at(layer.end)
    y0, y1 = place.y.at(lower), place.y.at(upper)
    y1 = np.where((layer.y > 0) & (y0 - y1 < 1), y0 - 1, y1)  # what is not zero is seen
    there = np.isfinite(layer.y) & (layer.y != 0)
    columns = zip(x0[there], x1[there], y0[there], y1[there], strict=True)
    return "".join(f"M{a:.1f} {low:.1f}V{top:.1f}H{b:.1f}V{low:.1f}z" for a, b, low, top in columns)


def _line(layer: Line, place: Place) -> str:
    path, drawing = [], False
    for x, y in zip(place.x.at(layer.x), place.y.at(layer.y), strict=True):
        if y != y:
            path += [f"H{x:.1f}"] if drawing and layer.steps else []
            drawing = False
        elif not drawing:
            path.append(f"M{x:.1f} {y:.1f}h.1")
            drawing = True
        else:
            path.append(f"H{x:.1f}V{y:.1f}" if layer.steps else f"L{x:.1f} {y:.1f}")
    return "".join(path)


def shades(values: Floats) -> Floats:
    """Number of the heat colour of each value, by its logarithm; NaN for an empty cell."""
    given = np.where(np.nan_to_num(values) > 0, values, np.nan)
    if not np.isfinite(given).any():
        return given
    low, high = np.log(np.nanmin(given)), np.log(np.nanmax(given))
    count = len(HEAT["light"])
    found: Floats = np.minimum(np.floor((np.log(given) - low) / ((high - low) or 1) * count), count - 1)
    return found


def _cells(layer: Cells, place: Place) -> list[str]:
    x, y, shade = place.x.at(layer.x), place.y.at(layer.y), shades(layer.values)
    parts = []
    for i in range(len(HEAT["light"])):
        boxes = "".join(
            f"M{x[c]:.1f} {y[r]:.1f}H{x[c + 1]:.1f}V{y[r + 1]:.1f}H{x[c]:.1f}z" for r, c in np.argwhere(shade == i)
        )
        parts.append(f"<path class='h{i}' d='{boxes}'/>" if boxes else "")
    return parts


def _spans(layer: Spans, place: Place, colours: dict[str, str]) -> list[str]:
    x0, x1 = place.x.at(layer.start), place.x.at(layer.end)
    parts = []
    for number, name in enumerate(layer.groups):
        boxes = []
        for i in np.flatnonzero(layer.group == number):
            top, height = place.row(int(layer.row[i]))
            width = max(x1[i] - x0[i], 0.5)
            boxes.append(f"M{x0[i]:.1f} {top:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
        if boxes:
            parts.append(f"<path data-series='{escaped(name)}' fill='{colours[name]}' d='{''.join(boxes)}'/>")
    for i in np.argsort(x0 - x1, kind="stable")[:LABELS]:
        name = visible(layer.groups[layer.group[i]], 30)
        if len(name) * CHAR + 6 < x1[i] - x0[i]:
            top, height = place.row(int(layer.row[i]))
            ink = "in1" if _light(colours[layer.groups[layer.group[i]]]) else "in0"
            where = f"x='{(x0[i] + x1[i]) / 2:.1f}' y='{top + height / 2:.1f}' dy='.35em' text-anchor='middle'"
            parts.append(f"<text class='{ink}' {where}>{escaped(name)}</text>")
    return parts


def _row_bars(layer: RowBars, place: Place) -> list[str]:
    zero, parts = float(place.x.at(0.0)), []
    for i, value in enumerate(layer.values.tolist()):
        top, height = place.row(i)
        if value != value:
            continue
        width = max(float(place.x.at(value)) - zero, 1 if value else 0)
        box = f"x='{zero:.1f}' y='{top:.1f}' width='{width:.1f}' height='{height:.1f}'"
        parts.append(f"<rect fill='{layer.colour or palette.SERIES[0]}' {box}/>")
        words = escaped(place.x.axis.words(value))
        parts.append(f"<text x='{zero + width + 5:.1f}' y='{top + height / 2:.1f}' dy='.35em'>{words}</text>")
    return parts


def _light(colour: str) -> bool:
    red, green, blue = (float(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    luminance: float = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return luminance > 0.18
