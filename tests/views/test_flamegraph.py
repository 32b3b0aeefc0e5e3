"""The flame graph without a browser: bytes for the page, picture, text, and what is never let through."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tracelab.analysis.stacks import SMALL
from tracelab.bench.synthetic import synthetic
from tracelab.errors import UsageError
from tracelab.profile import Frame, Profile
from tracelab.views import flamegraph
from tracelab.views.flame_picture import left_edges
from tracelab.views.flamegraph import FlameGraph
from views import hostile

SVG = "{http://www.w3.org/2000/svg}"


def small() -> Profile:
    main = Frame("main", "/usr/bin/app", file="main.c", line=3)
    read = Frame("ksys_read", "[kernel]", domain="kernel")
    program = Frame("bpf_prog_1234_count", "[bpf]", domain="bpf")
    complete = np.array([True, True, False])
    profile = Profile.from_stacks(
        [([main, read], 6e9), ([main, read, program], 3e9), ([main], 1e9)],
        quantity="on-CPU time",
        unit="ns",
        name="demo",
    )
    return Profile(**{**vars(profile), "complete": complete, "notes": ("lost 7 samples",)})


def large(functions: int, stacks: int) -> Profile:
    """Distinct stacks of random depth over `functions` functions with names of a usual length."""
    random = np.random.default_rng(5)
    frames = tuple(
        Frame(f"library::module_{i % 40}::function_{i}", f"/usr/lib/x86_64-linux-gnu/lib{i % 30}.so.6")
        for i in range(functions)
    )
    lengths = random.integers(5, 30, stacks)
    pick = (functions * random.random(int(lengths.sum())) ** 3).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    pick[offsets[:-1]] = 0
    weights = (random.pareto(1.2, stacks) + 1).round() * 1e6
    return Profile(frames, offsets, pick, weights, "on-CPU time", "ns")


def tags(svg: str, name: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(SVG + name))


def test_a_cell_holds_page_picture_and_numbers():
    bundle = FlameGraph(small())._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/svg+xml", "text/plain"}
    assert bundle["text/html"].startswith('<iframe sandbox="allow-scripts" title="demo"')
    assert re.findall(r"src=.{20}", re.sub(r'srcdoc="[^"]*"', "", bundle["text/html"])) == [
        "src='data:image/svg+xml;"
    ]
    assert bundle["text/plain"] == (
        "demo\n"
        "10 s of on-CPU time; 90 % of it in stacks that are complete to the outermost frame\n"
        "lost 7 samples\n"
        "      self   share      total   share  function\n"
        "       6 s    60 %        9 s    90 %  ksys_read  ([kernel])\n"
        "       3 s    30 %        3 s    30 %  bpf_prog_1234_count  ([bpf])\n"
        "       1 s    10 %       10 s   100 %  main  (/usr/bin/app)"
    )


def test_the_numbers_stand_beside_the_iframe_for_viewers_that_drop_it():
    cell = re.sub(
        r"<iframe.*?</iframe>", "", FlameGraph(small())._repr_mimebundle_()["text/html"], flags=re.S
    )
    assert "<td>ksys_read</td><td>[kernel]</td><td>kernel</td>" in cell
    assert "lost 7 samples" in cell


def test_the_bytes_are_the_nodes_in_preorder_as_columns():
    meta, data = FlameGraph(small()).first()
    n = meta["nodes"]
    assert (n, len(data)) == (4, 4 * 20)
    assert np.frombuffer(data, "<f8", n).tolist() == [0, 1e9, 6e9, 3e9]
    assert meta["columns"] == [["own", "f8"], ["frame", "i4"], ["depth", "i4"], ["pruned", "i4"]]
    frame, depth, pruned = np.frombuffer(data, "<i4", 3 * n, 8 * n).reshape(3, n).tolist()
    assert [meta["names"][f] if f >= 0 else f for f in frame] == [
        -1,
        "main",
        "ksys_read",
        "bpf_prog_1234_count",
    ]
    assert depth == [0, 1, 2, 3]
    assert pruned == [0, 0, 0, 0]
    assert meta["domains"] == {"user": 1e9, "kernel": 6e9, "bpf": 3e9}
    assert meta["notes"] == ["lost 7 samples"]
    assert json.loads(json.dumps(meta)) == meta


def test_a_large_tree_is_cut_for_the_page_and_whole_in_the_table(monkeypatch):
    monkeypatch.setattr(flamegraph, "MAX_NODES", 500)
    profile = large(400, 3000)
    view = FlameGraph(profile)
    assert len(view.drawn) < len(view.tree)
    assert view.drawn.self_weight.sum() == profile.total
    assert (view.drawn.frame == SMALL).any()
    assert len(view.table) == len(np.unique(profile.stack_frames))
    assert "merged (hatched)" in view.about()[1]


def test_a_cell_of_five_thousand_frames_is_under_200_kilobytes():
    view = FlameGraph(large(2000, 290))
    assert 4500 < len(view.tree) < 6000
    assert len(view.drawn) == len(view.tree)
    assert sum(len(form.encode()) for form in view._repr_mimebundle_().values()) < 200_000


def test_the_picture_draws_frames_in_proportion_and_labels_what_has_room():
    svg = FlameGraph(small()).to_svg()
    widths = sorted(
        float(w) for path in tags(svg, "path") for w in re.findall(r"M[\d.]+ [\d.]+h([\d.]+)v", path.get("d"))
    )
    assert widths == pytest.approx([0.3 * 960 - 0.5, 0.9 * 960 - 0.5, 960 - 0.5, 960 - 0.5])
    texts = [t.text for t in tags(svg, "text")]
    assert {"main", "ksys_read", "bpf_prog_1234_count", "all 10 s", "demo", "lost 7 samples"} <= set(texts)
    assert {"user 10 %", "kernel 60 %", "bpf 30 %"} <= set(texts)


def test_no_label_of_the_picture_is_longer_than_its_frame():
    view = FlameGraph(large(2000, 300))
    svg = view.to_svg()
    boxes = {}
    for path in tags(svg, "path"):
        for x, y, w in re.findall(r"M([\d.]+) (\d+)h([\d.]+)v", path.get("d")):
            boxes[float(x), int(y)] = float(w)
    labels = [t for t in tags(svg, "text") if t.get("class") is None]
    assert len(labels) > 20
    for label in labels:
        width = boxes[round(float(label.get("x")) - 3, 1), int(label.get("y")) - 13]
        assert len(label.text) * 7.3 <= width


def test_the_picture_stays_within_its_size():
    view = FlameGraph(large(4000, 20_000))
    least, most = len(view.to_svg(20_000).encode()), len(view.to_svg(150_000).encode())
    assert 10_000 < least <= 20_000 < most <= 150_000


def test_a_node_begins_where_its_elder_siblings_end():
    tree = FlameGraph(Profile.from_collapsed({"a;b": 5, "a;c": 3, "a": 2, "d": 4})).tree
    names = ["all", *(tree.frames[f].symbol for f in tree.frame[1:])]
    assert dict(zip(names, left_edges(tree), strict=True)) == {"all": 0, "a": 0, "b": 0, "c": 5, "d": 10}


def test_a_stack_deeper_than_the_picture_is_cut_and_said_so():
    view = FlameGraph(Profile.from_stacks([([Frame("f")] * 500, 1)]))
    svg = view.to_svg()
    assert float(ET.fromstring(svg).get("viewBox").split()[3]) < 1500
    assert "frames deeper than 70 are not in this picture" in [t.text for t in tags(svg, "text")]


def test_an_empty_profile_says_so_in_every_form():
    view = FlameGraph(Profile.from_stacks([], quantity="on-CPU time", unit="ns"))
    sentence = "no on-CPU time in this profile: nothing was sampled, or the selection left nothing"
    for form in view._repr_mimebundle_().values():
        assert sentence in form


def test_completeness_that_was_not_recorded_is_not_called_zero():
    view = FlameGraph(Profile.from_collapsed({"a": 1}))
    assert view.about() == ["1 samples of samples; not known which stacks are complete"]


def test_a_domain_and_unit_unheard_of_are_shown_as_they_are():
    stack = [Frame("f", domain="constructor")]
    view = FlameGraph(Profile.from_stacks([(stack, 2000)], unit="constructor"))
    assert "2,000 constructor of samples" in view.to_text()
    assert "constructor 100 %" in [t.text for t in tags(view.to_svg(), "text")]


def test_a_view_is_not_computed_to_be_named():
    view = FlameGraph(small())
    assert repr(view) == "<FlameGraph 'demo': 10 s>"
    assert "tree" not in vars(view)


def test_hostile_text_stays_text_in_html_and_svg():
    bundle = FlameGraph(hostile.profile())._repr_mimebundle_()
    for form in ("text/html", "image/svg+xml"):
        assert not re.search(r"<(img(?! alt='[^'<>]*' src='data:)|svg onload|script>d)", bundle[form])
        bundle[form].encode("utf-8")
    elements = {e.tag.removeprefix(SVG) for e in ET.fromstring(bundle["image/svg+xml"]).iter()}
    assert elements == {"svg", "style", "rect", "text", "path", "g"}


def test_hostile_text_cannot_drive_a_terminal():
    text = FlameGraph(hostile.profile()).to_text(top=100)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert r"\x1b]0;owned\x07\x1b[2J\x00" in text
    text.encode("utf-8")


def test_the_widget_has_a_state_and_gives_the_same_bytes_when_asked(monkeypatch):
    view = FlameGraph(Profile.from_collapsed({"main;work": 1}))
    widget, sent = view.widget(), []
    monkeypatch.setattr(widget, "send", lambda *message: sent.append(message))
    widget._asked(widget, {"seq": 7, "ask": "first"}, [])
    meta, data = view.first()
    assert sent == [({"seq": 7, "meta": meta}, [data])]
    assert "export default" in widget._esm
    view.selection = ["main"]
    assert widget.state == {"selection": ["main"]}
    widget.state = {"selection": ["main", "work"]}
    assert view.selection == ["main", "work"]
    assert view.widget() is widget
    widget.close()


# ---- what a live flame graph is asked for


def calls() -> FlameGraph:
    return FlameGraph(Profile.from_collapsed({"main;run;read": 6, "main;run;run;read": 1, "main;init": 3}))


def shown(answer) -> dict[str, float]:
    """Total weight by path of an answer."""
    meta, data = answer
    n, total, path, found = meta["nodes"], [], [], {}
    own = np.frombuffer(data, "<f8", n)
    frame, depth, _ = np.frombuffer(data, "<i4", 3 * n, 8 * n).reshape(3, n).tolist()
    for i in range(n):
        end = next((j for j in range(i + 1, n) if depth[j] <= depth[i]), n)
        total.append(own[i:end].sum())
        path = path[: max(depth[i] - 1, 0)] + ([meta["names"][frame[i]] if frame[i] >= 0 else "~"] if i else [])
        found[";".join(path)] = float(total[i])
    return found


def ask(view: FlameGraph, **asked):
    return shown(view.answer({"tree": {"layout": "merged", "by": "", "steps": [], "of": "", **asked}}))


def test_every_layout_of_the_same_stacks_can_be_asked_for():
    assert ask(calls(), layout="inverted") == {
        "": 10, "read": 7, "read;run": 7, "read;run;main": 6, "read;run;run": 1, "read;run;run;main": 1,
        "init": 3, "init;main": 3,
    }  # fmt: skip
    assert ask(calls(), layout="callers", of="run") == {"": 7, "run": 7, "run;main": 7}
    assert ask(calls(), layout="focus", of="run") == {
        "": 7, "run": 7, "run;read": 6, "run;run": 1, "run;run;read": 1,
    }  # fmt: skip
    assert ask(calls(), steps=[["collapse recursion"]])["main;run;read"] == 7


def test_a_part_of_a_tree_can_be_looked_into(monkeypatch):
    monkeypatch.setattr(flamegraph, "MAX_NODES", 3)
    view = FlameGraph(Profile.from_collapsed({f"main;f{i}": 1 + i for i in range(10)} | {"other;x": 100}))
    assert set(ask(view)) == {"", "~", "other", "other;x"}
    part = ask(view, root=[["main", "", "user"]])
    assert (part["main"], part["main;f9"], part[""]) == (55, 10, 155)
    assert ask(view, root=[["gone", "", "user"]]) == ask(view)


def test_what_a_profile_does_not_have_is_refused_in_words():
    with pytest.raises(UsageError, match="stacks process are not in this profile"):
        ask(calls(), by="process")
    with pytest.raises(UsageError, match="this profile has no times"):
        ask(calls(), layout="time")


def test_the_selected_stacks_are_a_profile():
    view = calls()
    assert view.selected().total == 10
    view.selection = ["main", "run"]
    assert view.selected().collapsed() == {"main;run;read": 6.0, "main;run;run;read": 1.0}
    view.selection = ["nowhere"]
    assert len(view.selected()) == 0


def test_a_state_is_part_of_the_page_and_of_the_next_view():
    state = {"layout": "inverted", "search": "read", "steps": [["hide", "init"]]}
    view = FlameGraph(calls().profile, state=state)
    assert view.first()[0]["state"] == state
    assert FlameGraph(calls().profile, state=view.state).state == state


def test_a_cell_keeps_less_of_a_large_tree_than_the_page_does():
    view = FlameGraph(synthetic(10_000))
    assert len(view.drawn) > flamegraph.CELL_NODES
    assert sum(len(form) for form in view._repr_mimebundle_().values()) < 200_000
    assert "too light to be drawn" not in "".join(view.about())
