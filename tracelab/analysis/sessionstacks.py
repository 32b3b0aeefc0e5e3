"""The stacks of a part of a session, by whom and when: where a live flame graph gets other trees from."""

from __future__ import annotations

from tracelab.analysis import walltime
from tracelab.analysis.flamechart import flame_chart
from tracelab.analysis.profiles import GROUPS, shared_profile
from tracelab.analysis.samples import sample_index
from tracelab.analysis.stacks import Tree
from tracelab.profile import Profile
from tracelab.query.tables import Tables


class SessionStacks:
    """Samples of one kind, as what is selected has them."""

    def __init__(self, tables: Tables, kind: str = "on-CPU") -> None:
        self.tables = tables
        self.kind = kind

    @property
    def groups(self) -> tuple[str, ...]:
        """By what they can be told apart; wall-clock time is of threads."""
        return () if self.kind == walltime.KIND else GROUPS

    @property
    def in_time(self) -> bool:
        """Whether a sample stands for a time, which a chart can show."""
        return self.kind != walltime.KIND and sample_index(self.tables, self.kind).units == ("ns",)

    def profile(self, by: str | None) -> Profile:
        """The profile, those of each group on a frame of their own; see analysis.profiles."""
        if self.kind == walltime.KIND:
            return walltime.wall_profile(self.tables)
        return shared_profile(self.tables, self.kind, by)

    def chart(self) -> tuple[Tree, int, int]:
        """A flame chart, when it begins (ns since the recording began), and how many threads were left out."""
        first, last = self.tables.window_ns
        tree, left_out = flame_chart(
            sample_index(self.tables, self.kind), self.tables.selection, first, last
        )
        return tree, first - self.tables.start_ns, left_out
