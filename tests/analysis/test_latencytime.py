"""Latency over time, who had a CPU, waits by state, and the slowest events, on sessions written as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessions import SECOND, session, tables_of
from tracelab.analysis.cputimeline import cpu_spans, waits
from tracelab.analysis.latencytime import latency_grid
from tracelab.analysis.outliers import outliers
from tracelab.errors import MissingTable, UsageError
from tracelab.views.chart import Bars, Cells, Line, Spans
from views import hostile

PROBES = {
    "syscalls": {"table": "events", "value": {"meaning": "duration", "unit": "ns"}},
    "switches": {"table": "events", "value": {"meaning": "on-CPU time", "unit": "ns"}},
    "oncpu": {"table": "samples", "kind": "on-CPU", "value": {"unit": "ns"}},
    "offcpu": {"table": "samples", "kind": "off-CPU", "value": {"unit": "ns"}},
}
EVENTS = """
    time_s  cpu  tid  pid  probe     event    value       ret  stack_id
    1       0    7    7    syscalls  read     1000        0    -
    2       0    7    7    syscalls  read     2000000     5    1
    2.5     1    8    7    syscalls  write    900         -1   -
    9       1    8    7    syscalls  write    3000000000  0    -
    9.5     1    8    7    syscalls  futex    -           0    -
    9.6     1    8    7    syscalls  futex    0           0    -
    3       0    7    7    switches  sleeping 500000000   -    -
    4       0    8    7    switches  sleeping 1000000000  -    -
    5       1    7    7    switches  sleeping 2000000000  -    -
    5       1    0    0    switches  other    100         -    -
"""
SAMPLES = """
    time_s  cpu  tid  pid  kind     stack_id  weight      key
    8       1    8    7    off-CPU  2         2000000000  1
    8.5     1    8    7    off-CPU  2         100000000   2
    8.6     1    9    7    off-CPU  2         100000000   1026
    1       0    7    7    on-CPU   1         20000000    -
