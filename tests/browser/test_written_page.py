"""Texts with lists and tables, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracelab.views.summary import SessionFacts, SessionSummary


def test_a_long_term_leaves_room_for_what_is_said_of_it(open_page: Callable[..., Any]) -> None:
    facts = SessionFacts("long", not_recorded={", ".join(f"probe_{n}" for n in range(30)): "record with " * 20})
    page = open_page(SessionSummary(facts).to_html())
    term, said = page.locator("dt").bounding_box(), page.locator("dd").bounding_box()
    assert said["width"] > term["width"]
    assert term["x"] + term["width"] <= said["x"]
    assert said["height"] < 200
