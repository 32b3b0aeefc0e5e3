from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sessions import tables_of
from tracelab.analysis.latency import latency, quantiles_of
from tracelab.analysis.top import top

PROBES = {
    "syscalls": {"table": "events", "value": {"meaning": "duration", "unit": "ns"}},
    "reads": {"table": "events", "value": {"meaning": "size", "unit": "bytes"}},
}
EVENTS = """
    time_s  pid  probe     event  value  weight
    1       7    syscalls  read   100    1
    2       7    syscalls  read   300    3
    3       7    syscalls  poll   -      1
    4       7    reads     reads  4096   1
"""


def test_the_groups_with_most_events_come_first_with_their_numbers(tmp_path: Path) -> None:
    found = top(tables_of(tmp_path, events=EVENTS, manifest={"probes": PROBES}), n=2)
    assert found.to_dict("records")[0] == {
        "probe": "syscalls",
        "event": "read",
        "events": 4,
        "share": pytest.approx(4 / 6),
        "events_per_s": 0.4,
        "value_sum": 1000.0,
        "value_mean": 250.0,
        "value_max": 300.0,
        "unit": "ns",
    }
    assert len(found) == 2
    assert found.attrs["units"]["events_per_s"] == "events/s"


def test_values_of_different_probes_are_not_added_up(tmp_path: Path) -> None:
    found = top(tables_of(tmp_path, events=EVENTS, manifest={"probes": PROBES}), "pid")
    assert found[["probe", "pid", "events", "value_sum", "unit"]].to_numpy().tolist() == [
        ["syscalls", 7, 5, 1000.0, "ns"],
        ["reads", 7, 1, 4096.0, "bytes"],
    ]


def test_a_group_that_told_no_value_has_none(tmp_path: Path) -> None:
    found = top(tables_of(tmp_path, events=EVENTS)).set_index("event")
    assert found.loc["poll", ["value_sum", "value_mean", "value_max"]].isna().all()


def test_an_unknown_probe_has_no_unit(tmp_path: Path) -> None:
    odd = {"syscalls": {"value": "ns"}, "reads": 3}
    assert top(tables_of(tmp_path, events=EVENTS, manifest={"probes": odd}))["unit"].unique().tolist() == [""]


def test_latency_has_count_mean_percentiles_and_total_by_event(tmp_path: Path) -> None:
    found = latency(tables_of(tmp_path, events=EVENTS, manifest={"probes": PROBES}))
    assert found.to_dict("records") == [
        {
            "probe": "reads",
            "event": "reads",
            "count": 1,
            "unknown": 0,
            **dict.fromkeys(("mean", "p50", "p90", "p99", "max", "total"), 4096.0),
            "unit": "bytes",
        },
        {
            "probe": "syscalls",
            "event": "read",
            "count": 4,
            "unknown": 0,
            "mean": 250.0,
            "p50": 300.0,
            "p90": 300.0,
            "p99": 300.0,
            "max": 300.0,
            "total": 1000.0,
            "unit": "ns",
        },
    ]


def test_events_without_a_value_are_counted_apart(tmp_path: Path) -> None:
    found = latency(tables_of(tmp_path, events="time_s pid event value\n1 7 read 5\n2 7 read -\n3 7 poll -"))
    assert found[["event", "count", "unknown"]].to_numpy().tolist() == [["read", 1, 1]]


@pytest.mark.parametrize("by", ["event", "comm", "process", "cpu"])
def test_percentiles_are_within_9_percent_of_the_exact_ones(tmp_path: Path, by: str) -> None:
    values = [int(1.37**n) for n in range(1, 60)]
    text = "\n".join(["time_s pid value", *(f"1 7 {v}" for v in values)])
    tables = tables_of(tmp_path, events=text, tasks="time_s tid comm\n0 7 sh")
    near, exact = latency(tables, by), latency(tables, by, exact=True)
    assert list(near.columns) == list(exact.columns)
    assert near.loc[0, ["mean", "max", "total"]].tolist() == exact.loc[0, ["mean", "max", "total"]].tolist()
    assert near["p50"][0] == pytest.approx(exact["p50"][0], rel=0.09)


def test_histograms_of_two_hosts_add_up(tmp_path: Path) -> None:
    one = pd.DataFrame(
        {"event": ["read"] * 2, "bucket": [8, 80], "count": [9, 1], "value_sum": [18.0, 1030.0]}
    )
    two = pd.DataFrame({"event": ["read"], "bucket": [80], "count": [10], "value_sum": [10300.0]})
    found = quantiles_of(pd.concat([one, two]), ["event"], (0.4, 0.5))
    assert found.to_numpy().tolist() == [["read", 2.0, 1030.0]]


def test_no_events_give_no_rows(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, events="time_s pid")
    assert top(tables).empty
    assert latency(tables).empty
    assert latency(tables, exact=True).empty
