"""Processes as a tree with their lifetimes: who made whom, when, under which names, and how it ended."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.query import kernels
from tracelab.query.tables import Tables

UNKNOWN = "?"  #: the name of a thread whose name nobody told
SIDE_BAND_LOST = "side-band full"  #: of schema.LOST_REASONS, the one of what table tasks is made of
BEFORE_ALL = -(1 << 62)  #: begin of a life that began before the recording


def process_tree(tables: Tables) -> pd.DataFrame:
    """Every process that lived in the selected time, in the order of a tree: a parent before its children, by birth.

    Columns: row (number of the row, from 0), parent (row of the process that made it, -1 when that is not in here),
    depth (0 for one without a parent), pid, ppid (-1 when unknown), comm (its last name), names (how many it had), exe
    ("?" when unknown), from_s (NaN for one that ran before the recording), until_s (NaN for one that ran on), status
    ("running", "exit 0", "signal 15", or "ended" where only that is known), exit_code and signal (NaN unless it ended
    by one) and threads (seen of it). Times are s since the recording began. A process ends when its main thread does.
    How it ended is known where the probe `process` was recorded. `attrs["notes"]` says what is not known.

    A selection by process, name or control group leaves those, without what is above them. Raises MissingTable.
    """
    rows = _main_threads(tables)
    lives = _lives(tables, rows)
    lives = lives[_touches(tables, lives) & lives["life"].isin(_chosen(tables, rows))]
    lives = lives.sort_values(["from_ns", "pid"], kind="stable", ignore_index=True)
    order, parents, depth = _as_tree(lives)
    lives = lives.iloc[order].reset_index(drop=True)
    lives["row"], lives["parent"], lives["depth"] = np.arange(len(lives)), parents, depth
    lives["from_s"] = ((lives["from_ns"] - tables.start_ns) / 1e9).where(lives["from_ns"] > BEFORE_ALL)
    lives["until_s"] = (lives["until_ns"] - tables.start_ns) / 1e9
    told = lives["code"].where(lives["until_ns"].notna())
    code, signal = told // 256, told % 128
    lives["exit_code"], lives["signal"] = code.where(signal == 0), signal.where(signal > 0)
    lives["status"] = [
        _status(*how)
        for how in zip(lives["exit_code"], lives["signal"], lives["until_ns"].isna(), strict=True)
    ]
    table = documented(
        lives,
        "processes and their lives",
        **dict.fromkeys(("row", "parent", "depth", "pid", "ppid"), "number"),
        comm="name",
        names="names",
        exe="name",
        from_s="s",
        until_s="s",
        status="name",
        exit_code="number",
        signal="number",
        threads="threads",
    )
    table.attrs["notes"] = _notes(tables)
    return table


def process_names(tables: Tables) -> pd.DataFrame:
    """The names that processes had: a row per process and name, in order of pid and time.

    Columns: pid, from_s (since when it had the name; NaN for since before the recording), change (fork, exec, rename or
    seen: what gave it the name) and comm. Raises MissingTable.
    """
    rows = _main_threads(tables)
    rows = rows[rows["change"] != "exit"]
    before = rows.groupby("life")["comm"].shift(1)
    rows = rows[before.isna() | (before != rows["comm"])]
    known = (rows["time_ns"] >= tables.start_ns) & (rows["change"] != "seen")
    rows = rows.assign(from_s=((rows["time_ns"] - tables.start_ns) / 1e9).where(known))
    return documented(rows, "names of processes", pid="number", from_s="s", change="name", comm="name")


def _main_threads(tables: Tables) -> pd.DataFrame:
    """Changes of main threads, by pid and time, each with the number of the life that it belongs to."""
    rows = kernels.rows(type(tables)(tables.store, None, tables.engine), "tasks")
    rows = rows[rows["tid"] == rows["pid"]].sort_values(["pid", "time_ns"], kind="stable", ignore_index=True)
    rows["comm"] = rows["comm"].fillna(UNKNOWN).astype("str")
    ended = (rows["change"].shift(1) == "exit") & (rows["change"] != "exit")
    rows["life"] = ((rows["pid"] != rows["pid"].shift(1)) | (rows["change"] == "fork") | ended).cumsum()
    return rows


def _lives(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """One row per life: life, pid, ppid, comm, names, exe, from_ns, until_ns, code (wait status) and threads."""
    by_life = rows.groupby("life", sort=True)
    lives = by_life[["pid", "ppid", "change", "time_ns"]].first()
    last = by_life[["comm", "exe", "exit_code"]].last()
    born = (lives["change"] == "fork") & (lives["time_ns"] >= tables.start_ns)
    lives["from_ns"] = lives["time_ns"].where(born, BEFORE_ALL).astype("int64")
    exits = rows[rows["change"] == "exit"].groupby("life")["time_ns"].first()
    next_ns = lives["time_ns"].shift(-1).where(lives["pid"].shift(-1) == lives["pid"])
    until_ns = exits.reindex(lives.index).astype(float).fillna(next_ns)
    lives["until_ns"] = until_ns.where(until_ns <= tables.store.end_ns)  # ends are told until the last is read
    lives["ppid"] = lives["ppid"].fillna(-1).astype("int64")
    named = rows[(rows["comm"] != UNKNOWN)].groupby("life")["comm"]
    lives["comm"] = named.last().reindex(lives.index).fillna(UNKNOWN).astype("str")
    lives["names"] = named.nunique().reindex(lives.index).fillna(0).astype("int64")
    lives["exe"] = last["exe"].fillna(UNKNOWN).astype("str")
    lives["code"] = last["exit_code"].astype("Float64").to_numpy(np.float64, na_value=np.nan)
    lives = lives.reset_index()
    return _with_threads(tables, _with_status(tables, lives))


def _with_status(tables: Tables, lives: pd.DataFrame) -> pd.DataFrame:
    """With the wait status that probe `process` told, where table tasks does not."""
    if "process" not in tables.probes_of("events"):
        return lives
    ends = kernels.process_ends(tables)
    found = _life_at(lives, ends["pid"], ends["time_ns"])
    known = found >= 0
    codes = pd.Series(ends["ret"].to_numpy(float)[known], index=found[known])
    codes = codes[~codes.index.duplicated(keep="last")]
    return lives.assign(code=lives["code"].fillna(codes.reindex(lives.index)))


def _with_threads(tables: Tables, lives: pd.DataFrame) -> pd.DataFrame:
    rows = kernels.rows(type(tables)(tables.store, None, tables.engine), "tasks")
    rows = rows[rows["change"].isin(("seen", "fork", "exec"))]
    found = _life_at(lives, rows["pid"], rows["time_ns"])
    counted = rows["tid"].groupby(found).nunique()
    return lives.assign(threads=counted.reindex(lives.index).fillna(1).astype("int64"))


def _life_at(lives: pd.DataFrame, pid: pd.Series, time_ns: pd.Series) -> npt.NDArray[np.int64]:
    """Index in `lives` of the life that a pid had at a time; -1 where there is none."""
    asked = pd.DataFrame({"pid": pid.to_numpy(np.int64), "time_ns": time_ns.to_numpy(np.int64)})
    asked["asked"] = np.arange(len(asked))
    known = pd.DataFrame({"pid": lives["pid"].astype("int64"), "time_ns": lives["from_ns"], "life": lives.index})
    found = pd.merge_asof(
        asked.sort_values("time_ns", kind="stable"),
        known.sort_values("time_ns", kind="stable"),
        on="time_ns",
        by="pid",
    )
    return found.sort_values("asked")["life"].fillna(-1).to_numpy(np.int64)


def _touches(tables: Tables, lives: pd.DataFrame) -> pd.Series:
    first, last = tables.window_ns
    return (lives["from_ns"] <= last) & (lives["until_ns"].isna() | (lives["until_ns"] >= first))


def _chosen(tables: Tables, rows: pd.DataFrame) -> pd.Series:
    """The lives that are selected: by name, one that had it at any moment."""
    chosen = tables.selection
    for column, values in (("pid", chosen.pids), ("tid", chosen.tids), ("comm", chosen.comms)):
        if values is not None:
            rows = rows[rows[column].isin(values)]
    if chosen.cgroups is not None:
        below = tuple(group.rstrip("/") + "/" for group in chosen.cgroups)
        groups = rows["cgroup"].fillna("").astype("str")
        rows = rows[groups.isin(chosen.cgroups) | groups.str.startswith(below)]
    return rows["life"]


def _as_tree(lives: pd.DataFrame) -> tuple[list[int], list[int], list[int]]:
    """Order of a tree over lives that are in order of birth; rows of the parents in it, and depths.

    A loop of parents, which only a damaged table has, is cut where it is met first.
    """
    by_pid = lives.sort_values(["pid", "from_ns"], kind="stable")
    at = _life_at(by_pid, lives["ppid"], lives["from_ns"]) if len(lives) else np.empty(0, np.int64)
    children: dict[int, list[int]] = {}
    for child, parent in enumerate(at.tolist()):
        children.setdefault(parent if parent != child else -1, []).append(child)
    order: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    seen: set[int] = set()
    for root in [*children.get(-1, []), *range(len(lives))]:
        waiting = [(root, -1, 0)]
        while waiting:
            life, parent, depth = waiting.pop()
            if life in seen:
                continue
            seen.add(life)
            row = len(order)
            order.append(life)
            parents.append(parent)
            depths.append(depth)
            waiting += [(child, row, depth + 1) for child in reversed(children.get(life, []))]
    return order, parents, depths


def _notes(tables: Tables) -> list[str]:
    said = []
    if "process" not in tables.probes_of("events"):
        said.append("how processes ended was not recorded; record with --events process")
    if tables.has("losses"):
        totals = kernels.loss_totals(tables)
        if lost := int(totals.loc[totals["reason"] == SIDE_BAND_LOST, "count"].sum()):
            said.append(f"{lost:,} changes of threads and mappings were lost: some begins, names or ends are not known")
    return said


def _status(exit_code: float, signal: float, runs: bool) -> str:
    if signal == signal:
        return f"signal {signal:.0f}"
    if exit_code == exit_code:
        return f"exit {exit_code:.0f}"
    return "running" if runs else "ended"
