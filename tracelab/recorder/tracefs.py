"""Where tracefs is, mounted if need be: tracepoints that are not raw are described there."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from tracelab.errors import ProbeUnavailable

PLACES = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))


def mounted() -> Path | None:
    """The folder of tracefs, or None where it is not mounted."""
    return next((place for place in PLACES if (place / "events").is_dir()), None)


def mount() -> Path:
    """The folder of tracefs, which is mounted at its usual place if it was not; it stays mounted, as others leave it.

    Raises ProbeUnavailable.
    """
    if (found := mounted()) is not None:
        return found
    libc = ctypes.CDLL(None, use_errno=True)
    place = PLACES[0]
    if libc.mount(b"tracefs", bytes(place), b"tracefs", 0, None) and mounted() is None:
        reason = os.strerror(ctypes.get_errno())
        raise ProbeUnavailable(
            f"tracefs is not mounted, and cannot be ({reason}): mount -t tracefs tracefs {place}"
        )
    return mounted() or place


def has_tracepoint(name: str) -> bool:
    """Whether tracefs, if it is mounted, tells of tracepoint `category:event`."""
    place = mounted()
    category, _, event = name.partition(":")
    return place is not None and (place / "events" / category / event / "id").is_file()
