"""Marks set after the fact: stored whole or not at all, beside a recorder as well."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sessions import SECOND, START_NS, batch, make_session
from tracelab.errors import NotASession, SessionError
from tracelab.query import kernels
from tracelab.query.tables import Tables
from tracelab.session import marks as marks_module
from tracelab.session.manifest import Manifest
from tracelab.session.marks import Mark, add, added_marks, remove
from tracelab.session.reader import Store
from tracelab.session.writer import SessionWriter

RECORDED = "time_s until_s author text\n1 - user begins\n2 - recorder slower"
STORM = Mark(START_NS + 3 * SECOND, START_NS + 4 * SECOND, "ann", "storm")
CALM = Mark(START_NS + SECOND // 2, None, "ann", "calm")


def texts(path: Path) -> list[str]:
    rows = kernels.rows(Tables(Store.open(path)), "marks")
    return rows.sort_values("time_ns")["text"].tolist()


def rows_told(path: Path) -> int:
    return json.loads((path / "manifest.json").read_text())["tables"]["marks"]["rows"]


def test_marks_are_added_beside_the_recorded_ones_and_counted(tmp_path):
    path = make_session(tmp_path, marks=RECORDED)
    store = Store.open(path)
    for mark in (STORM, CALM):
        add(store, mark)
    assert texts(path) == ["calm", "begins", "slower", "storm"]
    assert (rows_told(path), store.manifest.tables["marks"]) == (4, {"rows": 4})
    assert sorted(f.name for f in (path / "marks").iterdir()) == [
        "part-000001.parquet",
        "part-1000000000.parquet",
    ]
    assert added_marks(Store.open(path)) == [CALM, STORM]


def test_a_session_without_the_table_gets_one_with_its_first_mark(tmp_path):
    path = make_session(tmp_path, events="time_s pid\n1 7")
    add(Store.open(path), STORM)
    assert (texts(path), rows_told(path)) == (["storm"], 1)


def test_marks_that_were_added_can_go_and_recorded_ones_stay(tmp_path):
    path = make_session(tmp_path, marks=RECORDED)
    store = Store.open(path)
    add(store, STORM)
    assert remove(store, lambda mark: mark.text == "begins") == 0
    assert remove(store, lambda mark: mark.text == "storm") == 1
    assert (texts(path), rows_told(path), added_marks(store)) == (["begins", "slower"], 2, [])


def test_a_session_that_is_being_recorded_takes_marks_of_others_and_keeps_its_own(tmp_path):
    writer = SessionWriter(tmp_path / "live", Manifest(start_ns=START_NS))
    writer.append("marks", batch("marks", "time_s text\n1 first"))
    manifest = (writer.path / "manifest.json").read_bytes()
    add(Store.open(writer.path), STORM)
    assert (writer.path / "manifest.json").read_bytes() == manifest  # it is the recorder's
    writer.append("marks", batch("marks", "time_s text\n2 second"))
    assert texts(writer.path) == ["first", "second", "storm"]
    writer.manifest.end_ns = START_NS + 10 * SECOND
    writer.close()
    assert (texts(writer.path), rows_told(writer.path)) == (["first", "second", "storm"], 3)


def test_marks_of_several_processes_at_once_are_all_kept(tmp_path):
    path = make_session(tmp_path, marks=RECORDED)
    one = (
        "import sys; from tracelab.session.marks import Mark, add; from tracelab.session.reader import Store\n"
        "store = Store.open(sys.argv[1])\n"
        f"for i in range(10): add(store, Mark({START_NS} + i, None, 'x', f'{{sys.argv[2]}}.{{i}}'))"
    )
    running = [subprocess.Popen([sys.executable, "-c", one, str(path), str(n)]) for n in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    wanted = {f"{n}.{i}" for n in range(3) for i in range(10)} | {"begins", "slower"}
    assert (set(texts(path)), rows_told(path)) == (wanted, 32)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path, monkeypatch, number):
    def refuse(*_args, **_kwargs):
        raise OSError(number, "no", str(tmp_path))

    path = make_session(tmp_path, marks=RECORDED)
    monkeypatch.setattr(marks_module.os, "open", refuse)
    with pytest.raises(SessionError, match=r"cannot set marks in .*s.tracelab: .*; copy the session to a folder"):
        add(Store.open(path), STORM)


def test_a_death_while_writing_leaves_the_marks_that_there_were(tmp_path, monkeypatch):
    path = make_session(tmp_path, marks=RECORDED)
    add(Store.open(path), STORM)

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("tracelab.session.parts.os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        add(Store.open(path), CALM)
    monkeypatch.undo()
    assert texts(path) == ["begins", "slower", "storm"]
    add(Store.open(path), CALM)
    assert texts(path) == ["calm", "begins", "slower", "storm"]


def test_a_link_is_never_written_through(tmp_path):
    path = make_session(tmp_path, events="time_s pid\n1 7")
    (tmp_path / "elsewhere").mkdir()
    (path / "marks").symlink_to(tmp_path / "elsewhere")
    store = Store(path, Manifest.load(path))
    with pytest.raises(NotASession, match="is a link"):
        add(store, STORM)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_part_that_is_full_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(marks_module, "MOST", 1)
    path = make_session(tmp_path, marks=RECORDED)
    add(Store.open(path), STORM)
    with pytest.raises(SessionError, match=r"has 1 marks already; take some away with s.unmark\(text\)"):
        add(Store.open(path), CALM)