"""
ALL = {
    "events": EVENTS,
    "samples": SAMPLES,
    "stacks": "stack_id frames\n1 1,2\n2 1,3",
    "frames": "frame_id symbol\n1 main\n2 read_it\n3 wait_for",
    "tasks": "time_s tid pid comm\n0 7 7 sh\n0 8 7 worker\n6 8 7 renamed",
    "losses": "time_s source reason count\n1 syscalls 'ring full' 6\n2 offcpu 'ring full' 1",
    "strings": "time_s tid event text\n2 7 read /etc/passwd",
    "manifest": {"probes": PROBES},
}


def test_events_stand_by_moment_and_duration(tmp_path: Path) -> None:
    grid = latency_grid(tables_of(tmp_path, **ALL), probe="syscalls")
    assert (grid.unit, grid.bins) == ("ns", 120)
    table = grid.histogram()
    assert table.groupby("event")["count"].sum().to_dict() == {"read": 2, "write": 2}  # without a value, or 0: none
    for low, high, value in zip(table["from"], table["until"], (1000, 2_000_000, 900, 3e9), strict=True):
        assert low <= value < high
    edges, counts = grid.cells()
    assert counts.sum() == 4
    assert len(edges) == len(counts) + 1
    coarse_edges, coarse = grid.cells(per_doubling=2)
    assert coarse.sum() == 4
    assert len(coarse_edges) < len(edges) / 3
    assert "6 rows of probe syscalls were lost (ring full), 50.0% of what it saw" in grid.notes


def test_percentiles_are_those_of_each_moment(tmp_path: Path) -> None:
    found = latency_grid(tables_of(tmp_path, **ALL), event="read").percentiles()
    assert found["time_s"].tolist() == pytest.approx([1, 2], abs=0.09)
    assert found["p50"].tolist() == [1000, 2_000_000]
    assert (found["max"] > found["p99"]).all()


def test_without_a_probe_it_is_of_the_one_with_most_events_and_says_so(tmp_path: Path) -> None:
    grid = latency_grid(tables_of(tmp_path, **ALL))
    assert set(grid.rows["probe"]) == {"switches"} or set(grid.rows["probe"]) == {"syscalls"}
    assert any(note.startswith("of probe ") and "others have values, too" in note for note in grid.notes)


def test_what_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **ALL)
    with pytest.raises(MissingTable, match="record with --events runqueue"):
        latency_grid(tables, probe="runqueue")
    with pytest.raises(UsageError, match="event='nothing': there is no such event"):
        latency_grid(tables, "nothing")
    with pytest.raises(MissingTable, match="switches, or oncpu"):
        cpu_spans(tables_of(tmp_path / "b", tasks=ALL["tasks"], manifest={"probes": {}}))
    with pytest.raises(MissingTable, match="record with --events offcpu"):
        waits(tables_of(tmp_path / "c", events="time_s pid"))


def test_a_turn_on_a_cpu_ends_with_the_switch(tmp_path: Path) -> None:
    spans, exact = cpu_spans(tables_of(tmp_path, **ALL))
    assert exact
    rows = spans[["cpu", "comm", "from_s", "until_s"]].to_numpy().tolist()
    assert rows == [[0, "sh", 2.5, 3.0], [0, "renamed", 3.0, 4.0], [1, "sh", 3.0, 5.0]]


def test_without_switches_samples_stand_for_their_time(tmp_path: Path) -> None:
    probes = {name: about for name, about in PROBES.items() if name != "switches"}
    spans, exact = cpu_spans(tables_of(tmp_path, **ALL | {"manifest": {"probes": probes}}))
    assert not exact
    assert spans[["cpu", "comm", "from_s", "until_s"]].to_numpy().tolist() == [[0, "sh", 0.98, 1.0]]


def test_waits_are_added_up_by_state_at_their_ends(tmp_path: Path) -> None:
    table = waits(tables_of(tmp_path, **ALL), bin_s=1)
    assert table[["time_s", "state", "off_cpu_s"]].to_numpy().tolist() == [
        [8.0, "idle kernel thread", 0.1],
        [8.0, "sleeping", 2.0],
        [8.0, "uninterruptible", 0.1],
    ]
    assert table.attrs["notes"] == ("1 rows of probe offcpu were lost (ring full), 25.0% of what it saw",)


def test_the_slowest_events_have_their_stack_and_what_they_were_about(tmp_path: Path) -> None:
    found = outliers(tables_of(tmp_path, **ALL).narrowed(latency_of("read", "write")), n=3)
    columns = ["time_s", "comm", "event", "value", "unit", "text", "stack", "stack_is"]
    assert found[columns].to_numpy().tolist() == [
        [9.0, "renamed", "write", 3 * SECOND, "ns", "", "main;wait_for", "of a wait meanwhile"],
        [2.0, "sh", "read", 2_000_000, "ns", "/etc/passwd", "main;read_it", "its own"],
        [1.0, "sh", "read", 1000, "ns", "", "main;read_it", "sampled meanwhile"],
    ]


def latency_of(*events: str):
    from tracelab.query import Selection

    return Selection(events=events)


# ---- the views


def test_every_view_draws_what_its_table_has(tmp_path: Path) -> None:
    s = session(tmp_path, **ALL)
    histogram = s.latency_histogram(probe="syscalls")
    layers = histogram.chart.panels[0].layers
    assert [(layer.name, layer.y.sum()) for layer in layers if isinstance(layer, Bars)] == [("read", 2), ("write", 2)]
    [cells] = s.latency_heatmap(probe="syscalls").chart.panels[0].layers
    assert isinstance(cells, Cells)
    assert np.nansum(cells.values) == 4
    lines = s.percentiles("read").chart.panels[0].layers
    assert [line.name for line in lines if isinstance(line, Line)] == ["p50", "p90", "p99", "max"]
    [boxes] = s.cpu_timeline().chart.panels[0].layers
    assert isinstance(boxes, Spans)
    assert boxes.row.tolist() == [0, 0, 1]
    assert boxes.groups == ("sh", "renamed")
    assert [layer.name for layer in s.waits(1).chart.panels[0].layers] == [
        "sleeping",
        "idle kernel thread",
        "uninterruptible",
    ]
    for view in (histogram, s.latency_heatmap(), s.percentiles(), s.cpu_timeline(), s.waits()):
        assert len(view.to_html()) < 120_000
        assert view.title in view.to_text()


def test_turns_that_are_too_short_give_way_to_who_had_most_of_a_moment(tmp_path: Path) -> None:
    text = "time_s cpu tid pid probe event value\n" + "\n".join(
        f"{(i + 1) / 400} 0 {7 if i % 4 else 8} 7 switches sleeping {2_000_000}" for i in range(3900)
    )
    view = session(tmp_path, **ALL | {"events": text}).cpu_timeline()
    [boxes] = view.chart.panels[0].layers
    assert len(boxes.row) < 1500
    assert "3,900 of 3,900 turns are too short to be drawn" in view.to_text()
    lengths = {boxes.groups[g]: 0.0 for g in set(boxes.group.tolist())}
    for group, start, end in zip(boxes.group, boxes.start, boxes.end, strict=True):
        lengths[boxes.groups[group]] += end - start
    assert max(lengths, key=lengths.get) == "sh"


def test_hostile_names_are_no_markup(tmp_path: Path) -> None:
    name = hostile.SCRIPT.replace("'", "").replace('"', "")
    texts = ALL | {"tasks": f"time_s tid pid comm\n0 7 7 '{name}'", "events": EVENTS.replace("read", f"'{name}'")}
    s = session(tmp_path, **texts)
    for view in (s.latency_histogram(probe="syscalls"), s.cpu_timeline(), s.percentiles(name)):
        for form in (view.to_html(), view.to_svg(), view._repr_mimebundle_()["text/html"]):
            assert "<img src=x" not in form
