"""A saved plot of event rates in a real browser: readout, series to switch off, and nothing that runs by itself."""

from __future__ import annotations

import pandas as pd
import pytest

from browser.live_page import live
from browser.waiting import until
from sessions import session
from tracelab.views import palette
from tracelab.views.event_rate import EventRate
from views import hostile

RATES = pd.DataFrame(
    [(0, "read", 100), (0, "write", 50), (1, "read", 0), (3, "read", 200), (3, "write", 10)],
    columns=["time_s", "series", "events_per_s"],
)
LOSSES = pd.DataFrame({"time_s": [3], "lost_per_s": [40]})


@pytest.fixture
def frame(open_cell):
    return open_cell(EventRate(RATES, losses=LOSSES, bin_s=1, by="event"))


def rates(frame, expression):
    return frame.evaluate(f"(() => {{ const r = document.querySelector('#view').__rates; return {expression} }})()")


def point_at(frame, bin_number):
    """Moves the pointer to the middle of a bin."""
    x = rates(frame, f"r.x(r.now.start + {bin_number + 0.5} * r.now.bin)")
    frame.locator("canvas").hover(position={"x": x, "y": 150})
    return frame.locator(".tl-tip").inner_text().split("\n")


def pixel(frame, bin_number, value):
    """Colour at a rate, in the middle of a bin."""
    at = f"r.x(r.now.start + {bin_number + 0.5} * r.now.bin)"
    y = f"270 - 34 - {value} / r.levels.at(-1) * (270 - 22 - 34)"
    return tuple(rates(frame, f"Array.from(r.g.getImageData({at}, {y}, 1, 1).data).slice(0, 3)"))


def colour(text):
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def test_the_pointer_gets_the_values_of_its_bin(frame):
    assert point_at(frame, 0) == [
        "0 s to 1 s",
        "all series: 150 events/s",
        "read: 100 events/s",
        "write: 50 events/s",
    ]
    assert point_at(frame, 1) == ["1 s to 2 s", "all series: 0 events/s"]
    assert point_at(frame, 2) == ["2 s to 3 s", "not recorded"]


def test_a_lossy_bin_is_read_out_as_a_range(frame):
    assert "lost: 40 events/s, so the rate lies between 210 and 250" in point_at(frame, 3)


def test_series_are_stacked_in_their_colours_and_losses_hatched_above(frame):
    assert rates(frame, "r.levels") == [0, 50, 100, 150, 200, 250]
    read, write = (colour(c) for c in palette.SERIES[:2])
    assert [pixel(frame, 0, v) for v in (50, 120)] == [read, write]
    assert pixel(frame, 3, 100) == read
    assert pixel(frame, 3, 205) == write
    above = {pixel(frame, 3, v) for v in range(213, 247, 2)}
    assert len(above) > 1
    assert above.isdisjoint({read, write})


def test_the_arrow_keys_walk_the_bins_and_with_shift_select(frame):
    canvas = frame.locator("canvas")
    canvas.focus()
    for _ in range(3):
        canvas.press("ArrowRight")
    assert frame.locator(".tl-tip").inner_text() == "2 s to 3 s\nnot recorded"
    canvas.press("Shift+ArrowRight")
    assert rates(frame, "r.state.range") == [2, 4]
    canvas.press("Escape")
    assert not frame.locator(".tl-tip").is_visible()
    canvas.press("Escape")
    assert rates(frame, "r.state.range") is None


def test_a_series_that_is_switched_off_leaves_the_stack_and_the_axis_follows(frame):
    frame.locator("button", has_text="read").click()
    assert frame.locator("button", has_text="read").get_attribute("aria-pressed") == "false"
    assert rates(frame, "[r.levels.at(-1), r.state.hidden]") == [50, ["read"]]
    assert pixel(frame, 0, 20) == colour(palette.SERIES[1])
    frame.locator("button", has_text="read").click()
    assert rates(frame, "[r.levels.at(-1), r.state.hidden]") == [250, []]


def test_lines_instead_of_a_stack(frame):
    frame.locator("button", has_text="lines").click()
    assert rates(frame, "r.levels.at(-1)") == 200
    assert pixel(frame, 3, 60) not in [colour(c) for c in palette.SERIES]
    assert frame.locator("button", has_text="stack").is_visible()


