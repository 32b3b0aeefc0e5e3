"""Marks that are set after the fact, or by others than the recorder: one part of table marks that is theirs.

The part has a number that no recorder reaches, so that marks may be set while a session is being recorded. It is
replaced as a whole, atomically, whenever a mark is added or taken away: what the recorder wrote is never touched.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tracelab.errors import SessionError
from tracelab.schema import arrow_schema
from tracelab.session.listing import files_of
from tracelab.session.manifest import Manifest
from tracelab.session.parts import part_name, publish, storage_error
from tracelab.session.reader import Store
from tracelab.session.rows import conform, footer

TABLE = "marks"
NUMBER = 1_000_000_000  #: of the part; a recorder's begin at 1
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
MOST = 100_000  #: marks in the part; it is read and written as a whole


@dataclass(frozen=True, slots=True)
class Mark:
    """A named instant, or a named time; CLOCK_MONOTONIC ns."""

    time_ns: int
    until_ns: int | None  #: None for an instant
    author: str
    text: str


def add(store: Store, mark: Mark) -> None:
    """Store a mark in a session, closed or still being recorded.

    Raises SessionError when the folder cannot be written, with what to do, and when there are too many.
    """

    def added(rows: pa.Table) -> pa.Table:
        if len(rows) >= MOST:
            raise SessionError(f"{store.path} has {MOST:,} marks already; take some away with s.unmark(text)")
        values = [pa.array([value], f.type) for value, f in zip(astuple(mark), rows.schema, strict=True)]
        return pa.concat_tables([rows, pa.Table.from_arrays(values, schema=rows.schema)])

    _replace(store, added)


def remove(store: Store, meant: Callable[[Mark], bool]) -> int:
    """Take away the marks that are meant; those that were recorded stay. Returns how many went.

    Raises SessionError when the folder cannot be written.
    """
    if not any(map(meant, added_marks(store))):
        return 0
    gone = 0

    def without(rows: pa.Table) -> pa.Table:
        nonlocal gone
        keep = [not meant(Mark(**row)) for row in rows.to_pylist()]
        gone = keep.count(False)
        return rows.filter(pa.array(keep, pa.bool_()))

    _replace(store, without)
    return gone


def added_marks(store: Store) -> list[Mark]:
    """The marks that can be taken away again: all but the recorded ones; raises NotASession for a damaged part."""
    return [Mark(**row) for row in _rows(store.path).to_pylist()]


def rows_added(session: Path) -> int:
    """How many marks were set by others than the recorder; 0 where that cannot be told."""
    with contextlib.suppress(SessionError):
        return sum(int(footer(file).num_rows) for file in _part(session))
    return 0


def _part(session: Path) -> tuple[Path, ...]:
    """The part as one file, or none; raises NotASession for a link or a special file."""
    return tuple(f for f in files_of(session, TABLE).closed if f.name == part_name(NUMBER, "parquet"))


def _rows(session: Path) -> pa.Table:
    for file in _part(session):
        if footer(file).num_rows > MOST:
            raise SessionError(f"{file} holds more than {MOST:,} marks; move it out of the folder")
        return conform(TABLE, pq.read_table(file).to_batches(), file)
    return arrow_schema(TABLE).empty_table()


def _replace(store: Store, change: Callable[[pa.Table], pa.Table]) -> None:
    folder = store.path / TABLE
    try:
        files_of(store.path, TABLE)  # refuses a link
        folder.mkdir(exist_ok=True)
        with _locked(folder):
            rows = change(_rows(store.path)).combine_chunks()
            publish(folder, NUMBER, TABLE, rows.to_batches() or [pa.RecordBatch.from_pylist([], rows.schema)])
        store.refresh()
        if not store.live and not store.in_place:
            _count(store)
    except (OSError, SessionError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in READ_ONLY:
            raise SessionError(
                f"cannot set marks in {store.path}: {os.strerror(cause.errno)}; "
                "copy the session to a folder that you may write"
            ) from error
        if isinstance(error, OSError):
            raise storage_error(Path(error.filename or folder), error) from error
        raise


def _count(store: Store) -> None:
    """Bring the manifest up to date; while recording it is the recorder's, who does so at the end."""
    with _locked(store.path):
        manifest = Manifest.load(store.path)
        manifest.tables[TABLE] = {"rows": store.rows(TABLE)}
        manifest.save(store.path)
    store.manifest = manifest


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that two who change it at once take turns."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

