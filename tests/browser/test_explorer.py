"""The explorer in a real browser: what is selected in one part is shown by all, and comes back to Python as code."""

from __future__ import annotations

import json

import pytest

from browser.live_page import live
from browser.waiting import until
from sessions import session
from views import hostile

# Two processes for ten seconds; the second one does something else in its second half.
SAMPLES = "time_s pid stack_id weight\n" + "\n".join(
    f"{i / 25 + 0.001} {7 + i % 2} {3 if i % 2 and i > 125 else 1 + i % 2} 20000000" for i in range(249)
)
EVENTS = "time_s pid event\n" + "\n".join(f"{i / 50} {7 + i % 2} {'read' if i % 3 else 'write'}" for i in range(499))
ALL = {
    "samples": SAMPLES,
    "events": EVENTS,
    "stacks": "stack_id frames\n1 1\n2 1,2\n3 1,3",
    "frames": "frame_id symbol\n1 main\n2 work\n3 extra",
    "tasks": "time_s tid pid comm\n0 7 7 sh\n0 8 8 cc",
}


@pytest.fixture
def part(tmp_path):
    return session(tmp_path, **ALL)


@pytest.fixture
def view(part):
    return part.explore()


@pytest.fixture
def page(open_page, view):
    page = live(open_page("<!doctype html><body>", width=1280, height=1200), view)
    until(page, "document.querySelector('.tl-flame')?.__flame?.pane.drawn > 0")
    return page


def flame(page, expression):
    return page.evaluate(f"((f) => {expression})(document.querySelector('.tl-flame').__flame)")


