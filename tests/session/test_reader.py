from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sessions import START_NS, batch, make_session
from tracelab.errors import MissingTable, NotASession, UsageError
from tracelab.query.tables import Tables
from tracelab.schema import SCHEMA_VERSION
from tracelab.session.manifest import Manifest, process_identity
from tracelab.session.reader import Store
from tracelab.session.writer import SessionWriter

EVENTS = """
    time_s  pid  event  value
    1       7    read   100
    2       8    write  200
"""


def rows(store: Store, table: str, *columns: str) -> list[tuple[object, ...]]:
    """Some columns of a table, as the query layer sees them."""
    found = Tables(store)
    table_rows = found.collect(found.whole(table)).sort_by("time_ns").to_pylist()
    return [tuple(row[c] for c in columns) for row in table_rows]


def edited(path: Path, **changes: object) -> Path:
    """The session with other values in its manifest."""
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def test_a_closed_session_gives_its_rows(tmp_path: Path) -> None:
    store = Store.open(make_session(tmp_path, events=EVENTS))
    assert not store.live
    assert rows(store, "events", "pid", "event", "value", "ret") == [
        (7, "read", 100, None),
        (8, "write", 200, None),
    ]
    assert store.rows("events") == 2
    assert store.end_ns - START_NS == 10_000_000_000


def test_a_folder_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(
        NotASession, match=r"none does not exist; give the folder that `tracelab record -o` wrote"
    ):
        Store.open(tmp_path / "none")


def test_a_file_is_no_session(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(NotASession, match=r"f is a file; a session is a folder with a manifest.json in it"):
        Store.open(tmp_path / "f")


def test_a_folder_of_something_else_is_no_session(tmp_path: Path) -> None:
    with pytest.raises(
        NotASession, match=r"holds no manifest.json, so it is not a tracelab session; give the folder"
    ):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ('{"format": "other"}', 'expected "format": "tracelab-session", found \'other\'; restore'),
        ("[1]", "found 'list'; restore the file from a copy"),
        (
            '{"format"',
            "manifest.json is damaged: expected JSON, found .*; restore the file from a copy, or record again",
        ),
        ("[" * 100_000, "is damaged: expected JSON"),
        (
            json.dumps({"format": "tracelab-session", "schema_version": SCHEMA_VERSION + 1}),
            f"reads schema versions up to {SCHEMA_VERSION}, found {SCHEMA_VERSION + 1}; upgrade with `pip install",
        ),
        (
            json.dumps({"format": "tracelab-session", "schema_version": 1, "probes": 3}),
            "field 'probes' should be dict, found int",
        ),
        (
            json.dumps(
                {"format": "tracelab-session", "schema_version": 1, "state": "complete", "start_ns": 10**30}
            ),
            "start_ns should be a time in ns, found 1000000",
        ),
    ],
)
def test_a_foreign_damaged_or_newer_manifest_says_what_was_found_and_what_to_do(
    tmp_path: Path, manifest: str, message: str
) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(NotASession, match=message) as caught:
        Store.open(tmp_path)
    assert str(tmp_path / "manifest.json") in str(caught.value)


def test_a_damaged_part_does_not_keep_a_session_from_opening_and_is_named_when_it_is_read(
    tmp_path: Path,
) -> None:
    path = make_session(tmp_path, events=EVENTS, marks="time_s text\n1 here")
    part = path / "events/part-000001.parquet"
    part.write_bytes(b"PAR1 is not enough")
    store = Store.open(path)
    assert rows(store, "marks", "text") == [("here",)]
    with pytest.raises(NotASession) as caught:
        rows(store, "events", "pid")
    said = str(caught.value)
    assert str(part) in said
    assert "expected a parquet file of 18 bytes, found:" in said
    assert "move it out of the folder to read the rest without its rows" in said


def test_a_part_damaged_inside_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = make_session(tmp_path, events=EVENTS)
    part = path / "events/part-000001.parquet"
    content = bytearray(part.read_bytes())
    content[4:200] = b"\xff" * 196
    part.write_bytes(content)
    with pytest.raises(NotASession, match=r"part-000001.parquet is damaged"):
        rows(Store.open(path), "events", "pid", "event")


