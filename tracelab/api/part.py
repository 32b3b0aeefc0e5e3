"""A part of a session: what it is of, and the tables behind it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tracelab.errors import UsageError
from tracelab.query.selection import FOREVER_NS, Selection
from tracelab.session.manifest import Manifest
from tracelab.session.reader import Store

if TYPE_CHECKING:
    from tracelab.query.tables import Tables

By = Literal["event", "probe", "comm", "cpu", "pid", "tid", "cgroup", "process", "thread"]
FOREVER_S = 1e9  #: a later end than this means no end


class Part:
    """The selected part of a session, or all of it."""

    def __init__(
        self, store: Store, selection: Selection | None = None, whole: Part | None = None
    ) -> None:
        self._store = store
        self._selection = selection or Selection()
        self._whole = whole  # the session that this is a part of: they share an engine

    @functools.cached_property
    def _tables(self) -> Tables:
        from tracelab.query.tables import Tables

        return (
            self._whole._tables.narrowed(self._selection)
            if self._whole
            else Tables(self._store, self._selection)
        )

    @property
    def path(self) -> Path:
        """The session's folder."""
        return self._store.path

    @property
    def manifest(self) -> Manifest:
        """Everything about the session that is not a row of a table: host, clocks, probes, options."""
        return self._store.manifest

    @property
    def selection(self) -> Selection:
        """What part of the session this is."""
        return self._selection

    @property
    def window(self) -> tuple[float, float]:
        """The selected time: from and until, seconds since the recording began."""
        first, last = self._tables.window_ns
        return (first - self.manifest.start_ns) / 1e9, (last - self.manifest.start_ns) / 1e9

    @property
    def duration_s(self) -> float:
        """Length of the selected time, seconds."""
        first, last = self._tables.window_ns
        return (last - first) / 1e9

    @property
    def tables(self) -> list[str]:
        """Names of the tables that were recorded."""
        from tracelab.schema import TABLES

        return [name for name in TABLES if self._store.has(name)]

    def __repr__(self) -> str:
        return f"<Session {str(self.path)!r}{self._of_what()}>"

    def _of_what(self) -> str:
        selected = self._selection.describe(self.manifest.start_ns)
        return f": {selected}" if selected else ""

    def _window_ns(self, time: tuple[float | None, float | None]) -> tuple[int, int]:
        first, last = (0.0 if time[0] is None else time[0]), (FOREVER_S if time[1] is None else time[1])
        if not first <= last:
            raise UsageError(f"time={time}: a time is (from, until), in seconds since the recording began")
        start_ns = self.manifest.start_ns
        until_ns = FOREVER_NS if last >= FOREVER_S else start_ns + round(last * 1e9)
        return start_ns + round(max(first, 0.0) * 1e9), max(until_ns, start_ns)

    def _notes(self) -> tuple[str, ...]:
        if self.manifest.state == "recovered":
            return ("the recorder died: what was lost in its last moments is not known",)
        return ("still recording",) if self.manifest.state == "recording" else ()


def several(values: Any) -> tuple[Any, ...] | None:
    """One value or several as a tuple; NumPy's numbers become Python's."""
    if values is None:
        return None
    given = [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
    return tuple(value.item() if hasattr(value, "item") else value for value in given)
