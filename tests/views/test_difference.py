"""What changed, as it is read: signs, words and bars."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sessions import SECOND, START_NS
from tracelab.analysis.difference import comparison
from tracelab.analysis.sides import Samples, Side
from tracelab.profile import Frame, Profile
from tracelab.views.changes import LESS, MORE, signed
from tracelab.views.difference import Difference, EventDifference
from tracelab.views.wording import percent
from views import hostile

STACKS = Profile.from_stacks(
    [([Frame("main"), Frame(name, "/usr/bin/app")], 1) for name in ("more", "less", "even", "rare")], unit="ns"
)


def side(name: str, weights: list[float], rare: float = 0.0) -> Side:
    """Sixteen blocks of a tenth of a second in which each stack weighs about the same; the last in one block only."""
    random = np.random.default_rng(len(name))
    grid = np.outer(np.ones(16), [*weights, 0.0]) * random.integers(9, 12, (16, 4))
    grid[3, 3] = rare
    time_ns = START_NS + np.repeat(np.arange(16) * SECOND // 10, 4)
    stack, window = np.tile(np.arange(4, dtype=np.int32), 16), (START_NS, START_NS + 16 * SECOND // 10)
    samples = Samples(time_ns, stack, grid.ravel(), window, slice(0, 64))
    return Side(name, replace(STACKS, weights=grid.sum(axis=0)), samples)


@pytest.fixture(scope="module")
def view() -> Difference:
    return Difference(comparison(side("old.tracelab", [1, 4, 5]), side("new.tracelab!", [4, 1, 5], 2.0), "none"))


def verdicts(html: str) -> list[tuple[str, str]]:
    """Word and name of each row of the first table."""
    first = html.split("<details")[1]
    return re.findall(r"left;white-space:nowrap'>([^<]+)</td><td[^>]*>([^<]*?) ?<", first)


def test_certain_changes_stand_first_with_what_they_are_in_words(view):
    assert view.headline() == "2 of 5 functions changed for certain by themselves, 2 with what they call"
    html = view.to_html()
    assert sorted(verdicts(html)[:2]) == [("▲ more", "more"), ("▼ less", "less")]
    assert verdicts(html)[2:] == [("○ uncertain", "even"), ("? too few", "rare")]


def test_a_certain_bar_is_filled_and_goes_its_way_and_an_uncertain_one_is_hollow(view):
    rows = re.findall(r"<tr>(?:(?!</tr>).)*</tr>", view.to_html().split("<details")[1])[1:]
    by_name = {re.search(r"left'>(more|less|even|rare) ", row)[1]: row for row in rows}
    bar = re.compile(r"<rect x='([\d.]+)' [^>]*width='([\d.]+)' [^>]*?(fill='[^']*')")
    bars = {name: bar.search(row).groups() for name, row in by_name.items()}
    middle = 66.0
    assert float(bars["more"][0]) == middle
    assert float(bars["less"][0]) + float(bars["less"][1]) == pytest.approx(middle)
    assert {name: look for name, (_, _, look) in bars.items()} == {
        "more": f"fill='{MORE}'",
        "less": f"fill='{LESS}'",
        "even": "fill='none'",
        "rare": "fill='none'",
    }
    assert "aria-label='95 % interval +" in by_name["more"]
    assert "aria-label='not known how sure'" in by_name["rare"]


def test_the_text_has_signed_numbers_and_names_both_sides(view):
    text = view.to_text()
    assert text.startswith("What changed in samples\nbefore: old.tracelab\nafter: new.tracelab!\n2 of 5 functions")
    row = next(line for line in text.split("\n") if line.endswith("rare  app"))
    assert row.split() == ["0", "ns", "2", "ns", "+2", "ns", "new", "?", "too", "few", "rare", "app"]
    assert re.search(r" −\d+ ns +−\d+\.\d % +▼ less +less  app", text)


def test_the_arrays_for_a_flame_graph_have_an_entry_for_each_node(view):
    n = len(view.tree)
    assert n == 6
    arrays = (view.before, view.after, view.delta, view.certain, view.lower, view.upper)
    assert [len(array) for array in arrays] == [n] * 6
    assert view.delta.tolist() == (view.after - view.before).tolist()
    names = ["" if f < 0 else view.tree.frames[f].symbol for f in view.tree.frame]
    assert {name for name, sure in zip(names, view.certain, strict=True) if sure} == {"more", "less"}


def test_nothing_is_greyed_out_or_called_certain_where_nothing_is_known():
    profile = replace(STACKS, weights=np.array([1.0, 2, 3, 4]))
    found = Difference(comparison(Side("a", profile), Side("b", replace(profile, weights=profile.weights[::-1]))))
    assert not found.certain.any()
    assert np.isnan(found.lower).all()
    assert "not known how sure the differences are" in found.to_text()
    assert {word for word, _ in verdicts(found.to_html())} == {"? too few"}


def test_no_change_at_all_is_said():
    profile = replace(STACKS, weights=np.array([1.0, 2, 3, 4]))
    found = Difference(comparison(Side("a", profile), Side("a", profile)))
    assert "nothing changed" in found.to_html()
    assert "nothing changed" in found.to_text()


def test_a_sign_is_never_left_out_and_zero_has_none():
    assert [signed(v, percent) for v in (0.25, -0.25, 0.0)] == ["+25 %", "−25 %", "0 %"]


def rates(event: str = "read") -> pd.DataFrame:
    table = pd.DataFrame(
        {"probe": ["syscalls"], "event": [event], "before": [100.0], "after": [50.0], "delta": [-50.0]}
        | {"relative": [-0.5], "lower": [-60.0], "upper": [-40.0], "certain": [True]}
        | {"p50_before": [1500.0], "p50_after": [np.nan], "p99_before": [2e6], "p99_after": [np.nan], "unit": ["ns"]}
    )
    table.attrs = {"by": "event", "notes": ["before: 3 events were lost"]}
    return table


def test_rates_of_events_have_their_percentiles_beside_them():
    view = EventDifference(rates(), before="old", after="new")
    assert view.headline() == "1 of 1 rates changed for certain"
    cells = re.findall(r"<td class='num'[^>]*>(.*?)</td>", view.to_html())
    assert cells == ["100/s", "50/s", "−50/s", "−50 %", "1.50 µs", "–", "2 ms", "–"]
    assert "before: 3 events were lost" in view.to_text()


def test_hostile_text_stays_text():
    other = replace(hostile.profile(), weights=hostile.profile().weights[::-1].copy())
    bad = hostile.SCRIPT
    views = [Difference(comparison(Side(bad, hostile.profile()), Side(bad, other)), title=bad, notes=hostile.TEXTS)]
    for text in hostile.STORABLE:
        table = rates(text)
        table.attrs["notes"] = [text]
        views.append(EventDifference(table, before=text, after=text))
    for view in views:
        bundle = view._repr_mimebundle_()
        for html in (bundle["text/html"], view.to_html()):
            assert not re.search(r"<(img|script|iframe)|<svg (?!style='vertical)", html)
            html.encode("utf-8")
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", bundle["text/plain"])
