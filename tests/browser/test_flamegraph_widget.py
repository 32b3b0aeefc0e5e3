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
    until(page, "el.__flame?.pane.drawn == 4")
    return page


def test_a_click_is_told_to_python_as_the_path_of_the_frame(page, view):
    told = []
    view.on_state(lambda state: told.append(state["selection"]))
    box = page.evaluate("el.__flame.pane.rect(3)")
    page.locator("canvas").click(position={"x": box["x"] + 20, "y": box["y"] + 9})
    page.wait_for_timeout(100)
    assert view.selection == ["main", "work"]
    page.locator("canvas").press("0")
    page.wait_for_timeout(100)
    assert told == [["main", "work"], []]


def test_new_data_from_python_replaces_the_graph(page, view):
    page.locator("input").fill("work")
    page.evaluate("el.__flame.pane.zoom(2)")
    becomes(page, view, FlameGraph(Profile.from_collapsed({"init;work": 1, "init;idle": 3}), title="later"))
    until(page, "el.__flame.base?.meta.title == 'later'")
    assert page.evaluate("[el.__flame.pane.t.n, el.__flame.pane.root, el.__flame.pane.drawn]") == [4, 0, 4]
    assert page.locator(".tl-title").inner_text() == "later"
    assert page.locator(".tl-matched").inner_text() == "matched 25 % in 1 frames"


def becomes(page, view, other):
    view.first = other.first
    page.evaluate("model.say({ changed: true })")


def test_the_widget_is_as_high_as_its_tree_and_no_higher_than_a_screen(page, view):
    assert page.evaluate("el.__flame.pane.scroll.clientHeight") == 3 * 18
    deep = FlameGraph(Profile.from_collapsed({";".join(f"f{i}" for i in range(100)): 1}))
    becomes(page, view, deep)
    until(page, "el.__flame.pane.t.n == 101")
    assert 400 < page.evaluate("el.__flame.pane.scroll.clientHeight") < 500


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


# ---- what needs another tree

PATHS = {
    "main;run;sort;less": 40,
    "main;run;sort;sort;less": 20,
    "main;run;read": 25,
    "main;init;read": 5,
    "idle": 10,
}
SHOWN = """
(pane) => { const { t } = pane, flame = el.__flame, found = [];
  for (let i = 0; i < t.n; i++) found.push([flame.path(pane, i).join(";"), t.total[i], t.self[i]]);
  return found; }
"""


def tree_of(page, pane=0):
    return page.evaluate(f"({SHOWN})(el.__flame.panes[{pane}])")


@pytest.fixture
def tried(open_page):
    """A view whose trees the page rewrites, or, if it is said to be cut, Python."""

    def opened(cut):
        view = FlameGraph(Profile.from_collapsed(PATHS))
        page = live(open_page("<!doctype html><body>"), view)
        until(page, "el.__flame?.pane.drawn > 0")
        if cut:
            page.evaluate("el.__flame.base.meta.cut = true")
        return page, view

    return opened


STATES = [
    {"layout": "inverted"},
    {"layout": "sandwich", "of": "sort"},
    {"steps": [["hide", "/^run$/"]]},
    {"steps": [["keep", "read"]]},
    {"steps": [["focus", "run"]]},
    {"steps": [["collapse recursion"]]},
    {"steps": [["collapse prefix", "r"]]},
    {"steps": [["hide", "less"], ["collapse recursion"]], "layout": "inverted"},
]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_page_and_python_rewrite_a_tree_alike(tried, state):
    seen = []
    for cut in (False, True):
        page, view = tried(cut)
        view.state = view.state | state
        page.evaluate("(state) => model.arrive(state)", view.state)
        until(page, "el.__flame.live.textContent != 'asking the kernel …'")
        panes = page.evaluate("el.__flame.panes.length")
        assert panes == (2 if state.get("layout") == "sandwich" else 1)
        seen.append([sorted(tree_of(page, k)) for k in range(panes)])
        assert ("tree" in str(page.asked)) is cut
    assert seen[0] == seen[1]
    assert len(seen[0][0]) > 1


def test_what_is_hidden_by_the_menu_is_a_chip_and_can_be_undone_and_redone(tried):
    page, view = tried(False)
    page.locator("canvas").focus()
    for key in ("ArrowDown", "ArrowDown", "m"):
        page.keyboard.press(key)
    items = page.locator("[role=menuitem]")
    assert items.first.inner_text() == "zoom in"
    assert page.evaluate("document.activeElement.textContent") == "zoom in"
    items.filter(has_text="hide this function").click()
    assert page.locator(".tl-chip").all_inner_texts() == ["without run×"]
    assert "main;run" not in {row[0] for row in tree_of(page)}
    until(page, "el.__flame.host.state.steps?.length == 1")
    assert view.state["steps"] == [["hide", "/^run$/"]]
    page.get_by_label("undo").click()
    assert "main;run" in {row[0] for row in tree_of(page)}
    page.get_by_label("redo").click()
    assert "main;run" not in {row[0] for row in tree_of(page)}
    page.get_by_label("take back").click()
    assert "main;run" in {row[0] for row in tree_of(page)}
    assert page.locator(".tl-chip").count() == 0


