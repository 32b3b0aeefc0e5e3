"""Processes over time as a tree: who made whom, how long each lived, what it became and how it ended."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tracelab.views.marking import markings, marks_note
from tracelab.views.markup import WrittenView, html_table
from tracelab.views.process_picture import ended, lives_svg
from tracelab.views.process_rows import Rows, rows_of
from tracelab.views.wording import digits, escaped, visible

NOTHING = "no process in this selection"


class ProcessTree(WrittenView):
    """Lives of processes as bars in the order of their tree.

    `tree` and `names` are tables of analysis.processtree, `window` is the time to draw, in s since the recording
    began, and `marks` a table of analysis.marks. What ran all the time is left out, siblings of one name share a row,
    and what still does not fit is left out, the smallest families first: each of that is said, and `table` has all.
    """

    def __init__(
        self,
        tree: pd.DataFrame,
        names: pd.DataFrame | None = None,
        *,
        window: tuple[float, float],
        marks: pd.DataFrame | None = None,
        title: str = "Processes",
        notes: Sequence[str] = (),
    ) -> None:
        self._tree = tree
        self._names = names
        self.window = window
        self.marks = markings(marks, window)
        self.title = visible(title, 120)
        self._notes = tuple(visible(note) for note in notes)

    def __repr__(self) -> str:
        return f"<ProcessTree {self.title!r}: {len(self._tree):,} processes, {len(self.rows.rows)} rows>"

    @property
    def table(self) -> pd.DataFrame:
        """Every process; see analysis.processtree."""
        return self._tree

    @functools.cached_property
    def rows(self) -> Rows:
        """What is drawn, and what is not."""
        return rows_of(self._tree)

    def notes(self) -> tuple[str, ...]:
        """What must be said beside the picture: what is not in it, and the marks."""
        said, rows = [], self.rows
        if rows.unchanged:
            said.append(f"left out: {rows.unchanged:,} that ran all the time; .table has them")
        if rows.hidden:
            said.append(
                f"left out: {rows.hidden:,} in {rows.hidden_rows:,} rows that do not fit, of the smallest families; "
                "select a part of the time, or a name, to see them"
            )
        said += [visible(note) for note in self._tree.attrs.get("notes", ())]
        return (*said, *marks_note(self.marks), *self._notes)

    def to_svg(self) -> str:
        """The lives as a picture."""
        return self._svg(alone=True)

    def _svg(self, *, alone: bool) -> str:
        return lives_svg(
            self._tree, self._named, self.rows.rows, self.window, self.marks, self.title, alone=alone
        )

    def to_text(self) -> str:
        """The rows of the picture as lines, indented by generation, and its notes."""
        lines = [self.title, self._headline()]
        if self.rows.rows:
            lines.append(f"{'from s':>9} {'until s':>9}  process")
        for row in self.rows.rows:
            its = self._tree.iloc[list(row.members)]
            begin = "" if its["from_s"].isna().any() else digits(round(its["from_s"].min(), 3))
            end = "" if its["until_s"].isna().any() else digits(round(its["until_s"].max(), 3))
            told = ended(self._tree, row)[0]
            lines.append(f"{begin:>9} {end:>9}  {'  ' * row.depth}{row.label}{f' ({told})' if told else ''}")
        return "\n".join([*lines, *self.notes()])

    def _headline(self) -> str:
        first, last = (digits(round(second, 3)) for second in self.window)
        if not len(self._tree):
            return NOTHING
        begun, over = int(self._tree["from_s"].notna().sum()), int(self._tree["until_s"].notna().sum())
        failed = int(((self._tree["exit_code"] > 0) | self._tree["signal"].notna()).sum())
        return (
            f"{first} s to {last} s: {len(self._tree):,} processes, {begun:,} begun, {over:,} ended"
            + (f", {failed:,} of them with a failure" if failed else "")
        )

    def _body(self) -> str:
        notes = "".join(f"<p class='soft'>{escaped(note)}</p>" for note in self.notes())
        head = f"<h3>{escaped(self.title)}</h3><p>{escaped(self._headline())}</p>"
        if not self.rows.rows:
            return head + notes
        picture = (
            f"<div style='overflow-x:auto' tabindex='0' role='region' aria-label='{escaped(self.title)}'>"
            f"{self._svg(alone=False)}</div>"
        )
        columns = ["pid", "ppid", "comm", "from_s", "until_s", "status"]
        numbers = f"<details><summary>Numbers</summary>{html_table(self._changed[columns])}</details>"
        return head + picture + notes + numbers

    def _other_forms(self) -> dict[str, Any]:
        return {**super()._other_forms(), "image/svg+xml": self.to_svg()}

    @property
    def _changed(self) -> pd.DataFrame:
        moved = self._tree["from_s"].notna() | self._tree["until_s"].notna()
        return self._tree[moved] if moved.any() else self._tree

    @functools.cached_property
    def _named(self) -> dict[int, list[tuple[float, str]]]:
        """Names by row of the table: a pid may have had several bearers, one after the other."""
        if self._names is None:
            return {}
        by_pid: dict[int, list[tuple[float, str]]] = {}
        for pid, from_s, comm in self._names[["pid", "from_s", "comm"]].itertuples(index=False):
            by_pid.setdefault(int(pid), []).append((float(from_s), visible(comm, 40)))
        found = {}
        lives = self._tree[["pid", "from_s", "until_s"]].itertuples(index=False)
        for row, (pid, from_s, until_s) in enumerate(lives):
            found[row] = [
                (at, name)
                for at, name in by_pid.get(int(pid), ())
                if not (at < from_s) and not (at > until_s) and not (at != at and from_s == from_s)
            ]
        return found
