"""The same module as a live widget: driven by a model as anywidget has one, in a page of JupyterLab's colours."""

from __future__ import annotations

import base64

import pytest

from browser.waiting import until
from tracelab.profile import Profile
from tracelab.views.flamegraph import FlameGraph
from tracelab.views.saved import asset

START = """
async ([source, css, meta, bytes]) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const decode = (text) => {  // as a comm buffer arrives: somewhere inside a larger one, not aligned
    const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), all = new Uint8Array(raw.length + 3);
    all.set(raw, 3);
    return new DataView(all.buffer, 3);
  };
  const values = { meta, data: decode(bytes), selection: [] }, handlers = new Map();
  const model = window.model = {
    saved: [], get: (k) => values[k], set: (k, v) => { values[k] = v; },
    save_changes() { this.saved.push(structuredClone(values.selection)); },
    on: (name, fn) => { handlers.set(name, (handlers.get(name) || new Set()).add(fn)); },
    off: (name, fn) => { handlers.get(name)?.delete(fn); },
    listeners: (name) => handlers.get(name)?.size ?? 0,
    arrive(changed) {
      Object.assign(values, changed, { data: decode(changed.data) });
      for (const key of Object.keys(changed)) for (const fn of handlers.get(`change:${key}`) || []) fn();
    },
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const el = window.el = document.createElement("div");
  document.body.append(el);
  window.stop = await module.default.render({ model, el, signal: new AbortController().signal });
}
"""


def state(view):
    meta, data = view._packed()
    return meta, base64.b64encode(data).decode()


@pytest.fixture
def page(open_page):
    page = open_page("<!doctype html><body data-jp-theme-light='true'><h1>lab</h1>")
    view = FlameGraph(Profile.from_collapsed({"main;read": 6, "main;work": 3, "main": 1}))
    page.evaluate(START, [asset("flamegraph.js"), asset("flamegraph.css"), *state(view)])
    until(page, "el.__flame.drawn == 4")
    return page


def test_a_click_is_told_to_python_as_the_path_of_the_frame(page):
    box = page.evaluate("el.__flame.rect(3)")
    page.locator("canvas").click(position={"x": box["x"] + 20, "y": box["y"] + 9})
    assert page.evaluate("model.saved") == [["main", "work"]]
    page.locator("canvas").press("0")
    assert page.evaluate("model.saved") == [["main", "work"], []]


def test_new_data_from_python_replaces_the_graph(page):
    page.locator("input").fill("work")
    page.evaluate("el.__flame.zoom(2)")
    other = FlameGraph(Profile.from_collapsed({"init;work": 1, "init;idle": 3}), title="later")
    meta, data = state(other)
    page.evaluate("([meta, data]) => model.arrive({ meta, data })", [meta, data])
    assert page.evaluate("[el.__flame.t.n, el.__flame.root, el.__flame.drawn]") == [4, 0, 4]
    assert page.locator(".tl-title").inner_text() == "later"
    assert page.locator(".tl-matched").inner_text() == "matched 25 %"


def test_the_widget_is_as_high_as_its_tree_and_no_higher_than_a_screen(page):
    assert page.evaluate("el.__flame.scroll.clientHeight") == 3 * 18
    deep = FlameGraph(Profile.from_collapsed({";".join(f"f{i}" for i in range(100)): 1}))
    meta, data = state(deep)
    page.evaluate("([meta, data]) => model.arrive({ meta, data })", [meta, data])
    assert 400 < page.evaluate("el.__flame.scroll.clientHeight") < 500


def test_a_theme_that_jupyterlab_changes_is_followed_at_once(page):
    assert page.evaluate("el.__flame.theme") == "light"
    page.evaluate(
        "document.body.style.setProperty('--jp-layout-color0', '#111');"
        "document.body.style.setProperty('--jp-content-font-color1', '#eee');"
        "document.body.dataset.jpThemeLight = 'false'"
    )
    until(page, "el.__flame.theme == 'dark'")


def test_keys_do_not_reach_the_notebook(page):
    page.evaluate("window.heard = []; document.addEventListener('keydown', (e) => heard.push(e.key))")
    page.locator("canvas").focus()
    for key in ("n", "i", "0", "ArrowDown", "Enter", "x"):
        page.locator("canvas").press(key)
    assert page.evaluate("heard") == ["x"]
    assert page.evaluate("el.dataset.lmSuppressShortcuts") == "true"


def test_a_removed_widget_listens_to_nothing(page):
    assert page.evaluate("model.listeners('change:data')") == 1
    page.evaluate("stop()")
    assert page.evaluate("model.listeners('change:data')") == 0
    drawn = page.evaluate("(el.__flame === undefined)")
    assert drawn
