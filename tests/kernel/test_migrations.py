"""Moves from CPU to CPU, against the kernel's own count."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from probe_records import adds_up, ended, taking
from recordings import workload

CPUS = sorted(os.sched_getaffinity(0))[:2]
pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="one CPU only; give this machine a second one")


def test_every_forced_move_is_one_event_and_the_kernel_counts_as_many() -> None:
    with taking("migrations") as taken, ended(workload("moves", *CPUS, 50)) as pid:
        records = taken.records(tid=pid)
        counted = re.search(r"^se\.nr_migrations +: +(\d+)$", Path(f"/proc/{pid}/sched").read_text(), re.M)
        assert adds_up(taken.counts())
    moves = [(int(key) >> 32, int(key) & 0xFFFF_FFFF) for key in records["key"]]
    one, other = CPUS
    assert moves[-50:] == [(one, other), (other, one)] * 25
    assert all(a[1] == b[0] for a, b in pairwise(moves))
    assert counted is not None
    assert len(moves) == int(counted[1])


def test_the_time_since_the_move_before_is_told() -> None:
    with taking("migrations") as taken, ended(workload("moves", *CPUS, 10)) as pid:
        records = taken.records(tid=pid)
    times = records["time_ns"].tolist()
    assert records["value"].tolist() == [2**64 - 1, *(b - a for a, b in pairwise(times))]
