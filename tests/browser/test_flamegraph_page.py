"""A saved flame graph in a real browser: drawn without kernel and network, and answering."""

from __future__ import annotations

import pytest

from browser.waiting import until
from sessions import session
from tracelab.profile import Frame, Profile
from tracelab.views import flamegraph
from tracelab.views.flamegraph import FlameGraph
from views import hostile

ROW = 18
MAIN = Frame("main", "/usr/bin/app", file="main.c", line=3)
READ = Frame("ksys_read", "[kernel]", domain="kernel")
PROGRAM = Frame("bpf_prog_1234_count", "[bpf]", domain="bpf")
WORK = Frame("work", "/usr/lib/libwork.so", file="work.c", line=40)


def demo() -> Profile:
    """all 20 s: main 20 > (ksys_read 12 > bpf 3), (work 6 > work 2), self 2."""
    return Profile.from_stacks(
        [
            ([MAIN, READ], 9e9),
            ([MAIN, READ, PROGRAM], 3e9),
            ([MAIN, WORK], 4e9),
            ([MAIN, WORK, WORK], 2e9),
            ([MAIN], 2e9),
        ],
        quantity="on-CPU time",
        unit="ns",
        name="demo",
    ).renamed("demo", "lost 7 samples")


NAMES = ["all", "main", "ksys_read", "bpf", "work", "work"]  # of demo() in preorder


@pytest.fixture
def flame(open_cell):
    return Flame(open_cell(FlameGraph(demo())))


class Flame:
    """The view inside its frame, by what it exposes for tests."""

    def __init__(self, frame):
        self.frame = frame
        self.canvas = frame.locator("canvas")

    def do(self, expression):
        return self.frame.evaluate(
            f"(() => {{ const f = document.querySelector('#view').__flame, p = f.pane; return {expression} }})()"
        )

    def at(self, node):
        """Middle of what a node covers, in the canvas."""
        box = self.do(f"p.rect({node})")
        return {"x": box["x"] + box["w"] / 2, "y": box["y"] + box["h"] / 2}

    def text(self, selector):
        return self.frame.locator(selector).inner_text()


def test_the_first_paint_draws_every_frame_in_proportion(flame):
    assert flame.do("[p.drawn, p.root]") == [6, 0]
    width = flame.do("p.width")
    assert 800 < width <= 1000
    boxes = [flame.do(f"p.rect({i})") for i in range(6)]
    assert [round(b["w"] / width, 6) for b in boxes] == [1, 1, 0.6, 0.15, 0.3, 0.1]
    assert [round(b["x"] / width, 6) for b in boxes] == [0, 0, 0, 0, 0.6, 0.6]
    assert [b["y"] for b in boxes] == [0, ROW, 2 * ROW, 3 * ROW, 2 * ROW, 3 * ROW]


def test_the_canvas_has_the_colours_of_the_domains_where_the_frames_are(flame):
    def pixel(node):
        box = flame.do(f"p.rect({node})")
        x, y = box["x"] + 2, box["y"] + 9
        return flame.do(f"Array.from(p.g.getImageData({x}, {y}, 1, 1).data).slice(0, 3)")

    def expected(domain, module):
        from tracelab.views import palette

        colour = palette.domain_colours()["light"][domain][palette.shade_of(module)]
        return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]

    assert pixel(2) == expected("kernel", "[kernel]")
    assert pixel(3) == expected("bpf", "[bpf]")
    assert pixel(4) == expected("user", "/usr/lib/libwork.so")
    assert flame.do("p.hit(p.width - 5, 45)") == -1  # self weight of main: nothing is drawn below it


def test_the_picture_gives_way_to_the_canvas_and_stays_where_scripts_do_not_run(flame, open_page):
    assert flame.frame.locator("#picture").count() == 0
    page = open_page(FlameGraph(demo()).to_html(), java_script_enabled=False)
    assert page.locator("#picture svg").is_visible()
    assert page.locator("text=ksys_read").is_visible()


def test_a_click_zooms_and_keeps_the_callers_in_sight(flame):
    flame.canvas.click(position=flame.at(2))
    assert flame.do("p.root") == 2
    width = flame.do("p.width")
    assert [round(flame.do(f"p.rect({i})")["w"] / width, 6) for i in (0, 1, 2, 3)] == [1, 1, 1, 0.25]
    assert flame.do("p.drawn") == 4
    assert flame.do("f.host.state.selection") == ["main", "ksys_read"]
    flame.canvas.click(position=flame.at(1))
    assert flame.do("p.root") == 1
    flame.frame.locator("button", has_text="show all").click()
    assert flame.do("p.root") == 0


