from __future__ import annotations

import json

import numpy as np
import pytest

from sessions import session
from tracelab.views import heatmap as module
from views import hostile

SAMPLES = "time_s pid stack_id weight\n0.5 7 1 10\n0.51 7 2 20\n3 9 2 40"
STACKS, FRAMES = "stack_id frames\n1 1\n2 1,2", "frame_id symbol\n1 main\n2 work"
EVENTS = "time_s pid event value\n1 7 read 100\n2 7 write 50\n2 7 read 30"


@pytest.fixture
def part(tmp_path):
    return session(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, events=EVENTS)


def values(answer):
    meta, data = answer
    assert len(data) == 8 * meta["cells"]
    numbers = np.frombuffer(data, "<f4", meta["cells"])
    return {int(i): float(numbers[i]) for i in np.flatnonzero(numbers)}


def test_a_heat_map_sends_its_cells_and_what_else_it_could_be_of(part):
    view = part.heatmap()
    meta, data = view.first()
    assert values((meta, data)) == {25: 30, 150: 40}
    assert [choice["text"] for choice in meta["choices"]] == [
        "samples: on-CPU",
        "all events",
        "events: read",
        "events: write",
        "time of: read",
        "time of: write",
    ]
    assert (meta["chosen"], meta["columnS"], meta["cellS"], meta["rows"]) == (0, 1, 0.02, 50)
    assert json.loads(json.dumps(meta))["notes"] == []


def test_something_else_can_be_counted_in_longer_columns(part):
    view = part.heatmap()
    answer = view.answer({"moments": {"choice": {"of": "latency", "name": "read"}, "columnS": 10}})
    assert values(answer) == {5: 100, 10: 30}
    assert view.made.quantity == "read: values added up"


def test_moments_are_painted_by_what_matches(part):
    view = part.heatmap()
    meta, data = view.answer({"match": "work", "columnS": 1})
    assert meta["share"] == pytest.approx(60 / 70)
    found = np.frombuffer(data, "<f4")
    assert {int(i): float(found[i]) for i in np.flatnonzero(found)} == {25: 20, 150: 40}


def test_ranges_are_state_and_can_be_set(part):
    view = part.heatmap()
    assert view.range is None
    view.range = (1, 2.5)
    view.baseline = (3, 4)
    assert view.state == {"range": [1, 2.5], "baseline": [3, 4]}
    assert (view.range, view.baseline) == ((1.0, 2.5), (3.0, 4.0))
    view.range = None
    assert view.range is None


def test_the_table_has_the_recorded_moments(part):
    table = part.select(time=(0.5, 1)).heatmap().table
    assert list(table.columns) == ["time_s", "value", "lost"]
    assert (len(table), table["time_s"].min(), table["value"].sum()) == (25, 0.5, 30)


def test_a_long_session_is_saved_coarser_and_loses_nothing(part, monkeypatch):
    monkeypatch.setattr(module, "SAVED_CELLS", 100)
    coarse = module._coarser(part.heatmap().made, 100)
    assert (len(coarse.values), coarse.rows, coarse.cell_s) == (100, 10, 0.1)
    assert coarse.values.sum() == 70


def test_without_samples_it_is_of_events(tmp_path):
    view = session(tmp_path, events=EVENTS).heatmap()
    assert values(view.first()) == {50: 1, 100: 2}
    assert not view.first()[0]["searchable"]


def test_hostile_names_are_shown_and_never_markup(tmp_path):
    text = hostile.SCRIPT.replace("'", "").replace('"', "")
    part = session(tmp_path, events=f"time_s pid event value\n1 7 '{text}' 5")
    view = part.heatmap("events", event=text)
    for page in (view.to_svg(), view.to_html(), view._repr_mimebundle_()["text/html"]):
        assert "<img src=x" not in page
