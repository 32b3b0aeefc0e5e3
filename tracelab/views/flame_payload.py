"""A tree of calls as flametree.js reads it: names and colours as JSON, the nodes as a struct of arrays."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tracelab.analysis.stacks import SMALL, Tree
from tracelab.profile import Frame
from tracelab.views import palette
from tracelab.views.wording import visible

MAX_SYMBOL = 400  #: characters of a symbol or path that are sent to a page

Column = npt.NDArray[np.float64] | npt.NDArray[np.int32] | npt.NDArray[np.uint8]
_KINDS: dict[str, np.dtype[Any]] = {"f8": np.dtype("<f8"), "i4": np.dtype("<i4"), "u1": np.dtype("u1")}


def packed_tree(
    tree: Tree, unit: str, layout: str, extra: Mapping[str, Column] | None = None
) -> tuple[dict[str, Any], bytes]:
    """What flametree.read takes; `extra` are further columns over the nodes, as f8, i4 or u1.

    The bytes are column after column in the order of `meta["columns"]`, little-endian, widest first.
    """
    used, index = np.unique(tree.frame[tree.frame >= 0], return_inverse=True)
    frame = tree.frame.copy()
    frame[frame >= 0] = index
    texts = _Texts([tree.frames[i] for i in used])
    given: dict[str, Column] = {"own": tree.self_weight, "frame": frame, "depth": tree.depth, "pruned": tree.pruned}
    given.update(extra or {})
    kinds = {name: next(k for k, t in _KINDS.items() if t == np.dtype(c.dtype)) for name, c in given.items()}
    order = sorted(given, key=lambda name: list(_KINDS).index(kinds[name]))
    meta = {
        "nodes": len(tree),
        "columns": [[name, kinds[name]] for name in order],
        "layout": layout,
        "unit": unit,
        "cut": bool((tree.frame == SMALL).any()),
        "names": texts.names,
        "domain": [f.domain for f in texts.frames],
        "modules": texts.modules,
        "module": texts.module,
        "shade": [palette.shade_of(m) for m in texts.modules],
        "files": texts.files,
        "file": texts.file,
        "line": [f.line for f in texts.frames],
        "lastLine": tree.last_line[used].tolist(),
        "smallColours": palette.SMALL_COLOURS,
    }
    return meta, b"".join(given[name].astype(_KINDS[kinds[name]]).tobytes() for name in order)


def colours() -> dict[str, Any]:
    """The colours that flamegraph.js draws with."""
    return {
        "colours": palette.domain_colours(),
        "moduleColours": palette.module_colours(),
        "changeColours": palette.CHANGE,
        "rootColours": palette.ROOT_COLOURS,
        "ink": palette.INK,
        "bpfInk": palette.BPF_INK,
    }


class _Texts:
    """What is said of frames: names as they are, modules and files by number."""

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.names = [_shown(f.symbol) for f in frames]
        self.modules, self.module = _interned([f.module for f in frames])
        self.files, self.file = _interned([f.file for f in frames])


@functools.lru_cache(maxsize=200_000)
def _shown(text: str) -> str:
    return visible(text, MAX_SYMBOL)


def _interned(texts: list[str]) -> tuple[list[str], list[int]]:
    """Distinct texts made visible, and the number of each in that list."""
    index: dict[str, int] = {}
    numbers = [index.setdefault(_shown(text), len(index)) for text in texts]
    return list(index), numbers
