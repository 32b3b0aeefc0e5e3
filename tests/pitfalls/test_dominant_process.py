from __future__ import annotations

from pathlib import Path

import pytest

from sessions import tables_of
from tracelab.pitfalls import Finding, all_pitfalls

TASKS = "time_s tid change comm\n0 7 seen sh\n1.5 7 exec bpftrace\n0 8 seen cc"


def check(folder: Path, text: str) -> Finding:
    return all_pitfalls()["dominant_process"].run(tables_of(folder, events=text, tasks=TASKS))


@pytest.mark.parametrize(("weight", "severity"), [(30_000, "info"), (300_000, "warning")])
def test_a_process_that_makes_most_events_is_found_whatever_it_was_called(
    tmp_path: Path, weight: int, severity: str
) -> None:
    found = check(tmp_path, f"time_s pid weight\n1 7 {weight // 10}\n2 7 {weight}\n2 8 {weight // 10}")
    assert (found.outcome, found.severity, found.actual) == ("found", severity, "91.7 % of all events")
    assert found.title == "bpftrace (7) makes most of all events"
    assert found.subjects == ("bpftrace (7)",)
    assert found.evidence["process"].tolist() == ["bpftrace (7)", "cc (8)"]
    assert "--pid 7" in found.action


@pytest.mark.parametrize(
    "text", ["time_s pid weight\n1 7 50000\n1 8 50000", "time_s pid weight\n1 7 900", "time_s pid"]
)
def test_a_process_among_others_or_that_makes_few_is_clear(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text).outcome == "clear"


def test_without_events_or_without_names_it_is_not_checked(tmp_path: Path) -> None:
    run = all_pitfalls()["dominant_process"].run
    assert run(tables_of(tmp_path / "a", tasks=TASKS)).outcome == "not checked"
    assert run(tables_of(tmp_path / "b", events="time_s pid\n1 7")).outcome == "not checked"
