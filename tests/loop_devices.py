"""Disks for tests: files behind loop devices, which nobody else uses."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_loop = pytest.mark.skipif(
    shutil.which("losetup") is None or not Path("/dev/loop-control").exists(),
    reason="no loop devices here: losetup of util-linux, and a kernel with CONFIG_BLK_DEV_LOOP, would make them",
)


@contextlib.contextmanager
def loop_device(backing: Path, size_bytes: int) -> Iterator[Path]:
    """The block device of a new file of zeros, until the block ends."""
    with open(backing, "wb") as file:
        file.truncate(size_bytes)
    device = Path(_run("losetup", "--find", "--show", str(backing)).strip())
    try:
        yield device
    finally:
        _run("losetup", "--detach", str(device))


@contextlib.contextmanager
def small_filesystem(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A file system in memory that has room for so much."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def disk_statistics(device: Path) -> dict[str, int]:
    """Requests and bytes that the kernel counted, by what they did (Documentation/admin-guide/iostats.rst)."""
    number = os.stat(device).st_rdev
    for line in Path("/proc/diskstats").read_text().splitlines():
        major, minor, _, *counts = line.split()
        if (int(major), int(minor)) == (os.major(number), os.minor(number)):
            reads, _, sectors_read, _, writes, _, sectors_written = map(int, counts[:7])
            return {
                "read": reads,
                "read_bytes": sectors_read * 512,
                "write": writes,
                "write_bytes": sectors_written * 512,
                "discard": int(counts[11]),
                "discard_bytes": int(counts[13]) * 512,
                "flush": int(counts[15]),
            }
    raise AssertionError(f"{device} is not in /proc/diskstats")


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
