from __future__ import annotations

import mmap
import os
import struct

import numpy as np
import pytest

from tracelab.recorder.ring import BUSY, Ring, pages_for

PAGE = mmap.PAGESIZE
RECORD = np.dtype([("time_ns", "u8"), ("pid", "u4"), ("tid", "u4")])
STRIDE = 24


class FakeKernel:
    """The kernel's side of a ring buffer of one page, in a file that Ring can map."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 4 * PAGE)
        self.produced = 0

    def submit(self, time_ns: int, *, busy: bool = False) -> None:
        length = RECORD.itemsize | (int(BUSY) if busy else 0)
        for byte, value in enumerate(struct.pack("<IIQII", length, 0, time_ns, 7, 8)):
            at = (self.produced + byte) % PAGE
            os.pwrite(self.fd, bytes([value]), 2 * PAGE + at)
            os.pwrite(self.fd, bytes([value]), 3 * PAGE + at)
        self.produced += STRIDE
        os.pwrite(self.fd, struct.pack("<Q", self.produced), PAGE)

    def consumed(self) -> int:
        return int(struct.unpack("<Q", os.pread(self.fd, 8, 0))[0])


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


def times(ring: Ring) -> list[int]:
    return list(map(int, ring.read()["time_ns"]))


def test_records_are_read_once_and_in_order(kernel: FakeKernel) -> None:
    ring = Ring(kernel.fd, PAGE, RECORD)
    assert times(ring) == []
    kernel.submit(10)
    kernel.submit(11)
    assert times(ring) == [10, 11]
    assert (times(ring), kernel.consumed()) == ([], 2 * STRIDE)


def test_reading_stops_at_a_record_that_is_still_being_written(kernel: FakeKernel) -> None:
    ring = Ring(kernel.fd, PAGE, RECORD)
    kernel.submit(10)
    kernel.submit(11, busy=True)
    kernel.submit(12)
    assert times(ring) == [10]
    assert kernel.consumed() == STRIDE


def test_a_record_may_wrap_around_the_end_of_the_ring(kernel: FakeKernel) -> None:
    ring = Ring(kernel.fd, PAGE, RECORD)
    total = 3 * (PAGE // STRIDE) + 5
    read: list[int] = []
    for i in range(total):
        kernel.submit(i)
        if i % 100 == 99:
            read += times(ring)
    assert read + times(ring) == list(range(total))


def test_a_buffer_takes_as_many_as_it_has_room_for(kernel: FakeKernel) -> None:
    ring = Ring(kernel.fd, PAGE, RECORD)
    for i in range(5):
        kernel.submit(i)
    buffer = ring.buffer(3)
    assert ring.read_into(buffer) == 3
    assert list(buffer["record"]["time_ns"]) == [0, 1, 2]
    assert ring.high_water_bytes == 5 * STRIDE
    assert ring.fill_bytes() == 2 * STRIDE


@pytest.mark.parametrize(("mib", "pages"), [(64, 16384), (1, 256), (0.001, 1), (3, 1024)])
def test_a_ring_has_a_power_of_two_of_pages(mib: float, pages: int) -> None:
    assert pages_for(mib) == pages
