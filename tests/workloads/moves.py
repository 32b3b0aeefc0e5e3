"""Moves from CPU to CPU, between two of them, a number of times."""

import os
import sys

one, other, times = map(int, sys.argv[1:])
os.sched_setaffinity(0, {one})
for _ in range(times):
    os.sched_setaffinity(0, {other})
    one, other = other, one
