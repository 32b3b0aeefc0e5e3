"""A flame graph as SVG, made without a browser: what GitHub, e-mail and pages without scripts show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tracelab.analysis.stacks import GAP, ROOT, SMALL, Tree
from tracelab.views import palette
from tracelab.views.wording import amount, escaped, percent

WIDTH, ROW, FONT = 960, 18, 12
CHAR = 0.61 * FONT  #: width of a character of the usual monospaced fonts
MAX_ROWS = 70  #: deeper frames are left out, and the picture says so

_STYLE = (
    ".tl-fp{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}"
    ".tl-fp .bg{fill:#fff}.tl-fp .t{fill:#222}"
    "@media (prefers-color-scheme:dark){.tl-fp .bg{fill:#1b1b1b}.tl-fp .t{fill:#ddd}}"
)


def flame_svg(
    tree: Tree,
    *,
    title: str,
    unit: str,
    whole: float,
    domains: dict[str, float],
    notes: Sequence[str] = (),
    max_bytes: int = 150_000,
    fills: Sequence[str] | None = None,
) -> str:
    """The tree as SVG, root at the top, frames of a pixel or more, at most about `max_bytes` long.

    `domains` is the weight by domain, and `whole` that of all, for the legend. Where the picture would be longer,
    narrower frames are left out, half as wide again each time. `fills` are colours of nodes instead of their domains'.
    """
    least = 1.0
    while True:
        svg = _svg(tree, title, unit, (whole, domains), notes, least, fills)
        if len(svg.encode()) <= max_bytes or least > WIDTH / 8:
            return svg
        least *= 1.5


def left_edges(tree: Tree) -> npt.NDArray[np.float64]:
    """Where every node begins, in weight from the left: what its elder siblings and its ancestors' ones weigh."""
    done = np.bincount(tree.end, weights=tree.self_weight, minlength=len(tree) + 1)
    return np.cumsum(done, dtype=np.float64)[:-1]  # of all that ended before: ancestors have not


def _svg(
    tree: Tree,
    title: str,
    unit: str,
    shares: tuple[float, dict[str, float]],
    notes: Sequence[str],
    least: float,
    fills: Sequence[str] | None,
) -> str:
    whole = float(tree.total[0])
    scale = WIDTH / whole if whole else 0.0
    shown = np.flatnonzero((tree.total * scale >= least) & (tree.depth < MAX_ROWS) & (tree.frame != GAP))
    x = left_edges(tree)[shown] * scale
    width = tree.total[shown] * scale
    rows = int(tree.depth[shown].max(initial=0)) + 1
    top = 44
    said = list(notes)
    if tree.depth.max() >= MAX_ROWS:
        said.append(f"frames deeper than {MAX_ROWS} are not in this picture")
    height = top + rows * ROW + 8 + 16 * len(said)

    colours = palette.domain_colours()["light"]
    boxes: dict[tuple[str, str], list[str]] = defaultdict(list)
    labels: dict[str, list[str]] = defaultdict(list)
    for node, left, wide in zip(shown.tolist(), x.tolist(), width.tolist(), strict=True):
        y = top + int(tree.depth[node]) * ROW
        number = int(tree.frame[node])
        if number == ROOT:
            name, domain, fill = f"all {amount(shares[0], unit)}", "", palette.ROOT_COLOURS["light"]
        elif number == SMALL:
            name, domain, fill = "", "", palette.SMALL_COLOURS["light"]
        else:
            frame = tree.frames[number]
            name, domain = frame.symbol, frame.domain
            fill = colours.get(domain, colours["user"])[palette.shade_of(frame.module)]
        if fills is not None and number != ROOT:
            domain, fill = "", fills[node]
        gap = 0.5 if wide > 2 else 0
        boxes[fill, domain].append(f"M{_n(left)} {y}h{_n(wide - gap)}v{ROW - 1}H{_n(left)}z")
        room = int((wide - 6) / CHAR)
        if room >= 3 and name:
            labels[domain].append(f"<text x='{_n(left + 3)}' y='{y + 13}'>{escaped(name, room)}</text>")

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' class='tl-fp' "
        f"role='img' aria-label='{escaped(title)}' style='max-width:100%'><style>{_STYLE}</style>",
        f"<rect class='bg' width='{WIDTH}' height='{height}'/>",
        f"<text class='t' x='4' y='16' font-weight='bold'>{escaped(title, 130)}</text>",
        *(_legend(shares[1], colours, shares[0]) if fills is None else []),
        *(f"<path fill='{fill}'{_outline(domain)} d='{''.join(d)}'/>" for (fill, domain), d in boxes.items()),
    ]
    for domain, texts in labels.items():
        ink = f"fill='{palette.BPF_INK}' font-weight='bold'" if domain == "bpf" else f"fill='{palette.INK}'"
        parts.append(f"<g {ink}>{''.join(texts)}</g>")
    base = top + rows * ROW + 14
    for i, note in enumerate(said):
        parts.append(f"<text class='t' x='4' y='{base + 16 * i}'>{escaped(note, 130)}</text>")
    return "".join([*parts, "</svg>"])


def _legend(domains: dict[str, float], colours: dict[str, list[str]], whole: float) -> list[str]:
    parts, x = [], 4.0
    for domain, weight in domains.items():
        text = f"{domain} {percent(weight / whole)}" if weight and whole else domain
        shades = colours.get(domain, colours["user"])
        swatch = f"<rect x='{_n(x)}' y='25' width='11' height='11' fill='{shades[2]}'/>"
        parts.append(f"{swatch}<text class='t' x='{_n(x + 15)}' y='35'>{escaped(text)}</text>")
        x += 15 + (len(text) + 3) * CHAR
    return parts


def _outline(domain: str) -> str:
    return " stroke='#000' stroke-width='.8'" if domain == "bpf" else ""


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
