"""Makes a given number of getppid calls, as fast as it can or spread over some seconds; or makes them for ever."""

import itertools
import os
import sys
import time

TURNS_PER_S = 50

number = int(sys.argv[1]) if len(sys.argv) > 1 else None
if len(sys.argv) > 2:
    turns = int(sys.argv[2]) * TURNS_PER_S
    began = time.monotonic()
    for turn in range(turns):
        for _ in range(number * turn // turns, number * (turn + 1) // turns):
            os.getppid()
        time.sleep(max(0, began + (turn + 1) / TURNS_PER_S - time.monotonic()))
else:
    for _ in itertools.count() if number is None else range(number):
        os.getppid()
