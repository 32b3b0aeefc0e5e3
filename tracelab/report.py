"""A notebook run on a session, as one HTML file that needs no kernel, no server and no network."""

from __future__ import annotations

import os
from pathlib import Path

from tracelab.errors import TracelabError, UsageError

FIRST = "01_first_session.ipynb"
CELL_S = 300


def notebooks_dir() -> Path:
    """The folder of notebooks: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if (folder / FIRST).is_file():
            return folder
    raise FileNotFoundError(f"no {FIRST} in or beside {package}; reinstall tracelab-ebpf")


def report(session: Path, output: Path | None = None, notebook: Path | None = None) -> Path:
    """Run `notebook` on `session`; returns the HTML file, beside which the executed notebook lies.

    The notebook's cell tagged `parameters` is followed by one that sets `session`. Raises NotASession, and
    TracelabError with the failing cell.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise UsageError(f"{error}; reports need `pip install 'tracelab-ebpf[notebook]'`") from error
    from tracelab.session.manifest import Manifest

    Manifest.load(session)
    page = output or session.with_suffix(".html")
    content = nbformat.read(notebook or notebooks_dir() / FIRST, as_version=4)
    _set_parameters(content, session.resolve())
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # else the kernel talks of frozen modules
    client = NotebookClient(
        content,
        timeout=CELL_S,
        kernel_name="python3",
        store_widget_state=False,
        extra_arguments=["--Application.log_level=ERROR"],  # it would warn of its own loopback sockets
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise TracelabError(f"the notebook failed: {error}") from error
    exporter = HTMLExporter(mathjax_url="", require_js_url="", embed_images=True)
    html, _ = exporter.from_notebook_node(content)
    nbformat.write(content, page.with_suffix(".ipynb"))
    page.write_text(html, encoding="utf-8")
    return page


def _set_parameters(content: object, session: Path) -> None:
    import nbformat

    cells = content.cells  # type: ignore[attr-defined]
    tagged = [i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])]
    cell = nbformat.v4.new_code_cell(f"session = {str(session)!r}", metadata={"tags": ["injected-parameters"]})
    cells.insert(tagged[0] + 1 if tagged else 0, cell)
