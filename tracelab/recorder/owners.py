"""Who holds programs, maps and links: processes with a descriptor of them, and perf events with a program.

Where the kernel has an iterator over open files (`openfiles`), one pass of it tells in a few ms. Elsewhere all
descriptors of all processes are looked at in /proc, which takes ten times as long; such a pass is made in slices of
bounded time, and looks first at processes that are known to hold something, and at the youngest. Either is done again
only when something was loaded or attached, or after a while.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tracelab.recorder import attachments
from tracelab.recorder.attachments import Attachment, event_name
from tracelab.recorder.openfiles import OpenFiles

AGAIN_S = 5.0  #: between passes, when nothing was loaded
SLICE_S = 0.005  #: for looking into /proc, per reading
FDS_A_SLICE = 64  #: looked at between two looks at the clock
_FDINFO_BYTES = 4096
_ID = re.compile(rb"^(prog_id|map_id|link_id):\s*(\d+)", re.M)


@dataclass(slots=True)
class Held:
    """Who holds what."""

    programs: dict[int, set[int]] = field(
        default_factory=dict
    )  #: pids by program, also through its link or event
    maps: dict[int, set[int]] = field(default_factory=dict)
    attached: set[Attachment] = field(default_factory=set)  #: through perf events
    unnamed: set[int] = field(
        default_factory=set
    )  #: pids with a perf event whose program the kernel does not name

    def add(self, pid: int, prog_id: int | None, map_id: int | None) -> None:
        """A process has a descriptor."""
        if prog_id:
            self.programs.setdefault(prog_id, set()).add(pid)
        if map_id:
            self.maps.setdefault(map_id, set()).add(pid)


class Owners:
    """Looks for holders, a slice at a time; `held` is what the last whole pass found."""

    def __init__(self, files: OpenFiles | None) -> None:
        self.held = Held()
        self._files = files
        self._pass: Iterator[Held | None] | None = None
        self._next = 0.0
        self._stale = True

    def changed(self) -> None:
        """Something was loaded or attached: look again, from the start."""
        self._stale, self._pass = True, None

    def advance(self, seconds: float = SLICE_S) -> bool:
        """Go on looking, in /proc for at most about `seconds` of CPU time; whether a pass was completed."""
        until = time.thread_time() + seconds
        if self._pass is None:
            if not self._stale and time.monotonic() < self._next:
                return False
            first = set().union(*self.held.programs.values(), *self.held.maps.values())
            self._pass, self._stale = self._look(first), False
        for found in self._pass:
            if found is not None:
                self.held, self._pass = found, None
                self._next = time.monotonic() + AGAIN_S
                return True
            if time.thread_time() > until:
                return False
        return False

    def _look(self, first: set[int]) -> Iterator[Held | None]:
        if self._files is not None:
            with contextlib.suppress(OSError):
                yield from look_at(self._files)
                return
            self._files = None
        yield from look(first)


def look_at(files: OpenFiles) -> Iterator[Held]:
    """What the kernel's iterator tells; raises OSError."""
    held = Held()
    for file in files.read():
        held.add(file.pid, file.prog_id, file.map_id)
        if file.event and file.prog_id:
            try:
                found = attachments.perf_event(file.pid, file.fd)
            except OSError:  # EOPNOTSUPP of programs of type perf_event; EBADF when it was closed meanwhile
                found = Attachment(file.prog_id, "perf_event", event_name(*file.event))
            if found:
                held.attached.add(found)
    yield held


def look(first: set[int]) -> Iterator[Held | None]:
    """Look at the descriptors of all processes; None again and again, then what was found."""
    held = Held()
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    for pid in sorted(pids, key=lambda pid: (pid in first, pid), reverse=True):
        for n, (fd, kind) in enumerate(_descriptors(pid)):
            if kind.startswith("anon_inode:bpf"):
                _note(held, pid, fd)
            elif kind == "anon_inode:[perf_event]":
                _note_event(held, pid, fd)
            if not (n + 1) % FDS_A_SLICE:
                yield None
        yield None
    yield held


def _descriptors(pid: int) -> Iterator[tuple[str, str]]:
    """Descriptors of a process, and what they are of."""
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield entry.name, os.readlink(entry.path)


def _note(held: Held, pid: int, fd: str) -> None:
    with contextlib.suppress(OSError):
        file = os.open(f"/proc/{pid}/fdinfo/{fd}", os.O_RDONLY)
        try:
            found = {name: int(number) for name, number in _ID.findall(os.read(file, _FDINFO_BYTES))}
        finally:
            os.close(file)
        held.add(pid, found.get(b"prog_id"), found.get(b"map_id"))


def _note_event(held: Held, pid: int, fd: str) -> None:
    try:
        found = attachments.perf_event(pid, int(fd))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            held.unnamed.add(pid)
        return
    if found:
        held.attached.add(found)
        held.add(pid, found.prog_id, None)
