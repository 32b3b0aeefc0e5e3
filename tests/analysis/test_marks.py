"""Marks as a table, what they select, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import session
from tracelab.errors import UsageError
from views import hostile

RECORDED = """
    time_s  until_s  author    text
    1       -        user      begins
    2       -        recorder  'sampling every 4th'
    3       5        user      storm
    6       -        user      twice
    7       -        user      twice
"""


def rows(table):
    return [tuple(None if v != v else v for v in row) for row in table.itertuples(index=False)]


def test_marks_come_in_order_of_time_with_their_units(tmp_path: Path) -> None:
    s = session(tmp_path, marks=RECORDED)
    table = s.mark(4, text=" deploy ", author="ann")
    assert rows(table) == [
        (1.0, None, "user", "begins"),
        (2.0, None, "recorder", "sampling every 4th"),
        (3.0, 5.0, "user", "storm"),
        (4.0, None, "ann", "deploy"),
        (6.0, None, "user", "twice"),
        (7.0, None, "user", "twice"),
    ]
    assert table.attrs["units"] == {"time_s": "s", "until_s": "s", "author": "name", "text": "name"}


def test_a_session_that_nobody_marked_has_no_marks(tmp_path: Path) -> None:
    table = session(tmp_path, events="time_s pid\n1 7").marks()
    assert (len(table), list(table)) == (0, ["time_s", "until_s", "author", "text"])


def test_a_part_of_a_session_has_the_marks_that_touch_it(tmp_path: Path) -> None:
    s = session(tmp_path, marks=RECORDED).select(time=(4, 6.5), pid=7)
    assert s.marks()["text"].tolist() == ["storm", "twice"]


def test_a_mark_selects_its_time_and_an_instant_the_time_until_the_next(tmp_path: Path) -> None:
    s = session(tmp_path, marks=RECORDED)
    assert s.select(mark="storm").window == (3, 5)
    assert s.select(mark="begins").window == (1, 3)  # what the recorder says does not end it
    s.mark(8, text="last")
    assert s.select(mark="last").window == (8, 10)
    assert s.select(time=(4, 9), mark="storm").window == (4, 5)
    assert s.select(mark="storm").select(mark="begins").duration_s == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strom", "there is no mark 'strom'; did you mean 'storm'?"),
        ("xyz", "there is no mark 'xyz'; there are 'begins', 'sampling every 4th', 'storm', 'twice'"),
        ("twice", "2 marks are named 'twice', at 6 s, 7 s: select one by its time=(from, until)"),
    ],
)
def test_a_mark_that_cannot_be_meant_is_refused_with_the_near_names(tmp_path: Path, text, message) -> None:
    with pytest.raises(UsageError) as refused:
        session(tmp_path, marks=RECORDED).select(mark=text)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"time": 1, "text": "  "}, "a mark needs a text: s.mark(2.5, text='deploy')"),
        ({"time": 11, "text": "x"}, "11 s is not in the recording, which is 10 s long"),
        ({"time": -1, "text": "x"}, "-1 s is not in the recording, which is 10 s long"),
        ({"time": float("nan"), "text": "x"}, "nan s is not in the recording, which is 10 s long"),
        ({"time": "noon", "text": "x"}, "time='noon': a time is in seconds since the recording began"),
        ({"time": 5, "until": 4, "text": "x"}, "until=4 is before time=5: a mark ends after it begins"),
    ],
)
def test_a_mark_that_makes_no_sense_is_refused(tmp_path: Path, asked, message) -> None:
    with pytest.raises(UsageError) as refused:
        session(tmp_path, marks=RECORDED).mark(**asked)
    assert str(refused.value) == message


def test_a_mark_goes_by_its_text_and_where_that_is_not_enough_by_its_time(tmp_path: Path) -> None:
    s = session(tmp_path, marks=RECORDED)
    for time in (1.5, 8.123456789):
        s.mark(time, text="mine")
    assert s.unmark("mine", 8.123456789)["time_s"].tolist() == [1, 1.5, 2, 3, 6, 7]
    with pytest.raises(UsageError, match=r"no mark 'mime' was set afterwards; did you mean 'mine'\?"):
        s.unmark("mime")
    with pytest.raises(UsageError, match="mark 'begins' was set while recording, and stays"):
        s.unmark("begins")
    assert "mine" not in s.unmark("mine")["text"].tolist()


def test_any_text_can_be_a_mark(tmp_path: Path) -> None:
    s = session(tmp_path, marks=RECORDED)
    for i, text in enumerate(hostile.TEXTS):
        s.mark(i, i + 0.5, text=text, author=text)
    stored = [t.strip().encode("utf-8", "backslashreplace").decode() for t in hostile.TEXTS]
    assert [t for t in s.marks()["text"] if t in stored] == stored
    assert s.select(mark=stored[2]).window == (2, 2.5)
