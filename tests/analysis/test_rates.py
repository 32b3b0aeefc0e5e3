from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessions import SECOND, START_NS, tables_of
from tracelab.analysis.rates import bin_length_ns, lost_events, rates
from tracelab.errors import MissingTable, UsageError
from tracelab.query import Selection

EVENTS = """
    time_s  cpu  pid  event  weight
    0.5     0    7    read   1
    1.5     1    7    read   3
    1.6     1    9    write  1
    3.9     0    5    read   1
"""
SHORT = {"end_ns": START_NS + 4 * SECOND}


def test_a_quiet_second_is_a_row_with_zero(tmp_path: Path) -> None:
    found = rates(tables_of(tmp_path, events=EVENTS, manifest=SHORT), bin_s=1)
    assert found.to_dict("list") == {
        "time_s": [0.0, 1.0, 2.0, 3.0] * 2,
        "series": ["read"] * 4 + ["write"] * 4,
        "events": [1, 3, 0, 1, 0, 1, 0, 0],
        "events_per_s": [1.0, 3.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0],
        "lost_per_s": [0.0] * 8,
    }
    assert found.attrs["units"] == {
        "time_s": "s",
        "series": "name",
        "events": "events",
        "events_per_s": "events/s",
        "lost_per_s": "events/s",
    }
    assert (found.attrs["bin_s"], found.attrs["by"]) == (1.0, "event")


def test_rates_are_per_second_whatever_the_length_of_a_bin(tmp_path: Path) -> None:
    found = rates(tables_of(tmp_path, events=EVENTS, manifest=SHORT), "cpu", bin_s=2)
    assert found[["time_s", "series", "events_per_s"]].to_numpy().tolist() == [
        [0.0, "1", 2.0],
        [2.0, "1", 0.0],
        [0.0, "0", 0.5],
        [2.0, "0", 0.5],
    ]


@pytest.mark.parametrize("by", ["event", "probe", "cpu", "pid", "tid", "comm", "process"])
@pytest.mark.parametrize("bin_s", [None, 0.3, 100])
def test_the_rates_add_up_to_all_events(tmp_path: Path, by: str, bin_s: float | None) -> None:
    tasks = "time_s tid comm\n0 7 sh\n0 9 cc"
    found = rates(tables_of(tmp_path, events=EVENTS, tasks=tasks, manifest=SHORT), by, bin_s)
    assert found["events"].sum() == 6
    assert (found["events_per_s"] * found.attrs["bin_s"]).sum() == pytest.approx(6)


def test_time_that_was_not_recorded_has_no_rows(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, events=EVENTS, manifest=SHORT)
    wide = tables.narrowed(Selection(window_ns=(START_NS + 3 * SECOND, START_NS + 60 * SECOND)))
    assert rates(wide, bin_s=0.5)["time_s"].tolist() == [3.0, 3.5]


WHOLE = "time_s pid\n0.5 7"  # nothing was sampled out


def test_a_loss_is_spread_over_the_time_since_the_reading_before(tmp_path: Path) -> None:
    losses = "time_s source reason count\n1.01 syscalls 'ring full' 50\n1.01 syscalls own 7\n1.01 oncpu 'ring full' 9"
    tables = tables_of(tmp_path, events=WHOLE, losses=losses, manifest=SHORT)
    found = lost_events(tables, 20_000_000)
    assert (np.flatnonzero(found) * 0.02).tolist() == pytest.approx([0.92, 0.94, 0.96, 0.98, 1.0])
    assert found[found > 0].tolist() == [10.0] * 5
    table = rates(tables, bin_s=0.02)
    assert set(table.loc[np.isclose(table["time_s"], 0.96), "lost_per_s"]) == {500.0}


@pytest.mark.parametrize("bin_s", [0.01, 0.1, 0.7, 50])
def test_no_loss_is_lost_by_binning(tmp_path: Path, bin_s: float) -> None:
    losses = """
        time_s  reason           count
        0.001   'ring full'      5
        2       'side-band full'  7
        4.2     'ring full'      11
    """
    tables = tables_of(tmp_path, events=WHOLE, losses=losses, manifest=SHORT)
    assert lost_events(tables, round(bin_s * 1e9)).sum() == pytest.approx(23)


@pytest.mark.parametrize("seconds", [0.001, 0.9, 4.531528821, 10, 3600, 86400.5])
def test_default_bins_divide_the_time_into_equal_parts_that_a_plot_can_show(
    tmp_path: Path, seconds: float
) -> None:
    end_ns = START_NS + round(seconds * SECOND)
    tables = tables_of(tmp_path, events="time_s pid", manifest={"end_ns": end_ns})
    length = bin_length_ns(tables)
    count = round((end_ns - START_NS) / length)
    assert 100 < count <= 300
    assert abs(count * length - (end_ns - START_NS)) < count


def test_an_empty_recording_has_no_series(tmp_path: Path) -> None:
    assert rates(tables_of(tmp_path, events="time_s pid")).empty


def test_events_that_were_not_recorded_are_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match="record with --events syscalls"):
        rates(tables_of(tmp_path, marks="time_s text\n1 x"))


@pytest.mark.parametrize("bin_s", [0, -1, float("nan"), float("inf")])
def test_a_bin_has_a_length(tmp_path: Path, bin_s: float) -> None:
    with pytest.raises(UsageError, match="the length of a bin is a positive number of seconds"):
        rates(tables_of(tmp_path, events=EVENTS), bin_s=bin_s)


def test_more_bins_than_fit_into_memory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose a longer bin_s than 1e-08"):
        rates(tables_of(tmp_path, events=EVENTS), bin_s=1e-8)


def test_lost_rows_of_sampled_events_weigh_as_much_as_kept_ones_and_texts_nothing(tmp_path: Path) -> None:
    losses = "time_s reason count\n1 'ring full' 5\n1 'text ring full' 7\n1 'sampled out' 90"
    tables = tables_of(tmp_path, events="time_s pid weight\n1 7 8\n1 7 12", losses=losses, manifest=SHORT)
    assert lost_events(tables, 1_000_000_000).sum() == 50
