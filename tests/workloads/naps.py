"""Sleeps a number of times for so many seconds each; with a third argument, computes so many seconds before each."""

import sys
import time


def nap(seconds: float) -> None:
    """Wait for nothing."""
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Use that much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


for _ in range(int(sys.argv[1])):
    if len(sys.argv) > 3:
        compute(float(sys.argv[3]))
    nap(float(sys.argv[2]))
