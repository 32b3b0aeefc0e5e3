"""Accounts and weights of what happens in interrupts, where programs of one probe interrupt each other."""

from __future__ import annotations

import subprocess

import pytest

from networks import needs_namespaces
from probe_records import adds_up, taking
from recordings import workload

PROBES = ("irqs", "softirqs", "softirq_delays", "timers", "timer_delays", "packets")


def busy() -> None:
    """Datagrams and timers at once."""
    with subprocess.Popen(workload("alarms", "itimer", 200, 0.001), stdout=subprocess.DEVNULL):
        subprocess.run(workload("datagrams", 5000, 100), check=True, stdout=subprocess.DEVNULL)


@needs_namespaces
@pytest.mark.parametrize("probe", PROBES)
def test_what_does_not_fit_is_lost_and_the_account_adds_up(probe: str) -> None:
    with taking(probe, RING_PAGES=1, RATE_LIMIT=0) as taken:
        busy()
        taken.probe.detach()
        counts = taken.counts()
        records = taken.records()
    assert counts["lost"] > 0
    assert counts["kept"] == len(records) > 0
    assert adds_up(counts)


@needs_namespaces
@pytest.mark.parametrize("probe", PROBES)
def test_weights_of_one_in_ten_tell_how_many_there_were(probe: str) -> None:
    with taking(probe, one_in=10, RATE_LIMIT=0) as taken:
        busy()
        taken.probe.detach()
        counts = taken.counts()
        weights = int(taken.records()["weight"].sum())
    assert abs(weights - counts["seen"]) < 3 * (90 * counts["seen"] / 10) ** 0.5 + 50
    assert counts["sampled_out"] > 5 * counts["kept"]
    assert adds_up(counts)
