"""Marks: named instants and times, set while recording or afterwards."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.errors import UsageError
from tracelab.query import kernels
from tracelab.query.tables import Tables
from tracelab.session import marks as stored
from tracelab.session.marks import Mark

RECORDER = "recorder"  #: author of the marks that the recorder sets by itself
NEAR = 8  #: names that an error tells


def marks(tables: Tables) -> pd.DataFrame:
    """The marks of the selected time, in order of time; a time that reaches into it is among them.

    Columns: time_s and until_s (s since the recording began; until_s is NaN for an instant), author ("recorder" for
    those that the recorder set by itself) and text. No rows where nobody set one: that is all that a session without
    the table says. Marks are of the whole machine: a selection by process or event leaves them.
    """
    rows = _rows(tables)
    first, last = tables.window_ns
    until_ns = rows["until_ns"].fillna(rows["time_ns"]).astype("int64")
    inside = (rows["time_ns"] <= last) & (until_ns >= first)
    rows = rows[inside].sort_values(["time_ns", "text"], kind="stable", ignore_index=True)
    start_ns = tables.start_ns
    until = rows["until_ns"].astype("Float64").to_numpy(float, na_value=math.nan)
    table = pd.DataFrame(
        {
            "time_s": (rows["time_ns"].astype("int64") - start_ns) / 1e9,
            "until_s": (until - start_ns) / 1e9,
            "author": rows["author"].fillna("?").astype("str"),
            "text": rows["text"].fillna("").astype("str"),
        }
    )
    return documented(table, "marks", time_s="s", until_s="s", author="name", text="name")


def add_mark(tables: Tables, time_s: float, until_s: float | None, text: str, author: str) -> None:
    """Store a mark in the session.

    Raises UsageError for a time outside of the recording or without a text, and SessionError where the session's
    folder cannot be written.
    """
    text, author = _storable(text), _storable(author)
    if not text:
        raise UsageError("a mark needs a text: s.mark(2.5, text='deploy')")
    begin_ns, end_ns = _ns(tables, time_s), None if until_s is None else _ns(tables, until_s)
    if end_ns is not None and end_ns < begin_ns:
        raise UsageError(f"until={until_s:g} is before time={time_s:g}: a mark ends after it begins")
    stored.add(tables.store, Mark(begin_ns, end_ns, author or "user", text))


def remove_marks(tables: Tables, text: str, time_s: float | None = None) -> int:
    """Take away the marks of this text, or the one at `time_s`; returns how many.

    Raises UsageError when there is none that can go: those of the recording stay.
    """
    begin_ns = None if time_s is None else _ns(tables, time_s)
    gone = stored.remove(
        tables.store, lambda mark: mark.text == text and begin_ns in (None, mark.time_ns)
    )
    if not gone:
        at = "" if time_s is None else f" at {time_s:g} s"
        if (_rows(tables)["text"] == text).any() and time_s is None:
            raise UsageError(f"mark {text!r} was set while recording, and stays")
        texts = [mark.text for mark in stored.added_marks(tables.store)]
        raise UsageError(f"no mark {text!r}{at} was set afterwards; {_near(text, texts)}")
    return gone


def mark_window(tables: Tables, text: str) -> tuple[float, float | None]:
    """The time that a mark names: from, and until, s since the recording began; None for the recording's end.

    An instant names the time from it to the next mark that a person set, or to the end. Raises UsageError, with the
    near names, when there is no such mark, and when several have this text.
    """
    rows = marks(type(tables)(tables.store, None, tables.engine))
    named = rows[rows["text"] == text]
    if named.empty:
        raise UsageError(f"there is no mark {text!r}; {_near(text, rows['text'].tolist())}")
    if len(named) > 1:
        times = ", ".join(f"{time:g} s" for time in named["time_s"].head(NEAR))
        raise UsageError(f"{len(named)} marks are named {text!r}, at {times}: select one by its time=(from, until)")
    time_s, until_s = float(named["time_s"].iloc[0]), float(named["until_s"].iloc[0])
    if not math.isnan(until_s):
        return time_s, until_s
    later = rows[(rows["time_s"] > time_s) & (rows["author"] != RECORDER)]
    return time_s, float(later["time_s"].iloc[0]) if len(later) else None


def _rows(tables: Tables) -> pd.DataFrame:
    if not tables.has("marks"):
        return pd.DataFrame(
            {"time_ns": pd.array([], "int64"), "until_ns": pd.array([], "Int64"), "author": [], "text": []}
        )
    return kernels.rows(type(tables)(tables.store, None, tables.engine), "marks")


def _ns(tables: Tables, time_s: float) -> int:
    """A time of the recording as CLOCK_MONOTONIC ns."""
    try:
        seconds = float(time_s)
    except (TypeError, ValueError) as error:
        raise UsageError(f"time={time_s!r}: a time is in seconds since the recording began") from error
    length_s = (tables.store.end_ns - tables.start_ns) / 1e9
    if not 0 <= seconds <= length_s + 1e-9:
        raise UsageError(f"{seconds:g} s is not in the recording, which is {length_s:g} s long")
    return min(tables.start_ns + round(seconds * 1e9), tables.store.end_ns)


def _storable(text: str) -> str:
    """A text as it can be stored: half a character, as of a name that is not UTF-8, is written out."""
    return str(text).strip().encode("utf-8", "backslashreplace").decode()


def _near(text: str, texts: Sequence[str]) -> str:
    known = list(dict.fromkeys(texts))
    if not known:
        return "there are none"
    near = difflib.get_close_matches(text, known, 3, 0.5)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    more = f" and {len(known) - NEAR} more" if len(known) > NEAR else ""
    return f"there are {', '.join(map(repr, known[:NEAR]))}{more}"
