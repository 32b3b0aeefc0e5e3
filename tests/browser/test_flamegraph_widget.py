"""The same module as a live widget: driven by a model as anywidget has one, in a page of JupyterLab's colours."""

from __future__ import annotations

import pytest

from browser.live_page import live
from browser.waiting import until
from tracelab.profile import Profile
from tracelab.views.flamegraph import FlameGraph


@pytest.fixture
def view():
    return FlameGraph(Profile.from_collapsed({"main;read": 6, "main;work": 3, "main": 1}))


@pytest.fixture
def page(open_page, view):
    page = live(open_page("<!doctype html><body data-jp-theme-light='true'><h1>lab</h1>"), view)
    until(page, "el.__flame?.drawn == 4")
    return page


def test_a_click_is_told_to_python_as_the_path_of_the_frame(page, view):
    told = []
    view.on_state(lambda state: told.append(state["selection"]))
    box = page.evaluate("el.__flame.rect(3)")
    page.locator("canvas").click(position={"x": box["x"] + 20, "y": box["y"] + 9})
    page.wait_for_timeout(100)
    assert view.selection == ["main", "work"]
    page.locator("canvas").press("0")
    page.wait_for_timeout(100)
    assert told == [["main", "work"], []]


def test_new_data_from_python_replaces_the_graph(page, view):
    page.locator("input").fill("work")
    page.evaluate("el.__flame.zoom(2)")
    becomes(page, view, FlameGraph(Profile.from_collapsed({"init;work": 1, "init;idle": 3}), title="later"))
    until(page, "el.__flame.meta.title == 'later'")
    assert page.evaluate("[el.__flame.t.n, el.__flame.root, el.__flame.drawn]") == [4, 0, 4]
    assert page.locator(".tl-title").inner_text() == "later"
    assert page.locator(".tl-matched").inner_text() == "matched 25 %"


def becomes(page, view, other):
    view.first = other.first
    page.evaluate("model.say({ changed: true })")


def test_the_widget_is_as_high_as_its_tree_and_no_higher_than_a_screen(page, view):
    assert page.evaluate("el.__flame.scroll.clientHeight") == 3 * 18
    deep = FlameGraph(Profile.from_collapsed({";".join(f"f{i}" for i in range(100)): 1}))
    becomes(page, view, deep)
    until(page, "el.__flame.t.n == 101")
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
    assert page.evaluate("[model.listeners('change:state'), model.listeners('msg:custom')]") == [1, 1]
    page.evaluate("stop()")
    assert page.evaluate("[model.listeners('change:state'), model.listeners('msg:custom')]") == [0, 0]
    drawn = page.evaluate("(el.__flame === undefined)")
    assert drawn
