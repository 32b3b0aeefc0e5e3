"""Tables of changes, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tracelab.views.difference import Difference
from views.test_difference import comparison, side


@pytest.fixture(scope="module")
def html() -> str:
    return Difference(comparison(side("old.tracelab", [1, 4, 5]), side("new.tracelab!", [4, 1, 5], 2.0))).to_html()


@pytest.mark.parametrize("dark", [False, True])
def test_every_row_has_a_bar_that_fits_into_its_cell_and_can_be_named(
    open_page: Callable[..., Any], html: str, dark: bool
) -> None:
    page = open_page(html, dark=dark)
    bars = page.locator("details[open] svg[role=img]")
    assert bars.count() == 4
    for i in range(4):
        bar, cell = bars.nth(i).bounding_box(), bars.nth(i).locator("..").bounding_box()
        assert cell["x"] <= bar["x"]
        assert bar["x"] + bar["width"] <= cell["x"] + cell["width"]
        assert bars.nth(i).get_attribute("aria-label")
        spans = bars.nth(i).evaluate(
            "e => [...e.querySelectorAll('rect, path')].map((s) => s.getBBox()).map((b) => [b.x, b.x + b.width])"
        )
        assert all(0 <= begin <= end <= 132 for begin, end in spans)


def test_the_second_table_opens_with_the_keyboard(open_page: Callable[..., Any], html: str) -> None:
    page = open_page(html)
    hidden = page.locator("details").nth(1).locator("table")
    assert not hidden.is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert hidden.is_visible()


def test_a_long_name_wraps_and_numbers_stay_on_one_line(open_page: Callable[..., Any]) -> None:
    long = "std::vector<" * 9 + "int" + ">" * 9
    sides = [side("old.tracelab", [1, 4, 5]), side("new.tracelab!", [4, 1, 5])]
    frames = tuple(replace(frame, symbol=f"{long}{frame.symbol}") for frame in sides[0].profile.frames)
    named = [replace(one, profile=replace(one.profile, frames=frames)) for one in sides]
    page = open_page(Difference(comparison(*named)).to_html(), width=800)
    lines = page.locator("details[open] td.num").evaluate_all(
        "all => all.map((e) => { const r = new Range(); r.selectNodeContents(e); return r.getClientRects().length })"
    )
    assert set(lines) == {1}
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
