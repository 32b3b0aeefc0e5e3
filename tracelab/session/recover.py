"""What to do with a session whose recorder died: publish what its streams hold, and say so.

Nothing is lost that was appended, but for the batch that was being written; what the kernel still had is not
known. Two readers may come at once: a lock on the folder lets one of them recover.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracelab.errors import NotASession, SessionError
from tracelab.schema import TABLES
from tracelab.session.listing import MAX_TIME_NS, files_of, leftovers, part_number
from tracelab.session.manifest import Manifest
from tracelab.session.parts import publish
from tracelab.session.rows import conform, whole_batches


def recover(session: Path, manifest: Manifest) -> tuple[Manifest, bool]:
    """The manifest after recovery, and whether somebody else holds the session, so that it counts as live.

    Where the folder cannot be written, the manifest stays as it is but for a note, and streams are to be read
    in place.
    """
    with _alone(session) as alone:
        if not alone:
            return manifest, True
        manifest = Manifest.load(session)  # another reader may have been here
        if manifest.state != "recording":
            return manifest, False
        try:
            for file in leftovers(session, tuple(TABLES)):
                file.unlink()
            rows = {table: _publish(session, table) for table in TABLES}
            manifest.tables |= {t: {"rows": n} for t in TABLES if (n := _rows(session, t))}
            manifest.end_ns = manifest.end_ns or max(last_time_ns(session), manifest.start_ns)
            manifest.notes.append(_note(sum(rows.values())))
            manifest.state = "recovered"
            manifest.save(session)
        except (OSError, SessionError) as error:
            if isinstance(error, NotASession):
                raise
            manifest = Manifest.load(session)
            manifest.notes.append(
                f"the recorder died; its open parts are read where they are, because {error}"
            )
        return manifest, False


def publish_streams(session: Path, table: str) -> bool:
    """Turn the streams of a table into parquet; False when that cannot be done here and now."""
    try:
        with _alone(session) as alone:
            if alone:
                _publish(session, table)
            return alone
    except (OSError, SessionError) as error:
        if isinstance(error, NotASession):
            raise
        return False


def last_time_ns(session: Path, opened: Iterable[pa.Table] = ()) -> int:
    """The latest time_ns in closed parts, by their footers, and in `opened`; 0 when there is none."""
    latest = 0
    for table in TABLES:
        for file in files_of(session, table).closed:
            with contextlib.suppress(OSError, pa.ArrowException):
                latest = max(latest, _last_of(pq.read_metadata(file)))
    for rows in opened:
        if "time_ns" in rows.column_names and len(rows):
            latest = max(latest, pc.max(rows["time_ns"]).as_py() or 0)
    return latest


@contextlib.contextmanager
def _alone(session: Path) -> Iterator[bool]:
    """Hold the lock of the session's folder; yields False when somebody else has it."""
    handle = os.open(session, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    except OSError:  # a file system without locks
        yield True
    else:
        yield True
    finally:
        os.close(handle)


def _publish(session: Path, table: str) -> int:
    rows = 0
    for stream in files_of(session, table).streams:
        data = conform(table, whole_batches(stream), stream)
        if data.num_rows:
            publish(stream.parent, part_number(stream), table, data.to_batches())
            rows += data.num_rows
        else:
            stream.unlink()
    return rows


def _rows(session: Path, table: str) -> int:
    rows = 0
    for file in files_of(session, table).closed:
        with contextlib.suppress(OSError, pa.ArrowException):
            rows += pq.read_metadata(file).num_rows
    return rows


def _last_of(footer: pq.FileMetaData) -> int:
    latest = 0
    for group in range(footer.num_row_groups):
        for i in range(footer.num_columns):
            column = footer.row_group(group).column(i)
            found = (
                column.statistics.max if column.statistics and column.path_in_schema == "time_ns" else None
            )
            if isinstance(found, int) and found < MAX_TIME_NS:
                latest = max(latest, found)
    return latest


def _note(rows: int) -> str:
    return (
        f"the recorder died; {rows:,} rows of open parts were recovered, "
        "and what was lost in its last moments is not known"
    )
