"""A saved plot of event rates in a real browser: readout, series to switch off, and nothing that runs by itself."""

from __future__ import annotations

import pandas as pd
import pytest

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


def point_at(frame, bin_number):
    """Moves the pointer to the middle of a bin."""
    svg = frame.locator("#view > svg")
    left, _, width, _ = frame.evaluate("document.querySelector('#view').__rates.meta.plot")
    scale = svg.bounding_box()["width"] / 900
    svg.hover(position={"x": (left + (bin_number + 0.5) / 4 * width) * scale, "y": 150 * scale})
    return frame.locator(".tl-tip").inner_text().split("\n")


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


def test_the_arrow_keys_walk_the_bins(frame):
    svg = frame.locator("#view > svg")
    svg.focus()
    for _ in range(3):
        svg.press("ArrowRight")
    assert frame.locator(".tl-tip").inner_text() == "2 s to 3 s\nnot recorded"
    svg.press("Escape")
    assert not frame.locator(".tl-tip").is_visible()


def test_a_series_that_is_switched_off_leaves_the_stack_and_the_axis_follows(frame):
    def top(series):
        box = frame.locator(f"path[data-series='{series}']").bounding_box()
        return box["height"]

    before = top(1)
    frame.locator("button", has_text="read").click()
    assert frame.locator("button", has_text="read").get_attribute("aria-pressed") == "false"
    assert not frame.locator("path[data-series='0']").is_visible()
    labels = [t.text_content() for t in frame.locator("g.y text").all()]
    assert labels == ["0", "10", "20", "30", "40", "50"]
    frame.locator("button", has_text="read").click()
    assert top(1) == pytest.approx(before)
    assert [t.text_content() for t in frame.locator("g.y text").all()][-1] == "250"


def test_switching_a_series_off_and_on_restores_the_picture_exactly(frame):
    paths = "Array.from(document.querySelectorAll('path')).map((p) => p.getAttribute('d'))"
    before = frame.evaluate(paths)
    for _ in range(2):
        frame.locator("button", has_text="write").click()
    assert frame.evaluate(paths) == before


def test_the_picture_is_complete_where_scripts_do_not_run(open_page):
    page = open_page(
        EventRate(RATES, losses=LOSSES, bin_s=1, by="event").to_html(), java_script_enabled=False
    )
    assert page.locator("path[data-series]").count() == 2
    assert page.locator("text=lost 40").first.is_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_follows_the_theme(open_cell, dark):
    frame = open_cell(EventRate(RATES, bin_s=1, by="event"), dark=dark)
    back = frame.evaluate("getComputedStyle(document.querySelector('.bg')).fill")
    assert back == ("rgb(27, 27, 27)" if dark else "rgb(255, 255, 255)")


def test_hostile_names_are_shown_and_never_run(open_cell):
    rates = pd.DataFrame({"time_s": 0.0, "series": hostile.STORABLE, "events_per_s": 10.0})
    view = EventRate(rates, bin_s=1, by=hostile.SCRIPT, title=hostile.SCRIPT, notes=hostile.TEXTS)
    frame = open_cell(view)
    frame.locator("#view > svg").focus()
    frame.locator("#view > svg").press("ArrowRight")
    assert f"{hostile.SCRIPT}: 10 events/s" in frame.locator(".tl-tip").inner_text().split("\n")
    for where in (frame, frame.page.main_frame):
        assert where.locator("img:not([src^='data:image/svg+xml;base64,'])").count() == 0
    assert frame.page.title() == "notebook"


def test_an_empty_plot_is_a_page_without_a_script(open_page):
    page = open_page(EventRate(RATES[:0], bin_s=1, by="event").to_html())
    assert page.locator("script[type=module]").count() == 0
    assert page.locator("text=no events in this selection").is_visible()
