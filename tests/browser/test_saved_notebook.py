"""A notebook exported by nbconvert, opened with the network cut: every view is drawn."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from browser.waiting import until
from tracelab.profile import Frame, Profile
from tracelab.views.event_rate import EventRate
from tracelab.views.flamegraph import FlameGraph
from tracelab.views.summary import SessionFacts, SessionSummary

EXTERNAL = ("https:", "http:")


@pytest.fixture(scope="module")
def exported():
    """HTML of a notebook with a summary, a plot of rates and a flame graph, and the notebook's size."""
    nbformat = pytest.importorskip(
        "nbformat", reason="nbformat is missing; pip install 'tracelab-ebpf[notebook]'"
    )
    nbconvert = pytest.importorskip(
        "nbconvert", reason="nbconvert is missing; pip install 'tracelab-ebpf[notebook]'"
    )
    rates = pd.DataFrame({"time_s": [0.0, 1.0], "series": ["read", "read"], "events_per_s": [5.0, 7.0]})
    views = [
        SessionSummary(SessionFacts("demo.tracelab", duration_s=2.0, events=12)),
        EventRate(rates, bin_s=1, by="event"),
        FlameGraph(Profile.from_stacks([([Frame("main"), Frame("work")], 3), ([Frame("main")], 1)])),
    ]
    outputs = [
        nbformat.v4.new_output("execute_result", v._repr_mimebundle_(), execution_count=1) for v in views
    ]
    cells = [nbformat.v4.new_code_cell("view", outputs=[o], execution_count=1) for o in outputs]
    notebook = nbformat.v4.new_notebook(cells=cells)
    html, _ = nbconvert.HTMLExporter(template_name="lab").from_notebook_node(notebook)
    return html, len(json.dumps(notebook))


def test_every_view_is_drawn_without_kernel_and_network(exported, browser, tmp_path):
    html, size = exported
    assert size < 150_000
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.route(
        "**/*", lambda route: route.abort() if route.request.url.startswith(EXTERNAL) else route.continue_()
    )
    path = tmp_path / "notebook.html"
    path.write_text(html, encoding="utf-8")
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    page.locator("iframe").nth(1).scroll_into_view_if_needed()
    rate, flame = page.frames[1:]
    until(rate, "document.querySelector('#view').__rates?.drawn > 0")
    until(flame, "document.querySelector('#view').__flame?.pane.drawn == 3")
    assert page.locator(".tl-written h3").inner_text() == "demo.tracelab"
    assert rate.locator("canvas").bounding_box()["width"] > 300
    context.close()


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "sanitised"])
def test_a_picture_stands_in_where_a_viewer_takes_iframes_and_styles_away(open_page, trusted):
    profile = Profile.from_stacks([([Frame("main"), Frame("work")], 3), ([Frame("main")], 1)])
    cell = FlameGraph(profile)._repr_mimebundle_()["text/html"]
    if not trusted:
        cell = re.sub(r"<(iframe|style).*?</\1>", "", cell, flags=re.DOTALL)
    page = open_page(f"<!doctype html><title>notebook</title><body>{cell}")
    picture = page.locator("body > img")
    assert picture.is_visible() is not trusted
    assert picture.evaluate("img => img.naturalWidth") > 0  # it is a picture that can be decoded
    assert trusted or picture.bounding_box()["width"] >= 300
