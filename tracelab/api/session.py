"""The session as an object."""

from __future__ import annotations

from collections.abc import Iterable

from tracelab.api.part import several
from tracelab.api.views import ViewVerbs
from tracelab.query.selection import Selection


class Session(ViewVerbs):
    """A recorded session, or the part of it that was selected."""

    def select(
        self,
        selection: Selection | None = None,
        *,
        time: tuple[float | None, float | None] | None = None,
        pid: int | Iterable[int] | None = None,
        tid: int | Iterable[int] | None = None,
        comm: str | Iterable[str] | None = None,
        event: str | Iterable[str] | None = None,
        cpu: int | Iterable[int] | None = None,
        cgroup: str | Iterable[str] | None = None,
    ) -> Session:
        """The part of this session that fits everything given; each may be one value or several.

        `time` is from and until, seconds since the recording began, either of them None for the recording's own.
        `comm` is the name that the thread had at the moment, `cgroup` a control group and those below it.
        Selecting further narrows further. Raises UsageError for a time that ends before it begins.
        """
        asked = Selection(
            window_ns=None if time is None else self._window_ns(time),
            pids=several(pid),
            tids=several(tid),
            comms=several(comm),
            cpus=several(cpu),
            events=several(event),
            cgroups=several(cgroup),
        )
        narrowed = self._selection.narrowed(asked).narrowed(selection or Selection())
        return Session(self._store, narrowed, self._whole or self)
