"""What a recording is said to have kept."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tracelab.bench.drain import session_outcome
from tracelab.bench.tracer import NotRun
from tracelab.schema import arrow_schema
from tracelab.session.manifest import Manifest
from tracelab.session.writer import SessionWriter


def a_session(path: Path, *, rows: int, closed: bool) -> SessionWriter:
    manifest = Manifest(
        probes={"syscalls": {"counts": {"lost": 3}}}, achieved={"ring_high_water_bytes": {"syscalls": 4096}}
    )
    writer = SessionWriter(path, manifest)
    row = dict.fromkeys(arrow_schema("events").names, 1) | {"probe": "syscalls", "event": "getppid"}
    if rows:
        writer.append("events", pa.RecordBatch.from_pylist([row] * rows, arrow_schema("events")))
    if closed:
        writer.close()
    return writer


@pytest.mark.parametrize("closed", [True, False])
def test_every_row_counts_and_ends_as_parquet_whether_the_recorder_got_to_it_or_not(
    tmp_path: Path, closed: bool
) -> None:
    writer = a_session(tmp_path / "s", rows=5, closed=closed)
    outcome = session_outcome(tmp_path / "s")
    files = list((tmp_path / "s" / "events").iterdir())
    assert [file.name for file in files] == ["part-000001.parquet"]
    assert (outcome.kept, outcome.lost, outcome.size_bytes) == (5, 3, files[0].stat().st_size)
    assert outcome.about == {"ring_high_water_bytes": 4096}
    if not closed:
        writer.close()


def test_a_recording_without_events_was_not_run(tmp_path: Path) -> None:
    a_session(tmp_path / "s", rows=0, closed=True)
    with pytest.raises(NotRun, match="nothing was recorded"):
        session_outcome(tmp_path / "s")
