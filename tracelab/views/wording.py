"""How numbers and recorded text are put before people: three digits and a unit, nothing invisible.

flamegraph.js and event_rate.js format numbers by the same rules.
"""

from __future__ import annotations

import html
import re

_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_SIZES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
# Control characters, direction overrides, surrogates and non-characters: they move cursors, reverse the
# reading order, or are not allowed in XML.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def digits(value: float) -> str:
    """A number with three significant digits, or all digits before the point.

    >>> digits(0.01234), digits(1.234), digits(12.34), digits(1234567), digits(3)
    ('0.0123', '1.23', '12.3', '1,234,567', '3')
    """
    size = abs(value)
    if value == int(value) or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"


def amount(value: float, unit: str) -> str:
    """A weight with its unit, times and sizes in the largest unit that fits; a share as per cent.

    >>> amount(1.5e9, "ns"), amount(2048, "bytes"), amount(1, "samples"), amount(0.5, "share"), amount(2e6, "ns/s")
    ('1.50 s', '2 KiB', '1 samples', '50 %', '2 ms/s')
    """
    if unit == "share":
        return percent(value)
    base, slash, per = unit.partition("/")
    if slash:
        return f"{amount(value, base)}/{per}"
    for scale, name in {"ns": _TIMES, "bytes": _SIZES}.get(unit, ()):
        if abs(value) >= scale:
            return f"{_fixed(value / scale)} {name}"
    return f"{digits(value)} {unit}"


def short(value: float) -> str:
    """A count in three digits and a letter, for axes and labels.

    >>> short(950), short(12345), short(1e6)
    ('950', '12.3k', '1M')
    """
    for scale, letter in _COUNTS:
        if abs(value) >= scale:
            return digits(value / scale) + letter
    return digits(value)


def percent(share: float) -> str:
    """A share of one as per cent.

    >>> percent(0.1234), percent(1), percent(0), percent(0.00001)
    ('12.3 %', '100 %', '0 %', '<0.01 %')
    """
    if 0 < share < 0.0001:
        return "<0.01 %"
    return f"{digits(100 * share)} %"


def visible(text: str, limit: int | None = None) -> str:
    r"""Recorded text with its invisible characters written out, cut to `limit` characters.

    >>> print(visible("a\x1b[2Jb\u202e"), visible("abcdef", limit=4))
    a\x1b[2Jb\u202e abc…
    """
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _INVISIBLE.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def escaped(text: object, limit: int | None = None) -> str:
    """Recorded text for HTML and SVG, safe between tags and in quoted attributes alike.

    >>> escaped("<b>'x'")
    '&lt;b&gt;&#x27;x&#x27;'
    """
    return html.escape(visible(str(text), limit))


def _fixed(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else digits(value)
