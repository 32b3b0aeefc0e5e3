"""Every view against axe-core's rules for WCAG 2.1, levels A and AA: as a page, in a cell, as a widget; light and dark.

The views are the verbs of a session that return one, so that a new verb is checked by being there. What stands inside
a canvas, and what a screen reader makes of it all, axe cannot see.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tracelab
from browser.live_page import live
from browser.waiting import until
from tracelab.analysis.difference import comparison
from tracelab.analysis.sides import Side
from tracelab.api.views import ViewVerbs
from tracelab.errors import MissingTable
from tracelab.profile import Profile
from tracelab.views.difference import Difference
from tracelab.views.event_rate import EventRate
from tracelab.views.flamegraph import FlameGraph
from tracelab.views.live import LiveView
from tracelab.views.saved import View
from views import hostile

PACKAGE = importlib.util.find_spec("axe_playwright_python")
pytestmark = pytest.mark.skipif(
    PACKAGE is None, reason="axe_playwright_python is missing; pip install 'tracelab-ebpf[test]'"
)

SESSION = Path(__file__).parents[2] / "notebooks/sessions/first_session.tracelab"
VERBS = [*sorted(name for name in vars(ViewVerbs) if not name.startswith("_")), "explore", "play"]
RUN = """
async () => {
  const options = { runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }, iframes: false };
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, nodes }) => nodes.map((n) => `${id}: ${n.html.slice(0, 160)} ${n.failureSummary}`));
}
"""

def sandwich() -> FlameGraph:
    """A flame graph with two pictures: what calls a function, and what it calls."""
    view = FlameGraph(Profile.from_collapsed({"a;b;c": 3, "a;d;b": 1}))
    view.state = {"layout": "sandwich", "of": "b"}
    return view


def hostile_difference() -> Difference:
    """Two sides without times, whose every text is hostile."""
    profile = hostile.profile()
    other = replace(profile, weights=profile.weights[::-1].copy())
    return Difference(comparison(Side(hostile.SCRIPT, profile), Side(hostile.SCRIPT, other)))


# What no shipped session shows: losses, notes, nothing at all, and texts from anywhere.
RATES = pd.DataFrame([(0, "read", 100), (1, "write", 50)], columns=["time_s", "series", "events_per_s"])
LOSSES = pd.DataFrame({"time_s": [1], "lost_per_s": [40]})
MADE = {
    "event_rate with losses": lambda: EventRate(RATES, losses=LOSSES, bin_s=1, by="event", notes=["lost 40 events"]),
    "event_rate of nothing": lambda: EventRate(RATES[:0], bin_s=1, by="event"),
    "flamegraph with notes": lambda: FlameGraph(Profile.from_collapsed({"a;b": 3, "a": 1}).renamed("f", "lost 7")),
    "flamegraph of callers and callees": sandwich,
    "flamegraph of nothing": lambda: FlameGraph(Profile.from_stacks([])),
    "difference of hostile texts": hostile_difference,
    "flamegraph of hostile texts": lambda: FlameGraph(hostile.profile()),
}

# Colours of JupyterLab's own themes, as far as views use them.
LAB = {
    False: "--jp-layout-color0: #fff; --jp-layout-color1: #fff; --jp-content-font-color1: rgba(0, 0, 0, .87);"
    "--jp-content-font-color2: rgba(0, 0, 0, .54); --jp-border-color2: #e0e0e0; background: #fff",
    True: "--jp-layout-color0: #111; --jp-layout-color1: #212121; --jp-content-font-color1: #fff;"
    "--jp-content-font-color2: rgba(255, 255, 255, .7); --jp-border-color2: #616161; background: #111; color: #fff",
}

any_view = pytest.mark.parametrize("name", [*VERBS, *MADE])
any_theme = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


@functools.cache
def shipped() -> tracelab.Session:
    """The session that the repository ships."""
    return tracelab.open(SESSION)


def view_of(name: str) -> View:
    """A view as its verb makes it of the shipped session, or one of MADE."""
    if name in MADE:
        return MADE[name]()
    try:
        view = getattr(shipped(), name)(*given(name))
    except MissingTable as error:
        pytest.skip(f"the shipped session has no such data: {error}")
    if not isinstance(view, View):
        pytest.skip(f"{name} gives a {type(view).__name__}, which has a page of its own making")
    return view


def given(name: str) -> tuple[tracelab.Session, ...]:
    """What a verb cannot do without: a comparison needs a baseline."""
    return (shipped().select(time=(0, 3)),) if name.startswith("compare") else ()


def violations(frame: Any) -> list[str]:
    """What axe finds wrong in one document, not in those inside of it, with everything unfolded."""
    assert PACKAGE is not None and PACKAGE.submodule_search_locations is not None
    frame.evaluate((Path(PACKAGE.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8"))
    frame.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    return frame.evaluate(RUN)


def notebook_page(open_page: Callable[..., Any], cell: str, *, dark: bool) -> Any:
    """A page in the colours of JupyterLab with the HTML of a cell, or with nothing, in it."""
    about = f'data-jp-theme-light="{str(not dark).lower()}" style="{LAB[dark]}"'
    return open_page(f"<!doctype html><html lang='en'><title>notebook</title><body {about}>{cell}", dark=dark)


@any_theme
@any_view
def test_the_page_of_a_view_keeps_every_rule(name: str, dark: bool, open_page: Callable[..., Any]) -> None:
    page = open_page(view_of(name).to_html(), dark=dark)
    until(page, "!document.querySelector('script[type=module]') || document.querySelector('#view')?.firstElementChild")
    assert violations(page) == []
    for button in page.query_selector_all("button"):
        if button.is_visible() and button.is_enabled():
            button.click()
            assert violations(page) == [], f"after a click on {button.inner_text()}"


@any_theme
@any_view
def test_the_outputs_of_a_cell_keep_every_rule(name: str, dark: bool, open_page: Callable[..., Any]) -> None:
    """What a notebook shows without kernel, and the widget for a view that has one."""
    view = view_of(name)
    cell = view._repr_mimebundle_()["text/html"]
    assert violations(notebook_page(open_page, cell, dark=dark)) == []
    if isinstance(view, LiveView):
        page = live(notebook_page(open_page, "", dark=dark), view)
        until(page, "el.id === 'tl-test'")
        assert violations(page) == []
