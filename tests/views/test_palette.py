"""Colours of frames and series, for readers with and without full colour vision."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from tracelab.views import palette

# Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# severity 1, for linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour: str, vision: str) -> np.ndarray:
    seen = np.clip(np.array(VISION[vision]) @ linear(colour), 0, 1)
    x, y, z = np.cbrt(np.maximum(XYZ @ seen / (XYZ @ np.ones(3)), 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((float(XYZ[1] @ linear(c)) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_domains_stay_apart_in_every_shade(theme, vision):
    colours = palette.domain_colours()[theme]
    for one, other in combinations(colours, 2):
        near = min(
            float(np.linalg.norm(lab(a, vision) - lab(b, vision)))
            for a in colours[one]
            for b in colours[other]
        )
        assert near > 10, (one, other, near)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ebpf_frames_differ_from_all_others_in_lightness_alone(theme):
    colours = palette.domain_colours()[theme]
    darkest = min(lab(c, "full")[0] for d, shades in colours.items() if d != "bpf" for c in shades)
    assert max(lab(c, "full")[0] for c in colours["bpf"]) < darkest - 15


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_labels_can_be_read_on_every_frame(theme):
    for domain, shades in palette.domain_colours()[theme].items():
        ink = palette.BPF_INK if domain == "bpf" else palette.INK
        assert min(contrast(ink, shade) for shade in shades) >= 4.5, domain
    assert contrast(palette.INK, palette.ROOT_COLOURS[theme]) >= 4.5


def test_a_module_has_the_same_shade_in_every_process():
    assert [palette.shade_of(m) for m in ("", "[kernel]", "/usr/lib/libm.so.6")] == [0, 2, 3]


def test_neighbouring_series_stay_apart():
    series = [*palette.SERIES, palette.OTHER]
    for vision in VISION:
        for one, other in pairwise(series):
            assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > 10, (vision, one, other)
