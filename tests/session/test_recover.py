from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sessions import START_NS, batch
from tracelab.errors import NotASession, SessionError
from tracelab.query.tables import Tables
from tracelab.session import recover as recover_module
from tracelab.session.manifest import Manifest
from tracelab.session.parts import publish, read_stream
from tracelab.session.reader import Store
from tracelab.session.writer import SessionWriter

ROOT = Path(__file__).parents[2]
APPENDS = Path(__file__).parents[1] / "workloads/appends.py"
GONE = {
    "pid": 2**30,
    "start_ticks": 1,
    "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
}


def times(store: Store, table: str = "events") -> list[int]:
    """time_ns of all rows of a table, sorted."""
    tables = Tables(store)
    return sorted(tables.collect(tables.whole(table))["time_ns"].to_pylist())


def edited(path: Path, **changes: object) -> Path:
    file = path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def died(folder: Path, *batches: pa.RecordBatch) -> Path:
    """A session with batches in its open part, whose recorder is gone."""
    writer = SessionWriter(folder / "live", Manifest(start_ns=START_NS))
    for rows in batches:
        writer.append("events", rows)
    path = shutil.copytree(writer.path, folder / "died")
    writer.close()
    return edited(path, writer=GONE)


TWO = batch("events", "time_s pid\n1 7\n2 8")
ONE = batch("events", "time_s pid\n3 9")


@pytest.mark.parametrize("seed", range(3))
def test_every_batch_that_was_appended_before_a_kill_is_there_after_it(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "s"
    command = [sys.executable, str(APPENDS), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    wanted = random.Random(seed).randint(5, 120)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        acknowledged = 0
        while acknowledged < wanted:
            acknowledged = int(process.stdout.readline())
        process.kill()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    store = Store.open(path)
    found = times(store)
    assert found == list(range(len(found)))
    assert len(found) // 1000 in (acknowledged, acknowledged + 1)
    assert store.manifest.state == "recovered"
    assert store.end_ns == found[-1]
    assert {p.suffix for p in (path / "events").iterdir()} == {".parquet"}


def test_a_recovered_session_says_so_and_opens_as_any_other(tmp_path: Path) -> None:
    path = died(tmp_path, TWO, ONE)
    Store.open(path)
    store = Store.open(path)
    assert store.manifest.state == "recovered"
    assert store.manifest.notes == [
        "the recorder died; 3 rows of open parts were recovered, and what was lost in its last moments is not known"
    ]
    assert store.manifest.tables == {"events": {"rows": 3}}
    assert store.end_ns == START_NS + 3_000_000_000
    assert pq.read_table(path / "events/part-000001.parquet")["pid"].to_pylist() == [7, 8, 9]


def test_a_recorder_that_is_dead_but_not_buried_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "s"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(APPENDS), str(path)], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Store.open(path).manifest.state == "recovered"


def test_a_stream_cut_anywhere_gives_its_whole_batches(tmp_path: Path) -> None:
    path = died(tmp_path, TWO, ONE, ONE)
    whole = (path / "events/part-000001.arrows").read_bytes()
    for i, size in enumerate(np.linspace(0, len(whole), 25, dtype=int)):
        cut = shutil.copytree(path, tmp_path / f"cut{i}")
        stream = cut / "events/part-000001.arrows"
        stream.write_bytes(whole[:size])
        rows = sum(b.num_rows for b in read_stream(stream))
        store = Store.open(cut)
        if rows:
            assert len(times(store)) == rows
        else:
            assert not (cut / "events").exists() or not list((cut / "events").iterdir())


def test_where_a_part_exists_as_parquet_and_as_stream_parquet_wins(tmp_path: Path) -> None:
    path = died(tmp_path, TWO)
    stream = (path / "events/part-000001.arrows").read_bytes()
    publish(path / "events", 1, "events", [TWO])
    (path / "events/part-000001.arrows").write_bytes(stream)
    assert len(times(Store.open(path))) == 2
    assert [p.name for p in (path / "events").iterdir()] == ["part-000001.parquet"]


def test_half_written_files_are_removed(tmp_path: Path) -> None:
    path = died(tmp_path, TWO)
    (path / "events/part-000001.parquet.tmp").write_bytes(b"half")
    (path / "manifest.json.tmp").write_bytes(b"half")
    (path / "notes.tmp").write_bytes(b"not ours")
    Store.open(path)
    assert sorted(p.name for p in path.rglob("*")) == [
        "events",
        "manifest.json",
        "notes.tmp",
        "part-000001.parquet",
    ]


def test_where_nothing_can_be_written_streams_are_read_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = died(tmp_path, TWO, ONE)

    def refused(*_: object) -> None:
        raise SessionError("cannot write part-000001.parquet: Read-only file system")

    monkeypatch.setattr(recover_module, "publish", refused)
    store = Store.open(path)
    assert times(store) == [START_NS + n * 1_000_000_000 for n in (1, 2, 3)]
    assert store.manifest.notes == [
        "the recorder died; its open parts are read where they are, "
        "because cannot write part-000001.parquet: Read-only file system"
    ]
    assert store.end_ns == START_NS + 3_000_000_000
    assert not store.live
    assert (path / "events/part-000001.arrows").exists()


def test_while_another_reader_recovers_the_session_is_read_as_it_stands(tmp_path: Path) -> None:
    path = died(tmp_path, TWO)
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    store = Store.open(path)
    assert len(times(store)) == 2
    assert store.manifest.state == "recording"
    os.close(handle)
    assert len(times(store)) == 2
    assert store.manifest.state == "recovered"


def test_a_later_process_with_the_pid_of_the_recorder_is_not_the_recorder(tmp_path: Path) -> None:
    path = edited(died(tmp_path, TWO), writer=GONE | {"pid": os.getpid()})
    assert Store.open(path).manifest.state == "recovered"


def test_a_session_of_another_machine_is_live_while_it_was_written_to_lately(tmp_path: Path) -> None:
    path = edited(died(tmp_path, TWO), writer=GONE | {"boot_id": "elsewhere"})
    store = Store.open(path)
    assert store.live
    assert len(times(store)) == 2
    os.utime(path / "events/part-000001.arrows", (1, 1))
    assert Store.open(path).manifest.state == "recovered"


def test_streams_that_a_closed_recording_left_become_parquet_when_they_are_first_read(tmp_path: Path) -> None:
    path = edited(died(tmp_path, TWO), state="complete")
    store = Store.open(path)
    assert (path / "events/part-000001.arrows").exists()
    assert len(times(store)) == 2
    assert [p.name for p in (path / "events").iterdir()] == ["part-000001.parquet"]
    assert store.manifest.state == "complete"


def test_a_stream_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    path = died(tmp_path, TWO)
    other = pa.record_batch({"time_ns": ["noon"]})
    with pa.OSFile(str(path / "events/part-000002.arrows"), "wb") as sink:
        with pa.ipc.new_stream(sink, other.schema) as stream:
            stream.write_batch(other)
    with pytest.raises(NotASession, match=r"part-000002.arrows: expected the columns of table events"):
        Store.open(path)


def test_a_session_that_died_before_its_first_row_opens(tmp_path: Path) -> None:
    path = died(tmp_path)
    store = Store.open(path)
    assert (store.manifest.state, store.end_ns) == ("recovered", START_NS)
