"""Marks as a view shows them: where, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tracelab.views.wording import digits, visible

LABEL = 28  #: characters of a mark's text on a time axis
NAMED = 12  #: marks that a note tells


@dataclass(frozen=True)
class Marking:
    """A mark to be drawn; times are s since the recording began."""

    time_s: float
    until_s: float | None  #: None for an instant
    text: str  #: with nothing invisible in it
    author: str

    def words(self) -> str:
        """The mark in one line.

        >>> Marking(1.5, 2.0, "storm", "ann").words()
        'storm (1.50 s to 2 s, by ann)'
        """
        until = "" if self.until_s is None else f" to {digits(round(self.until_s, 6))} s"
        return f"{self.text} ({digits(round(self.time_s, 6))} s{until}, by {self.author})"


def markings(marks: pd.DataFrame | None, window: tuple[float, float] | None = None) -> tuple[Marking, ...]:
    """The marks of a table of analysis.marks, cut to a window; none for None."""
    if marks is None:
        return ()
    first, last = window or (-float("inf"), float("inf"))
    found = []
    for time_s, until_s, author, text in marks[["time_s", "until_s", "author", "text"]].itertuples(index=False):
        end = None if until_s != until_s else min(float(until_s), last)
        if float(time_s) <= last and (float(time_s) if end is None else end) >= first:
            found.append(Marking(max(float(time_s), first), end, visible(text, 200), visible(author, 40)))
    return tuple(found)


def marks_note(marks: Sequence[Marking]) -> tuple[str, ...]:
    """What the notes beside a view say of its marks: one line, or none."""
    if not marks:
        return ()
    more = f" and {len(marks) - NAMED} more" if len(marks) > NAMED else ""
    return ("marks: " + "; ".join(mark.words() for mark in marks[:NAMED]) + more,)


def axis_labels(
    marks: Sequence[tuple[float, str]], right: float, char: float
) -> list[tuple[float, str]]:
    """Which texts of (x, text) stand beside one another up to `right` without overlap, and where each begins.

    One that has no room is cut, and left out where not even four characters fit; the line and the note tell it.

    >>> axis_labels([(0, "begin"), (20, "overlaps"), (60, "a long one that is cut")], 150, 7)
    [(2, 'beg…'), (62, 'a long one…')]
    """
    found: list[tuple[float, str]] = []
    ordered = sorted(marks, key=lambda mark: mark[0])
    taken = -float("inf")
    for i, (x, text) in enumerate(ordered):
        if x < taken:
            continue
        following = ordered[i + 1][0] if i + 1 < len(ordered) else right
        room = int((max(following, x + 40) - x - 8) / char)
        if x + 2 + min(room, 4) * char > right:
            continue
        room = min(room, int((right - x - 2) / char), LABEL)
        said = visible(text, max(room, 1))
        if room >= 4:
            found.append((x + 2, said))
            taken = x + 8 + len(said) * char
    return found


def said_marks(marks: pd.DataFrame | None) -> list[list[Any]]:
    """Marks as scripts read them: [from, until or None, text], seconds."""
    rows = [] if marks is None else marks.to_dict("records")
    return [
        [float(m["time_s"]), None if pd.isna(m["until_s"]) else float(m["until_s"]), visible(str(m["text"]), 80)]
        for m in rows
    ]
