"""Lives of processes: which rows are drawn, what a bar means, and what is said of the rest."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from sessions import PROBES, session
from tracelab.errors import MissingTable
from tracelab.views.marking import markings
from tracelab.views.process_picture import LEFT, RIGHT
from tracelab.views.process_rows import rows_of
from tracelab.views.process_tree import ProcessTree
from views import hostile

SVG = "{http://www.w3.org/2000/svg}"
TASKS = """
    time_s  tid  ppid  change  comm
    0       1    0     seen    init
    0       2    1     seen    sshd
    0       5    1     seen    sh
    0       6    5     seen    bash
    1       7    6     fork    bash
    1.5     7    6     exec    make
    2       11   7     fork    cc
    3       11   7     exit    cc
    3       12   7     fork    cc
    5       12   7     exit    cc
    4       13   7     fork    cc
    4.5     13   7     exit    cc
    2.5     14   11    fork    as
    2.6     14   11    exit    as
    6       7    6     exit    make
    8       20   5     fork    sleep
"""
ENDS = "time_s pid probe event ret\n5 12 process exit 256\n6 7 process exit 0"


@pytest.fixture
def view(tmp_path: Path) -> ProcessTree:
    probes = PROBES | {"process": {"table": "events"}}
    s = session(tmp_path, tasks=TASKS, events=ENDS, manifest={"probes": probes})
    s.mark(2, 4, text="storm")
    return s.process_tree()


def tree(*rows: tuple[int, str, float, float]) -> pd.DataFrame:
    """A table of parent, comm, from_s, until_s."""
    table = pd.DataFrame(rows, columns=["parent", "comm", "from_s", "until_s"])
    table["pid"], table["names"], table["status"] = 100 + table.index, 1, "ended"
    table["ppid"] = table["parent"] + 100
    table["exit_code"] = table["signal"] = math.nan
    return table


def test_the_text_has_the_rows_of_the_picture_and_says_what_is_not_in_it(view: ProcessTree) -> None:
    assert view.to_text() == (
        "Processes\n"
        "0 s to 10 s: 10 processes, 6 begun, 5 ended, 1 of them with a failure\n"
        "   from s   until s  process\n"
        "                     init › sh (running)\n"
        "        1         6    bash › make (5 s, exit 0)\n"
        "        2         5      cc × 3 (1 failed, median 1 s)\n"
        "     2.50      2.60        as (100 ms, ended)\n"
        "        8              sleep (running)\n"
        "left out: 1 that ran all the time; .table has them\n"
        "marks: storm (2 s to 4 s, by user)"
    )
    assert len(view.table) == 10


def bars(view: ProcessTree) -> dict[str, list[tuple[float, float]]]:
    """Begin and end of the bars of each row in seconds, by the beginning of its tooltip."""
    first, last = view.window
    found = {}
    for group in ET.fromstring(view.to_svg()).iter(SVG + "g"):
        paths = group.findall(SVG + "path")
        spans = re.findall(r"M([\d.]+) [\d.]+h([\d.]+)", "".join(p.get("d") for p in paths))
        if paths:
            scale = (last - first) / (RIGHT - LEFT)
            begins = [(float(x) - LEFT) * scale for x, _ in spans]
            ends = [b + float(w) * scale for b, (_, w) in zip(begins, spans, strict=True)]
            found[group.find(SVG + "title").text.split(" (")[0].split(":")[0]] = [
                (round(b, 1), round(e, 1)) for b, e in zip(begins, ends, strict=True)
            ]
    return found


def test_a_bar_is_as_long_as_a_life_and_is_cut_where_the_name_changes(view: ProcessTree) -> None:
    assert bars(view) == {
        "init › sh": [(0, 10)],
        "bash › make": [(1, 1.5), (1.5, 6)],
        "cc × 3": [(2, 5)],  # two that meet, and one within
        "as": [(2.5, 2.6)],
        "sleep": [(8, 10)],
    }


def test_a_mark_is_drawn_and_named(view: ProcessTree) -> None:
    svg = ET.fromstring(view.to_svg())
    [span] = [r for r in svg.iter(SVG + "rect") if r.get("class") == "span"]
    scale = (RIGHT - LEFT) / 10
    assert (float(span.get("x")), float(span.get("width"))) == (LEFT + 2 * scale, 2 * scale)
    assert "storm" in [text.text for text in svg.iter(SVG + "text")]


def test_fewer_than_three_siblings_of_a_name_stay_apart() -> None:
    table = tree((-1, "sh", 0, 9), (0, "cc", 1, 2), (0, "cc", 3, 4), (0, "ld", 1, 2))
    assert [row.label for row in rows_of(table).rows] == ["sh", "cc", "cc", "ld"]


def test_children_of_siblings_of_a_name_come_together_too() -> None:
    table = tree(*((-1, "cc", i, i + 1) for i in range(4)), *((i, "as", i, i + 1) for i in range(4)))
    rows = rows_of(table)
    assert [(row.label, row.depth, row.processes) for row in rows.rows] == [("cc × 4", 0, 8), ("as × 4", 1, 4)]


def test_what_does_not_fit_is_of_the_smallest_families_and_counted() -> None:
    table = tree(*((-1, f"p{i}", 0, 1 + i) for i in range(100)), *((7, "child", 0, 1) for _ in range(5)))
    rows = rows_of(table, most=4)
    assert [row.label for row in rows.rows] == ["p7", "child × 5", "p98", "p99"]
    assert (rows.hidden, rows.hidden_rows) == (97, 97)
    [note] = ProcessTree(table, window=(0, 10)).notes()
    assert note.startswith("left out: 53 in 53 rows that do not fit, of the smallest families")


def test_a_machine_on_which_nothing_began_is_shown_as_it_is() -> None:
    table = tree((-1, "init", math.nan, math.nan), (0, "sshd", math.nan, math.nan))
    rows = rows_of(table)
    assert ([row.label for row in rows.rows], rows.unchanged) == (["init › sshd"], 0)


def test_families_of_thousands_of_generations_are_drawn() -> None:
    table = tree(*((i - 1, f"g{i}", i / 1000, 9) for i in range(5000)))
    view = ProcessTree(table, window=(0, 10))
    assert (len(view.rows.rows), view.rows.hidden) == (48, 4952)
    ET.fromstring(view.to_svg())


def test_many_processes_make_a_small_picture() -> None:
    table = tree((-1, "make", 0, 9), *((0, "cc", i / 3000, i / 3000 + 0.0005) for i in range(20_000)))
    view = ProcessTree(table, window=(0, 10))
    assert [row.label for row in view.rows.rows] == ["make", "cc × 20000"]
    assert len(view._repr_mimebundle_()["text/html"]) < 60_000


def test_no_process_is_a_sentence(tmp_path: Path) -> None:
    view = session(tmp_path, tasks=TASKS).select(pid=99).process_tree()
    for form in ("text/html", "text/plain"):
        assert "no process in this selection" in view._repr_mimebundle_()[form]


def test_without_tasks_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match="tasks"):
        session(tmp_path, events="time_s pid\n1 7").process_tree()


def test_hostile_names_stay_text() -> None:
    table = tree(*((-1, text, 0, 5) for text in hostile.STORABLE))
    names = pd.DataFrame({"pid": table["pid"], "from_s": 0.0, "comm": table["comm"]})
    marks = pd.DataFrame({"time_s": 1.0, "until_s": 2.0, "author": "x", "text": hostile.STORABLE})
    view = ProcessTree(table, names, window=(0, 10), marks=marks, title=hostile.SCRIPT, notes=hostile.TEXTS)
    bundle = view._repr_mimebundle_()
    for form in ("text/html", "image/svg+xml"):
        assert not re.search(r"<(img|svg onload|script)", bundle[form])
    ET.fromstring(bundle["image/svg+xml"])
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bundle["text/plain"])


def test_marks_are_cut_to_the_window_and_those_outside_are_not_drawn() -> None:
    table = pd.DataFrame(
        [(1, math.nan, "a", "early"), (1, 3, "a", "long"), (9, math.nan, "a", "late")],
        columns=["time_s", "until_s", "author", "text"],
    )
    assert [(m.time_s, m.until_s, m.text) for m in markings(table, (2, 5))] == [(2, 3, "long")]
    assert markings(None) == ()
