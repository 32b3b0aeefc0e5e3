"""Fill of maps, and what the machine did, with the whole tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions import START_NS, tables_of
from tracelab.analysis.machine import cpu_time, machine
from tracelab.analysis.occupancy import map_peaks, map_readings
from tracelab.errors import MissingTable
from tracelab.query.selection import Selection

MAPS = """
    map_id  name    type     max_entries  own
    1       flows   hash     1000         0
    2       ring    ringbuf  4096         1
    3       config  array    64           0
"""
STATS = """
    time_s  map_id  memlock_bytes  fill_bytes  entries  entries_exact
    1       1       5000           -           250      1
    1       2       9000           1024        -        -
    1       3       100            -           -        -
    2       1       7000           -           900      0
    2       2       9000           512         -        -
    2       3       100            -           -        -
"""
HOST = """
    time_s  cpu  user_ns    system_ns  irq_ns    idle_ns    steal_ns  mem_total_bytes  mem_available_bytes  load1  {}
    0       -1   0          0          0         0          0         1000             400                  0.5    100
    0       0    0          0          0         0          0         -                -                    -      -
    0       1    0          0          0         0          0         -                -                    -      -
    2       -1   1000000000 500000000  100000000 0          0         1000             100                  1.5    2100
    2       0    1000000000 500000000  100000000 400000000  0         -                -                    -      -
    2       1    0          0          0         1500000000 500000000 -                -                    -      -
""".format("context_switches")
TWO_SECONDS = {"end_ns": START_NS + 2_000_000_000}


def values(table):
    return [tuple(None if v != v else v for v in row) for row in table.itertuples(index=False)]


def test_maps_are_filled_by_entries_and_rings_by_bytes(tmp_path: Path) -> None:
    table = map_readings(tables_of(tmp_path, bpf_maps=MAPS, bpf_map_stats=STATS))
    assert values(table) == [
        (1.0, 1, "flows", "hash", False, 250.0, 1000.0, "entries", 0.25, False, 5000),
        (2.0, 1, "flows", "hash", False, 900.0, 1000.0, "entries", 0.9, True, 7000),
        (1.0, 2, "ring", "ringbuf", True, 1024.0, 4096.0, "bytes", 0.25, False, 9000),
        (2.0, 2, "ring", "ringbuf", True, 512.0, 4096.0, "bytes", 0.125, False, 9000),
        (1.0, 3, "config", "array", False, None, 64.0, "entries", None, False, 100),
        (2.0, 3, "config", "array", False, None, 64.0, "entries", None, False, 100),
    ]
    assert table.attrs["units"]["used_share"] == "1"


def test_a_peak_is_the_fullest_reading_and_when_it_was(tmp_path: Path) -> None:
    table = map_peaks(tables_of(tmp_path, bpf_maps=MAPS, bpf_map_stats=STATS))
    columns = ["map_id", "time_s", "used", "used_share", "estimated", "memlock_bytes"]
    assert values(table[columns]) == [
        (1, 2.0, 900.0, 0.9, True, 7000),
        (2, 1.0, 1024.0, 0.25, False, 9000),
        (3, 1.0, None, None, False, 100),
    ]


def test_the_time_of_a_cpu_is_split_into_shares_that_add_up_to_one(tmp_path: Path) -> None:
    table = cpu_time(tables_of(tmp_path, host=HOST, manifest=TWO_SECONDS))
    assert values(table) == [
        (0.0, 0, 0.5, 0.25, 0.05, 0.0, 0.2),
        (1.0, 0, 0.5, 0.25, 0.05, 0.0, 0.2),
        (0.0, 1, 0.0, 0.0, 0.0, 0.25, 0.75),
        (1.0, 1, 0.0, 0.0, 0.0, 0.25, 0.75),
    ]
    assert list(table) == ["time_s", "cpu", *(f"{k}_share" for k in ("user", "system", "irq", "steal", "idle"))]
    assert (table.attrs["bin_s"], table.attrs["end_s"]) == (1.0, 2.0)


def test_one_cpu_can_be_selected_and_the_machine_stays_whole(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, host=HOST, manifest=TWO_SECONDS).narrowed(Selection(cpus=(1,)))
    assert cpu_time(tables)["cpu"].unique().tolist() == [1]
    assert values(machine(tables)) == [
        (0.0, 600.0, 400.0, 1000.0, 0.5, None),
        (2.0, 900.0, 100.0, 1000.0, 1.5, 1000.0),
    ]


@pytest.mark.parametrize(("ask", "table"), [(map_readings, "bpf_map_stats"), (cpu_time, "host"), (machine, "host")])
def test_what_was_not_recorded_is_missing(tmp_path: Path, ask, table) -> None:
    with pytest.raises(MissingTable, match=f"table '{table}' was not recorded"):
        ask(tables_of(tmp_path, events="time_s pid\n1 7"))