def test_a_part_with_columns_of_another_kind_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = make_session(tmp_path, events=EVENTS)
    pq.write_table(pa.table({"time_ns": ["noon"]}), path / "events/part-000002.parquet")
    with pytest.raises(Exception, match="noon") as caught:
        rows(Store.open(path), "events", "pid")
    assert type(caught.value).__module__ == "tracelab.errors"


def test_a_table_that_was_not_recorded_says_how_to_record_it(tmp_path: Path) -> None:
    store = Store.open(make_session(tmp_path, events=EVENTS))
    assert not store.has("samples")
    with pytest.raises(
        MissingTable, match="table 'samples' was not recorded in this session; record with --events oncpu"
    ):
        store.parts("samples")


def test_the_recorders_reason_comes_before_the_general_hint(tmp_path: Path) -> None:
    why = {"bpf_prog_stats": "they need root"}
    store = Store.open(make_session(tmp_path, events=EVENTS, manifest={"not_recorded": why}))
    with pytest.raises(MissingTable, match="they need root"):
        store.parts("bpf_prog_stats")


def test_a_table_that_stayed_empty_is_empty_and_not_missing(tmp_path: Path) -> None:
    store = Store.open(make_session(tmp_path, events="time_s pid"))
    assert store.has("events")
    assert rows(store, "events", "pid") == []
    assert store.rows("events") == 0


def test_a_name_that_is_no_table_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no table 'event'; the tables are events, samples"):
        Store.open(make_session(tmp_path, events=EVENTS)).parts("event")


def test_a_column_that_an_older_session_lacks_is_null(tmp_path: Path) -> None:
    path = make_session(tmp_path, events=EVENTS)
    part = path / "events/part-000001.parquet"
    pq.write_table(pq.read_table(part).drop_columns(["weight", "stack_id"]), part)
    assert rows(Store.open(path), "events", "pid", "weight", "stack_id") == [(7, None, None), (8, None, None)]


def test_a_column_that_only_later_parts_have_is_null_in_the_earlier_ones(tmp_path: Path) -> None:
    path = make_session(tmp_path, events=EVENTS)
    part = path / "events/part-000001.parquet"
    table = pq.read_table(part)
    pq.write_table(table.slice(0, 1).drop_columns(["weight"]), part)
    pq.write_table(table.slice(1, 1), part.with_name("part-000002.parquet"))
    assert rows(Store.open(path), "events", "pid", "weight") == [(7, None), (8, 1)]


def test_a_column_of_a_newer_writer_is_passed_over(tmp_path: Path) -> None:
    path = make_session(tmp_path, events=EVENTS)
    part = path / "events/part-000001.parquet"
    pq.write_table(pq.read_table(part).append_column("colour", pa.array(["red", "blue"])), part)
    store = Store.open(path)
    assert rows(store, "events", "pid") == [(7,), (8,)]
    assert "colour" not in Tables(store).whole("events").collect_schema().names()


def test_folder_names_mean_nothing_to_the_engine(tmp_path: Path) -> None:
    folder = tmp_path / "host=web[1]" / "a*b?"
    folder.mkdir(parents=True)
    store = Store.open(make_session(folder, events=EVENTS))
    assert rows(store, "events", "pid") == [(7,), (8,)]
    assert "host" not in Tables(store).whole("events").collect_schema().names()


def test_a_link_could_lead_out_of_the_session_and_is_refused(tmp_path: Path) -> None:
    path = make_session(tmp_path, events=EVENTS)
    elsewhere = tmp_path / "elsewhere.parquet"
    shutil.move(path / "events/part-000001.parquet", elsewhere)
    (path / "events/part-000001.parquet").symlink_to(elsewhere)
    with pytest.raises(NotASession, match=r"part-000001.parquet is a link or a special file"):
        Store.open(path).parts("events")
    shutil.rmtree(path / "events")
    (path / "events").symlink_to(tmp_path)
    with pytest.raises(NotASession, match=r"events is a link or a special file"):
        Store.open(path).parts("events")


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    path = make_session(tmp_path, events=EVENTS)
    os.mkfifo(path / "events/part-000002.arrows")
    with pytest.raises(NotASession, match=r"part-000002.arrows is a link or a special file"):
        Store.open(path).parts("events")


