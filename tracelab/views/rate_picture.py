"""Event rates as SVG, made without a browser; event_rate.js moves the same paths when series are toggled."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from tracelab.views import palette
from tracelab.views.rate_bins import Bins, Floats, Window
from tracelab.views.wording import digits, escaped, short

WIDTH, HEIGHT, LEGEND = 900, 300, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 40, 46
NO_BINS = "no events in this selection, and no bins that would say it was quiet"
CHAR = 7.3  #: width of a character of a usual sans-serif font at 13 px

_STYLE = (
    ".tl-rp{font:13px system-ui,sans-serif}.tl-rp text{fill:#222}.tl-rp .bg{fill:#fff}.tl-rp .grid{stroke:#ddd}"
    ".tl-rp .axis,.tl-rp .peak{stroke:#444}.tl-rp .gap{fill:#8884}.tl-rp .loss{fill:#d4002a;fill-opacity:.13}"
    f".tl-rp .warn{{fill:#a3001f;font-weight:600}}.tl-rp .hatch{{fill:{palette.LOST}}}"
    "@media (prefers-color-scheme:dark){.tl-rp text{fill:#ddd}.tl-rp .bg{fill:#1b1b1b}.tl-rp .grid{stroke:#444}"
    ".tl-rp .axis,.tl-rp .peak{stroke:#bbb}.tl-rp .loss{fill:#ff5470;fill-opacity:.25}"
    ".tl-rp .warn,.tl-rp .hatch{fill:#ff8fa3}}"
)


@dataclass(frozen=True)
class Plot:
    """Where the plot's area lies in the picture, pixels."""

    left: int = LEFT
    top: int = TOP
    width: int = WIDTH - LEFT - RIGHT
    height: int = HEIGHT - TOP - BOTTOM


def colours_of(bins: Bins) -> list[str]:
    """A colour per series."""
    colours = [*palette.SERIES, palette.OTHER][: len(bins.names)]
    return [*colours[:-1], palette.OTHER] if bins.folded else colours


def ticks(highest: float, wanted: int = 5) -> list[float]:
    """Round numbers from 0 to just above `highest`, steps of 1, 2 or 5 times a power of ten.

    >>> ticks(870), ticks(0)
    ([0, 200, 400, 600, 800, 1000], [0, 1])
    """
    if not highest > 0:
        return [0, 1]
    rough = highest / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    values = [round(i * step, 12) for i in range(math.ceil(highest / step * 0.9999) + 1)]
    return [int(v) if v == int(v) else v for v in values]


def step_path(heights: list[int]) -> str:
    """A staircase over bins of width 1, closed along the base line at 0; heights in whole pixels.

    >>> step_path([3, 3, 5])
    'M0 0v-3h2v-2h1V0z'
    """
    path, level, run = ["M0 0"], 0, 0
    for height in heights:
        if height != level:
            path.append((f"h{run}" if run else "") + f"v{level - height}")
            level, run = height, 0
        run += 1
    return "".join(path) + f"h{run}V0z"


def rate_svg(bins: Bins, *, title: str, by: str, legend: bool = True, notes: tuple[str, ...] = ()) -> str:
    """The rates as stacked steps; lost events hatched on top, gaps grey.

    Without `legend` the names are left out, for a page that has its own.
    """
    plot = Plot()
    width = WIDTH + (LEGEND if legend else 0)
    height = HEIGHT + 17 * len(notes)
    squeeze = max(len(bins), 1) / plot.width  # of the layers, undone for the hatching
    mark = f"tl{zlib.crc32(repr((title, by, bins.names, len(bins))).encode()):08x}"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' class='tl-rp' role='img' "
        f"aria-label='{escaped(title)}' style='max-width:100%'><style>{_STYLE}</style><defs>"
        f"<pattern id='{mark}' width='6' height='6' patternUnits='userSpaceOnUse' "
        f"patternTransform='scale({squeeze:.6g} 1) rotate(45)'>"
        f"<rect width='6' height='6' fill='#fff' fill-opacity='.25'/>"
        f"<rect class='hatch' width='2.4' height='6'/></pattern></defs>",
        f"<rect class='bg' width='{width}' height='{height}'/>",
        f"<text x='4' y='16' font-weight='bold'>{escaped(title, 110)}</text>",
    ]
    if len(bins):
        parts += _plot(bins, plot, mark)
        parts += _legend(bins, by, mark) if legend else []
    else:
        parts.append(f"<text x='{LEFT}' y='{HEIGHT / 2}'>{NO_BINS}</text>")
    parts += [f"<text x='4' y='{HEIGHT + 12 + 17 * i}'>{escaped(n, 150)}</text>" for i, n in enumerate(notes)]
    return "".join([*parts, "</svg>"])


