"""Lives of processes as bars over time, made without a browser."""

from __future__ import annotations

import math
import statistics
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tracelab.views import palette
from tracelab.views.marking import Marking, axis_labels
from tracelab.views.process_rows import Row
from tracelab.views.rate_picture import ticks
from tracelab.views.wording import amount, digits, escaped

WIDTH, LABELS, ENDS, LINE, BAR = 1000, 270, 180, 19, 13
LEFT, RIGHT = LABELS, WIDTH - ENDS
INDENT, DEEPEST = 12, 9  #: pixels per generation; deeper ones are not moved further
CHAR = 6.7  #: width of a character at 12 px
HUES = ("user", "python", "kernel")


def style() -> str:
    """Colours of the picture on light and dark pages, also where JupyterLab says which of them it is."""
    light, dark = _theme("light"), _theme("dark")
    return (
        f".tl-pt{{{light}font:12px system-ui,sans-serif}}.tl-pt text{{fill:var(--ink)}}.tl-pt .soft{{fill:var(--soft)}}"
        ".tl-pt .bg{fill:var(--back)}.tl-pt .grid{stroke:var(--grid)}.tl-pt .bar{stroke:var(--edge);stroke-width:.7}"
        f".tl-pt .in{{fill:{palette.INK};font-size:11px}}.tl-pt .bad{{fill:var(--bad);font-weight:600}}"
        ".tl-pt .mark{stroke:var(--mark);stroke-dasharray:4 3;fill:none}.tl-pt .span{fill:var(--mark);opacity:.13}"
        ".tl-pt .of{fill:var(--mark);font-weight:600}"
        + "".join(f".tl-pt .c{i}{{fill:var(--c{i})}}" for i in range(len(HUES) * palette.SHADES))
        + f"@media (prefers-color-scheme:dark){{.tl-pt{{{dark}}}}}"
        f"[data-jp-theme-light=true] .tl-pt{{{light}}}[data-jp-theme-light=false] .tl-pt{{{dark}}}"
    )


def lives_svg(
    table: pd.DataFrame,
    names: Mapping[int, Sequence[tuple[float, str]]],
    rows: Sequence[Row],
    window: tuple[float, float],
    marks: Sequence[Marking],
    title: str,
    *,
    alone: bool = True,
) -> str:
    """One line per row: what it is, its bars over time, and how long it took and how it ended.

    `names` has, by row of the table, the times at which a process got its names. With `alone` it is a picture of its
    own, with a background.
    """
    top = 40
    height = top + LINE * len(rows) + 42
    xs = _scale(window)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' "
        f"class='tl-pt' role='img' aria-label='{escaped(title)}'><style>{style()}</style>"
    ]
    parts += [f"<rect class='bg' width='{WIDTH}' height='{height}'/>"] if alone else []
    parts += _axis(window, top, LINE * len(rows))
    parts += _marks(marks, window, top, LINE * len(rows))
    for i, row in enumerate(rows):
        parts += _line(table, names, row, top + LINE * i, xs)
    return "".join([*parts, "</svg>"])


def ended(table: pd.DataFrame, row: Row) -> tuple[str, bool]:
    """How long the processes of a row took and how they ended, and whether one of them failed."""
    its = table.iloc[list(row.members)]
    lengths = (its["until_s"] - its["from_s"]).dropna()
    failed = int(((its["exit_code"] > 0) | its["signal"].notna()).sum())
    length = amount(statistics.median(lengths) * 1e9, "ns") if len(lengths) else ""
    if len(row.members) == 1:
        return ", ".join(filter(None, [length, str(its["status"].iloc[0])])), failed > 0
    told = f"{failed} failed" if failed else ""
    return ", ".join(filter(None, [told, f"median {length}" if length else ""])), failed > 0


def _line(
    table: pd.DataFrame,
    names: Mapping[int, Sequence[tuple[float, str]]],
    row: Row,
    y: int,
    xs: tuple[float, float],
) -> list[str]:
    indent = INDENT * min(row.depth, DEEPEST)
    room = int((LABELS - 12 - indent) / CHAR)
    label = row.label if len(row.label) <= room else f"… › {row.name}" if row.above else row.name
    text, failed = ended(table, row)
    about = f"{row.label}{_pids(table, row)}: {text}"
    parts = [f"<g><title>{escaped(about)}</title>"]
    parts.append(f"<text x='{6 + indent}' y='{y + 13}'>{escaped(label, max(room, 4))}</text>")
    bars = _single if len(row.members) == 1 else _several
    parts += bars(table, names, row, y, xs)
    kind = "bad" if failed else "soft"
    parts.append(f"<text class='{kind}' x='{RIGHT + 8}' y='{y + 13}'>{escaped(text, 26)}</text></g>")
    return parts