def test_a_time_is_dragged_zoomed_into_and_left_again(frame):
    canvas = frame.locator("canvas")
    box = canvas.bounding_box()
    frame.page.mouse.move(box["x"] + rates(frame, "r.x(1)"), box["y"] + 100)
    frame.page.mouse.down()
    frame.page.mouse.move(box["x"] + rates(frame, "r.x(3)"), box["y"] + 90, steps=4)
    frame.page.mouse.up()
    assert rates(frame, "r.state.range") == pytest.approx([1, 3], abs=0.02)
    frame.locator("button", has_text="zoom in").click()
    assert rates(frame, "r.span") == pytest.approx([1, 3], abs=0.02)
    assert rates(frame, "[r.first, r.last]") in ([0, 3], [1, 3], [0, 4], [1, 4])
    frame.locator("button", has_text="show all").click()
    assert rates(frame, "r.span") == [0, 4]


def test_the_picture_is_complete_where_scripts_do_not_run(open_page):
    page = open_page(
        EventRate(RATES, losses=LOSSES, bin_s=1, by="event").to_html(), java_script_enabled=False
    )
    assert page.locator("path[data-series]").count() == 2
    assert page.locator("text=lost 40").first.is_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_follows_the_theme(open_cell, dark):
    frame = open_cell(EventRate(RATES, bin_s=1, by="event"), dark=dark)
    assert rates(frame, "r.el.dataset.theme") == ("dark" if dark else "light")
    back = pixel(frame, 1, 110)
    assert back[0] < 60 if dark else back == (255, 255, 255)


def test_hostile_names_are_shown_and_never_run(open_cell):
    table = pd.DataFrame({"time_s": 0.0, "series": hostile.STORABLE, "events_per_s": 10.0})
    marks = pd.DataFrame({"time_s": [0.5], "until_s": [None], "text": [hostile.SCRIPT]})
    view = EventRate(
        table, bin_s=1, by=hostile.SCRIPT, title=hostile.SCRIPT, notes=hostile.TEXTS, marks=marks
    )
    frame = open_cell(view)
    frame.locator("canvas").focus()
    frame.locator("canvas").press("ArrowRight")
    told = frame.locator(".tl-tip").inner_text().split("\n")
    assert f"{hostile.SCRIPT}: 10 events/s" in told
    assert told[-1].startswith("mark: </script>")
    for where in (frame, frame.page.main_frame):
        assert where.locator("img:not([src^='data:image/svg+xml;base64,'])").count() == 0
    assert frame.page.title() == "notebook"


def test_an_empty_plot_is_a_page_without_a_script(open_page):
    page = open_page(EventRate(RATES[:0], bin_s=1, by="event").to_html())
    assert page.locator("script[type=module]").count() == 0
    assert page.locator("text=no events in this selection").is_visible()


# ---- with Python behind it

BURST = "time_s pid\n" + "\n".join(f"{i / 100} 7" for i in range(1000)) + "\n" + "\n".join(["4.0005 9"] * 300)


def test_a_zoom_is_counted_anew_and_a_burst_stays_as_high_as_it_is(open_page, tmp_path):
    view = session(tmp_path, events=BURST).event_rate(by="pid")
    page = live(open_page("<!doctype html><body>"), view)
    until(page, "el.__rates?.drawn > 0")
    seen = []
    for view_s in (None, [2, 6], [3.9, 4.1], [3.999, 4.003]):
        page.evaluate("(v) => el.__rates.look(v)", view_s)
        until(page, "!el.__rates.asking && !el.__rates.wanted")
        peak, fine = page.evaluate("[Math.max(...el.__rates.now.peak), el.__rates.now.fine]")
        seen.append(round(peak * fine))
        assert page.evaluate("el.__rates.levels.at(-1)") >= peak * 0.99
    assert all(300 <= events <= 302 for events in seen)
    assert page.evaluate("el.__rates.now.bin") < 0.001
    assert view.state["view"] == [3.999, 4.003]


def test_a_range_of_the_page_is_told_and_one_of_python_is_shown(open_page, tmp_path):
    view = session(tmp_path, events=BURST).event_rate()
    page = live(open_page("<!doctype html><body>"), view)
    until(page, "el.__rates?.drawn > 0")
    page.evaluate("el.__rates.select([1, 2])")
    page.wait_for_function("el.__rates.state.range")
    assert view.range == (1.0, 2.0)
    view.range = (3, 4.5)
    page.evaluate("(state) => model.arrive(state)", view.state)
    assert page.evaluate("el.__rates.state.range") == [3, 4.5]
