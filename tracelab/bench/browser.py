"""A headless Chromium that tells when it has painted, what that cost its main thread, and what it keeps in memory."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracelab.errors import UsageError

PROGRAMS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
WATCH = (Path(__file__).parent / "watch.js").read_text(encoding="utf-8")
SIZE = {"width": 1200, "height": 900}
QUIET_MS = 200  #: without a draw, after which a picture counts as finished; no time that is measured has it in it
PATIENCE_MS = 300_000.0


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser; raises UsageError where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UsageError("playwright is missing; pip install 'tracelab-ebpf[test]'") from error
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise UsageError(f"no {' or '.join(PROGRAMS)} is on PATH; install chromium")
    # Without a GPU, WebGL is drawn by the CPU: in another process, so that main-thread time does not have it.
    options = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--js-flags=--expose-gc"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield running
        finally:
            running.close()


@dataclass(frozen=True)
class Page:
    """A page whose canvases are watched."""

    page: Any
    devtools: Any

    @classmethod
    @contextlib.contextmanager
    def opened(cls, browser: Any) -> Iterator[Page]:
        """A page of its own, without cache or history."""
        context = browser.new_context(viewport=SIZE)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.add_init_script(WATCH)
        devtools = context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        try:
            yield cls(page, devtools)
        finally:
            context.close()

    def quiet(self) -> None:
        """Returns when nothing has been drawn for a while."""
        self.page.evaluate(f"watched.quiet({QUIET_MS})")

    def cpu_ms(self) -> float:
        """What the main thread has used of a CPU so far."""
        metrics = self.devtools.send("Performance.getMetrics")["metrics"]
        return 1e3 * float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    def heap_mb(self) -> float:
        """JavaScript's heap and its typed arrays, after a garbage collection."""
        self.devtools.send("HeapProfiler.collectGarbage")
        usage = self.devtools.send("Runtime.getHeapUsage")
        return float(usage["usedSize"] + usage.get("backingStorageSize", 0)) / 1e6

    def answer_ms(self, event: str) -> list[float]:
        """From the last event of a type to the end of the first and of the last paint after it; none without any."""
        answer: list[float] = self.page.evaluate(f"watched.answer('{event}', {QUIET_MS})")
        return answer


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of a folder, served on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""
