"""Who belongs to a target: its processes and its eBPF programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from tracelab.errors import UsageError
from tracelab.query import kernels
from tracelab.query.tables import Tables
from tracelab.recorder.targets import Wanted


@dataclass(frozen=True)
class Members:
    """The processes and programs of one target."""

    asked: str
    pids: tuple[int, ...]
    prog_ids: tuple[int, ...]


def targets_asked(tables: Tables) -> list[str]:
    """The targets that the recording was asked to follow."""
    return [str(t["asked"]) for t in tables.store.manifest.targets if isinstance(t, dict) and "asked" in t]


def members(tables: Tables, asked: str) -> Members:
    """Every process and program of a target, over the whole recording.

    `asked` is a target of the recording or anything else that could have been one: a PID with its children, a name or
    NAME*, a control group, a container's id or name. What the recorder noted, and what the tables tell, are put
    together. Programs are those that any of the processes held.

    Raises UsageError, with names that are near, when there was no such process; and MissingTable.
    """
    wanted = Wanted.parse(str(asked))
    noted: dict[str, list[int]] = {"pids": [], "prog_ids": []}
    for target in tables.store.manifest.targets:
        if isinstance(target, dict) and target.get("asked") == wanted.asked:
            noted = {key: _numbers(target.get(key)) for key in noted}
    lives = _processes(tables)
    pids = {*noted["pids"], *_matching(lives, wanted)}
    if not pids:
        names = sorted({*lives["comm"].dropna(), *lives["container_name"].dropna()})
        near = difflib.get_close_matches(wanted.asked, names, 4, 0.5)
        hint = f"near are {', '.join(near)}" if near else "session.tasks() lists those that were seen"
        if wanted.asked not in targets_asked(tables):
            raise UsageError(f"no process fits {asked!r}; {hint}")
    return Members(wanted.asked, tuple(sorted(pids)), _programs(tables, pids, noted["prog_ids"]))


def _processes(tables: Tables) -> pd.DataFrame:
    """What every process was called and where it was: one row per change of its main thread."""
    rows = kernels.to_pandas(tables.collect(tables.whole("tasks")))
    rows = rows[(rows["tid"] == rows["pid"]) & (rows["change"] != "exit")].sort_values(
        "time_ns", kind="stable"
    )
    return rows[["pid", "ppid", "change", "comm", "cgroup", "container", "container_name"]]


def _matching(lives: pd.DataFrame, wanted: Wanted) -> set[int]:
    if wanted.pid is not None:
        return _descendants(lives, wanted.pid)
    # Between fork and exec a process bears its parent's name: it counts as that only if it never became another.
    settled = lives[(lives["change"] != "fork") | ~lives["pid"].isin(lives["pid"][lives["change"] == "exec"])]
    rows = settled.drop_duplicates().to_dict("records")
    return {
        int(row["pid"])
        for row in rows
        if wanted.named(_text(row["comm"]))
        or wanted.inside([_text(row["cgroup"])], _text(row["container"]) or None)
        or _called(_text(row["container_name"]), wanted.asked)
    }


def _descendants(lives: pd.DataFrame, pid: int) -> set[int]:
    if pid not in set(lives["pid"]):
        return set()
    children: dict[int, set[int]] = {}
    for parent, child in zip(lives["ppid"], lives["pid"], strict=True):
        if not pd.isna(parent):
            children.setdefault(int(parent), set()).add(int(child))
    found, open_ = {pid}, [pid]
    while open_:
        new = children.get(open_.pop(), set()) - found
        found |= new
        open_ += new
    return found


def _called(name: str, asked: str) -> bool:
    """Whether a container's name is meant: all of it, or with Kubernetes its last part."""
    return bool(name) and asked in (name, name.rpartition("/")[2])


def _programs(tables: Tables, pids: Iterable[int], noted: Iterable[int]) -> tuple[int, ...]:
    found = set(noted)
    if tables.has("bpf_progs"):
        mine = set(pids)
        rows = kernels.to_pandas(tables.collect(tables.whole("bpf_progs")))
        for number, owners in zip(rows["prog_id"], rows["owner_pids"], strict=True):
            if owners is not None and not mine.isdisjoint(map(int, owners)):
                found.add(int(number))
    return tuple(sorted(found))


def _numbers(values: object) -> list[int]:
    return [v for v in values if isinstance(v, int)] if isinstance(values, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
