from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sessions import PROBES, tables_of
from tracelab.analysis.offcpu import thread_times
from tracelab.errors import MissingTable, UsageError
from tracelab.query import Selection

EVENTS = """
    time_s  pid  tid  cpu  probe     event      value       weight
    1       7    7    0    switches  sleeping   200000000   1
    2       7    7    0    runqueue  wakeup     10000000    1
    3       7    8    1    switches  preempted  50000000    2
    4       7    8    1    runqueue  preempted  300000000   1
    5       7    8    1    runqueue  unknown    -           1
    6       7    8    1    syscalls  preempted  999999999   1
"""
SAMPLES = """
    time_s  pid  tid  kind     weight      stack_id
    2       7    7    off-CPU  800000000   1
    3       7    7    off-CPU  100000000   2
    3       7    7    on-CPU   500000000   2
    3       7    7    wakeup   700000000   2
    4       9    9    off-CPU  2000000000  1
"""
TASKS = "time_s tid pid comm\n0 7 7 sh\n0 8 7 worker\n0 9 9 cc"
SCHEDULER = {
    name: {"table": table}
    for name, table in (("switches", "events"), ("runqueue", "events"), ("offcpu", "samples"))
}
ALL = {"events": EVENTS, "samples": SAMPLES, "tasks": TASKS, "manifest": {"probes": PROBES | SCHEDULER}}


def test_the_time_of_each_thread_is_on_a_cpu_waiting_for_one_or_off_cpu(tmp_path: Path) -> None:
    found = thread_times(tables_of(tmp_path, **ALL))
    assert found.to_dict("list") == {
        "tid": [9, 7, 8],
        "comm": ["cc", "sh", "worker"],
        "on_cpu_s": [0.0, 0.2, 0.1],
        "preempted_s": [0.0, 0.0, 0.3],
        "off_cpu_s": [2.0, 0.9, 0.0],
        "woken_s": [0.0, 0.01, 0.0],
    }
    assert found.attrs["units"]["off_cpu_s"] == "s"


def test_times_of_threads_add_up_to_those_of_their_processes(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **ALL)
    columns = ["on_cpu_s", "preempted_s", "off_cpu_s", "woken_s"]
    by_pid = thread_times(tables, "pid").set_index("pid")[columns]
    by_thread = thread_times(tables.narrowed(Selection(pids=(7,))))[columns].sum()
    pd.testing.assert_series_equal(by_pid.loc[7], by_thread, check_names=False)


def test_what_no_probe_recorded_is_unknown_rather_than_zero(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, **(ALL | {"manifest": {"probes": {"runqueue": {"table": "events"}}}}))
    found = thread_times(tables, "tid")
    assert found["tid"].tolist() == [8, 7]
    assert found["preempted_s"].tolist() == [0.3, 0.0]
    assert found[["on_cpu_s", "off_cpu_s"]].isna().all(axis=None)


def test_a_session_without_the_scheduler_says_how_to_record_it(tmp_path: Path) -> None:
    with pytest.raises(MissingTable, match="record with --events switches,runqueue,offcpu"):
        thread_times(tables_of(tmp_path, events=EVENTS))


def test_a_group_that_threads_do_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can be grouped by thread, process"):
        thread_times(tables_of(tmp_path, **ALL), "event")
