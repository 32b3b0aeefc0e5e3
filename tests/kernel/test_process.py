"""Processes and threads, against what wait(2) says of them."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from probe_records import Records, Taken, adds_up, taking, until
from recordings import command_pid, recorded, rows, workload


@dataclass
class Child:
    pid: int
    status: int
    cpu_ns: int


def family() -> tuple[int, dict[str, Child]]:
    """The parent, and its children by name, as wait4(2) told it."""
    process = subprocess.Popen(workload("family"), stdout=subprocess.PIPE, text=True)
    said = [line.split() for line in process.communicate()[0].splitlines()]
    assert process.returncode == 0
    return process.pid, {name: Child(int(pid), int(status), int(ns)) for name, pid, status, ns in said}


def of_kind(taken: Taken, pid: int, *names: str) -> Records:
    records = taken.records(pid=pid)
    return records[[n in names for n in taken.names(records)]]


def test_each_way_to_end_has_the_status_that_wait_tells() -> None:
    with taking("process") as taken:
        parent, children = family()
        until(lambda: len(of_kind(taken, parent, "exit")), "the parent leaves its CPU for good")
        exits = {name: of_kind(taken, child.pid, "exit") for name, child in children.items()}
        assert adds_up(taken.counts())
    statuses = {name: e["ret"].tolist() for name, e in exits.items()}
    assert statuses == {name: [child.status] for name, child in children.items()}
    del statuses["leaderless"]  # kernels disagree which of its threads has the last word
    assert statuses == {
        "returns": [0],
        "fails": [7 << 8],
        "threads": [0],
        "killed": [9],
        "terminated": [15],
        "another": [3 << 8],
    }


def test_the_cpu_time_of_all_threads_is_that_which_wait_tells() -> None:
    with taking("process") as taken:
        parent, children = family()
        until(lambda: len(of_kind(taken, parent, "exit")), "the parent leaves its CPU for good")
        ends = {name: of_kind(taken, child.pid, "exit", "thread_exit") for name, child in children.items()}
    assert {name: len(e) for name, e in ends.items()} == {
        "returns": 1,
        "fails": 1,
        "threads": 4,
        "killed": 1,
        "terminated": 1,
        "leaderless": 2,
        "another": 1,
    }
    for name, child in children.items():
        told_ns = int(ends[name]["value"].sum())
        assert abs(told_ns - child.cpu_ns) < 0.05 * child.cpu_ns, name


def test_who_made_whom_is_told() -> None:
    with taking("process") as taken:
        parent, children = family()
        until(lambda: len(of_kind(taken, parent, "exit")), "the parent leaves its CPU for good")
        forks = of_kind(taken, parent, "fork")
        threads = of_kind(taken, children["threads"].pid, "thread")
        ended = of_kind(taken, children["threads"].pid, "exit", "thread_exit")
    assert forks["key"].tolist() == [child.pid for child in children.values()]
    assert len(threads) == 3
    assert {*threads["key"].tolist(), children["threads"].pid} == set(ended["tid"].tolist())


def test_names_programs_and_arguments_are_texts(tmp_path: Path) -> None:
    long = "x" * 2000
    script = f"sh -c 'exit 0' zero 'one two' {long}; cp /bin/true {tmp_path}/renamed; {tmp_path}/renamed"
    recording = recorded(tmp_path / "s", ["sh", "-c", script], events="process")
    texts = rows(recording, "strings")
    shell = command_pid(recording)
    at = {(r["time_ns"], r["tid"]): r for r in rows(recording, "events") if r["event"] == "exec"}
    told: dict[tuple[object, object], dict[str, dict[str, object]]] = {}
    for text in texts:
        if text["event"] == "exec":
            told.setdefault((text["time_ns"], text["tid"]), {})[str(text["field"])] = text
    assert told.keys() == at.keys()
    argv = {str(t["argv"]["text"]): t["argv"]["truncated"] for t in told.values()}
    start = "sh -c exit 0 zero one two "
    assert argv[start + long[: 1024 - len(start)]] == 1
    assert argv[f"{tmp_path}/renamed"] == 0
    assert {str(t["exe"]["text"]).rpartition("/")[2] for t in told.values()} >= {"sh", "cp", "renamed"}
    names = Counter(str(t["text"]) for t in texts if t["field"] == "comm")
    assert names["renamed"] == 1
    (last,) = [r for r in rows(recording, "events", pid=shell) if r["event"] == "exit"]
    assert last["ret"] == 0
    assert last["key"] is None


def test_a_thread_that_renames_itself_is_told_by_its_new_name(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("family"), events="process:rename")
    renames = {(r["time_ns"], r["tid"]) for r in rows(recording, "events")}
    assert {r["event"] for r in rows(recording, "events")} == {"rename"}
    names = [r for r in rows(recording, "strings") if str(r["text"]) in {f"c{n}" for n in range(7)}]
    assert sorted(str(r["text"]) for r in names) == [f"c{n}" for n in range(7)]
    assert all((r["time_ns"], r["tid"]) in renames for r in names)


def test_of_those_that_end_only_failures_are_asked_for_with_errors(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("family"), events="process", errors=True)
    failed = [r for r in rows(recording, "events") if r["ret"] is not None]
    assert all(r["ret"] for r in rows(recording, "events"))
    assert {7 << 8, 9, 15, 3 << 8} <= {r["ret"] for r in failed}
    assert recording.manifest.probes["process"]["counts"]["filtered"] > 0


def test_one_of_n_of_the_changes_stands_for_the_others() -> None:
    with taking("process", one_in=3) as taken:
        family()
        counts = taken.counts()
    assert adds_up(counts)
    assert counts["sampled_out"] > counts["kept"] > 0


def test_processes_that_were_asked_for_with_their_children_are_told_to_their_end(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("family"), events="process", children=True)
    made = Counter(str(r["event"]) for r in rows(recording, "events"))
    assert made["fork"] == 7  # the first is made by the recorder itself
    assert made["exit"] == 1 + 7
    assert made["thread_exit"] == made["thread"] == 3 + 1
