"""What lets a view survive in a saved notebook: with no kernel, no network and perhaps no scripts.

A drawn view goes into the notebook as a whole page inside a sandboxed iframe (`srcdoc`), with a picture of
itself in the page for where scripts do not run, the same picture as SVG beside it, its numbers as an HTML
table, and as plain text. The page's own policy lets nothing run but the scripts that were put there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, overload

import pandas as pd

from tracelab.views.wording import escaped

_HERE = Path(__file__).parent

class View:
    """A value that a notebook can show: as HTML, perhaps as a picture, and always as text with numbers."""

    @property
    def table(self) -> pd.DataFrame:
        """The numbers behind the view."""
        raise NotImplementedError

    def to_text(self) -> str:
        """The view as plain text."""
        raise NotImplementedError

    def _page(self) -> str:
        """The view as a whole HTML page that needs nothing else."""
        raise NotImplementedError

    def _cell(self) -> str:
        """The view as HTML for the output of a notebook cell."""
        raise NotImplementedError

    def _other_forms(self) -> dict[str, Any]:
        """Further entries of the output, by MIME type."""
        return {}

    @overload
    def to_html(self) -> str: ...

    @overload
    def to_html(self, path: str | Path) -> Path: ...

    def to_html(self, path: str | Path | None = None) -> str | Path:
        """The view as one HTML page that needs neither kernel nor network; written to `path` when given."""
        if path is None:
            return self._page()
        path = Path(path)
        path.write_text(self._page(), encoding="utf-8")
        return path

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, Any]:
        bundle = {"text/html": self._cell(), "text/plain": self.to_text(), **self._other_forms()}
        wanted = set(include) if include else set(bundle)
        return {k: v for k, v in bundle.items() if k in wanted - set(exclude or ())}


class DrawnView(View):
    """A view that draws itself with scripts, and has a picture for where they do not run."""

    title: str

    @property
    def height(self) -> int:
        """Height of the iframe, pixels."""
        raise NotImplementedError

    def to_svg(self) -> str:
        """The view as a picture."""
        raise NotImplementedError

    @overload
    def to_png(self, *, scale: float = 2.0) -> bytes: ...

    @overload
    def to_png(self, path: str | Path, *, scale: float = 2.0) -> Path: ...

    def to_png(self, path: str | Path | None = None, *, scale: float = 2.0) -> bytes | Path:
        """The picture as PNG, for where SVG is not taken; written to `path` when given.

        Needs `pip install 'tracelab-ebpf[png]'` and a usual font; raises UsageError where either is missing.
        """
        from tracelab.views.png import png

        picture = png(self.to_svg(), scale)
        if path is None:
            return picture
        path = Path(path)
        path.write_bytes(picture)
        return path

    def _cell(self) -> str:
        """The page in an iframe; a picture for viewers that take iframes away, and the style that hides it, too."""
        numbers = f"<details><summary>{escaped(self.title)}: the numbers</summary>{self._numbers()}</details>"
        encoded = base64.b64encode(self._small_picture().encode()).decode()
        picture = f"<img alt='{escaped(self.title)}' src='data:image/svg+xml;base64,{encoded}'>"
        return iframe(self._cell_page(), title=self.title, height=self.height) + _HIDDEN_PICTURE + picture + numbers

    def _cell_page(self) -> str:
        """The page for the iframe of a cell, which has the picture beside it."""
        return self._page()

    def _small_picture(self) -> str:
        """The picture in a cell, where every kilobyte is stored once more."""
        return self.to_svg()

    def _numbers(self) -> str:
        """The most important numbers as HTML, for readers and viewers that drop iframes."""
        return f"<pre>{escaped_lines(self.to_text())}</pre>"

    def _other_forms(self) -> dict[str, Any]:
        return {"image/svg+xml": self.to_svg()}


# JupyterLab's theme is its own, whatever the reader's preference: the page in the iframe takes it for that.
_HIDDEN_PICTURE = """<style>
iframe + style + img { display: none !important }
[data-jp-theme-light=true] iframe:has(+ style + img) { color-scheme: light }
[data-jp-theme-light=false] iframe:has(+ style + img) { color-scheme: dark }
</style>"""


def escaped_lines(text: str) -> str:
    """Text of several lines for HTML; line breaks stay."""
    return "\n".join(escaped(line) for line in text.split("\n"))


def asset(name: str) -> str:
    """Source of a script or style that stands beside the views."""
    return (_HERE / name).read_text(encoding="utf-8")


def script_of(modules: tuple[str, ...], ending: str) -> str:
    """One ES module from the scripts of a view, of which the last one draws, and the one that runs it.

    `ending` is saved.js or live.js. A script is in every saved cell again, so that indentation and whole-line
    comments go.
    """
    sources = [_bare(asset("basis.js")), *(_module(name) for name in modules)]
    return "\n".join([*sources, f"const view = {_name(modules[-1])};", _bare(asset(ending))])


def _module(name: str) -> str:
    """A script as a constant of its own name: what it exports by default, and everything else out of sight."""
    head, found, tail = _bare(asset(name)).partition("export default ")
    if not found or "export " in head + tail:
        raise ValueError(f"{name} must have one export, the default one")
    return f"const {_name(name)} = (() => {{\n{head}return {tail}\n}})();"


def _name(script: str) -> str:
    return script.removesuffix(".js")


def _bare(source: str) -> str:
    lines = (line.strip() for line in source.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def packed(meta: Mapping[str, object], data: bytes) -> str:
    """What saved.js reads: length of the JSON (u32, little-endian), the JSON, the data; deflated, as base64."""
    head = json.dumps(meta, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    whole = zlib.compress(len(head).to_bytes(4, "little") + head + data, 9)
    return base64.b64encode(whole).decode()


def page(*, title: str, body: str, style: str, script: str = "", data: str = "") -> str:
    """A whole HTML page. `body`, `style` and `script` are ours; `title` and `data` may be anything.

    `data` stands in the element `#data` as base64. Only `script` may run, by its hash; nothing may be
    fetched or sent.
    """
    if "</script" in script.lower() or "<!--" in script or "</style" in style.lower():
        raise ValueError("a script or style would end early inside the page")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; " if script else ""
    policy = f"default-src 'none'; {allowed}style-src 'unsafe-inline'; img-src data:"
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        "<meta name='viewport' content='width=device-width'>",
        f"<title>{escaped(title)}</title><style>{style}</style></head><body>{body}",
        f"<script type='text/plain' id='data'>{data}</script>" if data else "",
        f"<script type='module'>{script}</script>" if script else "",
        "</body></html>\n",
    ]
    return "".join(parts)


def iframe(document: str, *, title: str, height: int) -> str:
    """A page inside the page: it may run its own scripts and reach nothing outside itself."""
    source = document.replace("&", "&amp;").replace('"', "&quot;")
    return (
        f'<iframe sandbox="allow-scripts" title="{escaped(title)}" loading="eager" '
        f'style="width:100%;height:{height}px;border:0" srcdoc="{source}"></iframe>'
    )
