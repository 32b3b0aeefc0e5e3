"""Timers that expire, against those that were set."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from kernel_functions import addresses
from probe_records import Records, adds_up, in_sight, taking, until
from recordings import recorded, rows, workload

UNKNOWN = 2**64 - 1
SOON_NS = 50_000_000  # in which a timer's function ends that has woken somebody


def alarms(kind: str, count: int, wait: float) -> list[tuple[int, int]]:
    """When each was due, and when the process knew that it had expired."""
    process = subprocess.run(
        workload("alarms", kind, count, wait), check=True, stdout=subprocess.PIPE, text=True
    )
    return [(int(due), int(known)) for due, known in (line.split() for line in process.stdout.splitlines())]


def of(records: Records, function: str, told: list[tuple[int, int]]) -> Records:
    """What a function did in the time of the alarms."""
    mine = np.isin(records["key"], np.array(sorted(addresses(function)), np.uint64))
    within = (records["time_ns"] >= told[0][0]) & (records["time_ns"] <= told[-1][1] + SOON_NS)
    return records[mine & within]


@pytest.mark.parametrize(
    ("kind", "function", "event"),
    [("itimer", "it_real_fn", "hrtimer"), ("receive", "process_timeout", "timer")],
)
def test_each_timer_that_was_set_expires_once_in_its_function(kind: str, function: str, event: str) -> None:
    def take() -> tuple[list[tuple[int, int]], Records, list[str]]:
        with taking("timers", RING_PAGES=16384) as taken:
            told = alarms(kind, 40, 0.005)
            records = of(taken.records(), function, told)
            assert adds_up(taken.counts())
            assert taken.counts()["lost"] == 0
        return told, records, taken.names(records)

    told, records, names = in_sight(take, lambda taken: len(taken[1]) >= 40)
    assert set(names) == {event}
    expired = [
        ((records["time_ns"] >= due) & (records["time_ns"] <= known + SOON_NS)).any() for due, known in told
    ]
    assert all(expired)
    if kind == "itimer":  # which nobody else uses
        assert len(records) == 40
    assert (records["value"] < 10**9).all()


def test_how_late_a_timer_is_fits_between_its_time_and_what_its_owner_saw() -> None:
    def take() -> tuple[list[tuple[int, int]], Records]:
        with taking("timer_delays", RING_PAGES=16384) as taken:
            told = alarms("itimer", 40, 0.002)
            records = of(taken.records(), "it_real_fn", told)
            assert adds_up(taken.counts())
        return told, records

    told, records = in_sight(take, lambda taken: len(taken[1]) >= 40)
    assert len(records) == 40
    for late, at, (due, known) in zip(
        records["value"].tolist(), records["time_ns"].tolist(), told, strict=True
    ):
        assert due <= at <= known
        assert 0 <= late <= at - due  # `due` is from a little before it was set


def test_a_recording_names_the_functions_once(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("alarms", "itimer", 20, 0.002), events="timers")
    texts = [t for t in rows(recording, "strings") if t["field"] == "function"]
    keys = {(e["time_ns"], e["tid"]): int(str(e["key"])) % 2**64 for e in rows(recording, "events")}
    named = {str(t["text"]): keys[t["time_ns"], t["tid"]] for t in texts}
    assert named["it_real_fn"] in addresses("it_real_fn")
    assert len(texts) == len(set(keys.values()) - {UNKNOWN})


def test_only_what_took_long_or_was_asked_for_is_kept() -> None:
    asked = {"EVENT_ASKED(nr)": "((nr)==1)", "DURATION_ASKED(ns)": "((ns)>=1000ULL)"}
    with taking("timers", **asked) as taken:
        alarms("receive", 10, 0.005)
        until(lambda: len(taken.records()) > 0, "some timer takes longer than that")
        records, counts = taken.records(), taken.counts()
    assert set(taken.names(records)) == {"hrtimer"}
    assert (records["value"] >= 1000).all()
    assert counts["filtered"] >= 10
    assert adds_up(counts)