def test_the_pointer_gets_the_numbers_of_the_frame_below_it(flame):
    flame.canvas.hover(position=flame.at(4))
    assert flame.text(".tl-tip").split("\n") == [
        "work",
        "total 6 s, 30 % of all",
        "self 4 s, 20 % of all",
        "user, in /usr/lib/libwork.so",
        "work.c:40",
    ]
    flame.do("p.zoom(4)")
    flame.canvas.hover(position=flame.at(5))
    assert "total 2 s, 10 % of all, 33.3 % of zoom" in flame.text(".tl-tip")
    flame.frame.locator(".tl-about").hover()
    assert not flame.frame.locator(".tl-tip").is_visible()


def test_the_status_line_says_unit_total_completeness_and_losses(flame):
    assert flame.frame.locator(".tl-about p").all_inner_texts() == [
        "20 s of on-CPU time; not known which stacks are complete",
        "lost 7 samples",
    ]
    legend = [chip.inner_text() for chip in flame.frame.locator(".tl-legend").all()]
    assert legend == ["user 40 %", "kernel 45 %", "bpf 15 %"]


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("work", "matched 30 % in 2 frames"),  # a match inside a match counts once
        ("WORK", "matched 30 % in 2 frames"),
        ("/^(work|bpf_)/", "matched 45 % in 3 frames"),
        ("/MAIN/i", "matched 100 % in 1 frames"),
        ("/WORK/", "matched 0 % in 0 frames"),
        ("nowhere", "matched 0 % in 0 frames"),
        ("", ""),
    ],
)
def test_a_search_says_the_share_of_stacks_with_a_match(flame, text, matched):
    flame.frame.locator("input").fill(text)
    assert flame.text(".tl-matched") == matched


def test_a_search_in_a_zoom_counts_the_callers_too(flame):
    flame.do("p.zoom(2)")
    assert flame.do("f.search('bpf')") == pytest.approx(0.25)
    assert flame.text(".tl-matched") == "matched 25 % of zoom in 1 frames"
    assert flame.do("f.search('main')") == 1
    assert flame.do("f.search('work')") == 0


def test_a_broken_regular_expression_is_explained_not_thrown(flame):
    flame.frame.locator("input").fill("/(/")
    assert "Invalid regular expression" in flame.text(".tl-matched")
    assert flame.do("p.match") is None


def test_what_was_found_can_be_stepped_through(flame):
    flame.frame.locator("input").fill("work")
    flame.frame.locator("input").press("Enter")
    assert flame.do("p.focus") == 4
    flame.canvas.focus()
    steps = []
    for key in ("n", "n", "Shift+N", "Shift+N"):
        flame.canvas.press(key)
        steps.append(flame.do("p.focus"))
    assert steps == [5, 4, 5, 4]


def test_the_keyboard_walks_zooms_and_tells_where_it_is(flame):
    flame.canvas.focus()
    focus = []
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowUp"):
        flame.canvas.press(key)
        focus.append(NAMES[flame.do("p.focus")])
    assert focus == ["main", "ksys_read", "work", "work", "bpf", "ksys_read", "main"]
    assert flame.text(".tl-live") == (
        "main; total 20 s, 100 % of all; self 2 s, 10 % of all; user, in /usr/bin/app; main.c:3"
    )
    assert flame.frame.locator(".tl-live").get_attribute("aria-live") == "polite"
    flame.canvas.press("ArrowDown")
    flame.canvas.press("Enter")
    assert flame.do("p.root") == 2
    flame.canvas.press("Escape")
    assert flame.do("p.root") == 1
    flame.canvas.press("Backspace")
    assert flame.do("p.root") == 0
    flame.do("p.zoom(3)")
    flame.canvas.press("0")
    assert flame.do("p.root") == 0
    flame.canvas.press("/")
    assert flame.frame.evaluate("document.activeElement.type") == "search"


def test_the_focused_frame_has_a_ring_only_while_the_canvas_has_the_focus(flame):
    def edge():
        return flame.do("Array.from(p.g.getImageData(1, 27, 1, 1).data).slice(0, 3)")

    painted = "document.querySelector('#view').__flame.pane.g.getImageData(1, 27, 1, 1).data[0] > 0"
    until(flame.frame, painted)
    before = edge()
    flame.canvas.focus()
    flame.canvas.press("ArrowDown")
    assert edge() == [0, 0, 0] != before
    flame.frame.locator("input").focus()
    assert edge() == before


def test_the_graph_turns_upside_down(flame):
    flame.frame.locator("button", has_text="root at bottom").click()
    assert [flame.do(f"p.rect({i}).y") for i in (0, 1, 2, 3)] == [3 * ROW, 2 * ROW, ROW, 0]
    assert flame.do("p.hit(5, 5)") == 3
    flame.canvas.focus()
    flame.canvas.press("ArrowUp")
    assert flame.do("p.focus") == 1


