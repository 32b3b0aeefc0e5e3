"""The SVG of a view as PNG, for where SVG is not taken: chats, slides, issue trackers, some mail.

resvg draws it: no browser, no system libraries, fonts from the machine. It draws no text at all in a family that is
not there, so families are tried first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from tracelab.errors import UsageError

# What is usual on Linux, macOS and Windows; text is laid out by the widths of the first.
MONOSPACE = ("DejaVu Sans Mono", "Liberation Mono", "Noto Sans Mono", "Menlo", "Consolas", "Courier New")
PROPORTIONAL = ("DejaVu Sans", "Liberation Sans", "Noto Sans", "Helvetica", "Segoe UI", "Arial")
_LETTER = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20'><text y='15' font-family='{}'>M</text></svg>"


def png(svg: str, scale: float = 2.0) -> bytes:
    """A picture of ours as PNG, `scale` pixels per unit of the SVG, in light colours.

    Raises UsageError where resvg-py or every usual font is missing.
    """
    draw = _resvg()
    return draw(
        svg_string=svg,
        zoom=scale,
        monospace_family=_present(MONOSPACE),
        sans_serif_family=_present(PROPORTIONAL),
        font_family=_present(PROPORTIONAL),
    )


def _resvg() -> Callable[..., bytes]:
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise UsageError("a PNG is drawn by resvg-py, which is missing; pip install 'tracelab-ebpf[png]'") from error
    return svg_to_bytes


@functools.cache
def _present(families: tuple[str, ...]) -> str:
    """The first family that this machine has."""
    draw = _resvg()
    nothing = draw(svg_string=_LETTER.format("none"), skip_system_fonts=True)
    for family in families:
        if draw(svg_string=_LETTER.format(family), font_family="none", serif_family="none") != nothing:
            return family
    raise UsageError(
        f"no font to write in was found, neither {', '.join(families[:-1])} nor {families[-1]}; "
        "install one (Debian, Ubuntu: fonts-dejavu-core)"
    )
