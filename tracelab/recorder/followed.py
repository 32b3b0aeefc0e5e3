"""Processes with all the children that they will have, kept by the kernel in a map that every probe asks."""

from __future__ import annotations

from collections.abc import Iterable

from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.probes import bpf_dir, read_probe


class Followed:
    """Follows the children of some processes while open; must be there before the probes that ask it are loaded.

    Raises ProbeUnavailable on a kernel without BTF.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._probe = LoadedProbe(read_probe(bpf_dir() / "filters" / "followed.c"), {})
        table = self._probe.table("followed")
        for pid in pids:
            table[table.Key(pid)] = table.Leaf(1)
        self._probe.attach(hz=1)

    def prog_fds(self) -> list[int]:
        """Descriptors of its programs."""
        return self._probe.prog_fds()

    def close(self) -> None:
        """Detach and unload."""
        self._probe.close()
