"""The benchmark of flame graphs, run on a small profile, without its peer: that every figure is measured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tracelab.bench import flamegraphs
from tracelab.bench.tracer import NotRun


@contextmanager
def no_speedscope(profile: object) -> Iterator[None]:
    raise NotRun("this test needs no network")
    yield


def test_our_own_figures_are_measured_without_speedscope(monkeypatch, capsys):
    monkeypatch.setattr(flamegraphs, "speedscope", no_speedscope)
    monkeypatch.setattr(flamegraphs, "CLICKS", 2)
    monkeypatch.setattr(flamegraphs, "STEPS", 8)
    with ThreadPoolExecutor(1) as other:  # Playwright runs once in a thread, and in this one it may already
        assert other.submit(flamegraphs.main, ["--nodes", "2000", "--loads", "1"]).result() == 0
    said = capsys.readouterr().out
    assert "speedscope: not run: this test needs no network" in said
    figures = dict(re.findall(r"^ *(\S.*?)  +([\d,.]+)$", said, re.M))
    assert figures.keys() >= {title.strip() for title in flamegraphs.ROWS.values()}
    assert said.count("not measured") == 4
