"""Uses a file in a folder in known ways; prints each call with its result and size, and what /proc says of all of them.

The number of the file comes first. Of the syncs the duration in ns is told as well, as seen from here.
"""

import os
import sys
import time

path = os.path.join(sys.argv[1], "known")
said = []


def io():
    """Calls to read and to write, and their bytes, as the kernel counts them for this process."""
    lines = os.pread(counters, 4096, 0).decode().splitlines()
    values = dict(line.split(": ") for line in lines)
    return [int(values[name]) for name in ("syscr", "rchar", "syscw", "wchar")]


def synced(sync, *arguments):
    start = time.monotonic_ns()
    sync(*arguments)
    said.append(f"fsync 0 {time.monotonic_ns() - start}")


counters = os.open("/proc/self/io", os.O_RDONLY)
before = io()
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
said.append(f"open {fd} -1")
for op, n in (
    ("write", os.write(fd, b"x" * 100)),
    ("write", os.pwrite(fd, b"y" * 5000, 100)),
    ("write", os.writev(fd, [b"z" * 10, b"z" * 20])),
    ("write", os.pwritev(fd, [b"z" * 10, b"z" * 23], 0)),
):
    said.append(f"{op} {n} {n}")
synced(os.fsync, fd)
os.write(fd, b"more")
said.append("write 4 4")
synced(os.fdatasync, fd)
for op, n in (
    ("read", len(os.pread(fd, 4000, 0))),
    ("read", len(os.pread(fd, 4000, 4000))),
    ("read", os.preadv(fd, [bytearray(7)], 0)),
    ("read", len(os.read(fd, 10000))),
    ("read", len(os.read(fd, 10000))),
):
    said.append(f"{op} {n} {n}")
try:
    os.write(os.open(path, os.O_RDONLY), b"")
except OSError as error:
    said.append(f"write {-error.errno} -1")
os.close(fd)
said.append("close 0 -1")
try:
    os.open(path + "-missing" * 35, os.O_RDONLY)
except OSError as error:
    said.append(f"open {-error.errno} -1")
after = io()
print(os.getpid(), fd, counters, *(a - b for a, b in zip(after, before, strict=True)))
print("\n".join(said))
