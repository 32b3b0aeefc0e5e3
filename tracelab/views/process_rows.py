"""Thousands of processes as the few rows that can be read: what never changed goes, siblings of a name share one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.views.wording import visible

MAX_ROWS = 48  #: that can be seen at once
TOGETHER = 3  #: so many siblings of the same name are one row
NAME = 24  #: characters of a name in a label


@dataclass(frozen=True)
class Row:
    """One line of the picture: a process, or several siblings of the same name."""

    above: tuple[str, ...]  #: names of what is above it and has no row of its own
    name: str  #: with the number of processes
    depth: int
    members: tuple[int, ...]  #: rows of the table
    processes: int  #: in it and everything below it

    @property
    def label(self) -> str:
        """Its name, after those of the two nearest above it."""
        above = self.above if len(self.above) <= 2 else ("…", *self.above[-2:])
        return " › ".join([*above, self.name])


@dataclass(frozen=True)
class Rows:
    """What is drawn of a tree, and what is not."""

    rows: tuple[Row, ...]
    unchanged: int  #: processes that ran all the time, with nothing below them that changed
    hidden_rows: int  #: rows that do not fit, those of the smallest families
    hidden: int  #: processes in them


@dataclass
class _Node:
    members: list[int]
    children: list[_Node]
    prefix: tuple[str, ...] = ()

    @functools.cached_property
    def processes(self) -> int:
        return len(self.members) + sum(child.processes for child in self.children)


def rows_of(table: pd.DataFrame, *, most: int = MAX_ROWS) -> Rows:
    """The rows to draw of a table of analysis.processtree, at most `most`.

    A process that ran all the time is left out, unless something below it began or ended, or nothing did at all.
    """
    parents, kept = table["parent"].to_numpy(np.int64), _kept(table)
    children: dict[int, list[int]] = {}
    for row in np.flatnonzero(kept).tolist():
        children.setdefault(int(parents[row]), []).append(row)
    names = [visible(name, NAME) for name in table["comm"]]
    changed = _changed(table)
    roots = _joined(_grouped(children.get(-1, []), children, names), names, changed)
    lengths = (table["until_s"].fillna(np.inf) - table["from_s"].fillna(-np.inf)).to_numpy(float)
    nodes = _flat(roots)
    chosen = set(sorted(range(len(nodes)), key=lambda i: _rank(nodes[i][0], lengths, i))[:most])
    rows = [_row(*nodes[i], names) for i in sorted(chosen)]
    hidden = [nodes[i][0] for i in range(len(nodes)) if i not in chosen]
    return Rows(
        tuple(rows), int((~kept).sum()), len(hidden), sum(len(node.members) for node in hidden)
    )


def _changed(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    moved = table["from_s"].notna() | table["until_s"].notna() | (table["names"] > 1)
    return np.asarray(moved, bool)


def _kept(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether a process, or one below it, began, ended or changed its name; all when none did."""
    kept = _changed(table).copy()
    if not kept.any():
        return np.ones(len(table), bool)
    parents = table["parent"].to_numpy(np.int64)
    for row in range(len(table) - 1, -1, -1):  # a parent stands before its children
        if kept[row] and parents[row] >= 0:
            kept[parents[row]] = True
    return kept


def _grouped(siblings: Sequence[int], children: dict[int, list[int]], names: list[str]) -> list[_Node]:
    """Siblings as nodes, those of the same name as one; without recursion, since families may be deep."""
    roots: list[_Node] = []
    waiting: list[tuple[Sequence[int], list[_Node]]] = [(siblings, roots)]
    while waiting:
        rows, nodes = waiting.pop()
        by_name: dict[str, list[int]] = {}
        for row in rows:
            by_name.setdefault(names[row], []).append(row)
        for same in by_name.values():
            for members in [same] if len(same) >= TOGETHER else [[row] for row in same]:
                node = _Node(members, [])
                nodes.append(node)
                below = [child for row in members for child in children.get(row, [])]
                if below:
                    waiting.append((below, node.children))
    return roots


def _joined(roots: list[_Node], names: list[str], changed: npt.NDArray[np.bool_]) -> list[_Node]:
    """Without the rows of what only ran and has one row below it: its name goes before that one's."""
    waiting = [roots]
    while waiting:
        nodes = waiting.pop()
        for i, node in enumerate(nodes):
            prefix = node.prefix
            while len(node.members) == 1 and not changed[node.members[0]] and len(node.children) == 1:
                prefix = (*prefix, names[node.members[0]])
                node = node.children[0]
            node.prefix = prefix
            nodes[i] = node
        waiting += [node.children for node in nodes if node.children]
    return roots


def _flat(roots: list[_Node]) -> list[tuple[_Node, int]]:
    """Nodes and their depths in the order of the tree, siblings by birth."""
    flat = []
    waiting = [(node, 0) for node in sorted(roots, key=lambda n: -n.members[0])]
    while waiting:
        node, depth = waiting.pop()
        flat.append((node, depth))
        waiting += [(child, depth + 1) for child in sorted(node.children, key=lambda n: -n.members[0])]
    for node, _ in reversed(flat):
        _ = node.processes  # from the leaves up: a deep family would be too deep for a recursion
    return flat


def _rank(node: _Node, lengths: npt.NDArray[np.float64], place: int) -> tuple[float, float, int]:
    """Large families first, then long lives; a family is larger than any in it, so that none loses its head."""
    return (-node.processes, -float(lengths[node.members].sum()), place)


def _row(node: _Node, depth: int, names: list[str]) -> Row:
    name = names[node.members[0]]
    times = f" × {len(node.members)}" if len(node.members) > 1 else ""
    return Row(node.prefix, name + times, depth, tuple(node.members), node.processes)
