"""The tables of a session as lazy frames, and the engine that they lie in."""

from __future__ import annotations

import functools
import glob
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import narwhals.stable.v2 as nw
import pandas as pd
import pyarrow as pa

from tracelab.errors import TracelabError
from tracelab.query.selection import Selection, Window
from tracelab.schema import TABLES
from tracelab.session.reader import Parts, Store

Frame: TypeAlias = "nw.LazyFrame[Any]"
TIMELESS = {"stacks", "frames", "tasks", "bpf_progs", "bpf_maps"}  #: described once, true at all times
SQL_TYPES = {
    "int32": "INTEGER",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "list<int32>": "INTEGER[]",
}


class Tables:
    """The tables of a session, narrowed to a selection.

    Every frame has all columns of the schema; those that an older session lacks are null. Asking for a table
    raises MissingTable when it was not recorded.
    """

    def __init__(
        self, store: Store, selection: Selection | None = None, engine: Engine | None = None
    ) -> None:
        self.store = store
        self.selection = selection or Selection()
        self.engine = engine or Engine()

    def narrowed(self, selection: Selection) -> Tables:
        """The same tables, narrowed further."""
        return Tables(self.store, self.selection.narrowed(selection), self.engine)

    def of_all_processes(self) -> Tables:
        """The tables of the selected time and CPUs, whatever else is selected: what losses are told of."""
        return Tables(self.store, Selection(self.selection.window_ns, cpus=self.selection.cpus), self.engine)

    def has(self, table: str) -> bool:
        """Whether a table was recorded."""
        return self.store.has(table)

    @property
    def start_ns(self) -> int:
        """When the recording began: second 0 of every table that is returned; CLOCK_MONOTONIC."""
        return self.store.manifest.start_ns

    @property
    def end_ns(self) -> int:
        """When the recording ended; CLOCK_MONOTONIC. While it goes on, when this was first asked of the session."""
        end: int = self.engine.kept.setdefault("end", self.store.end_ns)
        return end

    @property
    def window_ns(self) -> Window:
        """The selected part of the recorded time; CLOCK_MONOTONIC. The very end of the recording is in it."""
        start, end = self.start_ns, self.end_ns
        first, last = self.selection.window_ns or (start, end)
        first = min(max(first, start), end)
        return first, min(max(last, first), end)

    def whole(self, table: str) -> Frame:
        """All rows of a table, whatever is selected; raises MissingTable, and NotASession for a damaged part."""
        parts = self.store.parts(table)
        try:
            with self.engine.lock:
                return nw.from_native(self.engine.relation(parts))
        except duckdb.Error as error:
            raise self.damage(error) from error

    def frame(self, table: str) -> Frame:
        """The selected rows of a table; a table without a column that is selected by is not narrowed by it."""
        from tracelab.query import lives

        selected, rows = self.selection, self.whole(table)
        names = TABLES[table].column_names
        if selected.window_ns and table not in TIMELESS:
            first, last = selected.window_ns
            rows = rows.filter(nw.col("time_ns") >= first, nw.col("time_ns") < last)
        for column, values in (
            ("pid", selected.pids),
            ("tid", selected.tids),
            ("cpu", selected.cpus),
            ("event", selected.events),
            ("comm", selected.comms),
        ):
            if values is not None and column in names:
                rows = rows.filter(nw.col(column).is_in(values))
        if selected.frames is not None and table == "samples":
            from tracelab.query.stackids import with_frames

            rows = rows.filter(nw.col("stack_id").is_in(with_frames(self, selected.frames)))
        by_life = selected.comms is not None and "comm" not in names, selected.cgroups is not None
        if any(by_life) and "tid" in names and table != "tasks":
            rows = lives.selected(self, rows).select(*names)
        return rows

    def collect(self, rows: Frame) -> pa.Table:
        """The rows of a frame; raises NotASession, naming the file, when a part turns out to be damaged."""
        try:
            with self.engine.lock:
                result: pa.Table = rows.collect("pyarrow").to_native()
                return result
        except duckdb.Error as error:
            raise self.damage(error) from error

    def damage(self, error: duckdb.Error) -> TracelabError:
        """The error to raise for an error of the engine: mostly that of a damaged part."""
        for table in TABLES:
            if damaged := self.store.damaged_part(table):
                return damaged
        return TracelabError(f"the engine failed: {' '.join(str(error).split())[:500]}")

    def unit(self, probe: str) -> str:
        """Unit of column value in the events of a probe; empty when the session does not tell."""
        return str(self._about_value(probe).get("unit") or "")

    def probes_of(self, table: str) -> list[str]:
        """The probes that wrote to a table, as the manifest tells."""
        probes = self.store.manifest.probes.items()
        return [name for name, about in probes if isinstance(about, dict) and about.get("table") == table]

    def _about_value(self, probe: str) -> Mapping[str, object]:
        about = self.store.manifest.probes.get(probe)
        value = about.get("value") if isinstance(about, dict) else None
        return value if isinstance(value, dict) else {}


class Engine:
    """An embedded DuckDB; it sees the parts it is given and leaves nothing behind."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.kept: dict[Any, Any] = {}  #: what was read whole, by what it is, for as long as the engine lives

    @functools.cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection, made when it is first needed."""
        spill = Path(tempfile.gettempdir()) / "tracelab-spill"
        return duckdb.connect(config={"python_enable_replacements": "false", "temp_directory": str(spill)})

    def relation(self, parts: Parts) -> duckdb.DuckDBPyRelation:
        """The rows of a table, closed and open parts together, in the columns of the schema."""
        return relation(self.connection, parts)


def relation(connection: duckdb.DuckDBPyConnection, parts: Parts) -> duckdb.DuckDBPyRelation:
    """Parts as a relation of `connection`; raises NotASession when a part is damaged."""
    columns = TABLES[parts.table].columns
    opened = None
    if parts.open is not None:
        opened = connection.from_arrow(parts.open)
        if not parts.closed:
            return opened
    files = [glob.escape(str(file)) for file in parts.closed]
    closed = connection.read_parquet(files, union_by_name=len(files) > 1, hive_partitioning=False)
    there = set(closed.columns)
    closed = closed.project(
        ", ".join(
            f'CAST({chr(34) + c.name + chr(34) if c.name in there else "NULL"} AS {SQL_TYPES[c.type]}) AS "{c.name}"'
            for c in columns
        )
    )
    return closed.union(opened) if opened is not None else closed


def finalise(
    tables: Tables,
    rows: Frame,
    columns: Mapping[str, Any],
    *,
    sort: tuple[str, ...],
    descending: bool = False,
) -> pd.DataFrame:
    """The one way out of the engine: cast, fill, sort, and convert to pandas.

    `columns` gives the type of each. Integers and texts that are null become -1 and "?"; a float stays NaN.
    Engines differ in types, in null keys and in order, so all three are settled here.
    """
    fills: dict[Any, Any] = {nw.Int64: -1, nw.Int32: -1, nw.String: "?", nw.Boolean: False}
    settled = rows.select(
        *(
            nw.col(name).cast(kind) if kind not in fills else nw.col(name).cast(kind).fill_null(fills[kind])
            for name, kind in columns.items()
        )
    )
    frame: pd.DataFrame = tables.collect(settled).to_pandas()
    order = [not descending] + [True] * (len(sort) - 1)
    return frame.sort_values(list(sort), ascending=order, kind="stable", ignore_index=True)
