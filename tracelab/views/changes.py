"""Tables of changes, as a page to read: signed numbers, a bar for each with its interval, and what is noise in grey.

Bars go to the right for more and to the left for less, and say so in words, so that nothing is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from tracelab.views import palette
from tracelab.views.markup import WrittenView, html_list
from tracelab.views.wording import escaped, percent, visible

MORE, LESS, UNCERTAIN = palette.SERIES[5], palette.SERIES[0], "#8a8a8a"
ROWS = 20
ROOM = 1.4  #: for intervals, times the largest change
_BAR = 132  #: pixels of a bar and its interval
SYMBOL = 120  #: characters of a name
# A notebook has styles of its own for tables: texts to the right, and breaks in the middle of a number.
_NUMBER = " class='num' style='white-space:nowrap'"
_WORD = " style='text-align:left;white-space:nowrap'"
_NAME = " style='text-align:left'"
_NOTHING = "nothing changed"

Row = dict[str, object]
Format = Callable[[float], str]


class ChangesView(WrittenView):
    """Tables of changes with bars; what a row is called is up to those who make one."""

    def __init__(self, title: str, notes: Sequence[str], before: str, after: str) -> None:
        self.title = visible(title, 200)
        self.notes = [visible(note) for note in notes]
        self.sides = [("before", visible(before, 200)), ("after", visible(after, 200))]

    def headline(self) -> str:
        """How many changes there are, in words."""
        raise NotImplementedError

    def _sections(self) -> list[tuple[str, str, str]]:
        """Heading of each table, the prefix of its columns, and the column header of its names."""
        raise NotImplementedError

    def _name(self, row: Row) -> tuple[str, str]:
        """What a row is of, and what is said behind it."""
        raise NotImplementedError

    def _format(self, value: float) -> str:
        """A value with its unit."""
        raise NotImplementedError

    def _more(self, row: Row) -> list[str]:
        """Further cells of a row."""
        return []

    def _more_heads(self) -> list[str]:
        return []

    def to_text(self, top: int = 10) -> str:
        """The largest changes with their numbers, certain ones first."""
        lines = [self.title, *(f"{name}: {what}" for name, what in self.sides), self.headline(), *self.notes]
        for heading, prefix, _ in self._sections():
            lines += ["", heading]
            rows = _largest(self.table, prefix, top)
            lines += [] if rows else [_NOTHING]
            for row in rows:
                name, where = self._name(row)
                values = [f"{value:>12}" for value in (*self._numbers(row, prefix), _relative(row, prefix))]
                lines.append(" ".join([*values, f" {_verdict(row, prefix):<14}", f"{name}  {where}".rstrip()]))
        return "\n".join(lines)

    def _numbers(self, row: Row, prefix: str) -> tuple[str, str, str]:
        old, new, delta = (number(row, f"{prefix}{name}") for name in ("before", "after", "delta"))
        return self._format(old), self._format(new), signed(delta, self._format)

    def _body(self) -> str:
        parts = [f"<h3>{escaped(self.title)}</h3>", html_list(self.sides)]
        parts.append(f"<p><b>{escaped(self.headline())}</b></p>")
        parts += [f"<p class='soft'>{escaped(note)}</p>" for note in self.notes]
        sections = self._sections()
        opened = next((prefix for _, prefix, _ in sections if self.table[f"{prefix}certain"].any()), sections[0][1])
        for heading, prefix, head in sections:
            summary = f"<summary><b>{escaped(heading)}</b></summary>"
            is_open = " open" if prefix == opened else ""
            parts.append(f"<details{is_open}>{summary}{self._html(prefix, head)}</details>")
        return "".join(parts)

    def _html(self, prefix: str, head: str) -> str:
        rows = _largest(self.table, prefix, ROWS)
        if not rows:
            return f"<p class='soft'>{_NOTHING}</p>"
        reach = ROOM * max(abs(number(row, f"{prefix}delta")) for row in rows)
        heads = [(name, _NUMBER) for name in ("before", "after", "change", "of before")]
        heads += [("less ◂ 95 % ▸ more", _WORD), ("how sure", _WORD), (head, _NAME)]
        heads += [(name, _NUMBER) for name in self._more_heads()]
        top = "".join(f"<th{style}>{escaped(name)}</th>" for name, style in heads)
        body = "".join(self._html_row(row, prefix, reach) for row in rows)
        more = len(self.table) - len(rows)
        rest = f"<p class='soft'>{more:,} more rows in .table</p>" if more > 0 else ""
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{rest}"

    def _html_row(self, row: Row, prefix: str, reach: float) -> str:
        name, where = self._name(row)
        numbers = (*self._numbers(row, prefix), _relative(row, prefix))
        cells = [f"<td{_NUMBER}>{escaped(text)}</td>" for text in numbers]
        bar = _bar(row, prefix, reach, label=self._label(row, prefix))
        said = f" <code>{escaped(where)}</code>" if where else ""
        cells += [f"<td{_WORD}>{bar}</td>", f"<td{_WORD}>{escaped(_verdict(row, prefix))}</td>"]
        cells += [f"<td{_NAME}>{escaped(name, SYMBOL)}{said}</td>"]
        cells += [f"<td{_NUMBER}>{escaped(text)}</td>" for text in self._more(row)]
        return f"<tr>{''.join(cells)}</tr>"

    def _label(self, row: Row, prefix: str) -> str:
        """The interval in words."""
        low, high = (number(row, f"{prefix}{name}") for name in ("lower", "upper"))
        if math.isnan(low):
            return "not known how sure"
        return f"95 % interval {signed(low, self._format)} to {signed(high, self._format)}"


def signed(value: float, shown: Format) -> str:
    """A change with its sign; none at all is 0 without one.

    >>> signed(0.25, percent), signed(-0.25, percent), signed(0, percent)
    ('+25 %', '−25 %', '0 %')
    """
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return sign + shown(abs(value))


def _largest(table: pd.DataFrame, prefix: str, rows: int) -> list[Row]:
    """Certain changes first, then the largest; equal ones are left out."""
    delta = table[f"{prefix}delta"]
    order = np.lexsort((-delta.abs().to_numpy(), ~table[f"{prefix}certain"].to_numpy(bool)))
    changed = order[delta.to_numpy()[order] != 0]
    found: list[Row] = table.iloc[changed[:rows]].to_dict("records")
    return found


def _verdict(row: Row, prefix: str) -> str:
    if math.isnan(number(row, f"{prefix}lower")):
        return "? too few"
    if not row[f"{prefix}certain"]:
        return "○ uncertain"
    return "▲ more" if number(row, f"{prefix}delta") > 0 else "▼ less"


def _relative(row: Row, prefix: str) -> str:
    value = number(row, f"{prefix}relative")
    if math.isnan(value):
        return "new"
    return "gone" if value == -1 else signed(value, percent)


def number(row: Row, column: str) -> float:
    """The number in a column of a row; NaN where there is none."""
    value = row[column]
    return float(value) if isinstance(value, int | float | np.number) else math.nan


def _bar(row: Row, prefix: str, reach: float, *, label: str) -> str:
    """A bar from the middle as far as the change, hollow when uncertain, and below it a line as long as its interval.

    An interval that reaches farther than there is room has no stroke at that end.
    """
    delta, low, high = (number(row, f"{prefix}{name}") for name in ("delta", "lower", "upper"))
    middle, scale = _BAR / 2, (_BAR / 2 - 1) / reach
    x, width = middle + min(delta, 0) * scale, max(abs(delta) * scale, 0.5)
    if row[f"{prefix}certain"]:
        look = f"fill='{MORE if delta > 0 else LESS}'"
    else:
        look = f"fill='none' stroke='{UNCERTAIN}' stroke-dasharray='2 2'"
    shapes = [f"<rect x='{x:.1f}' y='1.5' width='{width:.1f}' height='7' {look}/>"]
    shapes.append(f"<path d='M{middle:.1f} 0V16' stroke='{UNCERTAIN}'/>")
    if math.isfinite(low) and math.isfinite(high):
        ends = [min(max(value, -reach), reach) for value in (low, high)]
        a, b = (middle + end * scale for end in ends)
        strokes = [f"M{middle + end * scale:.1f} 10V15" for end, v in zip(ends, (low, high), strict=True) if end == v]
        line = f"M{a:.1f} 12.5H{b:.1f}{''.join(strokes)}"
        shapes.append(f"<path d='{line}' stroke='currentColor' stroke-width='1.2' fill='none'/>")
    return (
        f"<svg style='vertical-align:middle' width='{_BAR}' height='16'"
        f" viewBox='0 0 {_BAR} 16' role='img' aria-label='{escaped(label)}'>"
        f"<title>{escaped(label)}</title>{''.join(shapes)}</svg>"
    )
