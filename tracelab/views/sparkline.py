"""A line of a few pixels that shows how a rate went: peaks are kept, however long the time behind a pixel is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracelab.views.marking import Marking
from tracelab.views.rate_picture import step_path
from tracelab.views.wording import escaped

WIDTH, HEIGHT = 180, 22  #: pixels of the line in a table
BLOCKS = "▁▂▃▄▅▆▇█"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """The time behind the cells of a line; every row of a table has the same."""

    start_s: float
    end_s: float
    count: int
    lossy: npt.NDArray[np.bool_]  #: shape (count,), whether something was lost in it

    @property
    def cell_s(self) -> float:
        """Length of a cell."""
        return (self.end_s - self.start_s) / max(self.count, 1)

    def of(self, time_s: float) -> float:
        """Where a time lies, in cells."""
        return (time_s - self.start_s) / max(self.cell_s, 1e-12)


def highest(values: npt.NDArray[np.float64], cells: int) -> Floats:
    """The highest of the values behind each of at most `cells` cells.

    >>> highest(np.array([1.0, 5, 2, 0, 3]), 2)
    array([5., 3.])
    """
    if len(values) <= cells:
        return values.astype(np.float64)
    edges = np.arange(cells) * len(values) // cells
    found: Floats = np.maximum.reduceat(values.astype(np.float64), edges)
    return found


def spark_svg(values: Floats, cells: Cells, marks: Sequence[Marking], label: str) -> str:
    """The line as SVG: steps on a scale of their own, lossy time underlined, marks as upright strokes."""
    top = float(values.max(initial=0.0))
    heights = [round((HEIGHT - 4) * float(v) / top) if top > 0 else 0 for v in values]
    heights = [max(h, 1) if v > 0 else 0 for h, v in zip(heights, values, strict=True)]
    across = WIDTH / max(cells.count, 1)
    parts = [
        f"<svg class='spark' width='{WIDTH}' height='{HEIGHT}' role='img' aria-label='{escaped(label)}'>"
        f"<title>{escaped(label)}</title>",
        f"<path class='line' transform='translate(0 {HEIGHT - 3}) scale({across:.4g} 1)' d='{step_path(heights)}'/>",
        f"<path class='base' d='M0 {HEIGHT - 2.5}h{WIDTH}'/>",
    ]
    parts += [
        f"<rect class='lost' x='{i * across:.1f}' y='{HEIGHT - 3}' width='{across:.1f}' height='3'/>"
        for i in np.flatnonzero(cells.lossy).tolist()
    ]
    for mark in marks:
        x = min(max(cells.of(mark.time_s) * across, 0.5), WIDTH - 0.5)
        if mark.until_s is not None:
            width = max(cells.of(mark.until_s) * across - x, 0.0)
            parts.append(f"<rect class='span' x='{x:.1f}' width='{width:.1f}' height='{HEIGHT}'/>")
        parts.append(f"<path class='mark' d='M{x:.1f} 0v{HEIGHT}'/>")
    return "".join([*parts, "</svg>"])


def spark_text(values: Floats) -> str:
    """The line in block characters, one per cell; a cell without any is blank.

    >>> spark_text(np.array([0.0, 1, 50, 100]))
    ' ▁▄█'
    """
    top = float(values.max(initial=0.0))
    if not top > 0:
        return " " * len(values)
    steps = np.ceil(values / top * len(BLOCKS)).astype(int)
    return "".join(BLOCKS[step - 1] if step > 0 else " " for step in steps.tolist())
