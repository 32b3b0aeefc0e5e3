"""Views as PNG, looked at in a browser: text and colours are where the picture has them."""

from __future__ import annotations

import base64
from typing import Any

import pandas as pd
import pytest

from tracelab.profile import Frame, Profile
from tracelab.views import palette
from tracelab.views.event_rate import EventRate
from tracelab.views.flamegraph import FlameGraph

pytest.importorskip("resvg_py", reason="resvg_py is missing; pip install 'tracelab-ebpf[test]'")

# How many pixels of each colour there are in a part of a picture.
COLOURS = """
async ([source, x, y, w, h]) => {
  const picture = Object.assign(new Image(), { src: source });
  await picture.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
  const g = canvas.getContext("2d");
  g.drawImage(picture, 0, 0);
  const { data } = g.getImageData(x, y, w, h), found = {};
  for (let i = 0; i < data.length; i += 4) {
    const colour = "#" + [0, 1, 2].map((k) => data[i + k].toString(16).padStart(2, "0")).join("");
    found[colour] = (found[colour] ?? 0) + 1;
  }
  return found;
}
"""


def colours(page: Any, png: bytes, *box: int) -> dict[str, int]:
    """Pixels by colour in a box: x, y, width, height."""
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return page.evaluate(COLOURS, [source, *box])


@pytest.fixture
def page(open_page):
    return open_page("<!doctype html><title>picture</title>")


def test_the_frames_of_a_flame_graph_have_their_colours_and_names(page):
    work, program = Frame("work", "/usr/lib/libwork.so"), Frame("bpf_prog_1", "[bpf]", domain="bpf")
    view = FlameGraph(Profile.from_stacks([([work], 3), ([work, program], 1)], name="demo"))
    png = view.to_png(scale=1)
    rows = [44 + 18 * depth for depth in (1, 2)]
    known = palette.domain_colours()["light"]
    user = colours(page, png, 0, rows[0], 100, 17)
    assert max(user, key=user.get) == known["user"][palette.shade_of("/usr/lib/libwork.so")]
    assert user[palette.INK] > 5  # of "work"
    bpf = colours(page, png, 0, rows[1], 100, 17)
    assert max(bpf, key=bpf.get) == known["bpf"][palette.shade_of("[bpf]")]
    assert bpf[palette.BPF_INK] > 20  # of "bpf_prog_1", bold


def test_a_plot_of_rates_has_its_series_and_its_title(page):
    rates = pd.DataFrame([(0, "read", 100), (1, "read", 90)], columns=["time_s", "series", "events_per_s"])
    png = EventRate(rates, bin_s=1, by="event", title="Reads per second").to_png(scale=1)
    assert colours(page, png, 0, 0, 900, 300)[palette.SERIES[0].lower()] > 10_000
    assert colours(page, png, 0, 0, 200, 20)["#222222"] > 100  # of the title