def _single(
    table: pd.DataFrame,
    names: Mapping[int, Sequence[tuple[float, str]]],
    row: Row,
    y: int,
    xs: tuple[float, float],
) -> list[str]:
    """The life of one process, a bar for each name that it had."""
    number = row.members[0]
    from_s, until_s = float(table["from_s"].iloc[number]), float(table["until_s"].iloc[number])
    told = [(s, name) for s, name in names.get(number, ()) if s != s or s < _or(until_s, math.inf)]
    told = told or [(from_s, str(table["comm"].iloc[number]))]
    begins = [_or(told[0][0], from_s), *(s for s, _ in told[1:])]
    parts = []
    for (_, name), begin, end in zip(told, begins, [*begins[1:], until_s], strict=True):
        left, right = _x(begin, xs, LEFT), _x(end, xs, RIGHT)
        if right < LEFT or left > RIGHT or (right - left < 1 and len(told) > 1 and name != told[-1][1]):
            continue
        width = max(right - left, 1.5)
        parts.append(_bar(f"M{left:.1f} {y + 3}h{width:.1f}v{BAR}h-{width:.1f}z", name))
        if len(told) > 1 and width > CHAR * len(name) + 8:
            parts.append(f"<text class='in' x='{left + 4:.1f}' y='{y + 13}'>{escaped(name)}</text>")
    return parts


def _several(
    table: pd.DataFrame,
    names: Mapping[int, Sequence[tuple[float, str]]],
    row: Row,
    y: int,
    xs: tuple[float, float],
) -> list[str]:
    """Where at least one of them lived; what is nearer than a pixel flows together."""
    its = table.iloc[list(row.members)]
    left = np.array([_x(v, xs, LEFT) for v in its["from_s"]])
    right = np.maximum(np.array([_x(v, xs, RIGHT) for v in its["until_s"]]), left + 1.2)
    order = np.argsort(left, kind="stable")
    spans: list[list[float]] = []
    for a, b in zip(left[order].tolist(), right[order].tolist(), strict=True):
        if spans and a <= spans[-1][1] + 0.6:
            spans[-1][1] = max(spans[-1][1], b)
        else:
            spans.append([a, b])
    path = "".join(f"M{a:.1f} {y + 3}h{b - a:.1f}v{BAR}h-{b - a:.1f}z" for a, b in spans)
    return [_bar(path, str(its["comm"].iloc[0]))]


def _bar(path: str, name: str) -> str:
    colour = zlib.crc32(name.encode("utf-8", "replace")) % (len(HUES) * palette.SHADES)
    return f"<path class='bar c{colour}' d='{path}'/>"


def _pids(table: pd.DataFrame, row: Row) -> str:
    return f" (pid {table['pid'].iloc[row.members[0]]})" if len(row.members) == 1 else ""


def _axis(window: tuple[float, float], top: int, height: int) -> list[str]:
    first, last = window
    step = ticks(max(last - first, 1e-9), 8)[1]
    parts, base = [], top + height + 2
    number = math.ceil(first / step - 1e-9)
    while number * step <= last * (1 + 1e-12) + 1e-12:
        x = _x(number * step, _scale(window), LEFT)
        text = digits(round(number * step, 9))
        parts.append(f"<line class='grid' x1='{x:.1f}' x2='{x:.1f}' y1='{top - 4}' y2='{base}'/>")
        parts.append(f"<text x='{x:.1f}' y='{base + 14}' text-anchor='middle'>{text}</text>")
        number += 1
    middle = (LEFT + RIGHT) / 2
    parts.append(f"<text x='{middle}' y='{base + 32}' text-anchor='middle'>seconds since the session began</text>")
    return parts


def _marks(marks: Sequence[Marking], window: tuple[float, float], top: int, height: int) -> list[str]:
    xs, parts = _scale(window), []
    for mark in marks:
        x = _x(mark.time_s, xs, LEFT)
        parts.append(f"<g><title>{escaped(mark.words())}</title>")
        if mark.until_s is not None:
            width = max(_x(mark.until_s, xs, RIGHT) - x, 1)
            parts.append(f"<rect class='span' x='{x:.1f}' y='{top - 4}' width='{width:.1f}' height='{height + 6}'/>")
        parts.append(f"<line class='mark' x1='{x:.1f}' x2='{x:.1f}' y1='{top - 12}' y2='{top + height + 2}'/></g>")
    for x, text in axis_labels([(_x(m.time_s, xs, LEFT), m.text) for m in marks], RIGHT, CHAR):
        parts.append(f"<text class='of' x='{x:.1f}' y='{top - 16}'>{escaped(text)}</text>")
    return parts


def _scale(window: tuple[float, float]) -> tuple[float, float]:
    """Where the window begins, and pixels per second."""
    return window[0], (RIGHT - LEFT) / max(window[1] - window[0], 1e-9)


def _x(time_s: float, xs: tuple[float, float], unknown: float) -> float:
    """Pixels from the left; a time that is not known, or not in the window, is at its edge."""
    if time_s != time_s:
        return unknown
    return min(max(LEFT + (time_s - xs[0]) * xs[1], LEFT), RIGHT)


def _or(value: float, other: float) -> float:
    return value if value == value else other


def _theme(theme: str) -> str:
    colours = palette.domain_colours()[theme]
    fills = [colour for hue in HUES for colour in colours[hue]]
    plain = {
        "light": "--ink:#222;--soft:#555;--back:#fff;--grid:#ddd;--edge:#555;--bad:#b0002a;--mark:#6b3fa0;",
        "dark": "--ink:#ddd;--soft:#b0b0b0;--back:#1b1b1b;--grid:#444;--edge:#111;--bad:#ff8fa3;--mark:#c9a6ff;",
    }
    return plain[theme] + "".join(f"--c{i}:{fill};" for i, fill in enumerate(fills))
