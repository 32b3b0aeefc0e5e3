"""The session as an object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tracelab.api.part import several
from tracelab.api.replay import replay
from tracelab.api.views import ViewVerbs
from tracelab.query.selection import Selection

if TYPE_CHECKING:
    from tracelab.views.explorer import Explorer


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
        mark: str | None = None,
    ) -> Session:
        """The part of this session that fits everything given; each may be one value or several.

        `time` is from and until, seconds since the recording began, either of them None for the recording's own.
        `comm` is the name that the thread had at the moment, `cgroup` a control group and those below it, `frame` a
        function that must be in the stack of a sample; events are not narrowed by it. `mark` is the time of that mark:
        its own, or of an instant the time until the next one. Selecting further narrows further. Raises UsageError for
        a time that ends before it begins, and for a mark that there is not, with the near names.
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
        if mark is not None:
            asked = asked.narrowed(Selection(self._window_ns(self._marked(mark))))
        narrowed = self._selection.narrowed(asked).narrowed(selection or Selection())
        return Session(self._store, narrowed, self._whole or self)

    def explore(self) -> Explorer:
        """Everything on one page, linked by one selection: rates, heat map, flame graph, processes, findings.

        Brush a time, pick a process, click a frame: the rest follows, and the selection prints as the code that makes
        it. A session that is being recorded is followed.
        """
        return self._explorer(player=False)

    def play(self) -> Explorer:
        """The same, with what plays the session against the clock: play, pause, speed, step and scrub."""
        return self._explorer(player=True)

    def _explorer(self, player: bool) -> Explorer:
        from tracelab.api.exploring import SessionSource
        from tracelab.views.explorer import Explorer

        return Explorer(SessionSource(self), title=f"{self.path.name}{self._of_what()}", player=player)

    def replay(self, speed: float = 1.0, step_s: float | None = None) -> Iterator[Session]:
        """Parts of this session, one after the other, each at its time: `for part in s.replay(speed=10): ...`.

        `speed` is recorded seconds per second. Together the parts are the whole; see api.replay.
        """
        return replay(self, speed, step_s)

    def _marked(self, mark: str) -> tuple[float, float | None]:
        from tracelab.analysis.marks import mark_window

        return mark_window(self._tables, mark)
