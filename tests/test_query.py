"""The kernels: selections, thread names over time, and counts that honour weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions import SECOND, START_NS, make_session, tables_of
from tracelab.analysis.latency import quantiles_of
from tracelab.errors import MissingTable, NotASession, UsageError
from tracelab.query import Selection, kernels, lives
from tracelab.query.sql import select
from tracelab.query.tables import Tables
from tracelab.session.reader import Store

EVENTS = """
    time_s  cpu  pid  tid  event  value  weight
    0.5     0    7    7    read   100    1
    1.5     1    7    8    read   300    3
    1.6     1    9    9    write  -      1
    9.9     0    5    5    read   50     1
    10      0    5    5    read   50     1
"""
TASKS = """
    time_s  tid  pid  change  comm    cgroup
    0       7    7    seen    sh      /user/a
    1       7    7    exec    python  /user/a
    0       8    7    seen    worker  /user/a
    1.55    9    9    fork    sh      /system/x
    2       9    9    exit    sh      /system/x
"""


def records(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(frame.itertuples(index=False, name=None))


def at(seconds: float) -> int:
    return START_NS + round(seconds * SECOND)


class TestCounts:
    def test_a_row_counts_as_many_events_as_it_stands_for(self, tmp_path: Path) -> None:
        found = kernels.event_counts(tables_of(tmp_path, events=EVENTS), "event", SECOND)
        assert list(found.columns) == ["probe", "event", "bin", "count"]
        assert records(found) == [
            ("syscalls", "read", 0, 1),
            ("syscalls", "read", 1, 3),
            ("syscalls", "write", 1, 1),
            ("syscalls", "read", 9, 2),
        ]

    def test_what_happens_at_the_very_end_is_in_the_last_bin(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, events=EVENTS)
        assert kernels.bin_count(tables, SECOND) == 10
        assert kernels.event_counts(tables, "cpu", SECOND)["bin"].max() == 9

    def test_bins_count_from_the_begin_of_the_selected_time(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, events=EVENTS).narrowed(Selection(window_ns=(at(1.5), at(9.95))))
        assert records(kernels.event_counts(tables, "probe", SECOND)) == [
            ("syscalls", 0, 4),
            ("syscalls", 8, 1),
        ]
        assert kernels.bin_count(tables, SECOND) == 9

    def test_a_selection_outside_of_the_recording_is_empty(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, events=EVENTS).narrowed(Selection(window_ns=(at(20), at(30))))
        assert tables.window_ns == (at(10), at(10))
        assert records(kernels.event_counts(tables, "pid", SECOND)) == []

    @pytest.mark.parametrize("by", kernels.GROUPS)
    def test_the_groups_add_up_to_all_events(self, tmp_path: Path, by: str) -> None:
        tables = tables_of(tmp_path, events=EVENTS, tasks=TASKS)
        assert kernels.event_counts(tables, by, SECOND)["count"].sum() == 7
        assert kernels.event_totals(tables, by)["count"].sum() == 7

    def test_totals_have_the_values_by_weight_and_leave_the_unknown_out(self, tmp_path: Path) -> None:
        found = kernels.event_totals(tables_of(tmp_path, events=EVENTS), "event")
        assert records(found.fillna(-1)) == [
            ("syscalls", "read", 6, 6, 1100.0, 300.0),
            ("syscalls", "write", 1, 0, 0.0, -1.0),
        ]

    def test_another_group_is_a_mistake_of_the_caller(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, events=EVENTS, samples="time_s pid")
        with pytest.raises(UsageError, match="by='colour': rows can be grouped by event, probe, comm"):
            kernels.event_totals(tables, "colour")
        with pytest.raises(UsageError, match="by='event': table samples has no column probe"):
            kernels.stack_weights(tables, "on-CPU", "event")


class TestNames:
    def test_a_thread_has_at_every_moment_the_name_it_had_then(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, events=EVENTS, tasks=TASKS)
        found = kernels.event_totals(tables, "thread")
        assert sorted(records(found[["tid", "comm", "count"]])) == [
            (5, "?", 2),
            (7, "sh", 1),
            (8, "worker", 3),
            (9, "sh", 1),
        ]

    def test_a_process_has_the_name_of_its_main_thread(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, events=EVENTS, tasks=TASKS)
        found = kernels.event_totals(tables, "process")
        assert sorted(records(found[["pid", "comm", "count"]])) == [
            (5, "?", 2),
            (7, "python", 3),
            (7, "sh", 1),
            (9, "sh", 1),
        ]

    def test_spans_leave_no_gap_from_before_to_after_all_times(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, tasks=TASKS)
        found = tables.collect(lives.spans(tables, "comm")).to_pandas().sort_values(["tid", "from_ns"])
        assert records(found) == [
            (7, -lives.FOREVER_NS, at(1), "sh"),
            (7, at(1), lives.FOREVER_NS, "python"),
            (8, -lives.FOREVER_NS, lives.FOREVER_NS, "worker"),
            (9, -lives.FOREVER_NS, lives.FOREVER_NS, "sh"),
        ]

    def test_only_what_touches_the_selected_time_is_joined(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, tasks=TASKS).narrowed(Selection(window_ns=(at(1), at(2))))
        found = tables.collect(lives.spans(tables, "comm")).to_pandas().sort_values(["tid", "from_ns"])
        assert found["comm"].tolist() == ["python", "worker", "sh"]

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 20), st.integers(1, 3), st.sampled_from("abc")), max_size=15),
        st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), min_size=1, max_size=15),
    )
    def test_every_event_gets_exactly_one_name(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        changes: list[tuple[int, int, str]],
        events: list[tuple[int, int]],
    ) -> None:
        changes = list({(t, tid): (t, tid, comm) for t, tid, comm in changes}.values())
        lines = [f"{t} {tid} rename {comm}" for t, tid, comm in changes]
        tables = tables_of(
            tmp_path_factory.mktemp("s"),
            tasks="\n".join(["time_s tid change comm", *lines]),
            events="\n".join(["time_s pid", *(f"{t} {tid}" for t, tid in events)]),
            manifest={"end_ns": at(30)},
        )

        def name(time: int, tid: int) -> str:
            mine = sorted((t, comm) for t, other, comm in changes if other == tid)
            return next((c for t, c in reversed(mine) if t <= time), mine[0][1] if mine else "?")

        expected: dict[tuple[int, str], int] = {}
        for time, tid in events:
            key = (tid, name(time, tid))
            expected[key] = expected.get(key, 0) + 1
        found = kernels.event_totals(tables, "thread")
        assert {(r[1], r[2]): r[3] for r in records(found)} == expected

    def test_without_table_tasks_names_are_missing_not_unknown(self, tmp_path: Path) -> None:
        with pytest.raises(MissingTable, match="table 'tasks'"):
            kernels.event_totals(tables_of(tmp_path, events=EVENTS), "comm")


class TestSelections:
    @pytest.mark.parametrize(
        ("selection", "values"),
        [
            (Selection(), [100, 300, None, 50, 50]),
            (Selection(window_ns=(at(0.5), at(1.6))), [100, 300]),
            (Selection(pids=(7,)), [100, 300]),
            (Selection(tids=(8, 9)), [300, None]),
            (Selection(cpus=(1,)), [300, None]),
            (Selection(events=("write",)), [None]),
            (Selection(comms=("sh",)), [100, None]),
            (Selection(comms=("?",)), [50, 50]),
            (Selection(comms=("worker",), window_ns=(at(1.5), at(1.6))), [300]),
            (Selection(cgroups=("/user",)), [100, 300]),
            (Selection(cgroups=("/user/a", "/system/x"), comms=("sh",)), [100, None]),
            (Selection(cgroups=("/use",)), []),
            (Selection(cgroups=("/",)), [100, 300, None]),
            (Selection(pids=()), []),
        ],
    )
    def test_rows_are_those_that_fit_everything(
        self, tmp_path: Path, selection: Selection, values: list[int | None]
    ) -> None:
        tables = tables_of(tmp_path, events=EVENTS, tasks=TASKS).narrowed(selection)
        rows = tables.collect(tables.frame("events")).sort_by("time_ns")
        assert rows["value"].to_pylist() == values
        assert rows.column_names == list(kernels.TABLES["events"].column_names)

    def test_a_table_is_not_narrowed_by_what_it_does_not_have(self, tmp_path: Path) -> None:
        tables = tables_of(
            tmp_path,
            tasks=TASKS,
            losses="time_s count\n1 5\n2 6",
            procs="time_s pid comm\n1 7 sh\n1 8 cc",
            bpf_progs="time_s prog_id\n3 1",
        )
        narrow = tables.narrowed(Selection(window_ns=(at(0), at(2)), comms=("sh",), events=("read",)))
        assert kernels.rows(narrow, "losses")["count"].tolist() == [5]
        assert kernels.rows(narrow, "procs")["pid"].tolist() == [7]
        assert kernels.rows(narrow, "bpf_progs")["prog_id"].tolist() == [1]

    def test_narrowing_twice_keeps_what_is_in_both(self) -> None:
        both = Selection(window_ns=(10, 30), pids=(1, 2)).narrowed(Selection(window_ns=(20, 40), pids=(2, 3)))
        assert both == Selection(window_ns=(20, 30), pids=(2,))
        assert Selection(window_ns=(0, 5)).narrowed(Selection(window_ns=(8, 9))).window_ns == (8, 8)

    def test_a_window_that_ends_before_it_begins_is_a_mistake(self) -> None:
        with pytest.raises(UsageError, match="begins before it ends"):
            Selection(window_ns=(2, 1))

    def test_a_selection_is_put_in_words(self) -> None:
        chosen = Selection(window_ns=(at(1), lives.FOREVER_NS), pids=(7,), comms=())
        assert chosen.describe(START_NS) == "1 s to the end, pid 7, comm (none)"
        assert Selection().describe() == ""


class TestLosses:
    TEXT = """
        time_s  cpu  source    reason        count
        0.1     0    syscalls  'ring full'   5
        0.2     1    syscalls  'ring full'   2
        2       0    oncpu     'ring full'   1
        10.3    0    syscalls  'ring full'   4
        0.1     0    syscalls  own           9
    """

    def test_they_are_counted_by_time_and_those_told_after_the_end_are_in_the_last_bin(
        self, tmp_path: Path
    ) -> None:
        found = kernels.loss_counts(tables_of(tmp_path, losses=self.TEXT), SECOND)
        assert records(found) == [
            ("syscalls", "ring full", 0, 7),
            ("oncpu", "ring full", 2, 1),
            ("syscalls", "ring full", 9, 4),
        ]

    def test_totals_have_what_was_left_out_on_purpose_too(self, tmp_path: Path) -> None:
        found = kernels.loss_totals(tables_of(tmp_path, losses=self.TEXT).narrowed(Selection(cpus=(0,))))
        assert records(found) == [
            ("oncpu", "ring full", 1, at(2), at(2)),
            ("syscalls", "own", 9, at(0.1), at(0.1)),
            ("syscalls", "ring full", 9, at(0.1), at(10.3)),
        ]


class TestValues:
    def test_a_histogram_has_eight_buckets_per_doubling(self, tmp_path: Path) -> None:
        values = ("0 1", "1 1", "2 2", "1024 1", "1100 1", "1117 1", "- 1", "-5 1")
        text = "\n".join(["time_s pid value weight", *(f"1 1 {v}" for v in values)])
        found = kernels.value_histogram(tables_of(tmp_path, events=text), "probe")
        assert records(found) == [
            ("syscalls", -1, 2, -5.0),
            ("syscalls", 0, 1, 1.0),
            ("syscalls", 8, 2, 4.0),
            ("syscalls", 80, 2, 2124.0),
            ("syscalls", 81, 1, 1117.0),
        ]

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(1, 2**60), min_size=1, max_size=60))
    def test_no_percentile_is_off_by_more_than_9_percent(
        self, tmp_path_factory: pytest.TempPathFactory, values: list[int]
    ) -> None:
        text = "\n".join(["time_s pid value", *(f"1 1 {v}" for v in values)])
        tables = tables_of(tmp_path_factory.mktemp("s"), events=text)
        found = quantiles_of(kernels.value_histogram(tables, "probe"), ["probe"], (0.5, 0.99))
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            exact = sorted(values)[max(0, int(np.ceil(q * len(values))) - 1)]
            assert found[name][0] == pytest.approx(exact, rel=2 ** (1 / 8) - 1 + 1e-6)

    def test_exact_quantiles_are_those_of_numpy(self, tmp_path: Path) -> None:
        values = [5, 1, 9, 14, 2]
        text = "\n".join(["time_s pid event value", *(f"1 1 read {v}" for v in values), "1 1 write -"])
        found = kernels.value_quantiles(tables_of(tmp_path, events=text), "event", (0.5, 0.9))
        assert list(found.columns) == ["probe", "event", "q0.5", "q0.9"]
        assert found[["probe", "event"]].to_numpy().tolist() == [["syscalls", "read"]]
        assert found.loc[0, ["q0.5", "q0.9"]].tolist() == pytest.approx(np.quantile(values, [0.5, 0.9]))

    def test_exact_quantiles_of_sampled_events_count_each_value_as_often_as_it_stands_for(
        self, tmp_path: Path
    ) -> None:
        text = "time_s pid value weight\n1 1 10 1\n1 1 20 1\n1 1 30 8"
        found = kernels.value_quantiles(tables_of(tmp_path, events=text), "probe", (0.1, 0.2, 0.5))
        assert records(found) == [("syscalls", 10.0, 20.0, 30.0)]


class TestStacks:
    def test_samples_are_added_up_by_stack_and_outcome(self, tmp_path: Path) -> None:
        text = """
            time_s  pid  stack_id  weight  unwound
            1       7    1         10      complete
            2       7    1         10      complete
            3       7    1         10      'stack copy too short'
            4       9    -         10      'no user stack'
        """
        found = kernels.stack_weights(tables_of(tmp_path, samples=text), "on-CPU")
        assert records(found) == [
            (-1, "no user stack", "ns", 10.0, 1),
            (1, "complete", "ns", 20.0, 2),
            (1, "stack copy too short", "ns", 10.0, 1),
        ]
        assert kernels.stack_weights(tables_of(tmp_path / "b", samples=text), "off-CPU").empty


class TestCounters:
    STATS = """
        time_s  prog_id  run_cnt  run_time_ns
        0       1        100      1000
        1       1        110      1100
        2       1        130      1300
        3       1        131      1310
        2.001   2        7        70
        3       2        9        90
    """

    def grown(self, tmp_path: Path, selection: Selection | None = None) -> list[tuple[object, ...]]:
        tables = tables_of(tmp_path, bpf_prog_stats=self.STATS).narrowed(selection or Selection())
        found = kernels.increments(tables, "bpf_prog_stats", "prog_id", ("run_cnt", "run_time_ns"))
        return records(found)

    def test_they_grow_from_the_first_reading_to_the_last_and_from_zero_for_what_appears_later(
        self, tmp_path: Path
    ) -> None:
        assert self.grown(tmp_path) == [(1, 31, 310, at(0), at(3)), (2, 9, 90, at(0), at(3))]

    def test_a_window_takes_the_readings_that_enclose_it(self, tmp_path: Path) -> None:
        found = self.grown(tmp_path, Selection(window_ns=(at(1.2), at(1.3))))
        assert found == [(1, 20, 200, at(1), at(2)), (2, 7, 70, at(1), at(2))]

    def test_a_counter_that_falls_belongs_to_a_new_bearer_of_the_number(self, tmp_path: Path) -> None:
        text = "time_s pid comm user_ns\n0 7 sh 50\n1 7 sh 80\n2 7 cc 5\n3 7 cc 9"
        found = kernels.increments(
            tables_of(tmp_path, procs=text), "procs", "pid", ("user_ns",), about=("comm",)
        )
        assert records(found[["pid", "user_ns", "comm"]]) == [(7, 39, "cc")]

    def test_one_reading_tells_no_growth(self, tmp_path: Path) -> None:
        text = "time_s pid comm user_ns\n0 7 sh 50"
        found = kernels.increments(tables_of(tmp_path, procs=text), "procs", "pid", ("user_ns",))
        assert records(found) == [(7, 0, at(0), at(0))]

    def test_no_reading_gives_no_rows(self, tmp_path: Path) -> None:
        found = kernels.increments(tables_of(tmp_path, procs="time_s pid"), "procs", "pid", ("user_ns",))
        assert found.empty


class TestRows:
    def test_integers_stay_integers_where_some_are_missing(self, tmp_path: Path) -> None:
        text = f"time_s pid stack_id\n1 1 {2**62 + 1}\n2 1 -"
        found = kernels.rows(tables_of(tmp_path, samples=text), "samples")
        assert found["stack_id"].tolist() == [2**62 + 1, pd.NA]
        assert found["time_ns"].dtype == np.int64


class TestSql:
    def test_an_answer_comes_in_the_order_that_was_asked_for(self, tmp_path: Path) -> None:
        found = select(
            tables_of(tmp_path, events=EVENTS),
            "SELECT event, sum(weight) AS n, min(stack_id) AS s FROM Events GROUP BY event ORDER BY n",
        )
        assert found["n"].dtype == np.int64
        assert records(found.fillna({"s": -1})) == [("write", 1, -1), ("read", 6, -1)]

    def test_sums_beyond_64_bits_become_floats(self, tmp_path: Path) -> None:
        found = select(
            tables_of(tmp_path, events=EVENTS), "select sum(time_ns::hugeint << 30) as s from events"
        )
        assert found["s"].dtype == np.float64

    def test_tables_may_be_joined_with_themselves_and_each_other(self, tmp_path: Path) -> None:
        tables = tables_of(tmp_path, events=EVENTS, tasks=TASKS)
        query = "with t as (select distinct tid, pid from tasks) select count(*) as n from events join t using (tid)"
        assert select(tables, query)["n"].tolist() == [3]

    @pytest.mark.parametrize(
        "query",
        [
            "copy (select 1) to '{path}/stolen.csv'",
            "copy events to '{path}/events/part-000001.parquet'",
            "drop view events",
            "create table t as select 1",
            "set enable_external_access = true",
            "attach '{path}/x.db'",
            "install httpfs",
            "pragma version",
            "select 1; select 2",
            "",
        ],
    )
    def test_anything_but_one_select_is_refused(self, tmp_path: Path, query: str) -> None:
        tables = tables_of(tmp_path, events=EVENTS)
        before = sorted(tables.store.path.rglob("*"))
        with pytest.raises(UsageError, match=r"s.sql\(\)"):
            select(tables, query.format(path=tables.store.path))
        assert sorted(tables.store.path.rglob("*")) == before

    @pytest.mark.parametrize(
        "query",
        [
            "select * from read_text('/etc/hostname')",
            "select * from read_csv('{path}/manifest.json')",
            "select * from '{path}/manifest.json'",
            "select * from glob('/*')",
            "select * from read_parquet('http://127.0.0.1:9/x')",
            "select * from secret, events",
        ],
    )
    def test_a_select_reaches_nothing_but_the_tables(self, tmp_path: Path, query: str) -> None:
        secret = pd.DataFrame({"a": [1]})
        tables = tables_of(tmp_path, events=EVENTS)
        with pytest.raises(UsageError) as caught:
            select(tables, query.format(path=tables.store.path))
        assert "START_NS" not in str(caught.value)
        assert "session_id" not in str(caught.value)
        assert len(secret) == 1

    def test_a_mistake_in_the_query_is_told_in_the_engines_words(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"Binder Error.*evnt"):
            select(tables_of(tmp_path, events=EVENTS), "select evnt from events")

    def test_a_table_that_was_not_recorded_says_how_to_record_it(self, tmp_path: Path) -> None:
        with pytest.raises(MissingTable, match="record with --events oncpu"):
            select(tables_of(tmp_path, events=EVENTS), "select count(*) from samples")

    def test_a_word_that_only_looks_like_a_table_is_no_table(self, tmp_path: Path) -> None:
        found = select(tables_of(tmp_path, events=EVENTS), "select count(*) as samples from events")
        assert found["samples"].tolist() == [5]

    def test_a_damaged_part_is_named(self, tmp_path: Path) -> None:
        path = make_session(tmp_path, events=EVENTS)
        (path / "events/part-000001.parquet").write_bytes(b"PAR1")
        with pytest.raises(NotASession, match=r"part-000001.parquet is damaged"):
            select(Tables(Store.open(path)), "select count(*) from events")
