"""BCC's own way to read a ring, as a program: `python -m tracelab.bench.callback STYLE PID RING_MIB`.

It loads the same kernel side as the recorder does, so that only the reading differs. Records are submitted without a
wakeup, hence `ring_buffer_consume` on a timer and not `ring_buffer_poll`. Ends at SIGINT with a line of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tracelab.recorder.accounting import COUNTERS
from tracelab.recorder.loader import LoadedProbe
from tracelab.recorder.probes import all_probes
from tracelab.recorder.ring import pages_for

SLEEP_S = 0.02  #: as the recorder's

Callback = Callable[[Any, Any, int], int | None]


def keep_event(ring: Any, kept: list[Any]) -> Callback:
    """As in BCC's reference guide: decode with `event`, and keep what it gives.

    That is a view of the ring, not a copy: once the ring has gone round, it shows a later event.
    """

    def callback(ctx: Any, data: Any, size: int) -> None:
        kept.append(ring.event(data))

    return callback


def keep_fields(ring: Any, kept: list[Any]) -> Callback:
    """The same with its members copied, which is what it takes to have the events afterwards."""

    def callback(ctx: Any, data: Any, size: int) -> int:
        event = ring.event(data)
        kept.append((event.time_ns, event.value, event.ret, event.pid, event.tid, event.nr, event.cpu))
        return 0  # BCC raises and catches an exception for every event whose callback returns None

    return callback


def count_only(ring: Any, kept: list[Any]) -> Callback:
    """The least that a callback can do: the events themselves are gone."""
    kept.append(0)

    def callback(ctx: Any, data: Any, size: int) -> int:
        kept[0] += 1
        return 0

    return callback


def event_class(record: np.dtype[np.void]) -> type[ctypes.Structure]:
    """The structure that BCC makes of the members of a record."""
    members = [(name, np.ctypeslib.as_ctypes_type(record[name])) for name in record.names or ()]
    return type("event", (ctypes.Structure,), {"_fields_": members})


STYLES: dict[str, Callable[[Any, list[Any]], Callback]] = {
    "keep_event": keep_event,
    "keep_fields": keep_fields,
    "count_only": count_only,
}


def main(style: str, pid: str, ring_mib: str) -> None:
    """Read until SIGINT; prints `ready`, and at the end what was kept and lost."""
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: stopped.append(number))
    macros = {
        "OWN_TGID": os.getpid(),
        "PID_ASKED(pid)": f"((pid)=={int(pid)})",
        "RING_PAGES": pages_for(float(ring_mib)),
    }
    probe = LoadedProbe(all_probes()["syscalls"], macros)
    try:
        ring = probe.table("ring")
        _, _, reader = probe.rings()[0]
        ring._event_class = event_class(
            reader.dtype
        )  # BCC's guess needs a submit of that type, ours is shared
        kept: list[Any] = []
        ring.open_ring_buffer(STYLES[style](ring, kept))
        probe.attach(hz=1)
        print("ready", flush=True)
        while not stopped:
            ring.bpf.ring_buffer_consume()
            time.sleep(SLEEP_S)
        probe.detach()
        ring.bpf.ring_buffer_consume()
        stored_ns = time.time_ns()
        lost = int(probe.counts().sum(axis=1)[COUNTERS.index("lost")])
        number = kept[0] if style == "count_only" else len(kept)
        print(json.dumps({"kept": number, "lost": lost, "stored_ns": stored_ns}), flush=True)
    finally:
        probe.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
