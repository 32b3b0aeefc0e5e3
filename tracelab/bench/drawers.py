"""What draws a flame graph in a browser: ours as a notebook has it, and speedscope's released page."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from tracelab.bench.browser import Page, served
from tracelab.bench.tracer import NotRun
from tracelab.profile import Profile
from tracelab.views.flamegraph import FlameGraph
from tracelab.views.saved import asset, script_of

SPEEDSCOPE = "1.25.0"
NPM_S = 120

# A model as anywidget has one, over Python's own answers, and an element as high as the page.
_START = """
async ([source, css]) => {
  const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const heard = new Map(), values = { state: {}, key: "view" };
  const model = {
    get: (name) => values[name], set(name, value) { values[name] = value; }, save_changes() {},
    on(name, fn) { heard.set(name, fn); }, off() {},
    async send({ seq, ask }) {
      const [meta, text] = JSON.parse(await answerOf(JSON.stringify(ask)));
      const data = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      heard.get("msg:custom")({ seq, meta }, [new DataView(data.buffer)]);
    },
  };
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  window.el = Object.assign(document.createElement("div"), { className: "tl-fill" });
  document.body.append(el);
  await module.default.render({ model, el });
}
"""


class Drawer(Protocol):
    """Draws a profile in a page."""

    name: str
    canvas: str  #: the canvas of the flame graph, in JavaScript
    zooms: str  #: the event that zooms into the frame under the pointer
    top: int  #: pixels from the canvas' top to its first frame
    row: int  #: height of a frame in pixels

    def draw(self, page: Page) -> tuple[float, float]:
        """Draw the profile; gives milliseconds until its last pixel, and of CPU time that Python used for it."""
        ...


class Ours:
    """The live flame graph: from Python's call, through its answer, to the pixels."""

    name, canvas, zooms, top, row = "tracelab", "el.__flame.pane.canvas", "click", 0, 18

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def draw(self, page: Page) -> tuple[float, float]:
        """See Drawer."""
        spent: list[float] = []
        page.page.goto("data:text/html,<!doctype html><title>notebook</title><body>")
        unknown = replace(self.profile, stack_frames=self.profile.stack_frames.copy())  # its tree is remembered
        begun = time.time()
        view = FlameGraph(unknown)

        def answer(text: str) -> str:
            start, ask = time.thread_time(), json.loads(text)
            meta, data = view.first() if ask == "first" else view.answer(ask)
            spent.append(time.thread_time() - start)
            return json.dumps([meta, base64.b64encode(data).decode()])

        page.page.expose_function("answerOf", answer)
        page.page.evaluate(_START, [script_of(view.modules, "live.js"), asset(view.style)])
        page.quiet()
        ended: float = page.page.evaluate("performance.timeOrigin + watched.paints.at(-1)")
        return ended - 1e3 * begun, 1e3 * spent[0]


class Speedscope:
    """Speedscope's page with the profile as its own JSON, in its left-heavy view: from opening it to the pixels."""

    name, canvas, zooms, top, row = "speedscope", "[...document.querySelectorAll('canvas')].at(-1)", "dblclick", 20, 20

    def __init__(self, address: str) -> None:
        self.address = address

    def draw(self, page: Page) -> tuple[float, float]:
        """See Drawer; nothing of it is Python's."""
        page.page.goto(f"{self.address}/index.html#view=left-heavy&profileURL={self.address}/profile.json")
        page.page.wait_for_function("watched.paints.length > 0", polling=100)
        page.quiet()
        return float(page.page.evaluate("watched.paints.at(-1)")), 0.0


@contextmanager
def speedscope(profile: Profile) -> Iterator[Speedscope]:
    """Speedscope, served on loopback with the profile; raises NotRun where it cannot be had."""
    release = _installed() / "node_modules/speedscope/dist/release"
    with tempfile.TemporaryDirectory(prefix="tracelab-bench-") as folder:
        shutil.copytree(release, folder, dirs_exist_ok=True)
        write_speedscope(profile, Path(folder) / "profile.json")
        with served(Path(folder)) as address:
            yield Speedscope(address)


def write_speedscope(profile: Profile, path: Path) -> None:
    """The profile as speedscope reads it: a sample per stack, root first, with its weight."""
    sampled = {
        "type": "sampled",
        "name": profile.name,
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": profile.total,
        "samples": [span.tolist() for span in np.split(profile.stack_frames, profile.offsets[1:-1])],
        "weights": profile.weights.tolist(),
    }
    whole = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": f.symbol, "file": f.module} for f in profile.frames]},
        "profiles": [sampled],
    }
    path.write_text(json.dumps(whole, separators=(",", ":")))


def _installed() -> Path:
    """Where npm has put speedscope: a folder of its own among the user's caches."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / f"tracelab-bench/speedscope-{SPEEDSCOPE}"
    if (cache / "node_modules/speedscope/dist/release/index.html").exists():
        return cache
    npm = shutil.which("npm")
    if npm is None:
        raise NotRun("npm is missing, which it comes from")
    cache.mkdir(parents=True, exist_ok=True)
    quietly = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache)]
    try:
        done = subprocess.run(
            [npm, "install", *quietly, f"speedscope@{SPEEDSCOPE}"], capture_output=True, text=True, timeout=NPM_S
        )
    except subprocess.TimeoutExpired as error:
        raise NotRun(f"npm did not get it within {NPM_S} s; is there a network?") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise NotRun(f"npm could not get it; it said: {said[-1]}")
    return cache
