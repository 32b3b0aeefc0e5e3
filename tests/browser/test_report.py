"""Every notebook of the repository, executed on the shipped session, exported, and opened with the network cut."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser.waiting import until

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SESSION = NOTEBOOKS / "sessions/first_session.tracelab"
DRAWN = """((el) => el?.__flame?.pane.drawn > 1 || el?.__rates?.drawn > 0 || el?.__heat?.drawn > 0
  || ["__explorer", "__chart"].some((made) => made in (el ?? {})))(document.querySelector('#view'))"""


@pytest.mark.parametrize("notebook", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda n: n.stem)
def test_every_view_of_a_notebook_draws_from_its_export_without_network(
    notebook: Path, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    pytest.importorskip("nbclient", reason="nbclient is missing; pip install 'tracelab-ebpf[notebook]'")
    page_file = tmp_path / "report.html"
    command = [sys.executable, "-m", "tracelab", "report", str(SESSION), "--notebook", str(notebook)]
    subprocess.run([*command, "-o", str(page_file)], check=True, timeout=300, cwd=tmp_path)
    executed = page_file.with_suffix(".ipynb")
    assert executed.stat().st_size < 1_000_000
    expected = sum(
        "iframe" in "".join(output.get("data", {}).get("text/html", []))
        for cell in json.loads(executed.read_text())["cells"]
        for output in cell.get("outputs", [])
    )
    assert expected >= 1
    page = open_page(page_file.read_text(), height=900)
    assert page.locator("iframe").count() == expected
    assert page.locator("iframe + style + img").count() == expected
    assert page.locator("iframe + style + img:visible").count() == 0  # the stand-in is not shown beside the view
    for number, frame in enumerate(page.frames[1:]):
        page.locator("iframe").nth(number).scroll_into_view_if_needed()
        until(frame, DRAWN)
    assert not page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count()
