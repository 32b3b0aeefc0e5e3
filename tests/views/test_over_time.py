"""Programs, maps and the machine over time: what is stacked, what is said, and what is left out."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from sessions import START_NS, session
from tracelab.analysis.machine import cpu_time, machine
from tracelab.analysis.occupancy import map_peaks, map_readings
from tracelab.analysis.programtime import owner_time
from tracelab.analysis.programtime import program_time as programs_of
from tracelab.errors import MissingTable
from tracelab.views.chart import Bars
from tracelab.views.chart_view import ChartView
from tracelab.views.machine_time import machine_time
from tracelab.views.map_fill import map_fill
from tracelab.views.over_time import mean_of
from tracelab.views.program_time import program_time
from views import hostile

TWO_SECONDS = {
    "end_ns": START_NS + 2_000_000_000,
    "calibration": {"bpf_stats_floor_ns": 0.0},
    "recorder": {"pid": 9},
}
PROGRAMS = """
    prog_id  name    type            owner_pids  owner_comm  own
    1        on_sys  tracepoint      42          falco       0
    2        mine    raw_tracepoint  9           python      1
"""
PROGRAM_STATS = """
    time_s  prog_id  run_cnt  run_time_ns
    0       1        0        0
    0       2        0        0
    1       1        100      100000000
    1       2        10       20000000
    2       1        300      400000000
    2       2        20       40000000
"""
PROCS = """
    time_s  pid  comm    user_ns    system_ns
    0       42   falco   0          0
    0       9    python  0          0
    2       42   falco   400000000  0
    2       9    python  200000000  0
"""
MAPS = """
    map_id  name    type     max_entries  own
    1       flows   hash     1000         0
    2       ring    ringbuf  4096         0
    3       config  array    64           0
    4       slots   hash     100          1
"""
MAP_STATS = """
    time_s  map_id  memlock_bytes  fill_bytes  entries  entries_exact
    0.5     1       5120           -           250      1
    0.5     2       9216           1024        -        -
    0.5     3       100            -           -        -
    0.5     4       2048           -           50       1
    1.5     1       5120           -           900      0
    1.5     2       9216           512         -        -
    1.5     3       100            -           -        -
    1.5     4       2048           -           60       1
"""
HOST = """
    time_s  cpu  user_ns     system_ns  irq_ns  idle_ns    steal_ns  mem_total_bytes  mem_available_bytes  load1
    0       -1   0           0          0       0          0         4096             3072                 0.5
    0       0    0           0          0       0          0         -                -                    -
    2       -1   1000000000  500000000  0       500000000  0         4096             2048                 1.5
    2       0    1000000000  500000000  0       500000000  0         -                -                    -
