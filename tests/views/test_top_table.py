"""Top groups with their lines: peaks stay, losses are underlined, names are harmless."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions import session
from tracelab.analysis.top import top_over_time
from tracelab.errors import MissingTable, UsageError
from tracelab.views.sparkline import highest, spark_text
from tracelab.views.top_table import TopTable
from views import hostile

EVENTS = """
    time_s  tid  event  weight
    0.5     1    read   10
    1.5     1    read   40
    4.5     2    write  100
    4.6     2    read   1
    9.5     3    sync   5
"""
TASKS = "time_s tid change comm\n0 1 seen sh\n0 2 seen dd\n0 3 seen cp"
LOSSES = "time_s source reason count\n4.55 syscalls 'ring full' 7"


@pytest.fixture
def s(tmp_path: Path):
    return session(tmp_path, events=EVENTS, tasks=TASKS, losses=LOSSES)


def test_the_table_has_share_mean_and_peak_of_each_group(s) -> None:
    table = s.top_table("comm", n=2, bin_s=1).table
    assert table.to_dict("list") == {
        "series": ["dd", "sh"],
        "events": [101, 50],
        "share": [101 / 156, 50 / 156],
        "events_per_s": [10.1, 5.0],
        "peak_per_s": [101.0, 40.0],
        "peak_s": [4.0, 1.0],
    }
    assert (table.attrs["by"], table.attrs["others"], table.attrs["others_events"]) == ("comm", 1, 5)
    assert table.attrs["units"]["peak_per_s"] == "events/s"


def test_the_text_draws_lines_in_blocks_and_crosses_lossy_cells(s) -> None:
    s.mark(2, text="now")
    assert s.top_table("comm", n=2, bin_s=1).to_text() == (
        "Top 2 by comm\n"
        "0 s to 10 s; a cell is the highest rate in 1 s, and each line has a scale of its own\n"
        "      events   share   mean/s   peak/s  over time   comm\n"
        "         101  64.7 %     10.1      101      █       dd\n"
        "          50  32.1 %        5       40  ▂█          sh\n"
        "                                            ×       lost\n"
        "1 more with 5 events are not in here; give n=... for more\n"
        "events were lost in 1 s, which is underlined: rates are too low there\n"
        "marks: now (2 s, by user)"
    )


def sparks(view: TopTable) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg class='spark'.*?</svg>", view.to_html())]


def test_the_lines_show_peaks_losses_and_marks_at_their_place(s) -> None:
    s.mark(2, 4, text="storm")
    first, second = sparks(s.top_table("comm", n=2, bin_s=1))
    assert first.get("aria-label") == "dd: at most 101 events/s, at 4 s"
    shapes = {e.get("class"): e for e in second}
    assert shapes["line"].get("d") == "M0 0v-4h1v-14h1v18h8V0z"
    assert (shapes["lost"].get("x"), shapes["lost"].get("width")) == ("72.0", "18.0")
    assert (shapes["span"].get("x"), shapes["span"].get("width")) == ("36.0", "36.0")
    assert shapes["mark"].get("d") == "M36.0 0v22"


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200), st.integers(1, 60))
def test_the_highest_peak_is_kept_however_few_the_cells(values, cells):
    found = highest(np.array(values, float), cells)
    assert (len(found), found.max()) == (min(len(values), cells), max(values))
    assert set(found) <= set(values)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
def test_a_blank_is_nothing_and_a_full_block_is_the_peak(values):
    text = spark_text(np.array(values, float))
    assert [c == " " for c in text] == [v == 0 for v in values]
    assert all(text[i] == "█" for i, v in enumerate(values) if v and v == max(values))


def test_nothing_is_said_in_words(s) -> None:
    bundle = s.select(pid=99).top_table("comm")._repr_mimebundle_()
    assert all("no events in this selection" in form for form in bundle.values())


def test_what_cannot_be_asked_is_refused(s, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="by='colour'"):
        s.top_table("colour")
    with pytest.raises(MissingTable, match="events"):
        session(tmp_path, name="t.tracelab", tasks=TASKS).top_table("comm")


def test_a_thousand_groups_are_a_small_table() -> None:
    grid = pd.MultiIndex.from_product([[f"g{i}" for i in range(1000)], np.arange(300) * 0.1])
    rates = grid.to_frame(index=False, name=["series", "time_s"])
    rates["events"] = rates["series"].str[1:].astype(int)
    rates["events_per_s"], rates["lost_per_s"] = rates["events"] * 10.0, 0.0
    rates.attrs.update(bin_s=0.1, by="tid")
    view = TopTable(top_over_time(rates), rates)
    assert view.table["series"].tolist() == [f"g{i}" for i in range(999, 979, -1)]
    assert len(view._repr_mimebundle_()["text/html"]) < 40_000


def test_hostile_names_stay_text() -> None:
    texts = hostile.STORABLE
    rates = pd.DataFrame({"time_s": 0.0, "series": texts, "events": 1, "events_per_s": 1.0, "lost_per_s": 0.0})
    rates.attrs.update(bin_s=1.0, by=hostile.SCRIPT)
    marks = pd.DataFrame({"time_s": 0.5, "until_s": 0.7, "author": "x", "text": texts})
    view = TopTable(top_over_time(rates), rates, marks=marks, title=hostile.SCRIPT, notes=hostile.TEXTS)
    bundle = view._repr_mimebundle_()
    assert not re.search(r"<(img|svg onload|script)", bundle["text/html"])
    assert len(sparks(view)) == len(texts)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bundle["text/plain"])
