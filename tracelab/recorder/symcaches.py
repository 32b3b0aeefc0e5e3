"""Symbol tables of ELF files, as symcaches: made once, kept on disk, and mapped from there.

A table is made of all symbols of a file at once, which takes several times the memory that they take. For a large
file a process of its own does that (this module as a program): its memory is gone when it ends, and what a file that
somebody forged can do ends with it, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tracelab.recorder.diskcache import DiskCache, digest
from tracelab.recorder.elf import FORGED, Elf, FileSource

WORTH_KEEPING = 256 << 10  #: bytes of symbols from which it takes longer to make a table than to read it
LARGE_BYTES = 4 << 20  #: of symbols; a table of fewer takes 0.05 s, and 25 MB
FORMAT = 3  #: changes with what is made of a file's symbols
MAX_CPU_S = 60  #: for one table
_POLL_S = 0.02
_PR_SET_PDEATHSIG = 1


class SymCaches:
    """The symcaches of files; those that take longer to make than to read are kept in `cache`."""

    def __init__(self, cache: DiskCache) -> None:
        self.child_cpu_s = 0.0  #: of the processes that made tables
        self._cache = cache
        self._until = float("inf")

    def hurry(self, until: float) -> None:
        """From now on make small tables without lines alone, and give large ones up at `until` of time.monotonic()."""
        self._until = until

    def of(self, elf: Elf) -> tuple[Any, int] | None:
        """A file's symcache and its size in bytes; None when it has no symbols, or they make no sense.

        Raises TimeoutError when a table could not be made in time.
        """
        quickly = self._until < float("inf")
        key = "" if quickly else _key(elf)
        try:
            kept = self._kept(key)
            if kept is None and key and elf.symbols_size() >= LARGE_BYTES:
                if not self._made_by_child(elf):
                    return None
                kept = self._kept(key)
            if kept is not None:
                return kept
            symbols = _symbols(elf, 0 if quickly else None)
            if not symbols:
                return None
            table, packed = make_symcache(symbols)
            if key and len(symbols) >= WORTH_KEEPING:
                self._cache.put(key, packed)
                kept = self._kept(key)
        except TimeoutError:
            raise
        except Exception:  # a dozen kinds, panics of the Rust library among them
            return None
        return kept or (table, len(packed))

    def _kept(self, key: str) -> tuple[Any, int] | None:
        from symbolic.symcache import SymCache

        tables: Any = SymCache
        path = self._cache.path(key) if key else None
        return (tables.open(str(path)), path.stat().st_size) if path else None

    def _made_by_child(self, elf: Elf) -> bool:
        """Have a child make a table and keep it; False when it may not be made here either."""
        source, folder = elf.source, self._cache.folder
        if not isinstance(source, FileSource) or source.fd < 0 or folder is None or not sys.executable:
            return True
        words = [sys.executable, "-P", "-m", __name__, str(folder), str(source.fd)]
        try:
            child = subprocess.Popen(
                words,
                pass_fds=[source.fd],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return True
        with child:
            late = False
            while (ended := os.wait4(child.pid, os.WNOHANG))[0] == 0:
                if late := time.monotonic() >= self._until:
                    child.kill()
                time.sleep(_POLL_S)
            child.returncode = os.waitstatus_to_exitcode(ended[1])
        self.child_cpu_s += ended[2].ru_utime + ended[2].ru_stime
        if late and child.returncode < 0:
            raise TimeoutError("no time was left to make a table")
        return child.returncode >= 0  # not where it crashed


def make_symcache(symbols: bytes) -> tuple[Any, bytes]:
    """The symcache of an ELF file in memory, and its bytes."""
    from symbolic.debuginfo import Archive

    archive: Any = Archive.from_bytes(symbols)  # which borrows the bytes
    table = next(archive.iter_objects()).make_symcache()
    return table, table.open_stream().read()


def _symbols(elf: Elf, max_debug_bytes: int | None = None) -> bytes:
    with contextlib.suppress(*FORGED):
        return elf.symbols_only(max_debug_bytes)
    return b""


def _key(elf: Elf) -> str:
    """Of one state of one file: whatever changes its content also changes the time that nobody can set, its ctime."""
    if not isinstance(elf.source, FileSource):
        return ""
    about = (FORMAT, importlib.metadata.version("symbolic"), *elf.source.identity, elf.source.changed_ns)
    return digest(repr(about).encode())


def _keep(folder: str, fd: int) -> None:
    """Make the table of an open file and keep it; ends with the thread that waits for it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    elf = Elf(FileSource(fd, os.fstat(fd)))
    if symbols := _symbols(elf):
        DiskCache(Path(folder)).put(_key(elf), make_symcache(symbols)[1])


if __name__ == "__main__":
    _keep(sys.argv[1], int(sys.argv[2]))
