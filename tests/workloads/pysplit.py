"""Spends 70 % of its CPU time in heavy() and 30 % in light(), Python functions that call C, which calls Python.

Every hash is of zlib, so that the native leaf tells which of the two functions it was called by; every comparison
of a sort calls back. With a number of threads, each has its own function, worker_0, worker_1, ..., and takes so much.
"""

import sys
import threading
import time
import zlib

DATA = bytes(1 << 16)


def count(n):
    """Add up in Python alone."""
    total = 0
    for i in range(n):
        total += i * i
    return total


def heavy(until):
    """Count, hash and sort until this thread has had so much CPU time."""
    while time.thread_time() < until:
        count(300)
        zlib.crc32(DATA)
        sorted(range(6), key=of_heavy)


def light(until):
    """Do the same with another hash."""
    while time.thread_time() < until:
        count(300)
        zlib.adler32(DATA)
        sorted(range(6), key=of_light)


def of_heavy(number):
    """Sort key, called by C."""
    return count(20) - number


def of_light(number):
    """Sort key, called by C."""
    return count(20) - number


def split(seconds):
    """Spend so much CPU time, 70 % in one and 30 % in the other."""
    while time.process_time() < seconds:
        heavy(time.thread_time() + 0.070)
        light(time.thread_time() + 0.030)


def worker(number, seconds):
    """A function of its own for each thread."""
    names = {}
    exec(
        f"def worker_{number}(end):\n    while time.monotonic() < end:\n        count(500)", globals(), names
    )
    names[f"worker_{number}"](time.monotonic() + seconds)


seconds, threads = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
if threads:
    running = [threading.Thread(target=worker, args=(n, seconds)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
else:
    split(seconds)
