"""The writer of a session: append batches, never wait for parquet.

`append` puts a batch at the end of the table's open part, an Arrow IPC stream; from then on it survives a
killed recorder. A part that is large or old enough goes to a second thread, which encodes it as parquet.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from tracelab.errors import SessionExists, TracelabError
from tracelab.schema import TABLES
from tracelab.session.manifest import Manifest, State, process_identity
from tracelab.session.parts import part_name, publish, read_stream, storage_error

PART_ROWS = 1 << 18  #: rows after which a part is closed; it is sorted and encoded in memory
PART_AGE_S = 10.0  #: seconds after which a part with PART_MIN_ROWS is closed
PART_MIN_ROWS = 1 << 16
OLD_PART_AGE_S = 300.0  #: and after which one with OLD_PART_MIN_ROWS is: memory is bounded, however slow a table grows
OLD_PART_MIN_ROWS = 1 << 12
SMALL_BATCHES, SMALL_ROWS = 64, 1 << 14  #: so many batches of no more rows together become one; each costs 4 KB
PATIENCE_S = 0.3  #: how long `close` waits for parquet; streams that are left read just as well
MAX_PARTS_IN_MEMORY = 1  #: finished parts beyond this are read back from their stream to be encoded
_IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


@dataclass
class _OpenPart:
    number: int
    file: Path
    sink: pa.NativeFile
    stream: pa.RecordBatchStreamWriter
    born: float
    batches: list[pa.RecordBatch] = field(default_factory=list)
    merged: int = 0  #: of the batches, those that are not looked at any more
    rows: int = 0
    size_bytes: int = 0  #: of the stream; others read it while this thread writes, and may close the sink

    def keep(self, batch: pa.RecordBatch) -> None:
        """Hold a batch until the part is encoded, in a few large pieces rather than in many small ones."""
        self.batches.append(batch)
        self.rows += batch.num_rows
        if len(self.batches) < self.merged + SMALL_BATCHES:
            return
        last = self.batches[self.merged :]
        if sum(b.num_rows for b in last) <= SMALL_ROWS:
            self.batches[self.merged :] = pa.Table.from_batches(last).combine_chunks().to_batches()
        self.merged = len(self.batches)

    def is_due(self) -> bool:
        """Whether it is time to encode what there is."""
        age = time.monotonic() - self.born
        return (
            self.rows >= PART_ROWS
            or (age >= PART_AGE_S and self.rows >= PART_MIN_ROWS)
            or (age >= OLD_PART_AGE_S and self.rows >= OLD_PART_MIN_ROWS)
        )


class SessionWriter:
    """Writes one session folder; `append` from one thread, everything else is taken care of.

    Raises SessionExists when the folder is there. A full disk surfaces as StorageFull from the next
    `append` or from `close`; parts written before stay readable.
    """

    def __init__(self, path: Path | str, manifest: Manifest) -> None:
        self.path = Path(path)
        self.manifest = manifest
        self.rows: dict[str, int] = {}
        self.bytes_closed = 0
        self._open: dict[str, _OpenPart] = {}
        self._numbers: dict[str, int] = {}
        self._finished: queue.SimpleQueue[tuple[str, _OpenPart] | None] = queue.SimpleQueue()
        self._failure: TracelabError | None = None
        self._deadline = float("inf")
        manifest.writer = process_identity(os.getpid()) or {}
        try:
            self.path.mkdir(parents=True)
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)  # tells readers that it lives, in whatever container they are
            manifest.save(self.path)
        except FileExistsError as error:
            raise SessionExists(f"{self.path} exists already; choose another folder with -o") from error
        except OSError as error:
            raise storage_error(self.path, error) from error
        self.encoder = threading.Thread(target=self._encode, name="tracelab-encoder", daemon=True)
        self.encoder.start()

    def append(self, table: str, batch: pa.RecordBatch) -> None:
        """Append rows to a table; string columns may come dictionary encoded."""
        if self._failure:
            raise self._failure
        if not batch.num_rows:
            return
        part = self._open.get(table) or self._start_part(table, batch.schema)
        try:
            part.stream.write_batch(batch)
            part.size_bytes = int(part.sink.tell())
        except OSError as error:
            self._failure = storage_error(part.file, error)
            raise self._failure from error
        part.keep(batch)
        self.rows[table] = self.rows.get(table, 0) + batch.num_rows
        if part.is_due():
            self._finish_part(table)

    def size_bytes(self) -> int:
        """Bytes on disk so far; may be called from any thread."""
        return self.bytes_closed + sum(part.size_bytes for part in list(self._open.values()))

    def close(self, state: State = "complete") -> None:
        """Finish every part and write the final manifest.

        Parts that are not parquet after PATIENCE_S stay streams, which the next reader publishes.
        Raises what went wrong on the way, after everything that can be kept was kept.
        """
        for table in sorted(self._open, key=lambda t: self._open[t].rows):
            self._finish_part(table)
        self._deadline = time.monotonic() + PATIENCE_S
        self._finished.put(None)
        self.encoder.join()
        from tracelab.session.marks import rows_added

        self.manifest.tables |= {name: {"rows": rows} for name, rows in self.rows.items()}
        if added := rows_added(self.path):  # by others, while this recorded
            self.manifest.tables["marks"] = {"rows": self.rows.get("marks", 0) + added}
        self.manifest.state = state
        try:
            self.manifest.save(self.path)
        except OSError as error:
            self._failure = self._failure or storage_error(self.path, error)
        os.close(self._lock)
        if self._failure:
            raise self._failure

    def _start_part(self, table: str, schema: pa.Schema) -> _OpenPart:
        if list(TABLES[table].column_names) != schema.names:
            raise ValueError(f"columns of {table} should be {TABLES[table].column_names}, got {schema.names}")
        number = self._numbers[table] = self._numbers.get(table, 0) + 1
        file = self.path / table / part_name(number, "arrows")
        try:
            file.parent.mkdir(exist_ok=True)
            sink = pa.OSFile(str(file), "wb")
            stream = pa.ipc.new_stream(sink, schema, options=_IPC_OPTIONS)
        except OSError as error:
            self._failure = storage_error(file, error)
            raise self._failure from error
        part = self._open[table] = _OpenPart(number, file, sink, stream, time.monotonic())
        return part

    def _finish_part(self, table: str) -> None:
        part = self._open.pop(table)
        try:
            part.stream.close()
            part.sink.close()
        except OSError as error:
            self._failure = self._failure or storage_error(part.file, error)
        if self._finished.qsize() >= MAX_PARTS_IN_MEMORY:
            part.batches.clear()
        self._finished.put((table, part))

    def _encode(self) -> None:
        while (item := self._finished.get()) is not None:
            table, part = item
            if time.monotonic() > self._deadline and part.rows >= PART_MIN_ROWS:
                continue
            try:
                batches = part.batches or read_stream(part.file)
                target = publish(part.file.parent, part.number, table, batches)
                self.bytes_closed += target.stat().st_size
            except TracelabError as error:
                self._failure = self._failure or error
            part.batches.clear()
