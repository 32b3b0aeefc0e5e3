from __future__ import annotations

from pathlib import Path

import pytest

from sessions import tables_of
from tracelab.pitfalls import Finding, all_pitfalls


def check(folder: Path, text: str, **thresholds: float) -> Finding:
    return all_pitfalls()["dominant_event"].run(tables_of(folder, events=text), **thresholds)


@pytest.mark.parametrize(("weight", "severity"), [(30_000, "info"), (300_000, "warning")])
def test_an_event_that_is_most_of_all_is_found(tmp_path: Path, weight: int, severity: str) -> None:
    found = check(tmp_path, f"time_s pid event weight\n1 7 futex {weight}\n2 7 read {weight // 3}")
    assert (found.outcome, found.severity, found.actual) == ("found", severity, "75 % of all events")
    assert found.title == "futex is most of all events"
    assert found.evidence["event"].tolist() == ["futex", "read"]
    assert "leave futex out" in found.action


@pytest.mark.parametrize(
    "text",
    [
        "time_s pid event weight\n1 7 futex 50000\n2 7 read 50000",
        "time_s pid event weight\n1 7 futex 900\n2 7 read 1",
        "time_s pid event",
    ],
)
def test_an_event_that_is_half_or_rare_or_none_is_clear(tmp_path: Path, text: str) -> None:
    assert check(tmp_path, text).outcome == "clear"


def test_thresholds_are_the_callers(tmp_path: Path) -> None:
    text = "time_s pid event weight\n1 7 futex 9\n2 7 read 1"
    assert check(tmp_path, text, min_per_s=0.5, warn_per_s=0.9).severity == "warning"


def test_without_events_it_is_not_checked(tmp_path: Path) -> None:
    found = all_pitfalls()["dominant_event"].run(tables_of(tmp_path, samples="time_s pid"))
    assert (found.outcome, found.action) == ("not checked", "record with --events syscalls")


def test_an_event_of_one_of_several_probes_is_named_with_its_probe(tmp_path: Path) -> None:
    found = check(tmp_path, "time_s pid probe event weight\n1 7 block read 30000\n2 7 files read 10000")
    assert found.title == "block:read is most of all events"
    assert found.subjects == ("block:read",)
