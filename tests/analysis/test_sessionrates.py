"""Counts for a live plot: whatever part is asked for, nothing is lost, and what is short keeps its height."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sessions import tables_of
from tracelab.analysis.sessionrates import FINE, SessionRates
from tracelab.errors import MissingTable, UsageError
from tracelab.views.rate_bins import MAX_SERIES, bins_of_counts

EVENTS = "time_s pid event weight\n" + "\n".join(
    f"{i / 50} {i % 3} {'read' if i % 2 else 'write'} 1" for i in range(500)
)
BURST = EVENTS + "\n" + "\n".join(["4.00005 9 burst 10"] * 20)


@pytest.fixture
def source(tmp_path: Path) -> SessionRates:
    return SessionRates(tables_of(tmp_path, events=BURST))


def test_all_of_the_time_is_counted_in_fine_bins(source):
    counts = source.counts()
    assert sorted(counts.names) == ["burst", "read", "write"]
    assert counts.fine == FINE
    assert counts.counts.shape == (3, len(counts.lost) * FINE)
    assert counts.counts.sum() == 700
    assert counts.start_s == 0
    assert counts.lengths.sum() == pytest.approx(10)


@pytest.mark.parametrize(("first", "last"), [(0, 5), (3.99, 4.01), (4.00004, 4.00006), (9.5, 30), (2, 2.5)])
def test_a_part_is_counted_anew_and_finer(source, first, last):
    counts = source.counts(first, last)
    burst = 200 if first <= 4.00005 < last else 0
    rest = sum(first <= i / 50 < last for i in range(500))
    assert counts.counts.sum() == burst + rest
    assert counts.start_s == pytest.approx(first)
    assert counts.bin_s <= (min(last, 10) - first) / 100


def test_a_burst_is_as_high_as_it_is_in_a_fine_bin_at_every_zoom(source):
    for window in ((None, None), (2.0, 6.0), (3.9, 4.1), (4.0, 4.0002)):
        bins = bins_of_counts(source.counts(*window))
        assert round(float(bins.peak.max()) * bins.fine_s) in (200, 201)
        assert bins.rates.sum() * bins.bin_s == pytest.approx(source.counts(*window).counts.sum())
        assert (bins.peak >= bins.kept - 1e-6).all()


def test_series_keep_their_names_and_places_in_every_part(source):
    whole = bins_of_counts(source.counts())
    part = bins_of_counts(source.counts(4.0, 4.0002), whole.names)
    assert part.names == whole.names
    assert part.rates.sum(axis=1)[whole.names.index("burst")] * part.bin_s == pytest.approx(200)


def test_many_series_are_folded_and_a_new_one_is_among_the_others(tmp_path):
    text = "time_s pid event\n" + "\n".join(f"{i / 10} 1 e{i:02}" for i in range(20))
    source = SessionRates(tables_of(tmp_path, events=text))
    whole = bins_of_counts(source.counts())
    assert len(whole.names) == MAX_SERIES
    assert (whole.names[-1], whole.folded) == ("other (12 more)", 12)
    part = bins_of_counts(source.counts(1.5, 1.6), whole.names)
    assert part.rates[-1].sum() * part.bin_s == pytest.approx(1)


def test_several_probes_are_told_apart_in_every_part(tmp_path):
    probes = {name: {"table": "events"} for name in ("syscalls", "block")}
    text = "time_s pid probe event\n1 1 syscalls read\n9 1 block read"
    source = SessionRates(tables_of(tmp_path, events=text, manifest={"probes": probes}))
    assert sorted(source.counts().names) == ["block:read", "syscalls:read"]
    assert source.counts(0, 2).names == ("syscalls:read",)


def test_without_events_there_is_a_reason(tmp_path):
    with pytest.raises(MissingTable, match="events"):
        SessionRates(tables_of(tmp_path / "a", tasks="time_s tid comm")).counts()
    empty = bins_of_counts(SessionRates(tables_of(tmp_path / "b", events="time_s pid")).counts())
    assert (empty.names, len(empty) > 0, float(np.sum(empty.rates))) == ((), True, 0.0)
    with pytest.raises(UsageError, match="by='nothing'"):
        SessionRates(tables_of(tmp_path / "c", events=EVENTS), "nothing").counts()
