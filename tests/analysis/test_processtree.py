"""Processes as a tree, with the whole table."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import PROBES, session, tables_of
from tracelab.analysis.processtree import process_names, process_tree
from tracelab.errors import MissingTable

TASKS = """
    time_s  tid  pid  ppid  change  comm   exe         cgroup
    0       1    1    0     seen    init   /sbin/init  /
    0       5    5    1     seen    sh     /bin/sh     /a
    0       6    5    1     seen    work   /bin/sh     /a
    1       7    7    5     fork    sh     /bin/sh     /a
    1.5     7    7    5     exec    make   /bin/make   /a
    2       8    8    7     fork    make   /bin/make   /a
    2.1     8    8    7     exec    cc     /bin/cc     /a
    2.2     9    8    7     fork    cc     /bin/cc     /a
    3       8    8    7     exit    cc     /bin/cc     /a
    4       8    8    1     fork    init   -           /
    5       8    8    1     exit    init   -           /
    6       7    7    5     exit    make   /bin/make   /a
    99      5    5    1     exit    sh     /bin/sh     /a
"""
ENDS = """
    time_s  pid  probe    event  ret
    3       8    process  exit   256
    6       7    process  exit   15
    3       7    syscalls exit   7
"""
PROBED = {"probes": PROBES | {"process": {"table": "events"}}}


def values(table, *columns):
    rows = table[list(columns)].itertuples(index=False)
    return [tuple(None if v != v else v for v in row) for row in rows]


def test_processes_stand_below_the_one_that_made_them_with_their_lives(tmp_path: Path) -> None:
    table = process_tree(tables_of(tmp_path, tasks=TASKS, events=ENDS, manifest=PROBED))
    columns = (
        "row parent depth pid ppid comm names exe from_s until_s status exit_code signal threads".split()
    )
    assert list(table) == columns
    assert values(table, *columns) == [
        (0, -1, 0, 1, 0, "init", 1, "/sbin/init", None, None, "running", None, None, 1),
        (1, 0, 1, 5, 1, "sh", 1, "/bin/sh", None, None, "running", None, None, 2),
        (2, 1, 2, 7, 5, "make", 2, "/bin/make", 1.0, 6.0, "signal 15", None, 15.0, 1),
        (3, 2, 3, 8, 7, "cc", 2, "/bin/cc", 2.0, 3.0, "exit 1", 1.0, None, 2),
        (4, 0, 1, 8, 1, "init", 1, "?", 4.0, 5.0, "ended", None, None, 1),
    ]


def test_the_names_of_a_process_are_told_with_what_gave_them(tmp_path: Path) -> None:
    table = process_names(tables_of(tmp_path, tasks=TASKS))
    assert values(table, "pid", "from_s", "change", "comm") == [
        (1, None, "seen", "init"),
        (5, None, "seen", "sh"),
        (7, 1.0, "fork", "sh"),
        (7, 1.5, "exec", "make"),
        (8, 2.0, "fork", "make"),
        (8, 2.1, "exec", "cc"),
        (8, 4.0, "fork", "init"),
    ]


@pytest.mark.parametrize(
    ("chosen", "pids"),
    [
        ({"time": (4.5, 5.5)}, [1, 5, 7, 8]),
        ({"time": (0, 0.5)}, [1, 5]),
        ({"comm": "make"}, [7, 8]),
        ({"cgroup": "/a"}, [5, 7, 8]),
        ({"pid": [8]}, [8, 8]),
        ({"pid": []}, []),
    ],
)
def test_a_part_of_a_session_has_the_processes_that_lived_in_it(tmp_path: Path, chosen, pids) -> None:
    s = session(tmp_path, tasks=TASKS)
    assert sorted(process_tree(s.select(**chosen)._tables)["pid"].tolist()) == pids


def test_parents_that_go_in_a_circle_are_cut_open(tmp_path: Path) -> None:
    tasks = "time_s tid ppid change comm\n0 5 6 seen a\n0 6 5 seen b\n0 7 7 seen c\n1 8 6 fork d"
    table = process_tree(tables_of(tmp_path, tasks=tasks))
    assert values(table, "pid", "parent", "depth") == [(7, -1, 0), (5, -1, 0), (6, 1, 1), (8, 2, 2)]


def test_a_chain_of_thousands_of_generations_is_a_tree_too(tmp_path: Path) -> None:
    lines = [f"{i / 1000} {i + 1} {i} fork p" for i in range(1, 3000)]
    table = process_tree(tables_of(tmp_path, tasks="\n".join(["time_s tid ppid change comm", *lines])))
    assert table["depth"].tolist() == list(range(2999))


def test_an_end_that_nobody_saw_is_the_begin_of_the_next_of_that_number(tmp_path: Path) -> None:
    tasks = "time_s tid ppid change comm\n1 7 1 fork a\n2 7 1 fork b"
    table = process_tree(tables_of(tmp_path, tasks=tasks))
    assert values(table, "comm", "from_s", "until_s", "status") == [
        ("a", 1.0, 2.0, "ended"),
        ("b", 2.0, None, "running"),
    ]


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    losses = "time_s source reason count\n1 sideband 'side-band full' 40\n2 syscalls 'ring full' 7"
    table = process_tree(tables_of(tmp_path, tasks=TASKS, losses=losses))
    assert table.attrs["notes"] == [
        "how processes ended was not recorded; record with --events process",
        "40 changes of threads and mappings were lost: some begins, names or ends are not known",
    ]
    probed = tables_of(tmp_path, name="t.tracelab", tasks=TASKS, events=ENDS, manifest=PROBED)
    assert process_tree(probed).attrs["notes"] == []


def test_without_tasks_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match="tasks"):
        process_tree(tables_of(tmp_path, events="time_s pid\n1 7"))
