"""PNGs of views, as far as can be told without looking at them: tests/browser/test_png.py does that."""

from __future__ import annotations

import sys

import pytest

from tracelab.errors import UsageError
from tracelab.profile import Profile
from tracelab.views import png as png_module
from tracelab.views.flamegraph import FlameGraph
from views import hostile

SVG = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 40 20'><text y='15' font-family='monospace'>ab</text></svg>"


@pytest.fixture
def resvg():
    return pytest.importorskip("resvg_py", reason="resvg_py is missing; pip install 'tracelab-ebpf[test]'")


def size(png):
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def test_a_png_has_as_many_pixels_as_the_scale_says(resvg):
    assert size(png_module.png(SVG)) == (80, 40)
    assert size(png_module.png(SVG, scale=1)) == (40, 20)


def test_a_view_is_written_to_a_file_or_given_as_bytes(resvg, tmp_path):
    view = FlameGraph(Profile.from_collapsed({"main;work": 1}))
    path = view.to_png(tmp_path / "flame.png", scale=1)
    assert path == tmp_path / "flame.png"
    assert path.read_bytes() == view.to_png(scale=1)
    assert size(path.read_bytes())[0] == 960


def test_hostile_texts_can_be_drawn(resvg):
    assert size(FlameGraph(hostile.profile()).to_png(scale=1))[0] == 960


def test_without_resvg_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UsageError, match=r"resvg-py, which is missing; pip install 'tracelab-ebpf\[png\]'"):
        png_module.png(SVG)


def test_without_any_font_nothing_is_drawn_and_the_message_says_so(resvg, monkeypatch):
    monkeypatch.setattr(png_module, "MONOSPACE", ("No Such Font", "Nor This"))
    with pytest.raises(UsageError, match="neither No Such Font nor Nor This; install one"):
        png_module.png(SVG)
