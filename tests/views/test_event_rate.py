"""Event rates without a browser: what a bin means, how a loss is shown, how much is sent."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from tracelab.errors import UsageError
from tracelab.views.event_rate import EventRate
from tracelab.views.rate_bins import Window, bins_of
from views import hostile

SVG = "{http://www.w3.org/2000/svg}"


def table(*rows: tuple[float, str, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["time_s", "series", "events_per_s"])


def losses(*rows: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["time_s", "lost_per_s"])


def some(**options) -> EventRate:
    """Four seconds: the second one quiet, the third one not recorded, losses in the last."""
    rates = table((0, "read", 100), (0, "write", 50), (1, "read", 0), (3, "read", 200), (3, "write", 10))
    return EventRate(rates, losses=losses((3, 40)), bin_s=1, by="event", **options)


def many(series: int, bins: int) -> EventRate:
    random = np.random.default_rng(2)
    grid = pd.MultiIndex.from_product([np.arange(bins) * 0.1, [f"syscall_{i}" for i in range(series)]])
    rates = grid.to_frame(index=False, name=["time_s", "series"])
    rates["events_per_s"] = random.gamma(2, 1000, len(rates)) * (1 + (rates.index % series))
    return EventRate(rates, losses=losses((2, 70), (2.1, 30), (7, 10)), bin_s=0.1, by="event")


def test_a_quiet_bin_is_zero_and_a_bin_without_rows_is_a_gap():
    bins = some().bins
    assert bins.names == ("read", "write")
    assert bins.rates.tolist() == [[100, 0, 0, 200], [50, 0, 0, 10]]
    assert bins.recorded.tolist() == [True, True, False, True]
    assert bins.gaps == [Window(2, 3)]
    assert bins.lost.tolist() == [0, 0, 0, 40]


def test_a_bin_of_nan_only_was_not_recorded():
    bins = bins_of(table((0, "a", 1), (1, "a", np.nan), (2, "a", 3)), None, 1)
    assert bins.recorded.tolist() == [True, False, True]


def test_a_bin_in_which_everything_was_lost_was_recorded():
    bins = bins_of(table((0, "a", 1)), losses((2, 5)), 1)
    assert (bins.recorded.tolist(), bins.lost.tolist()) == ([True, False, True], [0, 0, 5])


def test_losses_may_be_a_column_that_repeats_in_every_row_of_a_bin():
    rates = table((0, "a", 1), (0, "b", 1), (1, "a", 1)).assign(lost_per_s=[7, 7, 0])
    assert bins_of(rates, None, 1).lost.tolist() == [7, 0]


def test_times_fall_into_their_bin_in_spite_of_rounding():
    times = [0.1 * i for i in range(50)]
    bins = bins_of(table(*((t, "a", i) for i, t in enumerate(times))), losses((0.3, 1), (4.849, 2)), 0.1)
    assert bins.rates.tolist() == [list(range(50))]
    assert np.flatnonzero(bins.lost).tolist() == [3, 48]


def test_runs_of_lossy_bins_are_windows_with_the_events_lost_in_them():
    rates = table(*((t / 2, "a", 10) for t in range(8)))
    view = EventRate(rates, losses=losses((0.5, 100), (1, 50), (3, 4)), bin_s=0.5, by="event")
    assert view.bins.loss_windows == [Window(0.5, 1.5, 75), Window(3, 3.5, 2)]


@pytest.mark.parametrize("limit", [7, 10, 100])
def test_fewer_bins_keep_the_number_of_events_and_of_losses(limit):
    bins = many(3, 97).bins
    fewer = bins.at_most(limit)
    assert len(fewer) <= limit
    recorded = np.add.reduceat(bins.recorded, np.arange(0, len(bins), fewer.merged)) * bins.bin_s
    np.testing.assert_allclose((fewer.rates * recorded).sum(axis=1), bins.rates.sum(axis=1) * bins.bin_s)
    assert fewer.lost.sum() * fewer.bin_s == pytest.approx(bins.lost.sum() * bins.bin_s)


def test_more_than_nine_series_are_folded_and_the_view_says_so():
    view = many(14, 50)
    assert len(view.bins.names) == 9
    assert view.bins.names[-1] == "other (6 more)"
    assert view.bins.rates.sum() == pytest.approx(view.table["events_per_s"].sum())
    assert "6 series with few events are added up" in "\n".join(view.notes())
    nine = many(9, 100)
    assert len(nine.bins.names) == 9
    assert "other" not in "".join([*nine.bins.names, *nine.notes()])


def test_the_text_has_the_numbers_and_the_losses():
    assert some(notes=["two CPUs"]).to_text() == (
        "Events per second by event\n"
        "0 s to 4 s in 4 bins of 1 s\n"
        "        events       mean/s       peak/s  event\n"
        "           300          100          200  read\n"
        "            60           20           50  write\n"
        "lost 40 events from 3 s to 4 s\n"
        "lost 40 events in 1 window, 10 % of all: there the true rate lies between the solid and the hatched edge\n"
        "not recorded: 1 s in 1 window, left empty\n"
        "two CPUs"
    )


def test_the_figure_draws_what_was_lost_as_a_range_on_top_of_what_was_kept():
    figure = some().figure
    kept, other, lost = figure.data
    assert [trace.name for trace in figure.data] == ["read", "write", "lost"]
    assert (kept.x0, kept.dx, figure.layout.barmode) == (0.5, 1, "stack")
    np.testing.assert_array_equal(kept.y, [100, 0, np.nan, 200])
    np.testing.assert_array_equal(other.y, [50, 0, np.nan, 10])
    np.testing.assert_array_equal(lost.y, [np.nan, np.nan, np.nan, 40])
    assert lost.customdata[3].tolist() == [210, 250]
    assert lost.marker.pattern.shape == "/"
    assert [(s.x0, s.x1, s.fillcolor) for s in figure.layout.shapes] == [(2, 3, "#888"), (3, 4, "#d4002a")]
    assert {"lost 40", "not recorded"} <= {a.text for a in figure.layout.annotations}


def test_the_figure_has_units_on_its_axes_and_under_the_pointer():
    figure = some().figure
    assert figure.layout.xaxis.title.text == "time since the session began (s)"
    assert figure.layout.yaxis.title.text == "events per second"
    assert all("events/s" in trace.hovertemplate for trace in figure.data)


def test_a_cell_has_a_figure_for_plotly_and_a_page_a_picture_and_text_for_the_rest():
    bundle = many(20, 3000)._repr_mimebundle_()
    figure = bundle["application/vnd.plotly.v1+json"]
    sizes = {kind: len(json.dumps(form) if form is figure else form) for kind, form in bundle.items()}
    assert set(sizes) == {"text/html", "text/plain", "image/svg+xml", "application/vnd.plotly.v1+json"}
    assert sizes["text/html"] < 60_000
    assert sum(sizes.values()) < 125_000
    assert {trace["type"] for trace in figure["data"]} == {"bar", "scatter"}
    assert "plotly" not in bundle["text/html"].lower()


def test_long_recordings_are_drawn_in_longer_bins_and_the_view_says_so():
    view = many(2, 3000)
    assert len(view.figure.data[0].y) == 600
    assert "drawn in bins of 1 s, each the mean of 10 bins of 0.1 s" in view.to_svg()


def heights(svg: str, selector: str) -> list[int]:
    """Heights in pixels of a step path, bin by bin."""
    [path] = [
        p for p in ET.fromstring(svg).iter(SVG + "path") if selector in (p.get("data-series"), p.get("class"))
    ]
    level, found = 0, []
    for command, number in re.findall(r"([hv])(-?\d+)", path.get("d")):
        if command == "v":
            level -= int(number)
        else:
            found += [level] * int(number)
    return found


def test_the_picture_stacks_series_and_hatches_losses_above_them():
    svg = some().to_svg()
    area = 214 / 250  # pixels per event/s: the axis ends at 250
    assert heights(svg, "0") == [round(v * area) for v in (100, 0, 0, 200)]
    assert heights(svg, "1") == [round(v * area) for v in (150, 0, 0, 210)]
    assert heights(svg, "lost") == [round(v * area) for v in (150, 0, 0, 250)]
    texts = [t.text for t in ET.fromstring(svg).iter(SVG + "text")]
    assert {"events per second", "seconds since the session began", "lost 40", "not recorded"} <= set(texts)


def test_an_empty_table_gives_a_sentence_in_every_form():
    view = EventRate(table(), bin_s=1, by="event")
    bundle = view._repr_mimebundle_()
    for form in ("text/html", "image/svg+xml", "text/plain"):
        assert "no events in this selection" in bundle[form]
    assert "no events in this selection" in json.dumps(bundle["application/vnd.plotly.v1+json"])


def test_a_table_without_its_columns_is_refused_by_name():
    with pytest.raises(UsageError, match="rates has no column series, events_per_s; it has time_s, rate"):
        EventRate(pd.DataFrame({"time_s": [1.0], "rate": [2.0]}), bin_s=1, by="event")
    with pytest.raises(UsageError, match="bin_s is None"):
        EventRate(table())
    with pytest.raises(UsageError, match="bin_s is 0"):
        EventRate(table(), bin_s=0, by="event")


def test_the_length_of_a_bin_and_the_kind_of_series_come_with_the_table():
    rates = table((0, "cat", 2), (0.5, "cat", 4))
    rates.attrs.update(bin_s=0.5, by="comm")
    view = EventRate(rates)
    assert (view.title, view.bins.rates.tolist()) == ("Events per second by comm", [[2, 4]])


def test_hostile_names_stay_text():
    rates = table(*((0, text, 10) for text in hostile.STORABLE))
    view = EventRate(rates, bin_s=1, by=hostile.SCRIPT, title=hostile.SCRIPT, notes=hostile.TEXTS)
    bundle = view._repr_mimebundle_()
    for form in ("text/html", "image/svg+xml"):
        assert not re.search(r"<(img(?! alt='[^'<>]*' src='data:)|svg onload|script>d)", bundle[form])
    ET.fromstring(bundle["image/svg+xml"])
    assert "<" not in "".join(trace["name"] for trace in bundle["application/vnd.plotly.v1+json"]["data"])
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bundle["text/plain"])