def drag(page, selector, first, last, y=0.4):
    box = page.locator(selector).bounding_box()
    page.mouse.move(box["x"] + first * box["width"], box["y"] + y * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + last * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()


def rows(page):
    return [row.split("\t") for row in page.locator(".tl-part-top tbody tr").all_inner_texts()]


def test_everything_stands_on_one_page(page, view):
    assert rows(page) == [
        ["sh (7)", "2.50 s", "50.2 %", "250"],
        ["cc (8)", "2.48 s", "49.8 %", "249"],
    ]
    assert page.locator("section").all_inner_texts()[0].startswith("Events over time")
    assert page.evaluate("document.querySelector('.tl-rate').__rates.drawn > 10")
    assert page.evaluate("document.querySelector('.tl-heat').__heat.drawn") == 249
    assert page.locator(".tl-part-findings li").count() > 3
    assert page.locator("code").inner_text() == "s.select()"


def test_a_brushed_time_is_followed_by_stacks_processes_and_code(page, view, part):
    drag(page, ".tl-rate canvas", 0.55, 0.95)
    until(page, "el.__explorer.host.state.selection?.time && el.__explorer.took")
    first, last = view.selection.time
    assert 4 < first < 6 < 9 < last
    until(page, "!document.querySelector('code').textContent.includes('select()')")
    assert page.locator("code").inner_text() == view.code == f"s.select(time=({first}, {last}))"
    alone = part.select(time=(first, last))
    until(page, f"document.querySelector('.tl-flame').__flame.pane.t.total[0] === {alone.profile().total}")
    assert page.evaluate("document.querySelector('.tl-heat').__heat.state.range") == [first, last]
    assert [row[3] for row in rows(page)] == [str(n) for n in alone.busy()["events"]]


def test_a_picked_process_narrows_rates_moments_and_stacks(page, view):
    page.locator(".tl-part-top button", has_text="cc (8)").click()
    until(page, "document.querySelector('.tl-heat').__heat.drawn === 124")
    assert view.code == "s.select(pid=8)"
    assert flame(page, "f.pane.t.total[0]") == 124 * 20e6
    assert page.evaluate("document.querySelector('.tl-rate').__rates.about.title").endswith("pid 8")
    assert page.locator(".tl-part-top button[aria-pressed=true]").all_inner_texts() == ["cc (8)"]
    page.locator(".tl-part-top button", has_text="cc (8)").click()
    until(page, "document.querySelector('.tl-heat').__heat.drawn === 249")
    assert view.selection.pids is None


def test_findings_are_those_of_what_is_selected(page, view, part):
    before = [found.actual for found in part.findings()]
    chosen = {"time": [0, 0.05], "pids": [8]}
    view.select(**chosen)
    after = [found.actual for found in part.select(time=(0, 0.05), pid=8).findings()]
    assert after != before
    page.evaluate("(state) => model.arrive(state)", view.state)
    shown = "[...document.querySelectorAll('.tl-part-findings li')].map((li) => li.innerText).join()"
    for actual in set(after) - set(before):
        until(page, f"{shown}.includes({json.dumps(actual)})")


def test_a_clicked_frame_paints_its_moments_and_names_its_processes(page, view):
    flame(page, "f.goto(['main', 'extra'])")
    until(page, "document.querySelector('.tl-heat').__heat.matched && el.__explorer.took")
    assert view.selection.frames == ("extra",)
    until(page, "document.querySelectorAll('.tl-part-top tbody tr').length === 2")
    until(page, "document.querySelector('.tl-part-top tbody tr').innerText.includes('cc')")
    assert rows(page)[0][:3] == ["cc (8)", "1.22 s", "100 %"]
    assert page.evaluate("document.querySelector('.tl-heat').__heat.matched.filter((v) => v > 0).length") == 61
    assert page.locator("code").inner_text() == "s.select(frame='extra')"


def test_two_ranges_make_a_difference(page, view):
    page.evaluate("document.querySelector('.tl-heat').__heat.choose('range', [6, 10])")
    until(page, "el.__explorer.host.state.selection?.time")
    page.evaluate("document.querySelector('.tl-heat').__heat.choose('baseline', [0, 4])")
    until(page, "document.querySelector('.tl-flame').__flame.base.meta.change === true")
    assert flame(page, "f.view.colours") == "change"
    node = "[f.name(f.pane, i), f.pane.t.before[i], f.pane.t.after[i]]"
    found = flame(page, f"Array.from(f.pane.t.frame).map((_, i) => {node})")
    sides = {name: (round(before, 2), round(after, 2)) for name, before, after in found}
    assert sides["extra"] == pytest.approx((0, 0.49), abs=0.02)
    assert sides["work"] == pytest.approx((0.49, 0), abs=0.02)
    page.locator("button", has_text="select all").click()
    until(page, "document.querySelector('.tl-flame').__flame.base.meta.change !== true")
    assert flame(page, "f.view.colours") == "domain"


def test_a_selection_of_python_is_shown(page, view):
    view.select(time=(2, 3), pids=[7])
    page.evaluate("(state) => model.arrive(state)", view.state)
    until(page, "document.querySelector('code').textContent === 's.select(time=(2.0, 3.0), pid=7)'")
    until(page, "document.querySelector('.tl-flame').__flame.pane.t.total[0] === 13 * 20e6")
    assert page.evaluate("document.querySelector('.tl-rate').__rates.state.range") == [2, 3]


def test_what_was_not_recorded_is_said_where_it_would_stand(open_page, tmp_path):
    view = session(tmp_path, events=EVENTS, tasks=ALL["tasks"]).explore()
    page = live(open_page("<!doctype html><body>"), view)
    until(page, "document.querySelector('.tl-rate')?.__rates?.drawn > 0")
    assert "not recorded" in page.locator(".tl-part-flame").inner_text()
    assert rows(page)[0] == ["sh (7)", "–", "–", "250"]


def test_the_player_slides_the_window_and_every_view_follows(open_page, part):
    view = part.play()
    page = live(open_page("<!doctype html><body>", width=1280, height=1200), view)
    until(page, "document.querySelector('.tl-flame')?.__flame?.pane.drawn > 0")
    page.get_by_label("speed").select_option("100")
    page.get_by_label("length of the window").select_option("1")
    page.get_by_label("one window on").click()
    page.get_by_label("one window on").click()
    until(page, "JSON.stringify(el.__explorer.host.state.selection.time) === '[2,3]'")
    until(page, "document.querySelector('.tl-flame').__flame.pane.t.total[0] === 25 * 20e6")
    assert page.locator(".tl-time").inner_text() == "2.00 s to 3.00 s"
    page.get_by_label("play", exact=True).click()
    until(page, "el.__explorer.player.state.playing === false")
    until(page, "el.__explorer.host.state.selection.time[1] === 10")
    page.locator(".tl-player input").fill("500")
    until(page, "el.__explorer.host.state.selection.time[0] === 4.5")


def test_a_saved_explorer_shows_its_views_and_says_what_it_cannot(open_page, view):
    page = open_page(view.to_html(), width=1280, height=1200)
    until(page, "document.querySelector('.tl-flame')?.__flame?.pane.drawn > 0")
    assert page.evaluate("document.querySelector('.tl-heat').__heat.drawn") == 249
    assert "where there is a kernel" in page.locator(".tl-said").inner_text()


def test_hostile_names_are_shown_as_text(open_page, tmp_path):
    text = hostile.SCRIPT.replace("'", "").replace('"', "")
    tasks, frames = f"time_s tid pid comm\n0 7 7 '{text}'", f"frame_id symbol\n1 '{text}'\n2 b\n3 c"
    texts = ALL | {"tasks": tasks, "frames": frames}
    view = session(tmp_path, **texts).explore()
    page = live(open_page("<!doctype html><title>notebook</title><body>", width=1280), view)
    until(page, "document.querySelector('.tl-flame')?.__flame?.pane.drawn > 0")
    assert rows(page)[0][0].startswith("</script><img")
    assert page.locator("img").count() == 0
    assert page.title() == "notebook"