def _plot(bins: Bins, plot: Plot, mark: str) -> list[str]:
    levels = ticks(float(max((bins.kept + bins.lost).max(), bins.peak.max())))
    scale = plot.height / levels[-1]
    base, right = plot.top + plot.height, plot.left + plot.width
    parts = ["<g class='y'>"]
    for value in levels:
        y = f"{base - value * scale:.1f}"
        parts.append(f"<line class='grid' x1='{plot.left}' x2='{right}' y1='{y}' y2='{y}'/>")
        parts.append(f"<text x='{plot.left - 6}' y='{y}' dy='.35em' text-anchor='end'>{short(value)}</text>")
    parts.append("</g>")
    turned = f"transform='translate(14 {plot.top + plot.height / 2}) rotate(-90)'"
    parts.append(f"<text text-anchor='middle' {turned}>events per second</text>")
    parts += [_band(w, bins, plot, "loss") for w in bins.loss_windows]
    parts += [_band(w, bins, plot, "gap") for w in bins.gaps]

    parts.append(
        f"<g class='layers' transform='translate({plot.left} {base}) scale({plot.width / len(bins):.6g} 1)'>"
    )
    stacked = np.cumsum(bins.rates, axis=0)
    if bins.lost.any():
        path = step_path(_pixels(bins.kept + bins.lost, scale))
        parts.append(f"<path class='lost' fill='url(#{mark})' d='{path}'/>")
    for i in range(len(bins.names) - 1, -1, -1):  # the highest first: the lower ones cover it
        path = step_path(_pixels(stacked[i], scale))
        parts.append(f"<path data-series='{i}' fill='{colours_of(bins)[i]}' d='{path}'/>")
    if bins.fine_s:
        path = step_path(_pixels(bins.peak, scale))
        parts.append(f"<path class='peak' fill='none' vector-effect='non-scaling-stroke' d='{path}'/>")
    parts.append("</g>")
    parts += _time_axis(bins, plot)
    parts += _labels(bins.gaps, bins, plot, "not recorded", plot.top + 14)
    parts += _labels(bins.loss_windows, bins, plot, "lost", plot.top - 4)
    return parts


def _pixels(values: Floats, scale: float) -> list[int]:
    """Heights in whole pixels; what is not zero is seen."""
    heights = np.where((values > 0) & (values * scale < 1), 1, np.rint(values * scale))
    return [int(h) for h in heights]


def _x(time_s: float, bins: Bins, plot: Plot) -> float:
    return plot.left + (time_s - bins.start_s) / (len(bins) * bins.bin_s) * plot.width


def _band(window: Window, bins: Bins, plot: Plot, kind: str) -> str:
    x0, x1 = _x(window.start_s, bins, plot), _x(window.end_s, bins, plot)
    return f"<rect class='{kind}' x='{x0:.1f}' y='{plot.top}' width='{max(x1 - x0, 1):.1f}' height='{plot.height}'/>"


def _labels(windows: list[Window], bins: Bins, plot: Plot, word: str, y: int) -> list[str]:
    """A text per window as far as there is room: those with the most lost first."""
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for window in sorted(windows, key=lambda w: (-w.count, w.start_s)):
        text = f"{word} {short(window.count)}" if word == "lost" else word
        half = len(text) * CHAR / 2
        middle = _x((window.start_s + window.end_s) / 2, bins, plot)
        middle = min(max(middle, plot.left + half), plot.left + plot.width - half)
        wide = word == "lost" or _x(window.end_s, bins, plot) - _x(window.start_s, bins, plot) > half
        if wide and all(middle + half < a or middle - half > b for a, b in taken):
            taken.append((middle - half, middle + half))
            kind = " class='warn'" if word == "lost" else ""
            parts.append(f"<text{kind} x='{middle:.1f}' y='{y}' text-anchor='middle'>{text}</text>")
    return parts


def _time_axis(bins: Bins, plot: Plot) -> list[str]:
    base, right = plot.top + plot.height, plot.left + plot.width
    length = len(bins) * bins.bin_s
    step = ticks(length, 8)[1]
    first = math.ceil(bins.start_s / step - 1e-9) * step
    parts = [f"<line class='axis' x1='{plot.left}' x2='{right}' y1='{base}' y2='{base}'/>"]
    for i in range(int((bins.start_s + length - first) / step + 1e-9) + 1):
        x = _x(first + i * step, bins, plot)
        parts.append(f"<line class='axis' x1='{x:.1f}' x2='{x:.1f}' y1='{base}' y2='{base + 4}'/>")
        text = digits(round(first + i * step, 9))
        parts.append(f"<text x='{x:.1f}' y='{base + 17}' text-anchor='middle'>{text}</text>")
    middle = plot.left + plot.width / 2
    parts.append(
        f"<text x='{middle}' y='{base + 36}' text-anchor='middle'>seconds since the session began</text>"
    )
    return parts


def _legend(bins: Bins, by: str, mark: str) -> list[str]:
    x, y = WIDTH + 6, TOP + 6
    parts = [f"<text x='{x}' y='{y}' font-weight='600'>{escaped(by)}</text>"]
    entries = list(zip(bins.names, colours_of(bins), strict=True))
    if bins.lost.any():
        entries.append(("lost (range up to)", f"url(#{mark})"))
    for i, (name, colour) in enumerate(entries):
        line = y + 20 * (i + 1)
        parts.append(f"<rect x='{x}' y='{line - 11}' width='12' height='12' fill='{colour}'/>")
        parts.append(f"<text x='{x + 18}' y='{line}'>{escaped(name, 23)}</text>")
    return parts
