"""Hard interrupts, against /proc/interrupts."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import pytest

from probe_records import adds_up, taking
from procfs_counts import bracketed, hard_interrupts
from recordings import recorded, rows

UNKNOWN = 2**64 - 1
#: names of the CPU's own, and the lines that count them; what one line counts of several events is left out
LINES = {"timer": "loc", "reschedule": "res", "irq_work": "iwi", "thermal": "trm"}
only_x86 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="interrupts of the CPU itself have tracepoints on x86 only"
)


def sync_to_disk(folder: Path) -> None:
    """Writes that a disk must have confirmed, and so must have interrupted."""
    for _ in range(20):
        descriptor = os.open(folder / "file", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, os.urandom(4096))
        os.fsync(descriptor)
        os.close(descriptor)


def test_devices_interrupt_as_often_as_the_kernel_counts(tmp_path: Path) -> None:
    found = bracketed("irqs", hard_interrupts, lambda: sync_to_disk(tmp_path), RING_PAGES=16384)
    assert adds_up(found.account)
    assert found.account["lost"] == 0
    devices = found.records[found.records["number"] == 0]
    counted = {name for name, count in found.surely.items() if name.isdigit() and count > 5}
    assert counted <= {str(irq) for irq in devices["key"].tolist()}
    for irq in set(devices["key"].tolist()):
        of_irq = devices[devices["key"] == irq]
        assert found.agrees(len(of_irq), str(irq))
        assert set(of_irq["ret"].tolist()) <= {0, 1, 2, 3}
    assert (devices["value"][devices["value"] != UNKNOWN] < 10**9).all()


@only_x86
def test_the_interrupts_of_the_cpu_itself_are_as_many_as_the_kernel_counts() -> None:
    found = bracketed("irqs", hard_interrupts, lambda: time.sleep(1), RING_PAGES=16384)
    assert found.taken["timer"] > 10
    for name, line in LINES.items():
        assert found.agrees(found.taken.get(name, 0), line), f"{name}: {found.surely}, {found.perhaps}"
    calls = found.taken.get("call", 0) + found.taken.get("call_single", 0)
    found.perhaps["cal"] += found.perhaps["tlb"]
    assert found.agrees(calls, "cal")


def test_an_interrupt_that_hits_the_recorder_or_an_idle_cpu_is_one_too() -> None:
    with taking("irqs") as taken:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass
        records = taken.records()
        counts = taken.counts()
    assert (records["pid"] == os.getpid()).any()
    assert counts["own"] == counts["idle"] == counts["filtered"] == 0
    assert adds_up(counts)


def test_the_first_interrupt_of_a_device_carries_its_name(tmp_path: Path) -> None:
    write = f"dd if=/dev/zero of={tmp_path}/file bs=4k count=8 oflag=dsync status=none"
    recording = recorded(tmp_path / "s", write.split(), events="irqs:device")
    texts = {
        (t["time_ns"], t["tid"]): str(t["text"]) for t in rows(recording, "strings") if t["field"] == "name"
    }
    named: dict[object, set[str]] = {}
    for event in rows(recording, "events"):
        if text := texts.get((event["time_ns"], event["tid"])):
            named.setdefault(event["key"], set()).add(text)
    listed = Path("/proc/interrupts").read_text().splitlines()
    for irq, names in named.items():
        (line,) = (line for line in listed if line.split()[0] == f"{irq}:")
        assert all(name in line for name in names)
    assert named