"""


@pytest.fixture
def s(tmp_path: Path):
    tables = {"bpf_progs": PROGRAMS, "bpf_prog_stats": PROGRAM_STATS, "procs": PROCS, "host": HOST}
    return session(tmp_path, bpf_maps=MAPS, bpf_map_stats=MAP_STATS, manifest=TWO_SECONDS, **tables)


def test_program_time_stacks_programs_and_their_owners_and_leaves_out_the_recorders_own(s) -> None:
    s.mark(1, text="deploy")
    assert s.program_time().to_text() == (
        "CPU time of eBPF programs\n"
        "panel             layer           mean  peak  at\n"
        "share of one CPU  on_sys #1       20 %  30 %  1 s\n"
        "share of one CPU  user: falco 42  20 %  20 %  0 s\n"
        "left out: the recorder's own, 1 programs with 2 % of a CPU and process with 10 % of a CPU; "
        "own=True shows them\n"
        "programs and processes are read once a second: nothing finer is known\n"
        "marks: deploy (1 s, by user)"
    )


def test_program_time_shows_the_recorders_own_when_asked_and_its_table_has_them_always(s) -> None:
    names = [layer.name for layer in s.program_time(own=True).chart.panels[0].layers]
    assert names == ["on_sys #1", "mine #2", "user: falco 42", "user: python 9"]
    table = s.program_time().table
    assert table.groupby(["kind", "own"])["cpu_share"].mean().round(9).to_dict() == {
        ("program", False): 0.2,
        ("program", True): 0.02,
        ("user time", False): 0.2,
        ("user time", True): 0.1,
    }


def test_programs_beyond_the_dearest_are_one_layer(tmp_path: Path) -> None:
    stats = "\n".join(
        f"{t} {n} {t * 10} {t * n * 1_000_000}" for t in (0, 1) for n in range(1, 12)
    )
    s = session(
        tmp_path,
        bpf_progs="prog_id name\n" + "\n".join(f"{n} p{n}" for n in range(1, 12)),
        bpf_prog_stats=f"time_s prog_id run_cnt run_time_ns\n{stats}",
        procs="time_s pid comm user_ns\n0 1 a 0",
        manifest=TWO_SECONDS | {"end_ns": START_NS + 1_000_000_000},
    )
    view = s.program_time()
    layers = view.chart.panels[0].layers
    assert [layer.name for layer in layers] == [*(f"p{n} #{n}" for n in range(11, 6, -1)), "6 other programs"]
    assert sum(mean_of(layer) for layer in layers) == pytest.approx(0.066)


def test_map_fill_names_the_fullest_and_says_what_is_estimated_untold_or_left_out(s) -> None:
    assert s.map_fill().to_text() == (
        "Fill of eBPF maps\n"
        "panel                                      layer                      mean      peak      at\n"
        "entries in use: flows (map 1) (estimated)  flows (map 1) (estimated)  57.5 %    90 %      1.50 s\n"
        "unread in ring buffers: ring (map 2)       ring (map 2)               18.8 %    25 %      0.5 s\n"
        "memory charged to maps                     maps of others             14.1 KiB  14.1 KiB  0.5 s\n"
        "fullest map: flows (map 1) with 90 % (900 of 1,000 entries, estimated) at 1.50 s\n"
        "fullest ring buffer: ring (map 2) with 25 % (1,024 of 4,096 bytes) at 0.5 s\n"
        "maps whose use cannot be told, such as arrays, which are always whole: 1\n"
        "a ring buffer is read at one moment of a second, and may have been fuller in between\n"
        "left out: the recorder's own, 1 maps with 2 KiB; own=True shows them"
    )
    own = s.map_fill(own=True)
    assert "slots (map 4)" in own.to_text()
    assert [panel.y.high for panel in own.chart.panels] == [1.0, None, None]  # 90 % against all of the capacity


def test_the_machine_has_a_panel_per_cpu_and_says_that_pressure_is_not_recorded(s) -> None:
    assert s.machine().to_text() == (
        "The machine\n"
        "panel                       layer                       mean      peak   at\n"
        "CPU 0                       user                        50 %      50 %   0 s\n"
        "CPU 0                       system                      25 %      25 %   0 s\n"
        "memory in use               memory in use               1.50 KiB  2 KiB  2 s\n"
        "load average over a minute  load average over a minute  1         1.50   2 s\n"
        "pressure (PSI) was not recorded: this version does not read it\n"
        "the rest of each CPU's time was idle; the kernel counts in ticks of 10 ms"
    )
    assert s.machine().machine["mem_used_bytes"].tolist() == [1024, 2048]


def test_of_many_cpus_the_mean_is_drawn(tmp_path: Path) -> None:
    lines = [f"{t} {cpu} {t * cpu * 10_000_000} {t * (100 - cpu) * 10_000_000}" for t in (0, 1) for cpu in range(64)]
    host = "time_s cpu user_ns idle_ns\n" + "\n".join(lines)
    s = session(tmp_path, host=host, manifest=TWO_SECONDS | {"end_ns": START_NS + 1_000_000_000})
    view = s.machine()
    first = view.chart.panels[0]
    assert (first.title, round(mean_of(first.layers[0]), 9)) == ("mean of 64 CPUs", 0.315)
    assert "64 CPUs: select(cpu=[...]) up to 8 of them for a panel each" in view.chart.notes
    assert [p.title for p in s.select(cpu=[3, 5]).machine().chart.panels] == ["CPU 3", "CPU 5"]


def test_bars_are_stacked_bin_by_bin_and_end_with_the_window(s) -> None:
    [panel] = s.select(time=(0, 1.5)).program_time().chart.panels
    assert panel.stacked
    assert (panel.x.low, panel.x.high, panel.y.unit) == (0, 1.5, "share")
    assert [
        (bar.name, bar.start.tolist(), bar.end.tolist(), bar.y.round(9).tolist()) for bar in panel.layers
    ] == [
        ("on_sys #1", [0, 1], [1, 1.5], [0.1, 0.3]),
        ("user: falco 42", [0, 1], [1, 1.5], [0.2, 0.2]),
    ]


def test_the_marks_of_the_session_are_those_of_the_chart(s) -> None:
    s.mark(0.5, 1.5, text="storm")
    for view in (s.program_time(), s.map_fill(), s.machine()):
        assert [(mark.x, mark.until, mark.text) for mark in view.chart.marks] == [(0.5, 1.5, "storm")]
        assert "storm (0.5 s to 1.50 s, by user)" in view.to_text()


def test_of_many_marks_the_first_are_drawn_and_the_rest_is_said(s, monkeypatch) -> None:
    monkeypatch.setattr("tracelab.views.over_time.MOST_MARKS", 2)
    for i in range(5):
        s.mark(i / 10, text=f"m{i}")
    chart = s.machine().chart
    assert (len(chart.marks), chart.notes[-1]) == (2, "not drawn: the last 3 marks; s.marks() has all")


def test_the_figure_has_each_mark_once_through_all_panels(s) -> None:
    s.mark(0.5, text="deploy")
    s.mark(1, 1.5, text="storm")
    figure = s.machine().figure
    assert [(shape.type, shape.x0, shape.x1, shape.yref) for shape in figure.layout.shapes] == [
        ("line", 0.5, 0.5, "paper"),
        ("rect", 1, 1.5, "paper"),
    ]
    assert [a.text for a in figure.layout.annotations if a.font.color] == ["deploy", "storm"]


def test_a_bin_that_is_cut_short_weighs_less_in_the_mean(s) -> None:
    [program, _] = s.select(time=(0, 1.5)).program_time().chart.panels[0].layers
    assert isinstance(program, Bars)
    assert mean_of(program) == pytest.approx((0.1 + 0.3 * 0.5) / 1.5)


def test_bins_of_several_readings_are_said_to_be_means(s) -> None:
    assert "each bin is the mean of 2 s" in s.program_time(bin_s=2).chart.notes
    assert "each bin" not in " ".join(s.program_time(bin_s=0.5).chart.notes)


def test_every_form_is_small_and_has_the_marks(s) -> None:
    s.mark(0.5, text="deploy")
    for view in (s.program_time(), s.map_fill(), s.machine()):
        bundle = view._repr_mimebundle_()
        assert set(bundle) == {"text/html", "text/plain", "image/svg+xml", "application/vnd.plotly.v1+json"}
        assert all("deploy" in (form if isinstance(form, str) else json.dumps(form)) for form in bundle.values())
        assert len(bundle["text/html"]) < 40_000


def test_what_is_not_recorded_is_missing_and_what_is_empty_is_a_sentence(tmp_path: Path) -> None:
    s = session(tmp_path, events="time_s pid\n1 7")
    for ask, table in ((s.program_time, "bpf_prog_stats"), (s.map_fill, "bpf_map_stats"), (s.machine, "host")):
        with pytest.raises(MissingTable, match=f"table '{table}' was not recorded"):
            ask()
    only_own = session(
        tmp_path,
        name="own.tracelab",
        bpf_progs="prog_id name type own owner_pids\n2 mine kprobe 1 9",
        bpf_prog_stats="time_s prog_id run_cnt run_time_ns\n0 2 0 0\n1 2 10 20000000",
        procs=PROCS,
        bpf_map_stats="time_s map_id",
        host="time_s cpu",
        manifest=TWO_SECONDS | {"end_ns": START_NS + 1},
    )
    assert "no eBPF map was loaded whose fill can be told" in only_own.map_fill().to_text()
    bundle = only_own.machine()._repr_mimebundle_()
    for form in ("text/plain", "image/svg+xml"):
        assert "no reading of the machine lies in this selection" in bundle[form]
    assert "no eBPF program but the recorder's own was loaded" in only_own.program_time().to_text()


@pytest.mark.parametrize("text", hostile.STORABLE)
def test_hostile_names_stay_text(s, text) -> None:
    rest = {"window": (0.0, 2.0), "title": text, "notes": hostile.STORABLE}
    marks = pd.DataFrame({"time_s": [0.5], "until_s": [0.7], "author": [text], "text": [text]})
    programs, owners = programs_of(s._tables).assign(name=text, owner=text), owner_time(s._tables).assign(comm=text)
    readings, peaks = map_readings(s._tables).assign(name=text), map_peaks(s._tables).assign(name=text)
    programs.attrs = programs_of(s._tables).attrs
    views: list[ChartView] = [
        program_time(programs, owners, marks=marks, **rest),
        map_fill(readings, peaks, marks=marks, **rest),
        machine_time(cpu_time(s._tables), machine(s._tables), marks=marks, **rest),
    ]
    for view in views:
        bundle = view._repr_mimebundle_()
        for form in ("text/html", "image/svg+xml"):
            assert not re.search(r"<(img(?! alt='[^'<>]*' src='data:)|svg onload|script>d)", bundle[form])
        ET.fromstring(bundle["image/svg+xml"])
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bundle["text/plain"])
        assert "<img" not in json.dumps(bundle["application/vnd.plotly.v1+json"])
