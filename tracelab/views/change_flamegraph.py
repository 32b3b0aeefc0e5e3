"""A differential flame graph: as wide as the mean of both sides, coloured by what has changed for certain."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.stacks import SMALL, Tree
from tracelab.errors import UsageError
from tracelab.profile import Profile
from tracelab.views import palette
from tracelab.views.flame_payload import Column, colours, packed_tree
from tracelab.views.flamegraph import PICTURE_BYTES, FlameGraph
from tracelab.views.live import Answer
from tracelab.views.wording import escaped, visible

FULL = 98  #: percentile of the changes that gets the strongest colour


class Changes(Protocol):
    """Two sides in one tree: what views.difference.Difference has."""

    title: str
    notes: list[str]
    sides: list[tuple[str, str]]

    @property
    def table(self) -> pd.DataFrame:
        """One row per function."""

    @property
    def tree(self) -> Tree:
        """The merged tree of calls."""

    @property
    def before(self) -> npt.NDArray[np.float64]:
        """Total weight of each node before."""

    @property
    def after(self) -> npt.NDArray[np.float64]:
        """And after."""

    @property
    def own(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Own weight of each node, before and after."""

    @property
    def certain(self) -> npt.NDArray[np.bool_]:
        """Whether the change of each node is certain."""

    @property
    def unit(self) -> str:
        """What weights are in; "share" for shares of a side."""

    def headline(self) -> str:
        """How much has changed, in words."""

    def to_text(self) -> str:
        """The changes as text."""


class ChangeFlameGraph(FlameGraph):
    """What changed, as a flame graph: orange is more than before, blue is less, grey may be chance.

    A frame is as wide as the mean of both sides, so that what is gone can be seen too. Its layouts and steps are
    worked out in the page. Colours can be changed to those of domains and modules.
    """

    def __init__(self, changes: Changes, *, title: str = "") -> None:
        super().__init__(Profile.from_stacks([], unit=changes.unit, quantity="change"), title=title or changes.title)
        self.changes = changes

    def __repr__(self) -> str:
        return f"<ChangeFlameGraph {self.title!r}: {self.changes.headline()}>"

    @functools.cached_property
    def tree(self) -> Tree:
        """The merged tree of calls; weights are the mean of both sides."""
        return self.changes.tree

    @functools.cached_property
    def drawn(self) -> Tree:
        """The same: it is cut already."""
        return self.changes.tree

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row per function: before, after, delta, interval, certain."""
        return self.changes.table

    @property
    def full(self) -> float:
        """The change that gets the strongest colour."""
        delta = np.abs(self.changes.after - self.changes.before)[1:]
        return float(np.percentile(delta[delta > 0], FULL)) if (delta > 0).any() else 1.0

    def about(self) -> list[str]:
        """The two sides, what has changed, and what colours mean."""
        said = [f"{name}: {what}" for name, what in self.changes.sides]
        known = bool(self.changes.certain.any())
        grey = "grey: no change, or one that may be chance" if known else "nothing changed for certain: all is grey"
        return [*said, visible(f"{self.changes.headline()}; orange: more than before, blue: less, {grey}")]

    @property
    def notes(self) -> list[str]:
        """What must be said of both sides and of how it is known."""
        return self.changes.notes

    def first(self) -> Answer:
        """The merged tree with both sides, as flamegraph.js reads it."""
        tree, (before, after) = self.drawn, self.changes.own
        certain = self.changes.certain.astype(np.uint8)
        extra: dict[str, Column] = {"beforeSelf": before, "afterSelf": after, "certain": certain}
        meta, data = packed_tree(tree, self.changes.unit, "merged", extra)
        change = {"change": True, "changeUnit": self.changes.unit, "changeFull": self.full, "cut": False}
        return {**meta, **self._about_view(), **colours(), **change, "whole": float(tree.total[0])}, data

    def answer(self, ask: Any) -> Answer:
        """Nothing is asked: the page has the whole tree."""
        raise UsageError("a differential flame graph has one tree; select other parts to compare")

    def to_svg(self, max_bytes: int = 150_000) -> str:
        """The differential flame graph as SVG, made without a browser."""
        return self._picture(max_bytes, fills=self._fills())

    def _fills(self) -> list[str]:
        scale, delta = palette.CHANGE["light"], self.changes.after - self.changes.before
        middle = (len(scale) - 1) // 2
        step = np.clip(np.rint(delta / self.full * middle), -middle, middle).astype(int)
        step = np.where(self.changes.certain, step, 0)
        small = self.drawn.frame == SMALL
        return [
            palette.SMALL_COLOURS["light"] if strip else scale[middle + at]
            for at, strip in zip(step.tolist(), small.tolist(), strict=True)
        ]

    def to_text(self, top: int = 10) -> str:
        """The changes as text, largest first."""
        return self.changes.to_text()

    def _small_picture(self) -> str:
        return self.to_svg(PICTURE_BYTES)

    def _numbers(self) -> str:
        """Both sides and the largest certain changes, as HTML."""
        return "".join(f"<p>{line}</p>" for line in map(escaped, [*self.about(), *self.notes]))
