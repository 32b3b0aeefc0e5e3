from __future__ import annotations

from pathlib import Path

import pytest

from sessions import tables_of
from tracelab.pitfalls import Finding, all_pitfalls


def check(folder: Path, **tables: object) -> Finding:
    return all_pitfalls()["events_lost"].run(tables_of(folder, **tables))


EVENTS = "time_s pid\n" + "1 7\n" * 9000


@pytest.mark.parametrize(
    ("lost", "severity", "actual"),
    [
        (1, "info", "0.0111 % of syscalls"),
        (90, "warning", "0.99 % of syscalls"),
        (1000, "bad", "10 % of syscalls"),
    ],
)
def test_any_loss_is_found_and_is_as_bad_as_its_share(
    tmp_path: Path, lost: int, severity: str, actual: str
) -> None:
    found = check(
        tmp_path, events=EVENTS, losses=f"time_s source reason count\n2.5 syscalls 'ring full' {lost}"
    )
    assert (found.outcome, found.severity, found.actual) == ("found", severity, actual)
    assert found.title == f"{lost:,} rows were lost"
    assert found.expected == "at most 0.1 % of a source's rows"
    assert (found.subjects, found.window_s) == (("syscalls",), (2.5, 2.5))
    assert "--ring-mib" in found.action
    assert found.evidence["count"].tolist() == [lost]


def test_where_the_kept_are_unknown_a_loss_is_a_number_of_rows(tmp_path: Path) -> None:
    found = check(
        tmp_path, events=EVENTS, losses="time_s source reason count\n1 side-band 'side-band full' 3"
    )
    assert (found.outcome, found.severity, found.actual) == ("found", "warning", "3 rows")


def test_what_was_left_out_on_purpose_is_no_loss(tmp_path: Path) -> None:
    found = check(
        tmp_path, events=EVENTS, losses="time_s source reason count\n1 syscalls own 5000\n1 oncpu idle 3"
    )
    assert (found.outcome, found.severity, found.actual) == ("clear", None, "0 % of a source's rows")


def test_without_the_counters_nothing_is_known(tmp_path: Path) -> None:
    found = check(tmp_path, events=EVENTS)
    assert (found.outcome, found.severity) == ("not checked", None)
    assert "losses are always recorded" in found.why


def test_of_sampled_events_the_rows_that_are_lost_are_compared_with_rows(tmp_path: Path) -> None:
    events = "time_s pid weight\n" + "1 7 10\n" * 9
    losses = "time_s reason count\n1 'ring full' 1\n1 'sampled out' 90"
    found = check(tmp_path, events=events, losses=losses)
    assert (found.outcome, found.title, found.actual) == ("found", "1 rows were lost", "10 % of syscalls")
    clear = check(tmp_path / "b", events=events, losses="time_s reason count\n1 'sampled out' 90")
    assert clear.outcome == "clear"


@pytest.mark.parametrize(
    ("reason", "action"), [("text ring full", "without --paths"), ("probe busy", "in interrupts")]
)
def test_every_reason_has_a_remedy(tmp_path: Path, reason: str, action: str) -> None:
    found = check(tmp_path, events=EVENTS, losses=f"time_s reason count\n1 '{reason}' 3")
    assert found.outcome == "found"
    assert action in found.action
