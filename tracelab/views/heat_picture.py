"""A heat map of moments as SVG, for notebooks where no script runs."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tracelab.analysis.heatmap import Moments
from tracelab.views import palette
from tracelab.views.wording import amount, escaped

WIDTH, LEFT, TOP, TALL = 900, 60, 30, 200
LABEL = 70  #: pixels that a label of the time axis takes


def heat_svg(made: Moments, *, title: str, notes: Sequence[str] = ()) -> str:
    """The moments as SVG; those that were not recorded are left out, those without anything are pale."""
    top = float(made.values.max(initial=0.0)) or 1.0
    wide, high = (WIDTH - LEFT - 10) / made.columns, TALL / made.rows
    height = TOP + TALL + 40 + 16 * len(notes)
    columns = f"a column from the bottom up is {made.column_s:g} s"
    legend = f"0 to {amount(top, made.unit)} in {1000 * made.cell_s:g} ms; {columns}"
    every = max(1, round(LABEL / wide))
    labels = [
        f"<text x='{LEFT + i * wide:.0f}' y='{TOP + TALL + 15}'>{made.start_s + i * made.column_s:g} s</text>"
        for i in range(0, made.columns, every)
    ]
    said = [
        f"<text x='4' y='{TOP + TALL + 35 + 16 * i}'>{escaped(note, 130)}</text>" for i, note in enumerate(notes)
    ]
    return "".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img' ",
            f"aria-label='{escaped(title)}' style='max-width:100%' font-family='sans-serif' font-size='12'>",
            "<rect width='100%' height='100%' fill='#fff'/>",
            f"<text x='4' y='14' font-weight='bold'>{escaped(title, 60)}</text>",
            f"<text x='{WIDTH - 6}' y='14' text-anchor='end'>{escaped(legend)}</text>",
            *(f"<path fill='{fill}' d='{''.join(d)}'/>" for fill, d in _cells(made, top, wide, high).items()),
            *labels,
            *said,
            "</svg>",
        ]
    )


def _cells(made: Moments, top: float, wide: float, high: float) -> dict[str, list[str]]:
    """Paths by colour; neighbours of a column that have the same one are one box."""
    scale = palette.heat_scale("light")
    level = np.where(made.values > 0, np.clip(np.ceil(made.values / top * (len(scale) - 1)), 1, len(scale) - 1), 0)
    level = np.where(made.recorded, level, -1).astype(int)
    paths: dict[str, list[str]] = defaultdict(list)
    for column in range(made.columns):
        cells = level[column * made.rows : (column + 1) * made.rows]
        edges = [0, *(np.flatnonzero(np.diff(cells)) + 1).tolist(), len(cells)]
        for low, up in itertools.pairwise(edges):
            if cells[low] < 0:
                continue
            fill = scale[cells[low]] if cells[low] else "#f4f4f4"
            x, y = LEFT + column * wide, TOP + TALL - up * high
            paths[fill].append(f"M{x:.1f} {y:.1f}h{wide:.1f}v{(up - low) * high:.1f}h-{wide:.1f}z")
    return paths
