from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import tracelab.pitfalls
from sessions import tables_of
from tracelab.errors import UsageError
from tracelab.pitfalls import Quantity, all_pitfalls, diagnose, pitfall

QUIET = {
    "events": "\n".join(["time_s pid event value", *(f"{i / 10} {i % 5} e{i % 7} 100" for i in range(100))]),
    "samples": "\n".join(["time_s pid stack_id weight", *(f"{i / 10} 1 1 10" for i in range(100))]),
    "stacks": "stack_id frames\n1 1,2",
    "frames": "frame_id symbol\n1 main\n2 work",
    "tasks": "\n".join(["time_s tid comm", *(f"0 {i} c{i}" for i in range(5))]),
    "losses": "time_s source reason count\n1 syscalls own 100",
    "bpf_progs": "time_s prog_id name owner_comm\n0 1 probe falco",
    "bpf_prog_stats": "time_s prog_id run_cnt run_time_ns\n0 1 0 0\n9 1 1000 200000",
    "manifest": {"calibration": {"bpf_stats_floor_ns": 60}},
}


def test_every_file_of_the_folder_is_a_pitfall_of_its_name() -> None:
    folder = Path(inspect.getfile(tracelab.pitfalls)).parent
    files = {f.stem for f in folder.glob("*.py")} - {"__init__"}
    assert files == set(all_pitfalls()) == {p.id for p in all_pitfalls().values()}
    assert {"events_lost", "dominant_event", "dominant_process", "expensive_program", "poor_stacks"} <= files


@pytest.mark.parametrize("name", all_pitfalls())
def test_its_docstring_is_its_manual_page(name: str) -> None:
    docs = all_pitfalls()[name].docs
    parts = ["What it does:", "Why it ", "What to do:", "Source:"]
    assert [docs.find(p) > 0 for p in parts] == [True] * 4
    assert sorted(parts, key=docs.find) == parts


@pytest.mark.parametrize("name", all_pitfalls())
def test_its_thresholds_are_numbers_that_its_manual_page_explains(name: str) -> None:
    one = all_pitfalls()[name]
    assert one.thresholds
    for threshold, default in one.thresholds.items():
        assert isinstance(default, int | float)
        assert f"`{threshold}`" in one.docs


@pytest.mark.parametrize("name", all_pitfalls())
def test_it_has_a_test_of_each_of_its_outcomes(name: str) -> None:
    source = (Path(__file__).parent / f"test_{name}.py").read_text()
    for outcome in ('"found"', '"clear"', '"not checked"'):
        assert outcome in source


def test_a_quiet_and_healthy_session_is_clear_of_everything(tmp_path: Path) -> None:
    found = diagnose(tables_of(tmp_path, **QUIET))
    assert [(f.id, f.outcome) for f in found] == [(name, "clear") for name in all_pitfalls()]


def test_an_empty_session_is_not_called_clear(tmp_path: Path) -> None:
    found = diagnose(tables_of(tmp_path, marks="time_s text\n1 x"))
    assert {f.outcome for f in found} == {"not checked"}
    assert all("was not recorded in this session; " in f.why and f.action for f in found)


def test_the_worst_comes_first_then_what_was_not_checked_then_what_is_clear(tmp_path: Path) -> None:
    tables = dict(QUIET) | {"losses": "time_s source reason count\n1 syscalls 'ring full' 100"}
    del tables["samples"]
    found = diagnose(tables_of(tmp_path, **tables), dominant_event={"share": 0.1, "min_per_s": 0.1})
    assert [(f.id, f.severity or f.outcome) for f in found] == [
        ("events_lost", "bad"),
        ("dominant_event", "info"),
        ("poor_stacks", "not checked"),
        ("dominant_process", "clear"),
        ("expensive_program", "clear"),
    ]


def test_a_pitfall_or_threshold_that_there_is_not_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **QUIET)
    with pytest.raises(UsageError, match="there is no pitfall 'lost'; there are dominant_event, "):
        diagnose(tables, lost={})
    with pytest.raises(UsageError, match="events_lost has no threshold limit; it has share, bad_share"):
        diagnose(tables, events_lost={"limit": 1})


def test_a_pitfall_cannot_need_a_table_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="there is no table 'event'"):
        pitfall("x", needs=["event"])


def test_a_quantity_is_told_with_its_unit() -> None:
    assert [
        str(q) for q in (Quantity(0.5, "of one CPU"), Quantity(12_345.6, "ns"), Quantity(0.00012, "s"))
    ] == [
        "50 % of one CPU",
        "12,346 ns",
        "0.00012 s",
    ]
