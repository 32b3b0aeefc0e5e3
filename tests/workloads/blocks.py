"""Reads and writes a disk past the page cache: KIND SIZE for each request in turn; `discard SIZE` and `flush 0` too.

Requests follow each other on the disk, and start when the one before is done; `rest US` lets the disk's worker, which
would else do several in one go, come to its end before the next. Prints the time before and after them,
in ns, and how many failed.
"""

import fcntl
import mmap
import os
import struct
import sys
import time

BLKDISCARD = 0x1277

disk = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
at = failed = 0
begin = time.monotonic_ns()
for kind, size in zip(sys.argv[2::2], map(int, sys.argv[3::2]), strict=True):
    if kind == "rest":
        time.sleep(size / 1e6)
        continue
    try:
        if kind == "read":
            os.preadv(disk, [memoryview(mmap.mmap(-1, size))], at)
        elif kind == "write":
            os.pwritev(disk, [memoryview(mmap.mmap(-1, size))], at)
        elif kind == "discard":
            fcntl.ioctl(disk, BLKDISCARD, struct.pack("=QQ", at, size))
        else:
            os.fsync(disk)
    except OSError:
        failed += 1
    at += size
print(begin, time.monotonic_ns(), failed)
