"""On this kernel: every probe loads and attaches, or says why it cannot."""

from __future__ import annotations

import pytest

from tracelab.recorder.catalogue import ON_REQUEST, catalogue
from tracelab.recorder.probes import all_probes


@pytest.mark.parametrize("name", sorted(all_probes()))
def test_a_probe_loads_and_attaches_or_says_why_it_cannot(name: str) -> None:
    (entry,) = catalogue(name, load=True)
    assert bool(entry.attached) != bool(entry.why_not)
    assert entry.loaded == (bool(entry.attached) and name not in ON_REQUEST)
    (seen,) = catalogue(name)  # what a look alone tells is what trying showed
    assert (seen.attached, seen.why_not) == (entry.attached, entry.why_not)
