"""A headless Chromium whose network is cut, for pages that must need none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.waiting import until
from chromium import chromium_path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens HTML as a file without network; the test fails if the page raised, warned or asked for anything."""
    contexts: list[Any] = []
    trouble: list[str] = []

    def note_request(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            trouble.append(f"asked for {request.url}")

    def note_message(message: Any) -> None:
        if (
            message.type in ("error", "warning") and "willReadFrequently" not in message.text
        ):  # our own reading
            trouble.append(message.text)

    def open_html(
        html: str, *, width: int = 1000, height: int = 700, dark: bool = False, **options: Any
    ) -> Any:
        context = browser.new_context(
            offline=True,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: trouble.append(f"raised {error}"))
        page.on("console", note_message)
        page.on("request", note_request)
        path = tmp_path / f"page{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        page.goto(path.as_uri())
        return page

    yield open_html
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def open_cell(open_page: Callable[..., Any]) -> Callable[..., Any]:
    """Opens the HTML of a notebook cell inside a page, and gives the frame that the view is in."""

    def open_view(view: Any, **options: Any) -> Any:
        cell = view._repr_mimebundle_()["text/html"]
        page = open_page(f"<!doctype html><title>notebook</title><body>{cell}", **options)
        frame = page.frames[1]
        made = "['__flame', '__rates', '__heat', '__explorer']"
        until(frame, f"{made}.some((name) => name in document.querySelector('#view'))")
        return frame

    return open_view
