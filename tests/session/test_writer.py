from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracelab.errors import SessionExists
from tracelab.schema import SCHEMA_VERSION, TABLES, arrow_schema
from tracelab.session import writer as writer_module
from tracelab.session.manifest import Manifest
from tracelab.session.parts import read_stream
from tracelab.session.writer import SessionWriter


def samples(*times_ns: int) -> pa.RecordBatch:
    n = len(times_ns)
    columns = {
        "time_ns": list(times_ns),
        "stack_id": [1] * n,
        "kind": ["on-CPU"] * n,
        "weight": [1] * n,
        "unit": ["ns"] * n,
        "unwound": ["complete"] * n,
        **{name: [0] * n for name in ("cpu", "pid", "tid", "key")},
    }
    return pa.RecordBatch.from_pydict(columns, schema=arrow_schema("samples"))


def parts_of_seven(session: Path) -> list[tuple[str, int]]:
    """Names and rows of the parts into which seven samples go that come one by one."""
    writer = SessionWriter(session, Manifest())
    for t in range(7):
        writer.append("samples", samples(t))
    writer.close()
    return [(p.name, pq.read_metadata(p).num_rows) for p in sorted((session / "samples").iterdir())]


def test_what_is_appended_is_in_the_stream_before_the_part_is_closed(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", Manifest())
    writer.append("samples", samples(1, 2))
    stream = tmp_path / "s/samples/part-000001.arrows"
    assert [b.num_rows for b in read_stream(stream)] == [2]
    writer.close()
    assert not stream.exists()
    assert pq.read_table(tmp_path / "s/samples").num_rows == 2


def test_rows_of_a_part_are_in_order_of_time(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", Manifest())
    writer.append("samples", samples(3, 1))
    writer.append("samples", samples(2, 5, 4))
    writer.close()
    assert pq.read_table(tmp_path / "s/samples")["time_ns"].to_pylist() == [1, 2, 3, 4, 5]


def test_a_slow_table_is_held_in_few_pieces_whatever_its_dictionaries(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", Manifest())
    schema = arrow_schema("marks")
    for t in range(1000):
        texts = pa.array([f"text {t}", "same"]).dictionary_encode()
        columns = [texts if f.type == pa.string() else pa.array([t, t], f.type) for f in schema]
        writer.append("marks", pa.RecordBatch.from_arrays(columns, names=schema.names))
    part = writer._open["marks"]
    assert len(part.batches) < 80
    assert len(read_stream(part.file)) == 1000, "what was appended survives all the same"
    writer.close()
    assert pq.read_table(tmp_path / "s/marks")["text"].to_pylist() == [
        text for t in range(1000) for text in (f"text {t}", "same")
    ]


def test_a_part_that_is_old_is_closed_unless_it_has_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "OLD_PART_AGE_S", 0.0)
    monkeypatch.setattr(writer_module, "OLD_PART_MIN_ROWS", 3)
    assert [rows for _, rows in parts_of_seven(tmp_path / "s")] == [3, 3, 1]


def test_a_part_is_closed_when_it_is_large_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PART_ROWS", 3)
    assert parts_of_seven(tmp_path / "s") == [
        ("part-000001.parquet", 3),
        ("part-000002.parquet", 3),
        ("part-000003.parquet", 1),
    ]
    assert Manifest.load(tmp_path / "s").tables == {"samples": {"rows": 7}}


def test_names_given_as_dictionaries_are_stored_as_plain_strings_with_their_units(tmp_path: Path) -> None:
    batch = samples(1, 2, 3)
    kinds = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.int32()), pa.array(["on-CPU", "off-CPU"]))
    columns = [kinds if name == "kind" else batch[name] for name in batch.schema.names]
    writer = SessionWriter(tmp_path / "s", Manifest())
    writer.append("samples", pa.RecordBatch.from_arrays(columns, names=batch.schema.names))
    writer.close()
    part = pq.ParquetFile(tmp_path / "s/samples/part-000001.parquet")
    assert part.schema_arrow.field("kind").type == pa.string()
    assert part.read()["kind"].to_pylist() == ["off-CPU", "on-CPU", "off-CPU"]
    assert b'"weight": {"unit": "unit"' in part.metadata.metadata[b"tracelab.columns"]
    assert part.metadata.metadata[b"tracelab.schema_version"] == str(SCHEMA_VERSION).encode()


def test_a_stream_cut_anywhere_gives_all_its_whole_batches(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", Manifest())
    stream = tmp_path / "s/samples/part-000001.arrows"
    ends = []
    for t in range(4):
        writer.append("samples", samples(t))
        ends.append(stream.stat().st_size)
    whole = stream.read_bytes()
    cut = tmp_path / "cut.arrows"
    for size in np.linspace(0, ends[-1], 60, dtype=int):
        cut.write_bytes(whole[:size])
        assert len(read_stream(cut)) == sum(end <= size for end in ends)
    writer.close()


def test_an_existing_folder_is_never_written_to(tmp_path: Path) -> None:
    with pytest.raises(SessionExists, match="exists already; choose another folder with -o"):
        SessionWriter(tmp_path, Manifest())


def test_a_batch_with_other_columns_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", Manifest())
    with pytest.raises(ValueError, match="columns of marks should be"):
        writer.append("marks", samples(1))
    writer.close()


@pytest.mark.parametrize("table", TABLES)
def test_every_stored_column_has_a_unit_and_a_meaning(table: str) -> None:
    for field in arrow_schema(table):
        assert field.metadata[b"unit"]
        assert field.metadata[b"meaning"]


def test_the_size_can_be_asked_for_while_another_thread_begins_and_closes_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "PART_ROWS", 2)
    monkeypatch.setattr(writer_module, "publish", lambda folder, *_: folder)
    writer = SessionWriter(tmp_path / "s", Manifest())
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        writes = threading.Thread(target=lambda: [writer.append("samples", samples(n)) for n in range(3000)])
        writes.start()
        sizes = []
        while writes.is_alive():
            sizes.append(writer.size_bytes())
        writes.join()
    finally:
        sys.setswitchinterval(switch_s)
    writer.close()
    assert len(sizes) > 100 and max(sizes) > 0
