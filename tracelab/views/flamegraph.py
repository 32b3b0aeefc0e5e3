"""Flame graphs: in a live notebook, in a saved one, as a picture and as text.

NumPy folds and prunes, because what can be seen does not grow with the profile; flamegraph.js lays out and
draws. Both the live widget and the saved page run that one file on the same bytes.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from tracelab.analysis.shapes import shape_of
from tracelab.analysis.stacks import Tree, domain_weights, functions, left_heavy, prune, weighed
from tracelab.profile import Profile
from tracelab.views import palette
from tracelab.views.flame_picture import flame_svg
from tracelab.views.live import LiveView
from tracelab.views.saved import asset, packed, page, script_of
from tracelab.views.wording import amount, escaped, percent, visible

MAX_NODES = 20_000  #: a larger tree loses the frames lighter than SHARE of the whole
SHARE = 1 / 8000
MAX_SYMBOL = 400  #: characters of a symbol or path that are sent to a page
PICTURE_BYTES = 40_000  #: of the picture inside a notebook cell, where it is stored twice

_NO_DATA = "no {quantity} in this profile: nothing was sampled, or the selection left nothing"
_BODY = "<div id='picture'>{picture}</div><div id='view' class='tl-fill'></div>"


class FlameGraph(LiveView):
    """A flame graph of a profile, root at the top, wide frames left.

    Frames of the same function under the same caller are one; frames too light to be seen are merged into
    strips that keep their weight. `table` has every function, also those too light to be drawn.
    """

    modules = ("flamegraph.js",)
    style = "flamegraph.css"

    def __init__(self, profile: Profile, *, title: str = "") -> None:
        self.profile = profile
        self.title = visible(title or profile.name or f"Flame graph of {profile.quantity}", 120)

    def __repr__(self) -> str:
        return f"<FlameGraph {self.title!r}: {amount(self.profile.total, self.profile.unit)}>"

    @functools.cached_property
    def tree(self) -> Tree:
        """The whole tree of calls, siblings in no particular order."""
        return weighed(shape_of(self.profile), self.profile.weights)

    @functools.cached_property
    def drawn(self) -> Tree:
        """The tree that is drawn: all of it, or without frames lighter than SHARE of the whole."""
        return left_heavy(prune(self.tree, 0 if np.count_nonzero(self.tree.total) <= MAX_NODES else SHARE))

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """One row per function: symbol, module, domain, self, total, shares; see analysis.stacks.functions."""
        table = functions(self.tree)
        table.attrs.update(quantity=self.profile.quantity, unit=self.profile.unit)
        return table

    @property
    def height(self) -> int:
        """Height of the iframe in pixels: what the tree needs, between a usable and a tolerable one."""
        return min(max(int(self.drawn.depth.max()) * 18 + 150, 260), 560)

    def domains(self) -> dict[str, float]:
        """Weight by what ran, in the profile's unit: see analysis.stacks.domain_weights."""
        return domain_weights(self.tree)

    def about(self) -> list[str]:
        """What must be said beside the picture: total, complete stacks, merged frames; notes come after it."""
        profile, tree = self.profile, self.drawn
        if not profile.total:
            return [visible(_NO_DATA.format(quantity=profile.quantity))]
        complete = profile.complete_share
        unwound = (
            "not known which stacks are complete"
            if complete is None
            else f"{percent(complete)} of it in stacks that are complete to the outermost frame"
        )
        said = [visible(f"{amount(profile.total, profile.unit)} of {profile.quantity}; {unwound}")]
        if merged := int(tree.pruned.sum()):
            all_frames = f"{len(self.tree) - 1:,} frames of the tree"
            said.append(f"{merged:,} of {all_frames} are lighter than {percent(SHARE)} and merged (hatched)")
        return said

    @property
    def notes(self) -> list[str]:
        """The profile's notes: what was lost or cut off."""
        return [visible(note) for note in self.profile.notes]

    def to_svg(self, max_bytes: int = 150_000) -> str:
        """The flame graph as SVG, made without a browser."""
        return flame_svg(
            self.drawn,
            title=self.title,
            unit=self.profile.unit,
            domains=self.domains(),
            notes=self.about() + self.notes,
            max_bytes=max_bytes,
        )

    def to_text(self, top: int = 10) -> str:
        """The heaviest functions by self weight, with their numbers."""
        unit, rows = self.profile.unit, self.table.head(top)
        lines = [self.title, *self.about(), *self.notes]
        if len(rows):
            lines.append(f"{'self':>10} {'share':>7} {'total':>10} {'share':>7}  function")
        for row in rows.to_dict("records"):
            where = visible(str(row["module"]), 40) or row["domain"]
            lines.append(
                f"{amount(row['self'], unit):>10} {percent(row['self_share']):>7} "
                f"{amount(row['total'], unit):>10} {percent(row['share']):>7}  "
                f"{visible(str(row['symbol']), 80)}  ({where})"
            )
        if len(self.table) > top:
            lines.append(f"... and {len(self.table) - top:,} more functions in .table")
        return "\n".join(lines)

    @property
    def selection(self) -> list[str]:
        """The path of the frame last clicked, root first; empty for none. Assigning one shows it."""
        return list(self.state.get("selection", []))

    @selection.setter
    def selection(self, path: list[str]) -> None:
        self.state = {**self.state, "selection": list(path)}

    def first(self) -> tuple[dict[str, Any], bytes]:
        """Names, texts and the tree, as flamegraph.js reads them."""
        return self._packed()

    def _packed(self) -> tuple[dict[str, Any], bytes]:
        """What flamegraph.js reads: names and texts, and the nodes as a struct of arrays.

        Bytes, all little-endian: self f64[n], frame i32[n], depth i32[n], pruned i32[n], nodes in preorder.
        """
        tree = self.drawn
        used, index = np.unique(tree.frame[tree.frame >= 0], return_inverse=True)
        frame = tree.frame.copy()
        frame[frame >= 0] = index
        frames = [tree.frames[i] for i in used]
        modules, module = _interned([f.module for f in frames])
        files, file = _interned([f.file for f in frames])
        meta = {
            "nodes": len(tree),
            "title": self.title,
            "unit": self.profile.unit,
            "quantity": visible(self.profile.quantity, MAX_SYMBOL),
            "about": self.about(),
            "notes": self.notes,
            "domains": self.domains(),
            "names": [visible(f.symbol, MAX_SYMBOL) for f in frames],
            "domain": [f.domain for f in frames],
            "modules": modules,
            "module": module,
            "shade": [palette.shade_of(m) for m in modules],
            "files": files,
            "file": file,
            "line": [f.line for f in frames],
            "lastLine": tree.last_line[used].tolist(),
            "colours": palette.domain_colours(),
            "rootColours": palette.ROOT_COLOURS,
            "smallColours": palette.SMALL_COLOURS,
            "ink": palette.INK,
            "bpfInk": palette.BPF_INK,
        }
        columns = (
            tree.self_weight.astype("<f8"),
            *(a.astype("<i4") for a in (frame, tree.depth, tree.pruned)),
        )
        return meta, b"".join(column.tobytes() for column in columns)

    def _page(self) -> str:
        return self._page_with(self.to_svg(PICTURE_BYTES))

    def _cell_page(self) -> str:
        return self._page_with("")

    def _small_picture(self) -> str:
        return self.to_svg(PICTURE_BYTES)

    def _page_with(self, picture: str) -> str:
        meta, data = self._packed()
        return page(
            title=self.title,
            body=_BODY.format(picture=picture),
            style=asset("flamegraph.css"),
            script=script_of(self.modules, "saved.js"),
            data=packed(meta, data),
        )

    def _other_forms(self) -> dict[str, Any]:
        return {"image/svg+xml": self.to_svg(PICTURE_BYTES)}

    def _numbers(self) -> str:
        unit = self.profile.unit
        rows = [
            f"<tr><td>{amount(row['self'], unit)}</td><td>{percent(row['self_share'])}</td>"
            f"<td>{amount(row['total'], unit)}</td><td>{percent(row['share'])}</td>"
            f"<td>{escaped(row['symbol'], 120)}</td><td>{escaped(row['module'], 80)}</td>"
            f"<td>{escaped(row['domain'])}</td></tr>"
            for row in self.table.head(20).to_dict("records")
        ]
        names = ("self", "share", "total", "share", "function", "module", "domain")
        head = "".join(f"<th>{name}</th>" for name in names)
        notes = "".join(f"<p>{escaped(note)}</p>" for note in self.about() + self.notes)
        return f"{notes}<table><tr>{head}</tr>{''.join(rows)}</table>"


def _interned(texts: list[str]) -> tuple[list[str], list[int]]:
    """Distinct texts made visible, and the number of each in that list."""
    index: dict[str, int] = {}
    numbers = [index.setdefault(visible(text, MAX_SYMBOL), len(index)) for text in texts]
    return list(index), numbers
