"""What changed between two profiles, or in events per second, as tables to read."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.difference import Comparison
from tracelab.analysis.stacks import Tree
from tracelab.views.change_flamegraph import ChangeFlameGraph
from tracelab.views.changes import SYMBOL, ChangesView, Row, number
from tracelab.views.wording import amount, digits, visible

_DIVIDED = {"share": ", as a share of all of it", "time": " per second", "events": " per event", "none": ""}


class Difference(ChangesView):
    """What changed between two profiles, function by function.

    For a differential flame graph: `tree` is the merged tree of calls, pruned, siblings by descending mean of both
    sides; `before`, `after` and `delta` are the totals of its nodes in `comparison.unit`, `before_self` and
    `after_self` are in `comparison.nodes`. `certain`, `lower` and `upper` tell how sure the change of each node is.
    All arrays have shape (len(tree),).
    """

    def __init__(self, comparison: Comparison, *, title: str = "", notes: Sequence[str] = ()) -> None:
        self.comparison = comparison
        quantity, how = comparison.after.profile.quantity, comparison.normalise
        super().__init__(
            title or f"What changed in {quantity}{_DIVIDED[how]}",
            [*comparison.notes, *notes],
            comparison.before.name,
            comparison.after.name,
        )

    def __repr__(self) -> str:
        return f"<Difference: {self.headline()}>"

    @property
    def table(self) -> pd.DataFrame:
        """One row per function: before, after, delta, interval and certainty of self and of total weight."""
        return self.comparison.functions

    @property
    def tree(self) -> Tree:
        """The merged tree of calls; its own weights are the mean of both sides."""
        return self.comparison.nodes.tree

    @property
    def before(self) -> npt.NDArray[np.float64]:
        """Total weight of each node of the tree before."""
        return self.comparison.nodes.before

    @property
    def after(self) -> npt.NDArray[np.float64]:
        """Total weight of each node after."""
        return self.comparison.nodes.after

    @property
    def delta(self) -> npt.NDArray[np.float64]:
        """After less before: positive is more in `after`."""
        return self.comparison.nodes.delta

    @property
    def certain(self) -> npt.NDArray[np.bool_]:
        """Whether the change of each node stands the test among all of them."""
        return self.comparison.node_certainty.certain

    @property
    def lower(self) -> npt.NDArray[np.float64]:
        """Lower end of each node's interval of 95 %; NaN where it is not known."""
        return self.comparison.node_certainty.lower

    @property
    def upper(self) -> npt.NDArray[np.float64]:
        """Upper end of the same."""
        return self.comparison.node_certainty.upper

    @property
    def own(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Own weight of each node, before and after."""
        return self.comparison.nodes.before_self, self.comparison.nodes.after_self

    @property
    def unit(self) -> str:
        """Unit of all weights; "share" for shares of a side."""
        return "share" if self.comparison.unit == "1" else self.comparison.unit

    def flamegraph(self, title: str = "") -> ChangeFlameGraph:
        """The same as a differential flame graph: orange is more than before, blue is less, grey may be chance."""
        return ChangeFlameGraph(self, title=title)

    def headline(self) -> str:
        """How many functions changed for certain."""
        own, total = (int(self.table[f"{kind}_certain"].sum()) for kind in ("self", "total"))
        of = f"{len(self.table):,} functions"
        return f"{own:,} of {of} changed for certain by themselves, {total:,} with what they call"

    def _sections(self) -> list[tuple[str, str, str]]:
        return [
            ("By themselves (self weight)", "self_", "function"),
            ("With what they call (total weight)", "total_", "function"),
        ]

    def _name(self, row: Row) -> tuple[str, str]:
        module = str(row["module"]).rpartition("/")[2] or str(row["domain"])
        return visible(str(row["symbol"]), SYMBOL), visible(module, 40)

    def _format(self, value: float) -> str:
        return amount(value, self.unit)


class EventDifference(ChangesView):
    """What changed in how often events came, and beside it how long they took."""

    def __init__(self, table: pd.DataFrame, *, before: str, after: str, title: str = "") -> None:
        super().__init__(
            title or f"What changed in events per second by {table.attrs.get('by', 'event')}",
            table.attrs.get("notes", ()),
            before,
            after,
        )
        self._table = table

    def __repr__(self) -> str:
        return f"<EventDifference: {self.headline()}>"

    @property
    def table(self) -> pd.DataFrame:
        """One row per event or other group: see analysis.event_changes."""
        return self._table

    def headline(self) -> str:
        """How many rates changed for certain."""
        return f"{int(self.table['certain'].sum()):,} of {len(self.table):,} rates changed for certain"

    def _sections(self) -> list[tuple[str, str, str]]:
        return [("Events per second", "", str(self.table.attrs.get("by", "event")))]

    def _name(self, row: Row) -> tuple[str, str]:
        keys = [name for name in self._keys if name != "probe" or len(self._keys) == 1]
        return visible(" ".join(str(row[key]) for key in keys), SYMBOL), visible(str(row.get("probe", "")), 40)

    @functools.cached_property
    def _keys(self) -> list[str]:
        columns = list(self.table.columns)
        return columns[: columns.index("before")]

    def _format(self, value: float) -> str:
        return f"{digits(value)}/s"

    def _more_heads(self) -> list[str]:
        return ["p50 before", "p50 after", "p99 before", "p99 after"] if "unit" in self.table else []

    def _more(self, row: Row) -> list[str]:
        if "unit" not in self.table:
            return []
        values = [number(row, f"{p}_{side}") for p in ("p50", "p99") for side in ("before", "after")]
        return ["–" if math.isnan(value) else amount(value, str(row["unit"])) for value in values]