def test_the_table_lists_functions_and_opens_callers_and_callees(tried):
    page, _ = tried(False)
    page.locator("button", has_text="functions").click()
    rows = page.locator(".tl-functions tbody tr")
    assert rows.first.inner_text().split("\t") == ["60 samples", "60 %", "60 samples", "60 %", "less", "user"]
    assert rows.count() == len({name for path in PATHS for name in path.split(";")})
    page.locator("input").fill("read")
    assert rows.count() == 1
    rows.locator("button").click()
    above, below = tree_of(page, 0), tree_of(page, 1)
    assert sorted(row[0] for row in above) == ["", "read", "read;init", "read;init;main", "read;run", "read;run;main"]
    assert below == [["", 30, 0], ["read", 30, 30]]
    assert page.locator(".tl-chip").inner_text().startswith("callers and callees of read")


def test_a_frame_its_stack_and_all_of_it_can_be_copied(tried):
    page, _ = tried(False)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("el.__flame.goto(['main', 'run'])")
    page.locator("canvas").focus()
    page.keyboard.press("c")
    until(page, "el.__flame.copied == 'main\\nrun'")
    page.keyboard.press("m")
    page.locator("[role=menuitem]", has_text="collapsed").click()
    until(page, "el.__flame.copied.includes(';')")
    assert page.evaluate("el.__flame.copied").splitlines() == [
        "main;run;sort;less 40",
        "main;run;sort;sort;less 20",
        "main;run;read 25",
    ]


def test_a_selection_and_a_search_from_python_are_shown(page, view):
    view.selection = ["main", "work"]
    page.evaluate("(state) => model.arrive(state)", view.state)
    assert page.evaluate("el.__flame.pane.root") == 3
    view.highlight("read")
    page.evaluate("(state) => model.arrive(state)", view.state)
    assert page.locator(".tl-matched").inner_text() == "matched 0 % of zoom in 1 frames"
    assert view.selected().collapsed() == {"main;work": 3.0}


def test_zooming_and_panning_freely_keep_the_point_below_the_pointer(page):
    page.locator("canvas").hover(position={"x": 300, "y": 9})
    at = "el.__flame.pane.lo + 300 / el.__flame.pane.scale"
    before = page.evaluate(at)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    until(page, "el.__flame.pane.hi - el.__flame.pane.lo < 5")
    assert page.evaluate(at) == pytest.approx(before, abs=0.02)
    low = page.evaluate("el.__flame.pane.lo")
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 9, steps=4)
    page.mouse.up()
    assert page.evaluate("el.__flame.pane.lo") > low
    page.locator("canvas").press("0")
    assert page.evaluate("[el.__flame.pane.lo, el.__flame.pane.hi]") == [0, 10]


def test_what_python_has_cut_is_asked_for_when_it_would_be_seen(open_page, monkeypatch):
    monkeypatch.setattr("tracelab.views.flamegraph.MAX_NODES", 12)
    heavy = {f"main;big_{i}": 1000 for i in range(10)}
    view = FlameGraph(Profile.from_collapsed(heavy | {f"main;big_9;small_{i}": 10 for i in range(30)}))
    page = live(open_page("<!doctype html><body>"), view)
    until(page, "el.__flame?.pane.drawn > 0")
    assert not any("small" in row[0] for row in tree_of(page))
    page.evaluate("el.__flame.goto(['main', 'big_9'])")
    until(page, "el.__flame.pane.part")
    seen = {row[0]: row[1] for row in tree_of(page)}
    assert sum(weight for path, weight in seen.items() if path.startswith("main;big_9;")) == 300
    assert len([path for path in seen if ";small" in path]) >= 10
    assert page.evaluate("el.__flame.path(el.__flame.pane, el.__flame.pane.root)") == ["main", "big_9"]
    page.evaluate("el.__flame.goto([])")
    assert page.evaluate("[el.__flame.pane.part, el.__flame.pane.t.total[0]]") == [None, 10300]


def test_an_error_of_python_is_shown_and_the_picture_stays(tried):
    page, view = tried(True)
    view.state = {"steps": [["hide", "/(/"]]}
    page.evaluate("(state) => model.arrive(state)", view.state)
    until(page, "el.__flame.live.textContent.includes('not a regular expression')")
    assert len(tree_of(page)) == 11
