"""Live views where people look at them: JupyterLab 4, Notebook 7 and Voila, running, opened again, and exported.

A cell with a live view has two outputs, the widget and its saved form. Whatever the host, and whether or not a kernel
is there, exactly one of them is seen, and it works.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.hosts import ROOT, Host, Notebook, served, why_no_hosts
from browser.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_no_hosts()), reason=f"notebook hosts: {why_no_hosts()}")]

SESSION = ROOT / "notebooks/sessions/first_session.tracelab"
CELLS = (
    f"""
import ipywidgets, tracelab
s = tracelab.open({str(SESSION)!r})
fg = s.flamegraph()
said = ipywidgets.Label("nothing")
fg.on_state(lambda state: setattr(said, "value", "Python: " + "/".join(fg.selection)))
fg
""",
    "said",
    "s.event_rate()",
    "s.diagnose()",
    "fg",
    """
e = s.explore()
chosen = ipywidgets.Label("nothing")
e.on_state(lambda state: setattr(chosen, "value", "Python: " + e.code))
e
""",
    "chosen",
)
APPS = ("lab", "classic")
LIVE = "[...document.querySelectorAll('[id^=tl-]')].find((e) => e.__flame?.pane.drawn)"
SAVED = "document.querySelector('#view').__flame"
ERROR = "Error displaying widget"
NO_SAVED_FORM = "[...document.querySelectorAll('iframe')].every((frame) => frame.getClientRects().length === 0)"
@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One and the same notebook for each application, never run."""
    nbformat = pytest.importorskip("nbformat")
    made = tmp_path_factory.mktemp("hosts") / "notebooks"
    made.mkdir()
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for app in (*APPS, "voila", "exported"):
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, made / f"{app}.ipynb")
    return made


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[Host]:
    with served(folder) as running:
        yield running