def test_every_frame_that_is_drawn_is_hit_in_its_middle(flame):
    for node in range(6):
        middle = flame.at(node)
        assert flame.do(f"p.hit({middle['x']}, {middle['y']})") == node


def test_rows_beyond_the_view_are_reached_by_scrolling(open_cell):
    deep = [Frame(f"level_{i}") for i in range(200)]
    flame = Flame(open_cell(FlameGraph(Profile.from_stacks([(deep, 1)]))))
    assert flame.do("p.drawn") < 40
    assert flame.do("p.canvas.height") < 600
    flame.do("p.scroll.scrollTo(0, 1e6)")
    until(flame.frame, "document.querySelector('#view').__flame.pane.hit(5, 300) > 150")
    flame.canvas.focus()
    flame.canvas.press("0")
    assert flame.do("p.scroll.scrollTop") == 0


def test_frames_too_thin_to_draw_are_hatched_as_one(open_cell):
    stacks = [([Frame("wide")], 1e6)] + [([Frame(f"thin_{i}")], 10) for i in range(2000)]
    flame = Flame(open_cell(FlameGraph(Profile.from_stacks(stacks))))
    assert flame.do("p.drawn") == 2
    x = flame.do("p.width") * 0.99
    colours = flame.do(f"Array.from(p.g.getImageData({x}, 20, 8, 14).data)")
    assert len({tuple(colours[i : i + 3]) for i in range(0, len(colours), 4)}) > 1


def test_merged_frames_keep_their_weight_and_a_search_says_what_it_cannot_see(open_cell, monkeypatch):
    monkeypatch.setattr(flamegraph, "MAX_NODES", 2)
    monkeypatch.setattr(flamegraph, "SHARE", 0.05)
    stacks = [([Frame("wide")], 90)] + [([Frame(f"thin_{i}")], 1) for i in range(10)]
    flame = Flame(open_cell(FlameGraph(Profile.from_stacks(stacks))))
    assert flame.do("[p.drawn, p.t.n]") == [3, 3]
    flame.frame.locator("input").fill("wide")
    assert flame.text(".tl-matched") == "matched 90 % in 1 frames, up to 10 % more in merged frames"
    flame.canvas.hover(position=flame.at(2))
    assert flame.text(".tl-tip").startswith("10 frames too light to keep\ntotal 10 samples, 10 % of all")
    flame.canvas.click(position=flame.at(2))
    assert flame.do("p.root") == 0


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_follows_the_theme(open_cell, dark):
    flame = Flame(open_cell(FlameGraph(demo()), dark=dark))
    until(flame.frame, "document.querySelector('#view').__flame.pane.drawn > 0")
    red = flame.do("p.g.getImageData(p.width - 20, 3 * 18 + 30, 1, 1).data[0]")
    assert (red < 60) is dark
    assert flame.do("f.theme") == ("dark" if dark else "light")


def test_the_canvas_follows_the_width_of_its_page(open_cell):
    frame = open_cell(FlameGraph(demo()), width=1000)
    wide = Flame(frame).do("p.canvas.width")
    frame.page.set_viewport_size({"width": 500, "height": 700})
    until(frame, f"document.querySelector('#view').__flame.pane.canvas.width < {wide} - 400")
    assert Flame(frame).do("p.rect(1).w") == Flame(frame).do("p.width")


def test_the_canvas_is_sharp_on_a_dense_screen(open_page):
    page = open_page(FlameGraph(demo()).to_html(), device_scale_factor=2)  # which frames do not follow
    until(page, "document.querySelector('#view').__flame?.pane.drawn")
    flame = Flame(page)
    assert flame.do("p.canvas.width") == 2 * flame.do("p.width")
    middle = flame.at(4)
    assert flame.do(f"p.hit({middle['x']}, {middle['y']})") == 4


def test_hostile_text_is_shown_and_never_run(open_cell):
    flame = Flame(open_cell(FlameGraph(hostile.profile())))
    nodes = flame.do("p.t.n")
    for node in range(1, nodes):
        flame.do(f"p.zoom({node})")
        flame.canvas.hover(position=flame.at(node))
    flame.do("p.zoom(1)")
    flame.canvas.hover(position=flame.at(1))
    assert flame.text(".tl-tip").split("\n")[0] == hostile.SCRIPT
    flame.frame.locator("input").fill(hostile.SCRIPT)
    assert flame.text(".tl-title") == hostile.SCRIPT
    for frame in (flame.frame, flame.frame.page.main_frame):
        assert frame.locator("img:not([src^='data:image/svg+xml;base64,']), svg[onload]").count() == 0
    assert flame.frame.page.title() == "notebook"
    assert flame.frame.title() == hostile.SCRIPT


