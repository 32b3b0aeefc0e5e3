"""Charts without a browser: what the picture, the figure and the readouts say of the same panels."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracelab.views.chart import SECONDS, Axis, Bars, Cells, Chart, Line, Panel, Points, Spans, colours_of
from tracelab.views.chart_layout import Scale, placed
from tracelab.views.chart_picture import chart_svg, shades
from tracelab.views.chart_readout import readouts
from tracelab.views.chart_reduce import reduced
from views import charts

SVG = "{http://www.w3.org/2000/svg}"


def one(*layers, **options) -> Chart:
    return Chart("one", (Panel(SECONDS, Axis("values"), layers, **options),))


def boxes(svg: str, series: str) -> list[tuple[float, ...]]:
    """Left, base, top and right of the boxes of a series."""
    [path] = [p.get("d") for p in ET.fromstring(svg).iter(SVG + "path") if p.get("data-series") == series]
    return [tuple(map(float, box)) for box in re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)H([\d.]+)", path)]


def test_stacked_bars_stand_on_each_other_and_missing_ones_are_left_out():
    chart = charts.bars()
    [place] = placed(chart)

    def at(first, last, low, high):
        x, y = place.x.at(np.array([first, last])), place.y.at(np.array([low, high]))
        return tuple(np.round([x[0], y[0], y[1], x[1]], 1))

    assert boxes(chart_svg(chart), "read") == [at(0, 1, 0, 100), at(3, 4, 0, 200)]
    assert boxes(chart_svg(chart), "write") == [at(0, 1, 100, 150), at(3, 4, 200, 210)]


def test_everything_is_read_out_with_its_unit():
    assert [r.text for r in readouts(charts.bars())] == [
        "0 s to 1 s\nread: 100 events/s\nwrite: 50 events/s",
        "1 s to 2 s\nread: 0 events/s\nwrite: 0 events/s",
        "2 s to 3 s\nnot recorded",
        "3 s to 4 s\nread: 200 events/s\nwrite: 10 events/s",
    ]
    assert [r.text for r in readouts(charts.everything())] == [
        "0 s\np99: 1 µs",
        "1 s\np99: 1 ms",
        "1.5 s: 500 µs\nopenat\n/etc/passwd",
        "2 s\nnot recorded",
        "3 s\np99: 2 µs",
        "0 s to 1 s\n1 µs to 10 µs\nevents: 1",
        "1 s to 2 s\n10 µs to 100 µs\nevents: 1,000",
        "3 s to 4 s\n1 µs to 10 µs\nevents: 9",
        "sh\n0 s to 1 s",
        "cc\n0.5 s to 3 s",
        "cc\n2 s to 4 s",
    ]
    assert [r.text for r in readouts(charts.rows())] == ["read\np99: 2 µs", "write\np99: 5 ms"]


def test_what_is_read_out_lies_in_the_panel_that_it_is_of():
    chart = charts.everything()
    places = placed(chart)
    for found in readouts(chart):
        place = places[found.panel]
        assert place.left - 4 <= found.left <= found.right <= place.left + place.width + 4
        assert place.top - 4 <= found.top <= found.bottom <= place.base + 4


def test_the_picture_names_axes_series_bands_and_marks():
    texts = [t.text for t in ET.fromstring(chart_svg(charts.bars())).iter(SVG + "text")]
    assert texts == [
        "Events",
        *("0", "100", "200", "events per second"),
        *("read", "write"),
        *("0", "1", "2", "3", "4", "seconds since the session began"),
        *("deploy", "not recorded", "lost 40", "lost 40 events"),
    ]


def test_the_figure_has_the_same_values_and_texts():
    figure = charts.view(charts.bars()).figure
    read, write = figure.data
    assert (read.name, write.name, figure.layout.barmode) == ("read", "write", "stack")
    np.testing.assert_array_equal(read.x, [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_array_equal(read.y, [100, 0, np.nan, 200])
    assert [(s.type, s.x0, s.x1) for s in figure.layout.shapes] == [("rect", 2, 3), ("rect", 3, 4), ("line", 1, 1)]
    assert {"not recorded", "lost 40", "deploy", "lost 40 events"} <= {a.text for a in figure.layout.annotations}
    assert figure.layout.yaxis.title.text == "events per second"
    kinds = [trace.type for trace in charts.view(charts.everything()).figure.data]
    assert kinds == ["scatter", "scatter", "heatmap", "bar", "bar"]


@pytest.mark.parametrize("make", [charts.bars, charts.everything, charts.rows, charts.hostile_chart])
def test_a_cell_has_every_form_and_no_script_of_plotly(make):
    bundle = charts.view(make())._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain", "image/svg+xml", "application/vnd.plotly.v1+json"}
    ET.fromstring(bundle["image/svg+xml"])
    assert "plotly" not in bundle["text/html"].lower()
    assert "5 ms" in bundle["text/html"]  # the numbers as a table
    assert len(bundle["text/html"]) < 60_000


def test_hostile_texts_stay_texts():
    bundle = charts.view(charts.hostile_chart())._repr_mimebundle_()
    for form in ("text/html", "image/svg+xml"):
        assert not re.search(r"<(img(?! alt='[^'<>]*' src='data:)|svg onload|script>d)", bundle[form])
    figure = json.dumps(bundle["application/vnd.plotly.v1+json"], ensure_ascii=False)
    assert not re.search(r"<(img|svg|script)", figure)
    for text in (bundle["text/plain"], figure):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_an_empty_chart_says_so_in_every_form():
    for layer in (
        Line("a", np.empty(0), np.empty(0)),
        Bars("a", np.empty(0), np.empty(0), np.empty(0)),
        Cells("a", np.arange(3.0), np.arange(3.0), np.zeros((2, 2))),
        Spans(np.empty(0, int), np.empty(0), np.empty(0), np.empty(0, int), ()),
    ):
        bundle = charts.ChartView(charts.pd.DataFrame(), one(layer))._repr_mimebundle_()
        for form in ("text/html", "image/svg+xml", "text/plain"):
            assert "nothing to show in this selection" in bundle[form]
        assert "nothing to show" in json.dumps(bundle["application/vnd.plotly.v1+json"])


def test_a_long_line_keeps_its_peaks_and_its_gap_and_the_chart_says_so():
    y = np.sin(np.arange(100_000.0))
    y[77_777], y[50_000] = 99, np.nan
    [panel], notes = (fewer := reduced(one(Line("a", np.arange(100_000.0), y)), 1000)).panels, fewer.notes
    [line] = panel.layers
    assert len(line.x) <= 1000
    assert np.nanmax(line.y) == 99 and np.isnan(line.y).sum() == 1
    assert notes == ("drawn with fewer points: lowest and highest of each moment; .table has them all",)


@given(st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=1, max_size=200), st.integers(1, 50))
def test_merged_bars_keep_their_area(values, limit):
    starts = np.arange(float(len(values)))
    [panel] = reduced(one(Bars("a", starts, starts + 1, np.array(values))), limit).panels
    [bars] = panel.layers
    assert len(bars.y) <= limit
    factor = -(-len(values) // limit)
    known = np.add.reduceat(np.isfinite(values).astype(float), np.arange(0, len(values), factor))
    assert np.nansum(bars.y * known) == pytest.approx(np.nansum(values))


@given(st.integers(1, 300), st.integers(1, 40))
def test_merged_cells_keep_their_sum(columns, limit):
    values = np.arange(2.0 * columns).reshape(2, columns)
    cells = Cells("events", np.arange(columns + 1.0), np.arange(3.0), values)
    [panel] = reduced(one(cells), limit).panels
    [fewer] = panel.layers
    assert fewer.values.sum() == values.sum()
    assert fewer.values.shape[1] <= limit and len(fewer.x) == fewer.values.shape[1] + 1
    assert (fewer.x[0], fewer.x[-1]) == (0, columns)


def test_of_many_points_the_highest_stay_and_of_many_boxes_the_longest():
    count = 100
    points = Points("a", np.arange(100.0), np.arange(100.0), tuple(map(str, range(count))))
    zeros = np.zeros(count, int)
    spans = Spans(zeros, np.zeros(count), np.arange(100.0), zeros, ("a",), tuple(map(str, range(count))))
    chart = reduced(one(points, spans, rows=("r",)), 3)
    assert [layer.texts for layer in chart.panels[0].layers] == [("97", "98", "99"), tuple("94 95 96 97 98 99".split())]
    assert chart.notes == (
        "drawn: the highest 3 of 100 points; .table has them all",
        "drawn: the longest 6 of 100 boxes; .table has them all",
    )


def test_a_name_has_one_colour_in_all_panels_and_the_ninth_is_grey():
    layers = tuple(Line(str(i), np.zeros(1), np.zeros(1)) for i in range(9))
    panel = Panel(SECONDS, SECONDS, layers)
    colours = colours_of(Chart("c", (panel, panel)))
    assert len(set(colours.values())) == 9
    assert (colours["0"], colours["8"]) == ("#0072B2", "#999999")


@given(st.floats(1e-3, 1e9), st.floats(1.01, 1e6), st.booleans())
def test_the_ends_of_an_axis_are_its_edges_and_ticks_lie_between(low, factor, log):
    scale = Scale(Axis("a", log=log), low, low * factor, 100, 800)
    assert scale.at(np.array([low, low * factor])) == pytest.approx([100, 800])
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in scale.ticks())
    assert 0 < len(scale.ticks()) <= 20


def test_heat_is_by_the_logarithm_and_nothing_has_none():
    np.testing.assert_array_equal(shades(np.array([[0, 1], [1000, np.nan]])), [[np.nan, 0], [6, np.nan]])
    np.testing.assert_array_equal(shades(np.array([[5.0]])), [[0]])
