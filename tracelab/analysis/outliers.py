"""The slowest events, each with the stack that its thread had."""

from __future__ import annotations

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from tracelab.analysis.documented import documented
from tracelab.analysis.namedstacks import NamedStacks
from tracelab.analysis.samples import sample_index
from tracelab.errors import MissingTable
from tracelab.profile import Stack
from tracelab.query import kernels, lives
from tracelab.query.selection import Selection
from tracelab.query.tables import Tables

OWN, SAMPLED, WAITED, NONE = "its own", "sampled meanwhile", "of a wait meanwhile", ""


def outliers(tables: Tables, event: str | None = None, n: int = 20) -> pd.DataFrame:
    """The events with the largest values, largest first; of one event if given.

    Columns: time_s (when it ended), comm, pid, tid, cpu, event, value and unit, ret, text (what it was about, where
    that was recorded), stack (symbols, root first, joined by ;) and stack_is: its own, or sampled, or of a wait, of
    the same thread while it lasted; empty where none is known. Raises MissingTable without events.
    """
    if not tables.has("events"):
        raise MissingTable("events", tables.store.how_to_record("events"))
    part = tables if event is None else tables.narrowed(Selection(events=(event,)))
    rows = kernels.slowest(part, n)
    rows["time_s"] = (rows["time_ns"] - tables.start_ns) / 1e9
    rows["unit"] = rows["probe"].map(tables.unit).astype("str")
    rows["comm"] = _comms(tables, rows)
    rows["text"] = _texts(tables, rows)
    rows["stack"], rows["stack_is"] = _stacks(tables, rows)
    return documented(
        rows,
        "the slowest events",
        time_s="s",
        comm="name",
        pid="number",
        tid="number",
        cpu="number",
        event="name",
        value="column unit",
        unit="name",
        ret="1",
        text="name",
        stack="name",
        stack_is="name",
    )


def _comms(tables: Tables, rows: pd.DataFrame) -> list[str]:
    if not tables.has("tasks"):
        return [lives.UNKNOWN] * len(rows)
    whole = Tables(tables.store, None, tables.engine)
    spans = whole.collect(lives.spans(whole, "comm")).to_pandas().sort_values("from_ns")
    found = []
    for tid, at in zip(rows["tid"], rows["time_ns"], strict=True):
        own = spans[(spans["tid"] == tid) & (spans["from_ns"] <= at)]
        found.append(str(own["comm"].iloc[-1]) if len(own) and own["comm"].iloc[-1] else lives.UNKNOWN)
    return found


def _texts(tables: Tables, rows: pd.DataFrame) -> list[str]:
    if not tables.has("strings") or rows.empty:
        return [""] * len(rows)
    wanted = tables.whole("strings").filter(nw.col("time_ns").is_in(rows["time_ns"].tolist()))
    found = tables.collect(wanted.select("time_ns", "tid", "text")).to_pandas()
    by_event = found.groupby(["time_ns", "tid"])["text"].agg(lambda texts: " ".join(map(str, texts))).to_dict()
    return [by_event.get(key, "") for key in zip(rows["time_ns"], rows["tid"], strict=True)]


def _stacks(tables: Tables, rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    stacks, kinds = [NONE] * len(rows), [NONE] * len(rows)
    own = rows.index[rows["stack_id"] >= 0]
    if len(own) and tables.has("stacks"):
        named = NamedStacks.of(tables, rows["stack_id"].to_numpy(np.int64)[own])
        for i, start, length in zip(own, named.starts, named.lengths, strict=True):
            frames = [named.frames[f] for f in named.flat[start : start + length]]
            stacks[i], kinds[i] = _written(tuple(frames)), OWN
    if tables.has("samples"):
        for kind, said in (("on-CPU", SAMPLED), ("off-CPU", WAITED)):
            index = sample_index(tables, kind)
            for i in [i for i in rows.index if not stacks[i]]:
                end, length = int(rows["time_ns"][i]), int(rows["value"][i])
                window = (end - max(length, 0), end + 1)
                at = np.arange(len(index))[index.rows(Selection(window, tids=(int(rows["tid"][i]),)))]
                if len(at):
                    longest = at[int(np.argmax(index.weight[at]))]
                    stacks[i], kinds[i] = _written(index.profile.stack(int(index.stack[longest]))), said
    return stacks, kinds


def _written(stack: Stack) -> str:
    return ";".join(frame.symbol.replace(";", ":") for frame in stack)
