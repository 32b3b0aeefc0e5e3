"""The session as an object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tracelab.api.part import several
from tracelab.api.replay import replay
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
        frame: str | Iterable[str] | None = None,
    ) -> Session:
        """The part of this session that fits everything given; each may be one value or several.

        `time` is from and until, seconds since the recording began, either of them None for the recording's own.
        `comm` is the name that the thread had at the moment, `cgroup` a control group and those below it, `frame` a
        function that must be in the stack of a sample; events are not narrowed by it.
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
            frames=several(frame),
        )
        narrowed = self._selection.narrowed(asked).narrowed(selection or Selection())
        return Session(self._store, narrowed, self._whole or self)

    def replay(self, speed: float = 1.0, step_s: float | None = None) -> Iterator[Session]:
        """Parts of this session, one after the other, each at its time: `for part in s.replay(speed=10): ...`.

        `speed` is recorded seconds per second. Together the parts are the whole; see api.replay.
        """
        return replay(self, speed, step_s)
