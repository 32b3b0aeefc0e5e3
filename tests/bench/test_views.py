"""The benchmark of views: its sessions are what they say, and both sides answer the same question."""

from __future__ import annotations

import json

import pytest

from tracelab.api import open_session
from tracelab.bench import views
from tracelab.bench.synthetic_samples import START_NS, synthetic_index
from tracelab.bench.synthetic_session import synthetic_session
from tracelab.query.selection import Selection


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "s.tracelab"
    return open_session(synthetic_session(path, 20_000, samples=2_000, stacks=50))


def test_a_synthetic_session_has_what_was_asked_for(large):
    assert int(large.top(by="probe")["events"].sum()) == 20_000
    assert len(large.table("samples")) == 2_000
    assert large.profile().complete_share == 1
    assert (large.table("events")["time_ns"].diff().dropna() >= 0).all()
    assert large.window == (0, 600)


def test_by_hand_gives_the_same_weights_and_counts(large):
    index = synthetic_index(20_000, 200, depth=12)
    import pandas as pd

    table = pd.DataFrame({"time_ns": index.time_ns, "stack": index.stack, "weight": index.weight})
    window = (START_NS, START_NS + 30_000_000_000)
    nested = json.loads(views._nested(table, index, window))
    assert nested["value"] == pytest.approx(index.weights(Selection(window)).sum())
    events = large.table("events")[["time_ns", "event"]]
    assert views._binned(events, large, 0, 60).sum() == large.event_rate().source.counts(0, 60).counts.sum()


def test_every_row_has_its_numbers_and_a_verdict(large):
    rows = [*views.windows(20_000, 200), *views.rates(large, 20_000), *views.explorer(large, 20_000)]
    assert len(rows) == 3 + 4 + 3
    assert all(ours > 0 for _, ours, _, _ in rows)
    text = views.render([("slow", 300.0, 600.0, 200.0), ("quick", 100.0, None, 200.0)])
    assert "2.0" in text
    assert "200 FAIL" in text
    assert "200 PASS" in text
