"""A recorded session played against the clock: what came next, when it came."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tracelab.errors import UsageError

if TYPE_CHECKING:
    from tracelab.api.session import Session

STEP_S = 0.1  #: of the clock: how often a batch comes


def replay(
    session: Session,
    speed: float = 1.0,
    step_s: float | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Session]:
    """Parts of a session, one after the other, each at its time: together they are the whole, without overlap.

    `speed` is recorded seconds per second; infinity waits for nothing. `step_s` is the least length of a part in
    recorded seconds: by default what is played in STEP_S. A part is longer where the one who takes them was slow, so
    that nothing is skipped and the next one is in time again. Raises UsageError when either is not positive.
    """
    if not speed > 0 or (step_s is not None and not (step_s > 0 and math.isfinite(step_s))):
        raise UsageError(f"speed={speed!r}, step_s={step_s!r}: both are positive numbers; a speed of 1 is as recorded")
    first, last = session.window
    length = step_s or (STEP_S * speed if math.isfinite(speed) else max((last - first) / 100, 1e-9))
    began = clock()
    at = first
    while at < last:
        until = min(at + length, last)
        if math.isfinite(speed):
            due = began + (until - first) / speed
            now = clock()
            if now < due:
                sleep(due - now)
            else:
                until = min(max(until, first + (now - began) * speed), last)
        yield session.select(time=(at, None if until >= last else until))
        at = until
