"""Read a BPF ring buffer through mmap, as arrays: no call and no object for each event.

All records of a ring have one size, so that what lies between the consumer's and the producer's position is an
array of bytes, but for the place where the ring wraps around. (The kernel would map the data twice in a row, which
spares that care, but counts the memory of this process twice.)
Layout: kernel/bpf/ringbuf.c; the writer marks a record busy until it is submitted.
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

PAGE = mmap.PAGESIZE
BUSY = np.uint32(1 << 31)  #: reserved, not yet submitted; no probe discards what it reserved
MAX_BYTES = 8 << 20  #: most of one read, which bounds memory and the time to the next one
Slots = npt.NDArray[np.void]


class Ring:
    """The reading end of one ring buffer; `dtype` is that of every record in it."""

    def __init__(self, map_fd: int, size_bytes: int, dtype: np.dtype[np.void]) -> None:
        self.size_bytes = size_bytes
        self.dtype = dtype
        self.high_water_bytes = 0
        self.stride = stride = -(-(8 + dtype.itemsize) // 8) * 8
        self._slot = np.dtype(
            {
                "names": ["length", "record"],
                "formats": ["u4", dtype],
                "offsets": [0, 8],
                "itemsize": stride,
            }
        )
        self._consumer_page = mmap.mmap(map_fd, PAGE)
        self._data_pages = mmap.mmap(map_fd, PAGE + size_bytes, prot=mmap.PROT_READ, offset=PAGE)
        self._consumer: npt.NDArray[np.uint64] = np.frombuffer(self._consumer_page, np.uint64, 1)
        self._producer: npt.NDArray[np.uint64] = np.frombuffer(self._data_pages, np.uint64, 1)
        self._data: npt.NDArray[np.uint8] = np.frombuffer(self._data_pages, np.uint8, offset=PAGE)

    def fill_bytes(self) -> int:
        """Bytes that wait to be read."""
        return int(self._producer[0] - self._consumer[0])

    def buffer(self, records: int) -> Slots:
        """Room for `read_into`; its member `record` holds the records."""
        return np.zeros(records, self._slot)

    def read_into(self, buffer: Slots) -> int:
        """Copy the next records to the start of `buffer`; returns how many there were."""
        stride = self._slot.itemsize
        consumed = int(self._consumer[0])
        fill = int(self._producer[0]) - consumed
        self.high_water_bytes = max(self.high_water_bytes, fill)
        ready = min(fill // stride, len(buffer))
        start = consumed % self.size_bytes
        target = buffer[:ready]
        copied = target.view(np.uint8)
        before_the_end = self._data[start : start + len(copied)]
        copied[: len(before_the_end)] = before_the_end
        copied[len(before_the_end) :] = self._data[: len(copied) - len(before_the_end)]
        busy = np.flatnonzero(target["length"] & BUSY)
        if busy.size:
            ready = int(busy[0])
        if ready:
            self._consumer[0] = consumed + ready * stride
        return ready

    def read(self) -> npt.NDArray[np.void]:
        """The next records, at most MAX_BYTES of them, as an array of their own; empty when none is ready."""
        waiting = min(self.fill_bytes(), MAX_BYTES) // self._slot.itemsize
        buffer = self.buffer(waiting)
        return buffer[: self.read_into(buffer)]["record"]

    def close(self) -> None:
        """Unmap; arrays that were read before stay valid."""
        del self._consumer, self._producer, self._data
        self._consumer_page.close()
        self._data_pages.close()


def pages_for(mib: float) -> int:
    """Pages of the smallest ring that holds `mib` MiB; the kernel asks for a power of two."""
    pages = max(1, int(mib * (1 << 20)) // PAGE)
    return 1 << (pages - 1).bit_length()