def test_no_path_of_the_manifest_is_followed(tmp_path: Path) -> None:
    other = make_session(tmp_path, name="other", events=EVENTS)
    path = edited(
        make_session(tmp_path, marks="time_s text\n1 x"), tables={f"../{other.name}/events": {"rows": 2}}
    )
    assert not Store.open(path).has("events")


def test_the_end_comes_from_the_rows_when_the_manifest_does_not_tell(tmp_path: Path) -> None:
    path = edited(make_session(tmp_path, events=EVENTS), end_ns=None)
    assert Store.open(path).end_ns == START_NS + 2_000_000_000


class TestALiveSession:
    def test_is_read_with_its_open_part_while_it_grows(self, tmp_path: Path) -> None:
        writer = SessionWriter(tmp_path / "s", Manifest(start_ns=START_NS))
        writer.append("events", batch("events", EVENTS))
        store = Store.open(writer.path)
        assert store.live
        assert rows(store, "events", "pid") == [(7,), (8,)]
        writer.append("events", batch("events", "time_s pid\n3 9"))
        assert rows(store, "events", "pid") == [(7,), (8,), (9,)]
        assert store.rows("events") == 3
        writer.manifest.end_ns = START_NS + 4_000_000_000
        writer.close()
        assert rows(store, "events", "pid") == [(7,), (8,), (9,)]
        assert not store.live
        assert store.end_ns == START_NS + 4_000_000_000

    def test_is_read_across_closed_and_open_parts(self, tmp_path: Path) -> None:
        path = make_session(tmp_path, events=EVENTS)
        writer = SessionWriter(tmp_path / "w", Manifest(start_ns=START_NS))
        writer.append("events", batch("events", "time_s pid\n3 9"))
        shutil.copy(tmp_path / "w/events/part-000001.arrows", path / "events/part-000002.arrows")
        edited(path, state="recording", writer=process_identity(os.getpid()))
        assert rows(Store.open(path), "events", "pid") == [(7,), (8,), (9,)]
        assert (path / "events/part-000002.arrows").exists()
        writer.close()

    def test_names_that_come_as_dictionaries_are_plain_text(self, tmp_path: Path) -> None:
        writer = SessionWriter(tmp_path / "s", Manifest(start_ns=START_NS))
        plain = batch("events", EVENTS)
        columns = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in plain.columns]
        writer.append("events", pa.RecordBatch.from_arrays(columns, names=plain.schema.names))
        opened = Store.open(writer.path).parts("events").open
        assert opened is not None
        assert opened.schema.field("event").type == pa.string()
        assert opened["event"].to_pylist() == ["read", "write"]
        writer.close()

    def test_is_not_written_to_by_its_readers(self, tmp_path: Path) -> None:
        writer = SessionWriter(tmp_path / "s", Manifest(start_ns=START_NS))
        writer.append("events", batch("events", EVENTS))
        (writer.path / "events/part-000007.parquet.tmp").write_bytes(b"half")
        before = sorted(p.name for p in writer.path.rglob("*"))
        rows(Store.open(writer.path), "events", "pid")
        assert sorted(p.name for p in writer.path.rglob("*")) == before
        writer.close()

    def test_may_close_a_part_at_the_moment_it_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tracelab.session import rows as rows_module
        from tracelab.session.parts import publish, read_stream

        writer = SessionWriter(tmp_path / "s", Manifest(start_ns=START_NS))
        writer.append("events", batch("events", EVENTS))

        def closed_meanwhile(file: Path) -> list[pa.RecordBatch]:
            if file.exists():
                publish(file.parent, 1, "events", read_stream(file))
            return read_stream(file)

        monkeypatch.setattr(rows_module, "read_stream", closed_meanwhile)
        assert rows(Store.open(writer.path), "events", "pid") == [(7,), (8,)]
        writer.manifest.state = "complete"

    def test_with_a_stream_of_something_else_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        writer = SessionWriter(tmp_path / "s", Manifest(start_ns=START_NS))
        (writer.path / "events").mkdir()
        other = pa.record_batch({"time_ns": ["noon"]})
        with pa.OSFile(str(writer.path / "events/part-000001.arrows"), "wb") as sink:
            with pa.ipc.new_stream(sink, other.schema) as stream:
                stream.write_batch(other)
        with pytest.raises(
            NotASession, match=r"part-000001.arrows: expected the columns of table events, found time_ns"
        ):
            Store.open(writer.path).parts("events")
        writer.close()
