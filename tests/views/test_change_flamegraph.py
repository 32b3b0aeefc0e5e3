from __future__ import annotations

import numpy as np
import pytest

from sessions import session
from tracelab.views import palette
from views import hostile


def samples(name: str = "extra"):
    """Ten seconds: `main` works alone for five, and calls another function half of the time after that."""
    rows = "\n".join(f"{i / 50 + 0.001} 7 {2 if i >= 250 and i % 2 else 1} 20000000" for i in range(499))
    return {
        "samples": f"time_s pid stack_id weight\n{rows}",
        "stacks": "stack_id frames\n1 1\n2 1,2",
        "frames": f"frame_id symbol\n1 main\n2 '{name}'",
    }


@pytest.fixture
def view(tmp_path):
    whole = session(tmp_path, **samples())
    return whole.select(time=(5, 10)).compare(whole.select(time=(0, 5))).flamegraph()


def test_both_sides_are_sent_with_what_is_certain(view):
    meta, data = view.first()
    n = meta["nodes"]
    assert [kind for _, kind in meta["columns"]] == ["f8", "f8", "f8", "i4", "i4", "i4", "u1"]
    assert [meta["names"][f] for f in range(2)] == ["extra", "main"] or meta["names"] == ["main", "extra"]
    at = {name: i for i, (name, _) in enumerate(meta["columns"])}
    sides = {name: np.frombuffer(data, "<f8", n, 8 * n * at[name]) for name in ("beforeSelf", "afterSelf")}
    assert sides["beforeSelf"].sum() == pytest.approx(1)
    assert sides["afterSelf"].sum() == pytest.approx(1)
    assert sides["afterSelf"].max() == pytest.approx(0.5, abs=0.01)
    certain = np.frombuffer(data, "u1", n, len(data) - n)
    assert certain.sum() >= 1
    assert (meta["change"], meta["changeUnit"], meta["cut"]) == (True, "share", False)


def test_what_changed_for_certain_is_orange_in_the_picture_and_the_sides_are_told(view):
    svg = view.to_svg()
    assert palette.CHANGE["light"][-1] in svg
    assert view.about()[0].startswith("before: s.tracelab: 0 s to 5 s")
    assert "orange: more than before" in view.about()[2]
    assert view.table["total_delta"].max() == pytest.approx(0.5, abs=0.01)


def test_the_same_turned_around_is_blue(tmp_path):
    whole = session(tmp_path, **samples())
    view = whole.select(time=(0, 5)).compare(whole.select(time=(5, 10))).flamegraph()
    assert palette.CHANGE["light"][0] in view.to_svg()
    assert palette.CHANGE["light"][-1] not in view.to_svg()


def test_two_parts_that_are_alike_are_grey(tmp_path):
    whole = session(tmp_path, **samples())
    view = whole.select(time=(0, 2)).compare(whole.select(time=(2, 4))).flamegraph()
    assert not view.changes.certain.any()
    assert "nothing changed for certain" in view.about()[2]


def test_hostile_names_are_no_markup(tmp_path):
    text = hostile.SCRIPT.replace("'", "").replace('"', "")
    whole = session(tmp_path, **samples(text))
    view = whole.select(time=(5, 10)).compare(whole.select(time=(0, 5))).flamegraph()
    for page in (view.to_svg(), view.to_html()):
        assert "<img src=x" not in page
