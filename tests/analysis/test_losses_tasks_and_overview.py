from __future__ import annotations

import math
from pathlib import Path

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.losses import losses
from tracelab.analysis.overview import overview
from tracelab.analysis.tasks import tasks
from tracelab.query import Selection

EVENTS = "time_s pid weight\n1 7 3\n2 8 1"
LOSSES = """
    time_s  source     reason            count
    0.5     syscalls   'ring full'       4
    1.5     syscalls   'ring full'       2
    1       syscalls   own               9
    1       oncpu      'side-band full'   1
    1       side-band  'side-band full'  1
"""


def test_losses_come_first_with_their_share_of_what_the_source_saw(tmp_path: Path) -> None:
    found = losses(tables_of(tmp_path, events=EVENTS, samples="time_s pid\n1 7", losses=LOSSES))
    assert found.drop(columns="share").to_numpy().tolist() == [
        ["syscalls", "ring full", "lost", 6, 0.5, 1.5],
        ["oncpu", "side-band full", "lost", 1, 1.0, 1.0],
        ["side-band", "side-band full", "lost", 1, 1.0, 1.0],
        ["syscalls", "own", "left out", 9, 1.0, 1.0],
    ]
    assert found["share"].fillna(-1).tolist() == [0.75, 0.5, -1, -1]


def test_losses_are_those_of_the_selected_time_and_of_all_processes(tmp_path: Path) -> None:
    chosen = Selection(window_ns=(START_NS + SECOND, START_NS + 2 * SECOND), pids=(8,))
    found = losses(tables_of(tmp_path, events=EVENTS, losses=LOSSES).narrowed(chosen))
    assert found.loc[found["reason"] == "ring full", ["count", "share"]].to_numpy().tolist() == [[2, 2 / 3]]


def test_no_losses_are_no_rows(tmp_path: Path) -> None:
    assert losses(tables_of(tmp_path, losses="time_s count")).empty


def test_a_thread_is_listed_with_every_name_it_had(tmp_path: Path) -> None:
    text = """
        time_s  tid  ppid  change  comm  exe      cgroup
        0       7    1     seen    sh    /bin/sh  /a
        1       8    7     fork    sh    /bin/sh  /a
        2       8    7     exec    cc    /bin/cc  /a
        3       8    7     exit    cc    /bin/cc  /a
        4       9    -     fork    x     -        -
    """
    found = tasks(tables_of(tmp_path, tasks=text))
    assert found[["tid", "ppid", "change", "comm", "exe"]].to_numpy().tolist() == [
        [7, 1, "seen", "sh", "/bin/sh"],
        [8, 7, "fork", "sh", "/bin/sh"],
        [8, 7, "exec", "cc", "/bin/cc"],
        [9, -1, "fork", "x", "?"],
    ]
    assert found["from_s"].fillna(-1).tolist() == [-1, 1, 2, 4]
    assert found["until_s"].fillna(math.inf).tolist() == [math.inf, 2, 3, math.inf]
    late = tables_of(tmp_path / "b", tasks=text).narrowed(
        Selection(window_ns=(START_NS + 3 * SECOND, START_NS + 9 * SECOND))
    )
    assert tasks(late)["tid"].tolist() == [7, 9]


def test_an_overview_tells_zero_from_not_recorded(tmp_path: Path) -> None:
    found = overview(tables_of(tmp_path, events=EVENTS, losses=LOSSES))
    assert (found["events"], found["samples"], found["lost"], found["own"]) == (4, None, 8, 9)
    assert found["duration_s"] == 10.0
    assert found["not_recorded"]["samples"] == "record with --events oncpu"
    assert "events" not in found["not_recorded"]
    assert found["top_events"].to_numpy().tolist() == [["read", 4, 1.0, 0.4]]
    empty = overview(tables_of(tmp_path / "b", samples="time_s pid"))
    assert (empty["events"], empty["samples"], empty["lost"], empty["top_events"]) == (None, 0, None, None)


def test_an_overview_of_a_hostile_manifest_is_dull(tmp_path: Path) -> None:
    manifest = {
        "host": {"hostname": ["x"], "cpus": "many", "mem_total_bytes": {}, "kernel": 6},
        "clock": {"monotonic_ns": 0, "realtime_ns": 10**40},
        "notes": [{"a": 1}],
        "probes": {"syscalls": None},
        "not_recorded": {"x": ["y"]},
    }
    found = overview(tables_of(tmp_path, events=EVENTS, losses=LOSSES, manifest=manifest))
    assert found["host"] == "['x'], Linux 6"
    assert found["started"] == ""
    assert found["notes"] == ("{'a': 1}",)
    assert found["not_recorded"]["x"] == "['y']"


def test_the_beginning_is_told_on_the_clock_of_the_wall(tmp_path: Path) -> None:
    clock = {"monotonic_ns": START_NS - SECOND, "realtime_ns": 1_700_000_000 * SECOND}
    tables = tables_of(
        tmp_path, events=EVENTS, manifest={"clock": clock, "host": {"cpus": 2, "mem_total_bytes": 2**34}}
    )
    found = overview(tables)
    assert (found["started"], found["host"]) == ("2023-11-14 22:13:21 UTC", "2 CPUs, 16 GiB")


def test_losses_of_samplers_are_shares_of_their_own_kind_and_texts_have_none(tmp_path: Path) -> None:
    samples = "time_s pid kind\n1 7 on-CPU\n1 7 on-CPU\n1 7 on-CPU\n1 7 off-CPU"
    probes = {n: {"table": "samples", "kind": k} for n, k in (("oncpu", "on-CPU"), ("offcpu", "off-CPU"))}
    probes["syscalls"] = {"table": "events", "kind": ""}
    lost = "time_s source reason count\n1 offcpu 'ring full' 3\n1 oncpu 'ring full' 1\n1 syscalls 'text ring full' 2"
    tables = tables_of(tmp_path, events=EVENTS, samples=samples, losses=lost, manifest={"probes": probes})
    shares = losses(tables).set_index("source")["share"]
    assert (shares["offcpu"], shares["oncpu"]) == (0.75, 0.25)
    assert math.isnan(shares["syscalls"])
    found = overview(tables)
    assert (found["kinds"], found["rows"]) == ({"on-CPU": 3, "off-CPU": 1}, 6)
    assert (found["lost"], found["texts_lost"]) == (4, 2)


def test_events_of_several_probes_are_listed_with_their_probe(tmp_path: Path) -> None:
    events = "time_s pid probe event\n1 7 block read\n1 7 files read\n1 7 files read"
    found = overview(tables_of(tmp_path, events=events))["top_events"]
    assert found[["probe", "event", "events"]].to_numpy().tolist() == [
        ["files", "read", 2],
        ["block", "read", 1],
    ]


def test_probes_that_nobody_asked_for_take_one_line(tmp_path: Path) -> None:
    told = {n: f"what {n} does: record with --events {n}" for n in ("a", "b", "c", "d")} | {
        "e": "no such tracepoint"
    }
    found = overview(tables_of(tmp_path, events=EVENTS, manifest={"not_recorded": told}))["not_recorded"]
    assert found["4 probes"].startswith("a, b, c, d: record with --events; ")
    assert found["e"] == "no such tracepoint"
    assert "a" not in found
