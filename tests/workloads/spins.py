"""Spends 70 % of its CPU time in `heavy` and 30 % in `light`, each a C function of the interpreter's own.

The names to look for are those of C functions, since a native stack shows the interpreter, not the script.
"""

import sys
import time

NUMBERS = list(range(60_000, 0, -1)) + list(range(60_000))
TEXT = "ab" * 400_000


def heavy(until: float) -> None:
    """Sort."""
    while time.thread_time() < until:
        sorted(NUMBERS, key=float)


def light(until: float) -> None:
    """Search for what is not there."""
    while time.thread_time() < until:
        TEXT.count("aba" * 3 + "b")


end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    heavy(time.thread_time() + 0.070)
    light(time.thread_time() + 0.030)
