"""Soft interrupts, against /proc/softirqs."""

from __future__ import annotations

import os
import subprocess
import time

import numpy as np
import pytest

from networks import needs_namespaces
from probe_records import adds_up, taking
from procfs_counts import bracketed, soft_interrupts
from recordings import workload

UNKNOWN = 2**64 - 1
VECTORS = ["hi", "timer", "net_tx", "net_rx", "block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu"]


def work() -> None:
    """Datagrams on a loopback device, and sleeps, on all CPUs."""
    subprocess.run(workload("datagrams", 3000, 100), check=True, stdout=subprocess.DEVNULL)


@needs_namespaces
@pytest.mark.parametrize("probe", ["softirqs", "softirq_delays"])
def test_there_are_as_many_of_each_vector_as_the_kernel_counts(probe: str) -> None:
    found = bracketed(probe, soft_interrupts, work, RING_PAGES=16384)
    assert adds_up(found.account)
    assert found.account["lost"] == 0
    assert found.taken["net_rx"] >= 3000
    assert found.taken["timer"] > 0
    for name in VECTORS:
        assert found.agrees(found.taken.get(name, 0), name), (
            f"{name}: {found.taken.get(name, 0)} of {found.surely} to {found.perhaps}"
        )


def test_durations_and_delays_are_known_but_for_what_was_under_way_and_fit_into_the_time() -> None:
    cpus = os.cpu_count() or 1
    for probe in ("softirqs", "softirq_delays"):
        begin = time.monotonic_ns()
        with taking(probe) as taken:
            time.sleep(0.5)
            records = taken.records()
        took_ns = time.monotonic_ns() - begin
        known = records[records["value"] != UNKNOWN]
        assert len(records) - len(known) <= (cpus if probe == "softirqs" else cpus * len(VECTORS))
        assert (known["value"] > 0).all()
        assert int(known["value"].max()) < took_ns
        if probe == "softirqs":  # one at a time on each CPU
            for cpu in range(cpus):
                of_cpu = known[known["cpu"] == cpu]
                begins = of_cpu["time_ns"] - of_cpu["value"]
                assert (begins[1:] >= of_cpu["time_ns"][:-1]).all()


@needs_namespaces
def test_what_runs_in_the_thread_of_a_sender_is_told_of_it_and_can_be_filtered_by() -> None:
    sender = subprocess.Popen(
        ["sh", "-c", f"read x; exec {' '.join(workload('datagrams', 500, 100))}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with taking("softirqs", **{"PID_ASKED(pid)": f"((pid)=={sender.pid})"}) as taken:
        sender.communicate(b"\n")
        records, counts = taken.records(), taken.counts()
        names = np.array(taken.names(records))
    assert sender.returncode == 0
    assert set(records["pid"].tolist()) == {sender.pid}
    assert (names == "net_rx").sum() >= 500
    assert counts["filtered"] > 0
    assert counts["own"] == counts["idle"] == 0
    assert adds_up(counts)