@pytest.fixture(scope="module")
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Pages whose network ends at this machine; `page.asked` has what they asked of others."""
    contexts = []

    def open_context(**options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 3200}, **options)
        contexts.append(context)
        page = context.new_page()
        page.asked = []

        def answer(route: Any) -> None:
            if route.request.url.startswith(("http://127.0.0.1", "data:", "blob:", "file:")):
                route.continue_()
            else:
                page.asked.append(route.request.url)
                route.abort()

        page.route("**/*", answer)
        return page

    yield open_context
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def running(host: Host, new_page: Callable[..., Any]) -> dict[str, Notebook]:
    """The notebook open in each application, all of its cells executed."""
    opened = {}
    for app in APPS:
        opened[app] = getattr(host, f"open_{app}")(new_page(), f"{app}.ipynb")
        opened[app].run_all()
        until(opened[app].page, f"{LIVE}?.__flame.pane.drawn > 0")
    return opened


@pytest.fixture(params=APPS)
def notebook(request: pytest.FixtureRequest, running: dict[str, Notebook]) -> Notebook:
    return running[request.param]


@pytest.fixture(scope="module")
def saved(running: dict[str, Notebook], folder: Path) -> Path:
    """The folder with the executed notebooks, as their applications have written them."""
    for app in APPS:
        running[app].save()
    return folder


@pytest.fixture(scope="module")
def without_kernel(saved: Path) -> Iterator[Host]:
    with served(saved, kernels=False) as shown:
        yield shown


def click_frame(page: Any, node: int) -> list[str]:
    """A click into the middle of a frame; gives its path."""
    box = page.evaluate(f"{LIVE}.__flame.pane.rect({node})")
    where = {"x": box["x"] + box["w"] / 2, "y": box["y"] + box["h"] / 2}
    page.locator("[id^=tl-] canvas").first.click(position=where)
    return page.evaluate(f"{LIVE}.__flame.path({LIVE}.__flame.pane, {node})")


def outputs_seen(page: Any, cell: int) -> list[bool]:
    """Which outputs of a cell are seen."""
    outputs = page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea-child")
    return [output.is_visible() and output.bounding_box()["height"] > 40 for output in outputs.all()]


def saved_flame(page: Any) -> Any:
    """The frame of the saved form, once it has drawn."""
    page.locator("iframe").first.wait_for()
    frame = page.locator("iframe").first.element_handle().content_frame()
    until(frame, f"document.querySelector('#view') && {SAVED}?.pane.drawn > 0")
    return frame


def test_a_live_flame_graph_is_painted_and_its_saved_form_is_hidden(notebook: Notebook) -> None:
    page = notebook.page
    assert page.evaluate(f"{LIVE}.__flame.pane.drawn") > 100
    assert page.evaluate(f"{LIVE}.querySelector('canvas').getBoundingClientRect().height") > 300
    until(page, NO_SAVED_FORM)
    assert page.asked == []


def test_a_click_on_a_frame_comes_back_to_python(notebook: Notebook) -> None:
    path = click_frame(notebook.page, 3)
    assert len(path) == 3
    until(notebook.page, f"document.body.innerText.includes({json.dumps('Python: ' + '/'.join(path))})")
    assert notebook.run("print(fg.selection)") == f"{path}\n"


def test_what_python_selects_reaches_the_widget(notebook: Notebook) -> None:
    path = notebook.page.evaluate(f"{LIVE}.__flame.path({LIVE}.__flame.pane, 4)")
    notebook.run(f"fg.selection = {path!r}")
    until(notebook.page, f"{LIVE}.__flame.host.state.selection.join() === {json.dumps(','.join(path))}")


def test_search_says_how_much_matches(notebook: Notebook) -> None:
    notebook.page.evaluate(f"{LIVE}.__flame.goto([])")
    box = notebook.page.locator("[id^=tl-] input[type=search]").first
    box.fill("/bpf_prog/")
    until(notebook.page, f"/matched 22\\.\\d %/.test({LIVE}.innerText)")
    box.fill("")


def test_every_cell_shows_one_form_of_its_view(notebook: Notebook) -> None:
    assert outputs_seen(notebook.page, 0) == [True, False]
    assert [sum(outputs_seen(notebook.page, cell)) for cell in (2, 3)] == [1, 1]
    assert notebook.page.locator(".jp-CodeCell").nth(3).locator(".finding").count() >= 3


def test_the_explorer_links_its_views_and_tells_python(notebook: Notebook) -> None:
    page = notebook.page
    until(page, "document.querySelector('.tl-explorer .tl-flame')?.__flame?.pane.drawn > 0")
    page.locator(".tl-explorer .tl-part-top button", has_text="bpftrace").first.click()
    until(page, "document.querySelector('.tl-explorer code').textContent.includes('pid=')")
    page.evaluate("document.querySelector('.tl-explorer .tl-rate').__rates.select([1, 3])")
    until(page, "document.querySelector('.tl-explorer code').textContent.includes('time=(1.0, 3.0)')")
    until(page, "document.querySelector('.tl-explorer .tl-flame').__flame.title.textContent.includes('1 s to 3 s')")
    page.get_by_text("Python: s.select(time=(1.0, 3.0), pid=").first.wait_for()


def test_a_view_that_is_shown_in_two_cells_lives_in_both(notebook: Notebook) -> None:
    alone = "canvas.offsetHeight > 300 && !canvas.closest('.tl-explorer')"
    high = f"[...document.querySelectorAll('canvas')].filter((canvas) => {alone})"
    assert notebook.page.evaluate(f"{high}.length") == 2
    assert [outputs_seen(notebook.page, cell) for cell in (0, 4)] == [[True, False], [True, False]]


@pytest.mark.parametrize("app", APPS)
def test_a_notebook_opened_without_kernel_shows_the_saved_form_alone_and_it_works(
    app: str, without_kernel: Host, new_page: Callable[..., Any]
) -> None:
    shown = getattr(without_kernel, f"open_{app}")(new_page(color_scheme="null"), f"{app}.ipynb")
    page, frame = shown.page, saved_flame(shown.page)
    assert outputs_seen(page, 0) == [False, True]
    box = frame.evaluate(f"{SAVED}.pane.rect(3)")
    frame.locator("canvas").click(position={"x": box["x"] + box["w"] / 2, "y": box["y"] + 9})
    assert frame.evaluate(f"{SAVED}.pane.root") == 3
    shown.command("apputils:change-theme", theme="JupyterLab Dark")
    until(frame, f"{SAVED}.theme === 'dark'")


def test_a_notebook_from_elsewhere_shows_a_picture_as_nothing_in_it_may_run(
    without_kernel: Host, new_page: Callable[..., Any]
) -> None:
    folder = without_kernel.folder
    text = (folder / "lab.ipynb").read_text()
    (folder / "foreign.ipynb").write_text(text.replace("import ipywidgets, tracelab", "import tracelab, ipywidgets"))
    page = without_kernel.open_classic(new_page(), "foreign.ipynb").page
    cell = page.locator(".jp-CodeCell").first
    cell.locator("img[src^='data:image/svg+xml']").wait_for()
    assert outputs_seen(page, 0) == [False, True]
    assert cell.locator("iframe").count() == 0


def test_a_new_kernel_does_not_bring_the_error_of_a_lost_widget(
    saved: Path, host: Host, new_page: Callable[..., Any]
) -> None:
    """Closed, its kernel ended, and opened again: the new kernel knows nothing of the widget."""
    (saved / "again.ipynb").write_bytes((saved / "lab.ipynb").read_bytes())
    page = host.open_lab(new_page(), "again.ipynb").page
    saved_flame(page)
    until(page, f"document.body.textContent.includes({json.dumps(ERROR)})")
    assert not page.locator(".jp-CodeCell").first.get_by_text(ERROR).is_visible()


def test_voila_shows_the_live_view_and_answers(host: Host, new_page: Callable[..., Any]) -> None:
    page = new_page()
    host.open_voila(page, "voila.ipynb")
    until(page, f"{LIVE}?.__flame.pane.drawn > 100")
    until(page, NO_SAVED_FORM)
    path = click_frame(page, 3)
    until(page, f"document.body.innerText.includes({json.dumps('Python: ' + '/'.join(path))})")
    assert page.locator(".finding").count() >= 3


@pytest.mark.parametrize("template", ["lab", "classic"])
@pytest.mark.parametrize("state", ["without", "with"])
def test_an_exported_notebook_has_one_working_flame_graph_without_network(
    state: str, template: str, saved: Path, executed: Any, new_page: Callable[..., Any], tmp_path: Path
) -> None:
    """JupyterLab does not store the state of widgets in a notebook, and nbconvert does when it executes one."""
    nbconvert = pytest.importorskip("nbconvert")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(saved / "lab.ipynb", as_version=4) if state == "without" else executed
    assert ("widgets" in notebook.metadata) is (state == "with")
    html, _ = nbconvert.HTMLExporter(template_name=template).from_notebook_node(notebook)
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    page = new_page()
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    frame = saved_flame(page)
    assert frame.locator("canvas").is_visible()
    # With a network the widget would be there too, and wait for a kernel.
    page.evaluate(
        "document.querySelector('.jp-OutputArea-child, .output_area').append(Object.assign(document.createElement('p'),"
        " { textContent: 'waiting for the kernel' }))"
    )
    assert not page.get_by_text("waiting for the kernel").is_visible()


@pytest.fixture(scope="module")
def executed(folder: Path) -> Any:
    """The notebook as nbconvert executes it."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(folder / "exported.ipynb", as_version=4)
    here = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=here).execute()
    return notebook
