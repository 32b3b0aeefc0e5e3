"""The heat map in a real browser: dragging, keys, searching, and what comes back to Python."""

from __future__ import annotations

import pytest

from browser.live_page import live
from browser.waiting import until
from sessions import session

SAMPLES = "time_s pid stack_id weight\n" + "\n".join(f"{i / 50 + 0.001} 7 {1 + i // 250} 20" for i in range(499))
STACKS, FRAMES = "stack_id frames\n1 1\n2 1,2", "frame_id symbol\n1 main\n2 work"


@pytest.fixture
def part(tmp_path):
    return session(tmp_path, samples=SAMPLES, stacks=STACKS, frames=FRAMES, events="time_s pid\n1 7\n9 8")


@pytest.fixture
def view(part):
    return part.heatmap()


@pytest.fixture
def page(open_page, view):
    page = live(open_page("<!doctype html><body>"), view)
    until(page, "el.__heat?.drawn == 499")
    return page


def middle(page, cell):
    """Middle of a cell on the page."""
    box = page.locator("canvas[tabindex]").bounding_box()
    at = page.evaluate("(cell) => ({ ...el.__heat.place(cell), ...el.__heat.size })", cell)
    return box["x"] + at["x"] + at["w"] / 2, box["y"] + at["y"] + at["h"] / 2


def drag(page, first, last):
    page.mouse.move(*middle(page, first))
    page.mouse.down()
    page.mouse.move(*middle(page, last), steps=3)
    page.mouse.up()


def test_every_cell_is_hit_in_its_middle(page):
    box = page.locator("canvas[tabindex]").bounding_box()
    for cell in (0, 1, 49, 50, 333, 499):
        x, y = middle(page, cell)
        assert page.evaluate("([x, y]) => el.__heat.at(x, y)", [x - box["x"], y - box["y"]]) == cell


def test_a_range_is_dragged_and_with_ctrl_a_baseline(page, view):
    drag(page, 120, 220)
    until(page, "el.__heat.state.range")
    assert view.range == pytest.approx((2.4, 4.42))
    page.keyboard.down("Control")
    drag(page, 300, 250)
    page.keyboard.up("Control")
    until(page, "el.__heat.state.baseline")
    assert view.baseline == pytest.approx((5.0, 6.02))
    assert page.locator(".tl-live").inner_text().startswith("baseline 5 s to 6.02 s: ")
    page.keyboard.press("Escape")
    until(page, "!el.__heat.state.range")
    assert (view.range, view.baseline) == (None, None)


def test_keys_walk_select_and_step(page, view):
    canvas = page.locator("canvas[tabindex]")
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Enter"):
        canvas.press(key)
    assert view.range == pytest.approx((2.02, 2.04))
    canvas.press("Shift+ArrowRight")
    assert view.range == pytest.approx((2.02, 3.04))
    canvas.press("ArrowRight")
    assert view.range == pytest.approx((3.04, 4.06))
    canvas.press("ArrowLeft")
    canvas.press("ArrowLeft")
    assert view.range == pytest.approx((1.0, 2.02))
    canvas.press("b")
    assert (view.range, view.baseline) == (None, pytest.approx((1.0, 2.02)))


def test_marks_are_told_where_they_are(open_page, part):
    part.mark(2, 2.5, text="<b>storm</b>")
    page = live(open_page("<!doctype html><body>"), part.heatmap())
    until(page, "el.__heat?.drawn == 499")
    page.mouse.move(*middle(page, 110))
    assert page.locator(".tl-live").inner_text().endswith("; mark: <b>storm</b>")
    page.mouse.move(*middle(page, 200))
    assert "mark" not in page.locator(".tl-live").inner_text()


def test_a_range_from_python_is_shown(page, view):
    view.range = (1, 2)
    page.evaluate("(state) => model.arrive(state)", view.state)
    assert page.evaluate("el.__heat.cells(el.__heat.state.range)") == [50, 100]


def test_what_matches_is_painted(page):
    page.locator("input").fill("work")
    until(page, "el.__heat.matched")
    assert page.locator(".tl-bar [role=status]").inner_text() == "matched 49.9 %"
    colour = "Array.from(el.__heat.g.getImageData(X, Y, 1, 1).data).slice(0, 3)"
    seen = []
    for cell in (10, 400):
        box = page.locator("canvas[tabindex]").bounding_box()
        x, y = middle(page, cell)
        seen.append(page.evaluate(colour.replace("X", str(x - box["x"])).replace("Y", str(y - box["y"]))))
    grey, orange = seen
    assert len(set(grey)) == 1
    assert orange[0] > orange[1] > orange[2]
    page.locator("input").fill("/(/")
    until(page, "el.__heat.found.textContent.includes('not a regular expression')")


def test_something_else_is_counted_and_columns_get_longer(page, view):
    page.get_by_label("what is counted").select_option(label="all events")
    until(page, "el.__heat.drawn == 2")
    page.get_by_label("length of a column").select_option(label="column: 10 s")
    until(page, "el.__heat.meta.columns == 1")
    assert view.made.column_s == 10


@pytest.mark.parametrize("dark", [False, True])
def test_a_saved_heat_map_is_drawn_and_selects_without_kernel(part, open_page, dark):
    page = open_page(part.heatmap().to_html(), dark=dark)
    until(page, "document.querySelector('#view').__heat?.drawn == 499")
    assert page.evaluate("document.querySelector('#view').dataset.theme") == ("dark" if dark else "light")
    canvas = page.locator("canvas[tabindex]")
    canvas.focus()
    canvas.press("Enter")
    assert page.evaluate("document.querySelector('#view').__heat.state.range") == [0, 0.02]
    assert page.locator("select:visible").count() == 0
