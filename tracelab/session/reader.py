"""The reader of a session: which parts its tables have, and the rows of those that are still streams.

Opening reads the manifest and nothing else, and loads nothing heavy. A live session is read as it stands: closed
parts as files, the open ones up to their last whole batch.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracelab.errors import MissingTable, NotASession, UsageError
from tracelab.schema import TABLES, arrow_schema
from tracelab.session.listing import MAX_TIME_NS, Files, files_of
from tracelab.session.manifest import FILE_NAME, Manifest, process_identity

if TYPE_CHECKING:
    import pyarrow as pa

FRESH_S = 60.0  #: another machine's session that was written to so lately may be live
RETRIES = 20  #: a live writer replaces an open part in a moment; that it happens this often does not occur


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows of one table at one moment."""

    table: str
    closed: tuple[Path, ...]  #: parquet files; older ones may lack columns
    open: pa.Table | None  #: rows of open parts, in the columns of the schema


class Store:
    """A session folder, opened for reading; nothing in it is trusted.

    `Store.open` raises NotASession when the folder is foreign, damaged or newer than this tracelab.
    """

    def __init__(self, path: Path, manifest: Manifest, *, live: bool = False) -> None:
        self.path = path
        self.manifest = manifest
        self.live = live  #: whether it is still being written
        self.in_place = False  #: streams are read where they are, because the folder cannot be written
        self._last_ns: int | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Store:
        """The session in folder `path`; one whose recorder died is recovered first."""
        folder = Path(path)
        try:
            store = cls(folder, _checked(folder, Manifest.load(folder)))
            store.refresh()
        except OSError as error:
            raise NotASession(
                f"cannot read {error.filename or folder}: {error.strerror}; give a folder that you may read"
            ) from error
        return store

    def refresh(self) -> None:
        """Look again at a session that was being written: it may have ended, or its recorder died."""
        if self.manifest.state != "recording" or self.in_place:
            return
        manifest = _checked(self.path, Manifest.load(self.path))
        self.live = manifest.state == "recording" and is_writing(self.path, manifest)
        if manifest.state == "recording" and not self.live:
            from tracelab.session.recover import recover

            manifest, self.live = recover(self.path, manifest)
            self.in_place = manifest.state == "recording" and not self.live
        self.manifest = manifest

    @property
    def end_ns(self) -> int:
        """When the recording ended; now, while it is live; CLOCK_MONOTONIC."""
        if self.manifest.end_ns is not None:
            return max(int(self.manifest.end_ns), self.manifest.start_ns)
        if self.live:
            return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if self._last_ns is None:
            from tracelab.session.recover import last_time_ns

            opened = [self.parts(t).open for t in TABLES if self.has(t)]
            self._last_ns = last_time_ns(self.path, [rows for rows in opened if rows is not None])
        return max(self._last_ns, self.manifest.start_ns)

    def has(self, table: str) -> bool:
        """Whether a table was recorded: the manifest names it, even when nothing came, or it has parts."""
        return bool(files_of(self.path, _known(table))) or table in self.manifest.tables

    def how_to_record(self, table: str) -> str:
        """What to tell a user whose session lacks a table: the reason that was recorded, or the option to use."""
        return str(self.manifest.not_recorded.get(table, TABLES[_known(table)].how_to_record))

    def parts(self, table: str) -> Parts:
        """The parts of a table as they are now.

        Raises MissingTable when it was not recorded, and NotASession when an open part makes no sense.
        """
        self.refresh()
        files = files_of(self.path, _known(table))
        if not files and table not in self.manifest.tables:
            raise MissingTable(table, self.how_to_record(table))
        if files.streams and not self.live and not self.in_place:
            from tracelab.session.recover import publish_streams

            self.in_place = not publish_streams(self.path, table)
            files = files_of(self.path, table)
        for _ in range(RETRIES):
            try:
                return Parts(table, files.closed, self._open_rows(table, files))
            except FileNotFoundError:
                files = files_of(self.path, table)
        raise NotASession(f"{self.path / table}: its parts change faster than they can be read; try again")

    def rows(self, table: str) -> int:
        """Number of rows, from the footers of the files; 0 for a table that was not recorded."""
        if not self.has(table):
            return 0
        from tracelab.session.rows import footer

        parts = self.parts(table)
        opened = int(parts.open.num_rows) if parts.open is not None else 0
        return opened + sum(int(footer(file).num_rows) for file in parts.closed)

    def size_bytes(self) -> int:
        """Bytes on disk of all parts."""
        parts = [files_of(self.path, table) for table in TABLES]
        return sum(_size(file) for files in parts for file in (*files.closed, *files.streams))

    def damaged_part(self, table: str) -> NotASession | None:
        """The error that names the first closed part of `table` that cannot be read; None when all can."""
        from tracelab.session import rows

        errors = (rows.damage(file) for file in files_of(self.path, table).closed)
        return next(filter(None, errors), None)

    def _open_rows(self, table: str, files: Files) -> pa.Table | None:
        import pyarrow as pa

        from tracelab.session.rows import conform, whole_batches

        tables = [conform(table, whole_batches(file), file) for file in files.streams]
        if not files.closed and not tables:
            return arrow_schema(table).empty_table()
        return pa.concat_tables(tables) if tables else None


def is_writing(session: Path, manifest: Manifest) -> bool:
    """Whether the recorder of a session still lives.

    Known for this machine since its boot. Of another machine, on a shared disk, only the files can tell: every
    second a live recording writes.
    """
    writer = manifest.writer
    pid, boot_id = writer.get("pid"), writer.get("boot_id")
    if not isinstance(pid, int):
        return False
    here = process_identity(os.getpid())
    if here is not None and here["boot_id"] == boot_id:
        return process_identity(pid) == writer and not _is_zombie(pid)
    written = max(
        (file.stat().st_mtime for t in TABLES for file in files_of(session, t).streams), default=0.0
    )
    return abs(time.time() - written) < FRESH_S


def _known(table: str) -> str:
    if table not in TABLES:
        raise UsageError(f"there is no table {table!r}; the tables are {', '.join(TABLES)}")
    return table


def _checked(folder: Path, manifest: Manifest) -> Manifest:
    for name, value in (("start_ns", manifest.start_ns), ("end_ns", manifest.end_ns)):
        if value is not None and not 0 <= value < MAX_TIME_NS:
            raise NotASession(
                f"{folder / FILE_NAME}: {name} should be a time in ns, found {str(value)[:40]}; "
                "restore the file from a copy, or record again"
            )
    return manifest


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # published meanwhile
        return 0


def _is_zombie(pid: int) -> bool:
    """Whether a process is dead though its parent has not taken note."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return False
