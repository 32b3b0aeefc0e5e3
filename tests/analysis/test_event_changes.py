"""What changed in events per second."""

from __future__ import annotations

import numpy as np
import pytest

from sessions import START_NS, tables_of
from tracelab.analysis.event_changes import event_changes
from tracelab.errors import UsageError
from tracelab.query import Selection

HALVES = [Selection(window_ns=(START_NS + at * 10**9, START_NS + (at + 5) * 10**9)) for at in (0, 5)]


def sides(folder, lines: list[str], **tables: str):
    whole = tables_of(folder, events="\n".join(["time_s pid event value", *lines]), **tables)
    return [whole.narrowed(half) for half in HALVES]


def test_rates_and_percentiles_stand_side_by_side(tmp_path):
    lines = ["1 7 read 100", "2 7 read 100", "6 7 read 300", "3 7 open -", "7 7 close 5"]
    table = event_changes(*sides(tmp_path, lines))
    columns = ["event", "before", "after", "delta", "certain", "p50_before", "p50_after", "unit"]
    assert table[columns].astype(object).fillna("–").to_numpy().tolist() == [
        ["close", 0, 0.2, 0.2, False, "–", 5, "ns"],
        ["open", 0.2, 0, -0.2, False, "–", "–", ""],
        ["read", 0.4, 0.2, -0.2, False, 100, 300, "ns"],
    ]
    assert table["relative"].fillna(9).tolist() == [9, -1, -0.5]
    assert table["lower"].isna().all()  # nothing is known of what is in five blocks or fewer
    assert table.attrs["units"]["delta"] == "events/s"
    assert set(table.columns) == set(table.attrs["units"])


def test_a_rate_that_changed_is_told_from_one_that_varies(tmp_path):
    random = np.random.default_rng(1)
    lines = [f"{t:.6f} 7 read 1" for t in random.uniform(0, 10, 800)]
    lines += [f"{t:.6f} 7 write 1" for t in random.uniform(0, 5, 200)]
    lines += [f"{t:.6f} 7 write 1" for t in random.uniform(5, 10, 400)]
    table = event_changes(*sides(tmp_path, lines)).set_index("event")
    assert table["certain"].to_dict() == {"write": True, "read": False}
    assert table.loc["write", "lower"] < 40 < table.loc["write", "upper"]
    assert table.loc["read", "lower"] < 0 < table.loc["read", "upper"]


def test_a_side_that_lost_events_says_so(tmp_path):
    losses = "time_s source reason count\n7 syscalls 'ring full' 30"
    notes = event_changes(*sides(tmp_path, ["1 7 read 1", "6 7 read 1"], losses=losses)).attrs["notes"]
    assert notes[1:] == ["after: 30 events were lost, so that its rates are too low"]


def test_by_comm_there_are_no_percentiles_which_would_mix_units(tmp_path):
    tasks = "time_s tid pid change comm\n0 7 7 seen sh"
    table = event_changes(*sides(tmp_path, ["1 7 read 1", "6 7 read 1"], tasks=tasks), by="comm")
    assert list(table.columns) == ["comm", "before", "after", "delta", "relative", "lower", "upper", "certain"]


@pytest.mark.parametrize(("by", "message"), [("pid", "event, probe, comm, cgroup, cpu"), ("process", "by='process'")])
def test_what_means_something_else_on_the_other_side_is_refused(tmp_path, by, message):
    with pytest.raises(UsageError, match=message):
        event_changes(*sides(tmp_path, ["1 7 read 1"]), by=by)


def test_no_time_at_all_is_refused(tmp_path):
    before, after = sides(tmp_path, ["1 7 read 1"])
    with pytest.raises(UsageError, match="no time is selected"):
        event_changes(before, after.narrowed(Selection(window_ns=(START_NS, START_NS))))
