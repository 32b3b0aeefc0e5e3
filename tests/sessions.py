"""Sessions as text tables: what a test puts in stands in the test.

    make_session(tmp_path, events='''
        time_s  pid  event  value
        0.5     7    read   100
    ''')

Columns are separated by spaces; a text with a space in it stands in quotes; `-` is null; a list is `1,2,3`. What a
table leaves out has the value of DEFAULTS, or is null; tid is the pid. Time may be given as time_s, seconds since
the recording began.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa

from tracelab.api import Session, open_session
from tracelab.query.tables import Tables
from tracelab.schema import TABLES, arrow_schema
from tracelab.session.manifest import Manifest
from tracelab.session.reader import Store
from tracelab.session.writer import SessionWriter

START_NS = 1_000_000_000_000
SECOND = 1_000_000_000
DEFAULTS = {
    "cpu": "0",
    "pid": "1",
    "probe": "syscalls",
    "event": "read",
    "weight": "1",
    "kind": "on-CPU",
    "unit": "ns",
    "unwound": "complete",
    "domain": "user",
    "module": "app",
    "inlined": "0",
    "own": "0",
    "change": "seen",
    "source": "syscalls",
    "reason": "'ring full'",
    "misses": "0",
    "type": "kprobe",
}
PROBES = {
    "syscalls": {"table": "events", "value": {"meaning": "duration", "unit": "ns"}},
    "oncpu": {"table": "samples", "value": {"meaning": "on-CPU time", "unit": "ns"}},
}


def make_session(
    folder: Path, *, name: str = "s.tracelab", manifest: dict[str, Any] | None = None, **tables: str
) -> Path:
    """A closed session of ten seconds in `folder`; a table that is only a line of names was recorded and is empty."""
    about = {"start_ns": START_NS, "end_ns": START_NS + 10 * SECOND, "probes": PROBES} | (manifest or {})
    writer = SessionWriter(folder / name, Manifest(**about))
    for table, text in tables.items():
        writer.manifest.tables[table] = {"rows": 0}
        writer.append(table, batch(table, text))
    writer.close(about.get("state", "complete"))
    return writer.path


def session(folder: Path, **tables: Any) -> Session:
    """The entry object of a session of text tables."""
    return open_session(make_session(folder, **tables))


def tables_of(folder: Path, **tables: Any) -> Tables:
    """The tables of a session of text tables, with nothing selected."""
    return Tables(Store.open(make_session(folder, **tables)))


def batch(table: str, text: str) -> pa.RecordBatch:
    """Rows of a stored table from a text table."""
    names, *lines = [shlex.split(line) for line in text.strip().splitlines()]
    rows = [_row(table, dict(zip(names, line, strict=True))) for line in lines]
    schema = arrow_schema(table)
    arrays = [pa.array([_value(row.get(f.name), f.type) for row in rows], f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _row(table: str, given: dict[str, str]) -> dict[str, str]:
    columns = TABLES[table].column_names
    for name in ("time", "until"):
        if f"{name}_s" in given:
            given[f"{name}_ns"] = _time_ns(given.pop(f"{name}_s"))
    assert given.keys() <= set(columns), f"{table} has no column {min(given.keys() - set(columns))}"
    row = {k: shlex.split(v)[0] for k, v in DEFAULTS.items() if k in columns and k not in given} | given
    if "tid" in columns and "tid" not in row:
        row["tid"] = row["pid"]
    if table == "tasks" and "tid" in given and "pid" not in given:
        row["pid"] = row["tid"]
    return row


def _time_ns(time_s: str) -> str:
    return time_s if time_s == "-" else str(START_NS + round(float(time_s) * SECOND))


def _value(text: str | None, kind: pa.DataType) -> object:
    if text is None or text == "-":
        return None
    if pa.types.is_list(kind):
        return [int(number) for number in text.split(",") if number]
    if pa.types.is_integer(kind):
        return int(text)
    return float(text) if pa.types.is_floating(kind) else text
