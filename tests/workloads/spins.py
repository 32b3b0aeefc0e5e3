"""Spends 70 % of its CPU time in crc32 and 30 % in adler32, two functions of zlib that a native stack can name."""

import sys
import time
import zlib

DATA = bytes(1 << 20)


def heavy(until: float) -> None:
    """Compute checksums of one kind until this thread has had so much CPU time."""
    while time.thread_time() < until:
        zlib.crc32(DATA)


def light(until: float) -> None:
    """Compute checksums of the other kind."""
    while time.thread_time() < until:
        zlib.adler32(DATA)


end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    heavy(time.thread_time() + 0.070)
    light(time.thread_time() + 0.030)