def test_hostile_text_does_not_run_in_a_page_of_its_own_either(open_page):
    page = open_page(FlameGraph(hostile.profile()).to_html())
    until(page, "document.querySelector('#view').__flame?.pane.drawn")
    assert page.locator("img").count() == 0
    assert page.title() == hostile.SCRIPT


def test_a_script_that_got_into_a_page_would_still_be_refused(browser, tmp_path):
    """The page's own policy is the second wall: here something is let through on purpose."""
    text = FlameGraph(demo()).to_html().replace("</body>", "<script>document.title = 'owned'</script></body>")
    path = tmp_path / "page.html"
    path.write_text(text)
    page = browser.new_page()
    page.goto(path.as_uri())
    until(page, "document.querySelector('#view').__flame?.pane.drawn")
    assert page.title() == "demo"
    page.close()


def test_a_domain_and_unit_that_are_names_of_the_language_do_no_harm(open_page):
    stack = [Frame("f", domain="constructor"), Frame("g", domain="__proto__")]
    page = open_page(FlameGraph(Profile.from_stacks([(stack, 2000)], unit="constructor")).to_html())
    until(page, "document.querySelector('#view').__flame?.pane.drawn == 3")
    assert page.locator(".tl-legend").all_inner_texts() == ["__proto__ 100 %", "constructor"]


def test_a_zoom_deep_down_is_scrolled_to_with_two_callers(open_cell):
    deep = [Frame(f"level_{i}") for i in range(200)]
    flame = Flame(open_cell(FlameGraph(Profile.from_stacks([(deep, 1)]))))
    flame.do("p.zoom(100)")
    assert flame.do("p.rect(100).y") == 2 * ROW
    flame.do("f.set({ up: true })")
    assert flame.do("p.rect(100).y + 3 * 18 - p.scroll.clientHeight") == 0


def test_an_empty_profile_draws_nothing_and_says_why(open_page):
    page = open_page(FlameGraph(Profile.from_stacks([], quantity="on-CPU time", unit="ns")).to_html())
    until(page, "document.querySelector('#view').__flame")
    assert "no on-CPU time in this profile" in page.locator(".tl-about").inner_text()


def test_numbers_read_the_same_in_page_and_text(open_cell):
    values = [0.0, 1.0, 999.0, 1000.0, 123456.0, 1.5e6, 1e9, 2.345e9, 3.7e12]
    profile = Profile.from_stacks([([Frame(f"f{i}")], v) for i, v in enumerate(values)], unit="ns")
    view = FlameGraph(profile)
    flame = Flame(open_cell(view))
    said = {flame.do(f"f.facts(p, {i})[0]"): flame.do(f"f.facts(p, {i})[2]") for i in range(1, flame.do("p.t.n"))}
    from tracelab.views.wording import amount

    assert {name: line.split(", ")[0] for name, line in said.items()} == {
        f"f{i}": f"self {amount(v, 'ns')}" for i, v in enumerate(values) if v
    }


def test_a_difference_is_coloured_by_what_changed_and_told_at_the_pointer(open_page, tmp_path):
    rows = "\n".join(f"{i / 50 + 0.001} 7 {2 if i >= 250 and i % 2 else 1} 20000000" for i in range(499))
    whole = session(
        tmp_path,
        samples=f"time_s pid stack_id weight\n{rows}",
        stacks="stack_id frames\n1 1\n2 1,2",
        frames="frame_id symbol\n1 main\n2 extra",
    )
    view = whole.select(time=(5, 10)).compare(whole.select(time=(0, 5))).flamegraph()
    page = open_page(view.to_html())
    until(page, "document.querySelector('#view').__flame?.pane.drawn == 3")
    assert page.locator(".tl-legend").all_inner_texts() == ["less", "same, or not certain", "more"]
    pane = "document.querySelector('#view').__flame.pane"
    pixel = f"(i) => Array.from({pane}.g.getImageData({pane}.rect(i).x + 2, {pane}.rect(i).y + 3, 1, 1).data)"
    red, green, blue, _ = page.evaluate(pixel, 2)
    assert red > green > blue
    assert len(set(page.evaluate(pixel, 1)[:3])) == 1
    page.locator("canvas").hover(position={"x": 20, "y": 45})
    assert "before 0 %, after 49.8 %: +49.8 %" in page.locator(".tl-tip").inner_text()
    page.get_by_label("layout").select_option("inverted")
    assert page.evaluate(f"[{pane}.t.after[1], {pane}.t.before[1]].map((v) => v.toFixed(2))") in (
        ["0.50", "1.00"],
        ["0.50", "0.00"],
    )
