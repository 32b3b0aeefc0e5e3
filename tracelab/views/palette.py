"""Colours that stay apart for colour-blind readers, on light and on dark pages.

Frames get a hue by domain and a slight shade by module. eBPF frames differ from all others in lightness
too, and are drawn with an outline and bold text: they are what tracelab is about. Series of a plot get the
colours of Okabe and Ito, "Color Universal Design" (2008), at most eight before "other".
"""

from __future__ import annotations

import colorsys
import zlib

SHADES = 5
#: domain: hue in degrees, saturation and lightness of the middle shade, on light and on dark pages; found by
#: a search for the greatest distance between domains in the four kinds of vision that the test simulates
_DOMAINS = {
    "user": ((206, 0.90, 0.72), (215, 0.75, 0.68)),
    "kernel": ((38, 0.90, 0.65), (45, 0.75, 0.56)),
    "python": ((140, 0.30, 0.54), (152, 0.65, 0.45)),
    "process": ((235, 0.10, 0.89), (222, 0.08, 0.74)),
    "bpf": ((328, 1.00, 0.34), (326, 0.90, 0.36)),
}
ROOT_COLOURS = {"light": "#dcdcdc", "dark": "#9a9a9a"}
SMALL_COLOURS = {"light": "#e9e9e9", "dark": "#4a4a4a"}
INK = "#111111"  #: text on every frame but those of eBPF
BPF_INK = "#ffffff"

#: modules of a flame graph: hues of Okabe and Ito, light enough for dark text, each in two shades
_MODULE_HUES = ((202, 0.70), (41, 0.75), (164, 0.40), (327, 0.45), (56, 0.60), (268, 0.40), (26, 0.70), (202, 0.20))
#: from less to more, blue to orange over grey: they differ in lightness too, and not in red and green
CHANGE = {
    "light": ["#4a93cc", "#74acd8", "#9cc4e2", "#c3d9e8", "#dcdcdc", "#f1d2ae", "#f4b26c", "#ee9337", "#d97706"],
    "dark": ["#5aa9e6", "#7ab4df", "#93b7d3", "#a0acb5", "#9a9a9a", "#c4a888", "#dfa964", "#f0a23c", "#ff9b1a"],
}

SERIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C6BB1")
OTHER = "#999999"
LOST = "#7A0019"  #: hatching of what was lost


def domain_colours() -> dict[str, dict[str, list[str]]]:
    """SHADES colours per domain, for "light" and "dark" pages."""
    return {
        theme: {name: [_shade(name, theme, i) for i in range(SHADES)] for name in _DOMAINS}
        for theme in ("light", "dark")
    }


def module_colours() -> dict[str, list[str]]:
    """Colours for modules, for "light" and "dark" pages; dark text is readable on all of them."""
    levels = {"light": (0.78, 0.66), "dark": (0.70, 0.58)}
    return {theme: [_hex(*h, level) for level in levels[theme] for h in _MODULE_HUES] for theme in levels}


def shade_of(module: str) -> int:
    """Which of the SHADES a module gets: the same one in every view and session."""
    return zlib.crc32(module.encode("utf-8", "replace")) % SHADES


def _shade(domain: str, theme: str, index: int) -> str:
    hue, saturation, lightness = _DOMAINS[domain][theme == "dark"]
    away = index - SHADES // 2
    spread = 0.010 if domain == "bpf" else 0.016
    return _hex((hue + 2 * away) % 360, saturation, lightness + spread * away)


def _hex(hue: float, saturation: float, lightness: float) -> str:
    parts = colorsys.hls_to_rgb(hue / 360, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


#: cells of a heat map, from little to much: one hue that darkens (on dark pages: brightens) evenly
_COLD = {"light": (205, 0.55, 0.90, 0.22), "dark": (205, 0.60, 0.24, 0.86)}
_MATCH = {"light": (28, 0.90, 0.82, 0.34), "dark": (32, 0.90, 0.34, 0.72)}
_GREY = {"light": (0, 0.0, 0.93, 0.62), "dark": (0, 0.0, 0.20, 0.46)}
_HEAT_MARKS = {
    "light": {"zero": "#f4f4f4", "lost": LOST, "baseline": "#b34700", "mark": "#7b3fa0"},
    "dark": {"zero": "#262626", "lost": "#ff5c7a", "baseline": "#ffb347", "mark": "#d0a6f0"},
}
HEAT_STEPS = 13


def heat_colours() -> dict[str, dict[str, list[str] | str]]:
    """Scales of a heat map for "light" and "dark" pages: cold, match (what was searched for), grey (what was not)."""
    found: dict[str, dict[str, list[str] | str]] = {}
    for theme in ("light", "dark"):
        found[theme] = {name: heat_scale(theme, name) for name in ("cold", "match", "grey")} | dict(_HEAT_MARKS[theme])
    return found


def heat_scale(theme: str, name: str = "cold") -> list[str]:
    """HEAT_STEPS colours from little to much."""
    hue, saturation, first, last = {"cold": _COLD, "match": _MATCH, "grey": _GREY}[name][theme]
    return [_hex(hue, saturation, first + (last - first) * i / (HEAT_STEPS - 1)) for i in range(HEAT_STEPS)]
