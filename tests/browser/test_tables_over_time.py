"""The process tree and top tables in a real browser: nothing is cut off or overlaps, in both themes."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from tracelab.analysis.top import top_over_time
from tracelab.api import open_session
from tracelab.views.process_tree import ProcessTree
from tracelab.views.top_table import TopTable
from views import hostile

BOXES = """(selector) => Array.from(document.querySelectorAll(selector)).map((e) => {
  const { left, right, top, bottom } = e.getBoundingClientRect();
  return { left, right, top, bottom, text: e.textContent };
})"""
CONTRAST = """(selector) => {
  const light = (css) => { const [r, g, b] = css.match(/[\\d.]+/g).slice(0, 3).map((v) => {
    v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const back = getComputedStyle(document.body).backgroundColor;
  const page = light(back === "rgba(0, 0, 0, 0)" ? "rgb(255, 255, 255)" : back);
  return Array.from(document.querySelectorAll(selector)).map((e) => {
    const style = getComputedStyle(e), ink = light(e instanceof SVGElement ? style.fill : style.color);
    return (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05);
  });
}"""
SHIPPED = Path(__file__).parents[2] / "notebooks/sessions/first_session.tracelab"
LONG = "a-process-with-a-very-long-name"


def processes(comms: list[str]) -> ProcessTree:
    """A family of them below a make; each third has failed, and each fourth is nested deeper than the one before."""
    rows = [(-1, "make", 0.5, 9.5)] + [(i - i % 4, name, 1 + i / 20, 2 + i / 5) for i, name in enumerate(comms)]
    tree = pd.DataFrame(rows, columns=["parent", "comm", "from_s", "until_s"])
    tree["pid"], tree["ppid"], tree["names"], tree["status"] = 100 + tree.index, 99 + tree.index, 1, "exit 0"
    tree["exit_code"], tree["signal"] = (tree.index % 3 == 2).astype(float), math.nan
    tree.loc[tree["exit_code"] > 0, "status"] = "exit 1"
    marks = pd.DataFrame(
        {
            "time_s": [2.0, 2.1, 9.9],
            "until_s": [math.nan, 4.0, math.nan],
            "author": "a",
            "text": ["one", "so near that it cannot stand beside", "last"],
        }
    )
    return ProcessTree(tree, window=(0, 10), marks=marks)


def top_table(names: list[str]) -> TopTable:
    grid = pd.MultiIndex.from_product([names, range(200)]).to_frame(index=False, name=["series", "time_s"])
    grid["events"] = 1000 * (1 + grid.index % 7)
    grid["events_per_s"], grid["lost_per_s"] = grid["events"] * 1.0, (grid["time_s"] == 100) * 5.0
    grid.attrs.update(bin_s=1.0, by="comm")
    return TopTable(top_over_time(grid), grid)


def overlaps(boxes: list[dict]) -> list[tuple[str, str]]:
    return [
        (a["text"], b["text"])
        for i, a in enumerate(boxes)
        for b in boxes[i + 1 :]
        if a["left"] < b["right"] - 1 and b["left"] < a["right"] - 1
        and a["top"] < b["bottom"] - 3 and b["top"] < a["bottom"] - 3
    ]  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 1920])
def test_no_text_of_the_tree_is_cut_off_or_lies_upon_another(open_page, width, dark):
    view = processes([LONG if i % 5 == 0 else f"p{i}" for i in range(30)])
    page = open_page(view.to_html(), width=width, height=1000, dark=dark, java_script_enabled=True)
    texts = page.evaluate(BOXES, "svg.tl-pt text")
    [picture] = page.evaluate(BOXES, "svg.tl-pt")
    assert len(texts) > 60
    assert overlaps(texts) == []
    assert [t["text"] for t in texts if t["left"] < picture["left"] or t["right"] > picture["right"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert min(page.evaluate(CONTRAST, "svg.tl-pt text:not(.in)")) >= 4.5


def test_labels_of_the_tree_end_before_the_bars_begin(open_page):
    page = open_page(processes([LONG * 2] * 3 + [f"p{i}" for i in range(20)]).to_html(), width=1280)
    [grid, *_] = page.evaluate(BOXES, "svg.tl-pt .grid")
    labels = page.evaluate(BOXES, "svg.tl-pt g > title + text")
    assert max(label["right"] for label in labels) <= grid["left"]


def test_a_narrow_cell_scrolls_the_tree_instead_of_shrinking_its_text(open_page):
    page = open_page(processes(["cc"] * 5).to_html(), width=600)
    region = page.locator("[role=region]")
    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= 600
    region.focus()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Processes"


@pytest.mark.parametrize("dark", [False, True])
def test_a_top_table_is_read_without_scripts_in_both_themes(open_page, dark):
    view = top_table([LONG * 3, *(f"g{i}" for i in range(30))])
    page = open_page(view.to_html(), width=1280, dark=dark)
    assert page.locator("tbody tr").count() == 20
    assert overlaps(page.evaluate(BOXES, "td, th")) == []
    [table] = page.evaluate(BOXES, "table")
    assert table["right"] < 1280
    assert min(page.evaluate(CONTRAST, "td, th, p")) >= 4.5
    assert min(page.evaluate(CONTRAST, ".spark .line")) >= 3
    assert page.locator(".spark").first.evaluate("e => e.getBoundingClientRect().width") == 180


@pytest.mark.parametrize("theme", ["true", "false"])
def test_the_tree_follows_the_theme_of_jupyterlab_and_not_the_readers(open_page, theme):
    cell = processes(["cc"] * 3)._repr_mimebundle_()["text/html"]
    back = "#fff" if theme == "true" else "#111"
    html = f"<body data-jp-theme-light={theme} style='background:{back}'>{cell}"
    page = open_page(html, width=1280, dark=theme == "true")
    assert min(page.evaluate(CONTRAST, "svg text:not(.in)")) >= 4.5


@pytest.mark.parametrize("make", [processes, top_table])
def test_hostile_names_are_shown_and_never_run(open_page, make):
    page = open_page(make(list(hostile.STORABLE)).to_html(), width=1280)
    assert page.title() != "owned"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 0
    assert "onerror" in page.locator("body").inner_text() or page.locator("text=onload").count()


def test_values_of_programs_over_time_are_read_out_by_keys(open_page):
    view = open_session(SHIPPED).program_time()
    page = open_page(view.to_html(), width=1280)
    page.locator("svg").first.focus()
    page.locator("svg").first.press("ArrowRight")
    first, *values = page.locator(".tl-tip").inner_text().split("\n")
    assert first == "0 s to 1 s"
    assert [value.split(": ")[:-1] for value in values] == [["sys_enter #46848"], ["user", "bpftrace 28875"]]
