"""The entry object: every verb, on a whole session and on a part."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tracelab as tl
from sessions import START_NS, batch, make_session, session
from tracelab.errors import MissingTable, NotASession, UsageError
from tracelab.session.manifest import Manifest
from tracelab.session.writer import SessionWriter
from tracelab.views.event_rate import EventRate
from tracelab.views.findings import FindingsView
from tracelab.views.flamegraph import FlameGraph
from tracelab.views.summary import SessionSummary

ROOT = Path(__file__).parents[1]
ALL = {
    "events": """
        time_s  cpu  pid  event  value
        1       0    7    read   100
        2       1    7    write  200
        3       1    8    read   300
        4       1    8    read   -
    """,
    "samples": "time_s pid stack_id weight\n1 7 1 10\n2 8 1 20",
    "stacks": "stack_id frames\n1 1,2",
    "frames": "frame_id symbol\n1 main\n2 work",
    "tasks": "time_s tid change comm cgroup\n0 7 seen sh /a\n0 8 seen cc /b",
    "procs": "time_s pid comm user_ns system_ns\n0 7 sh 0 0\n9 7 sh 900000000 0",
    "bpf_progs": "time_s prog_id name owner_pids owner_comm\n0 1 probe 8 cc",
    "bpf_prog_stats": "time_s prog_id run_cnt run_time_ns\n0 1 0 0\n9 1 100 20000",
    "losses": "time_s source reason count\n1.05 syscalls 'ring full' 40",
}


@pytest.fixture
def s(tmp_path: Path) -> tl.Session:
    return session(tmp_path, **ALL)


def test_a_session_knows_where_it_lies_how_long_it_is_and_what_it_has(s: tl.Session) -> None:
    assert s.path.name == "s.tracelab"
    assert (s.window, s.duration_s) == ((0.0, 10.0), 10.0)
    assert s.tables == sorted(ALL, key=s.tables.index)
    assert s.manifest.state == "complete"
    assert repr(s) == f"<Session {str(s.path)!r}>"


def test_every_verb_is_offered_for_completion(s: tl.Session) -> None:
    verbs = {
        "select",
        "rates",
        "top",
        "latency",
        "losses",
        "programs",
        "processes",
        "tasks",
        "profile",
        "table",
        "sql",
    }
    verbs |= {"mark", "unmark", "marks", "program_time", "map_fill", "machine", "process_tree", "top_table"}
    assert verbs | {"event_rate", "flamegraph", "diagnose", "summary", "busiest", "tracers"} <= set(dir(s))


@pytest.mark.parametrize(
    ("chosen", "values"),
    [
        ({}, [100, 200, 300, None]),
        ({"time": (1.5, 3.5)}, [200, 300]),
        ({"time": (None, 2)}, [100]),
        ({"time": (3, None)}, [300, None]),
        ({"time": (0.0, np.inf)}, [100, 200, 300, None]),
        ({"pid": 7}, [100, 200]),
        ({"pid": [7, 8], "cpu": 0}, [100]),
        ({"pid": np.int64(8)}, [300, None]),
        ({"tid": pd.Series([7])}, [100, 200]),
        ({"comm": "cc"}, [300, None]),
        ({"comm": ("cc", "sh"), "event": "write"}, [200]),
        ({"event": ["read", "write"]}, [100, 200, 300, None]),
        ({"cgroup": "/a"}, [100, 200]),
        ({"comm": "nobody"}, []),
        ({"pid": []}, []),
    ],
)
def test_a_selection_leaves_what_fits_everything_given(
    s: tl.Session, chosen: dict[str, object], values: list[int | None]
) -> None:
    assert [None if v is pd.NA else v for v in s.select(**chosen).table("events")["value"]] == values  # type: ignore[arg-type]


def test_selecting_further_narrows_further_and_leaves_the_session_as_it_was(s: tl.Session) -> None:
    part = s.select(time=(0, 3.5)).select(comm="cc", time=(2.5, 9))
    assert part.table("events")["value"].tolist() == [300]
    assert (part.window, part.duration_s) == ((2.5, 3.5), 1.0)
    assert repr(part).endswith(": 2.5 s to 3.5 s, comm cc>")
    assert s.selection == tl.Selection()
    assert len(s.table("events")) == 4


def test_a_selection_may_be_taken_over_from_elsewhere(s: tl.Session) -> None:
    other = s.select(pid=8).selection
    assert s.select(other, event="read").table("events")["pid"].tolist() == [8, 8]


def test_a_time_that_ends_before_it_begins_is_a_mistake(s: tl.Session) -> None:
    with pytest.raises(UsageError, match=r"a time is \(from, until\), in seconds since the recording began"):
        s.select(time=(3, 1))


def test_tables_tell_their_units(s: tl.Session) -> None:
    answers = [
        s.rates(),
        s.top(),
        s.latency(),
        s.losses(),
        s.programs(),
        s.processes(),
        s.tasks(),
        s.table("events"),
    ]
    for answer in answers:
        assert list(answer.attrs["units"]) == list(answer.columns)
        assert answer.attrs["about"]
        assert len(answer)


def test_numbers_are_those_of_the_part(s: tl.Session) -> None:
    part = s.select(pid=8)
    assert part.top()[["event", "events"]].to_numpy().tolist() == [["read", 2]]
    assert part.latency()[["count", "unknown", "total"]].to_numpy().tolist() == [[1, 1, 300.0]]
    assert part.rates(bin_s=1)["events"].sum() == 2
    assert part.profile().total == 20
    assert s.select(time=(0, 1.5)).profile(by="process").collapsed() == {"sh (7);main;work": 10.0}


def test_who_was_busy_and_who_traces(s: tl.Session) -> None:
    assert s.busiest("sh") == 7
    assert s.tracers() == [8]


def test_sql_sees_the_whole_session(s: tl.Session) -> None:
    query = "select event, count(*) as n from events group by all order by n desc"
    assert s.select(pid=7).sql(query).to_numpy().tolist() == [["read", 3], ["write", 1]]


def test_a_plot_of_rates_has_the_losses_and_says_what_it_is_of(s: tl.Session) -> None:
    view = s.select(comm="sh").event_rate(by="cpu", bin_s=1)
    assert isinstance(view, EventRate)
    assert view.title == "Events per second by cpu: comm sh"
    assert view.summary.to_numpy().tolist() == [["0", 1.0, 0.1, 1.0], ["1", 1.0, 0.1, 1.0]]
    assert [(w.start_s, w.end_s, w.count) for w in view.bins.loss_windows] == [(1.0, 2.0, 40.0)]


def test_where_all_events_were_lost_the_plot_still_shows_the_loss(tmp_path: Path) -> None:
    view = session(tmp_path, events="time_s pid", losses=ALL["losses"]).event_rate(bin_s=1)
    assert [w.count for w in view.bins.loss_windows] == [40.0]


def test_a_flame_graph_is_of_the_part(s: tl.Session) -> None:
    view = s.select(comm="cc").flamegraph(by="process")
    assert isinstance(view, FlameGraph)
    assert view.profile.collapsed() == {"cc (8);main;work": 20.0}


def test_findings_are_a_view_and_objects(s: tl.Session) -> None:
    view = s.diagnose(events_lost={"bad_share": 0.99})
    assert isinstance(view, FindingsView)
    assert view.title == "Findings in s.tracelab"
    assert [f.id for f in view.findings] == [f.id for f in s.findings(events_lost={"bad_share": 0.99})]
    assert view.table.loc[0, ["id", "severity", "actual"]].tolist() == [
        "events_lost",
        "warning",
        "90.9 % of syscalls",
    ]


def test_a_session_stands_for_itself_as_its_summary(s: tl.Session) -> None:
    assert isinstance(s.summary(), SessionSummary)
    bundle = s._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == s.summary().to_text()
    assert "events: 4 (0.4 per second)" in bundle["text/plain"]
    assert "stack samples: 2" in bundle["text/plain"]
    assert "lost: 40 (87.0 %)" in bundle["text/plain"]
    assert set(s._repr_mimebundle_(include=["text/plain"])) == {"text/plain"}


def test_the_summary_of_a_damaged_session_is_its_error(tmp_path: Path) -> None:
    path = make_session(tmp_path, **ALL)
    (path / "events/part-000001.parquet").write_bytes(b"PAR1")
    shown = tl.open(path)._repr_mimebundle_()["text/plain"]
    assert "part-000001.parquet is damaged" in shown


def test_what_was_not_recorded_is_missing_and_not_empty(tmp_path: Path) -> None:
    s = session(tmp_path, events=ALL["events"])
    for verb, how in ((s.profile, "oncpu"), (s.programs, "root"), (lambda: s.top("comm"), "always recorded")):
        with pytest.raises(MissingTable, match=how):
            verb()
    with pytest.raises(UsageError, match="there is no table 'event'"):
        s.table("event")


def test_a_session_that_is_being_recorded_can_be_looked_at(tmp_path: Path) -> None:
    writer = SessionWriter(tmp_path / "s", Manifest(start_ns=START_NS, tables={"losses": {"rows": 0}}))
    writer.append("events", batch("events", ALL["events"]))
    writer.manifest.end_ns = START_NS + 10**10
    s = tl.open(writer.path)
    assert len(s.table("events")) == 4
    assert "still recording" in s.summary().to_text()
    writer.append("events", batch("events", ALL["events"]))
    assert len(s.table("events")) == 8
    writer.close()
    assert s.top()["events"].sum() == 8
    assert "still recording" not in s.summary().to_text()


def test_a_view_of_a_recovered_session_says_so(tmp_path: Path) -> None:
    s = session(tmp_path, **ALL, manifest={"state": "recovered"})
    assert any("the recorder died" in note for note in s.event_rate().notes())
    assert any("the recorder died" in note for note in s.flamegraph().notes)


def test_opening_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotASession):
        tl.open(tmp_path)


def test_opening_reads_no_table_and_loads_no_engine(tmp_path: Path) -> None:
    path = make_session(tmp_path, **ALL)
    for part in path.rglob("*.parquet"):
        part.write_bytes(b"")
    code = (
        "import json, sys, tracelab as tl\n"
        f"s = tl.open({str(path)!r}).select(pid=1)\n"
        "print(repr(s), s.tables[0])\n"
        "print(json.dumps([m for m in ('pandas', 'duckdb', 'narwhals', 'pyarrow', 'plotly') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_two_parts_and_two_sessions_are_compared(tmp_path):
    samples = "time_s pid stack_id weight\n1 7 1 10\n6 7 1 30"
    known = {"stacks": "stack_id frames\n1 1", "frames": "frame_id symbol\n1 main", "tasks": "time_s tid comm\n0 7 sh"}
    events = "time_s pid event\n1 7 read\n6 7 read\n7 7 read"
    s = session(tmp_path, samples=samples, events=events, **known)
    before, after = s.select(time=(0, 5)), s.select(time=(5, None))
    row = after.compare(before, normalise="time").table.iloc[0]
    assert (row["symbol"], row["self_before"], row["self_after"], row["self_delta"]) == ("main", 2, 6, 4)
    row = after.compare(before, normalise="events", event="read").table.iloc[0]
    assert (row["self_before"], row["self_after"]) == (10, 15)
    rates = after.compare_events(before).table.iloc[0]
    assert (rates["event"], rates["before"], rates["after"]) == ("read", 0.2, 0.4)
    with pytest.raises(MissingTable):
        s.compare(session(tmp_path, name="none.tracelab", events=events))
    with pytest.raises(MissingTable, match="offcpu"):
        after.compare(before, kind="off-CPU")



def test_stacks_selected_in_a_flame_graph_by_comm_are_those_of_the_comm(s: tl.Session) -> None:
    view = s.flamegraph(by="comm")
    view.selection = ["cc"]
    assert view.selected().collapsed() == {"cc;main;work": 20.0}
    assert repr(view.selected()) == "<Profile: 20 ns of on-CPU time in 1 stacks>"
