"""Rows of a part, whoever wrote it: checked, and brought into the columns of the schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tracelab.errors import NotASession
from tracelab.schema import arrow_schema
from tracelab.session.parts import read_stream

_WITHOUT = "move it out of the folder to read the rest without its rows"
_UNREADABLE = (OSError, pa.ArrowException, MemoryError)


def whole_batches(file: Path) -> list[pa.RecordBatch]:
    """Every whole batch of a stream; raises FileNotFoundError when it is gone, and NotASession."""
    try:
        batches = read_stream(file)
    except (pa.ArrowException, MemoryError, ValueError, KeyError) as error:
        found = f"{type(error).__name__}: {error}"
        raise NotASession(
            f"{file} is damaged: expected an Arrow stream, found {found}; {_WITHOUT}"
        ) from error
    if not batches:
        file.stat()
    return batches


def conform(table: str, batches: Sequence[pa.RecordBatch], file: Path) -> pa.Table:
    """Rows in the columns of the schema: plain strings, null where an older writer had no such column."""
    schema = arrow_schema(table)
    if not batches:
        return schema.empty_table()
    rows = pa.Table.from_batches(batches)
    try:
        return pa.Table.from_arrays(
            [
                rows[f.name].cast(f.type) if f.name in rows.column_names else pa.nulls(len(rows), f.type)
                for f in schema
            ],
            schema=schema,
        )
    except (pa.ArrowException, KeyError) as error:
        found = rows.schema.to_string()[:200]
        raise NotASession(
            f"{file}: expected the columns of table {table}, found {found}; {_WITHOUT}"
        ) from error


def footer(file: Path) -> pq.FileMetaData:
    """The footer of a closed part; raises NotASession."""
    try:
        return pq.read_metadata(file)
    except _UNREADABLE as error:
        raise _damaged(file, error) from error


def damage(file: Path) -> NotASession | None:
    """The error to raise for a closed part that cannot be read to its end; None for a sound one."""
    try:
        for _ in pq.ParquetFile(file).iter_batches():
            pass
    except _UNREADABLE as error:
        return _damaged(file, error)
    return None


def _damaged(file: Path, error: BaseException) -> NotASession:
    found = " ".join(str(error).split())[:200]
    return NotASession(
        f"{file} is damaged: expected a parquet file of {file.stat().st_size:,} bytes, found: {found}; "
        f"restore it from a copy, or {_WITHOUT}"
    )
