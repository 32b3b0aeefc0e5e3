"""A session as the source of an explorer: what is selected there, as parts of the session here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tracelab.query.selection import Selection

if TYPE_CHECKING:
    import pandas as pd

    from tracelab.api.session import Session
    from tracelab.pitfalls import Finding
    from tracelab.views.explorer import Chosen
    from tracelab.views.live import LiveView


class SessionSource:
    """The parts of an explorer, made from a session; one that is being recorded is opened again to be refreshed."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def part(self, chosen: Chosen) -> Session:
        """The part of the session that is selected."""
        return self.session.select(
            time=chosen.time,
            pid=chosen.pids,
            comm=chosen.comms,
            cpu=chosen.cpus,
            event=chosen.events,
            cgroup=chosen.cgroups,
            frame=chosen.frames,
        )

    def rate(self, chosen: Chosen) -> LiveView:
        """Event rates of what is selected."""
        return self.part(chosen).event_rate()

    def heatmap(self, chosen: Chosen) -> LiveView:
        """The heat map of what is selected."""
        return self.part(chosen).heatmap()

    def flame(self, chosen: Chosen) -> LiveView:
        """The flame graph of what is selected; with a baseline, what has changed since."""
        part = self.part(chosen)
        if chosen.baseline is None:
            return part.flamegraph()
        before = self.session.select(time=chosen.baseline, pid=chosen.pids, comm=chosen.comms, cpu=chosen.cpus)
        return part.compare(before).flamegraph()

    def top(self, chosen: Chosen) -> pd.DataFrame:
        """Processes of what is selected; see analysis.busy."""
        return self.part(chosen).busy()

    def findings(self, chosen: Chosen) -> Sequence[Finding]:
        """What the pitfalls came to in what is selected."""
        return self.part(chosen).findings()

    def code(self, chosen: Chosen) -> str:
        """The code that makes the selection."""
        selection: Selection = self.part(chosen).selection
        return f"s.select({selection.code(self.session.manifest.start_ns)})"

    def refresh(self) -> tuple[float, float, bool]:
        """The session's time, and whether it is still being recorded; then it is opened again."""
        from tracelab.api.recordings import open_session

        if self.session.manifest.state == "recording":
            self.session = open_session(self.session.path).select(self.session.selection)
        return (*self.session.window, self.session.manifest.state == "recording")
