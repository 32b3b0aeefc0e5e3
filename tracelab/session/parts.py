"""Parts: the files of a table, and how one becomes parquet without ever being half there.

The open part is an Arrow IPC stream, because whatever was appended to it survives the death of its writer;
a single open parquet file would lose everything, as its footer is written last.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tracelab.errors import SessionError, StorageFull
from tracelab.schema import SCHEMA_VERSION, TABLES

ROW_GROUP_ROWS = 1 << 20
MOST_PIECES = 64  #: that a part is put together of, where its rows are almost in order
FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def part_name(number: int, suffix: str) -> str:
    """`part-000001.parquet` for 1 and `parquet`."""
    return f"part-{number:06d}.{suffix}"


def publish(folder: Path, number: int, table: str, batches: Sequence[pa.RecordBatch]) -> Path:
    """Write one closed part, sorted by time, and make it visible by an atomic rename.

    The open stream of the same number is removed afterwards; while both exist, parquet wins.
    Raises StorageFull or SessionError; nothing half-written stays behind.
    """
    target = folder / part_name(number, "parquet")
    temporary = folder / (target.name + ".tmp")
    try:
        with open(temporary, "wb") as out:
            write_parquet(out, table, batches)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
        sync_folder(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(target, error) from error
    (folder / part_name(number, "arrows")).unlink(missing_ok=True)
    return target


def read_stream(file: Path) -> list[pa.RecordBatch]:
    """Every whole batch of an Arrow stream, which may have been cut anywhere."""
    batches: list[pa.RecordBatch] = []
    try:
        with pa.OSFile(str(file), "rb") as source, pa.ipc.open_stream(source) as stream:
            for batch in stream:
                batches.append(batch)
    except (OSError, pa.ArrowInvalid):
        pass
    return batches


def write_parquet(out: IO[bytes], table: str, batches: Sequence[pa.RecordBatch]) -> None:
    """Encode `batches` as one parquet file of `table`.

    Dictionary arrays go in as they are, which spares hashing every string again; the Arrow schema is left
    out, so that every engine reads plain strings. Units and meanings are in the footer.
    """
    columns = TABLES[table].columns
    data = sorted_by_time(pa.Table.from_batches(batches, schema=batches[0].schema))
    has_time = columns[0].name == "time_ns"
    with pq.ParquetWriter(
        out,
        data.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[c.name for c in columns if c.repeats],
        column_encoding={"time_ns": "DELTA_BINARY_PACKED"} if has_time else None,
        store_schema=False,
        write_page_index=True,
    ) as writer:
        writer.write_table(data, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata(
            {
                "tracelab.schema_version": str(SCHEMA_VERSION),
                "tracelab.table": table,
                "tracelab.columns": json.dumps(
                    {c.name: {"unit": c.unit, "meaning": c.meaning} for c in columns}
                ),
            }
        )


def sorted_by_time(data: pa.Table) -> pa.Table:
    """The same rows in order of time_ns, stable; what lies in order already is not copied.

    Rings deliver events almost in order: CPUs overtake each other by microseconds.
    """
    if "time_ns" not in data.column_names or data.num_rows < 2:
        return data
    time_ns = data.column("time_ns").to_numpy()
    starts, ends = disorder(time_ns)
    if not len(starts):
        return data
    if len(starts) > MOST_PIECES or (ends - starts).sum() > data.num_rows // 4:
        return data.take(pa.array(np.argsort(time_ns, kind="stable")))
    pieces, done = [], 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        order = np.argsort(time_ns[start:end], kind="stable")
        pieces += [data.slice(done, start - done), data.slice(start, end - start).take(pa.array(order))]
        done = end
    return pa.concat_tables([*pieces, data.slice(done)])


def disorder(values: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the ranges start and end that have to be sorted for all of it to be sorted."""
    if (values[1:] >= values[:-1]).all():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    highest_before = np.maximum.accumulate(values)
    lowest_after = np.minimum.accumulate(values[::-1])[::-1]
    inside = highest_before[:-1] > lowest_after[1:]  # nobody may be parted from the next one
    edges = np.flatnonzero(np.diff(np.concatenate(([False], inside, [False]))))
    return edges[::2], edges[1::2] + 1


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(file: Path, error: OSError) -> SessionError:
    """The tracelab error that an OSError while writing `file` stands for."""
    if error.errno in FULL_ERRORS:
        return StorageFull(
            f"cannot write {file}: {os.strerror(error.errno)}; "
            "what was recorded before is kept, free some space or use -o on another disk"
        )
    return SessionError(f"cannot write {file}: {error.strerror or error}")
