"""Appends one batch of events after the other to a session until it is killed; tells each on its output."""

import sys

import pyarrow as pa

from tracelab.schema import arrow_schema
from tracelab.session import writer as writer_module
from tracelab.session.manifest import Manifest
from tracelab.session.writer import SessionWriter

ROWS = 1000

writer_module.PART_ROWS = 20 * ROWS
writer = SessionWriter(sys.argv[1], Manifest(start_ns=0, tables={"events": {"rows": 0}}))
for batch in range(100_000):
    first = batch * ROWS
    columns = {name: [1] * ROWS for name in arrow_schema("events").names}
    columns |= {"time_ns": range(first, first + ROWS), "probe": ["p"] * ROWS, "event": ["e"] * ROWS}
    writer.append("events", pa.RecordBatch.from_pydict(columns, schema=arrow_schema("events")))
    print(batch + 1, flush=True)
