"""Tables and paragraphs as HTML without scripts, for views that are read rather than drawn.

A column's name tells its unit: `_ns` and `_bytes` get the largest unit that fits, `_share` becomes per cent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from tracelab.views.saved import View, asset, page
from tracelab.views.wording import amount, digits, escaped, percent, visible

MAX_CELL = 160  #: characters of a text in a table
IDS = ("pid", "tid", "ppid", "cpu")  #: columns whose numbers are names: no separators


class WrittenView(View):
    """A view that is HTML without scripts: the same in a cell, in a saved notebook and on a page."""

    title: str

    def _body(self) -> str:
        """The view as HTML."""
        raise NotImplementedError

    def _cell(self) -> str:
        return f"<style>{asset('written.css')}</style><div class='tl-written'>{self._body()}</div>"

    def _page(self) -> str:
        return page(
            title=self.title, body=f"<div class='tl-written'>{self._body()}</div>", style=asset("written.css")
        )


def cell_text(value: object, column: str = "") -> str:
    """A value as it stands in a table; missing is a dash, never a zero.

    >>> cell_text(2_500_000, "total_ns"), cell_text(0.5, "share"), cell_text(None), cell_text(12345)
    ('2.50 ms', '50 %', '–', '12,345')
    >>> cell_text(12345, "pid")
    '12345'
    """
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    number = float(value) if hasattr(value, "__float__") and not isinstance(value, str) else None
    if number is None:
        return visible(str(value), MAX_CELL)
    if column in IDS or column.endswith("_id"):
        return str(value)
    if column.endswith("_ns"):
        return amount(number, "ns")
    if column.endswith("_bytes"):
        return amount(number, "bytes")
    if column == "share" or column.endswith("_share"):
        return percent(number)
    return digits(number) if math.isfinite(number) else str(number)


def html_table(table: pd.DataFrame, rows: int = 20) -> str:
    """The first rows of a table as HTML, numbers to the right; says how many rows follow."""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
    kinds = [" class='num'" if right else "" for right in numeric]
    head = "".join(f"<th{k}>{escaped(c)}</th>" for c, k in zip(table.columns, kinds, strict=True))
    body = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in _texts(table, rows))
    more = f"<p class='soft'>{len(table) - rows:,} more rows</p>" if len(table) > rows else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def text_table(table: pd.DataFrame, rows: int = 20) -> str:
    """The first rows of a table as aligned text; says how many rows follow."""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
    lines = [[visible(str(c)) for c in table.columns], *_texts(table, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    text = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    more = [f"... and {len(table) - rows:,} more rows"] if len(table) > rows else []
    return "\n".join(text + more)


def html_list(items: Iterable[tuple[str, str]]) -> str:
    """Terms and what is said of them, as HTML."""
    return "<dl>" + "".join(f"<dt>{escaped(k)}</dt><dd>{escaped(v)}</dd>" for k, v in items) + "</dl>"


def _texts(table: pd.DataFrame, rows: int) -> list[list[str]]:
    names = [str(c) for c in table.columns]
    tuples = table.head(rows).itertuples(index=False, name=None)
    return [[cell_text(value, name) for value, name in zip(row, names, strict=True)] for row in tuples]


def _cells(row: list[str], kinds: list[str]) -> str:
    return "".join(f"<td{kind}>{escaped(text)}</td>" for text, kind in zip(row, kinds, strict=True))
