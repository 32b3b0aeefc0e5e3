"""Lets COUNT timers of WAIT seconds expire, one after the other; the kind is the first argument.

itimer   setitimer(), a high-resolution timer
receive  a time limit of recv(), a timer of the wheel

Prints, after each, the time for which it was set and the time when it had expired, in ns.
"""

import contextlib
import signal
import socket
import struct
import sys
import time

kind, count, wait = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
quiet, other = socket.socketpair()
quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", int(wait), int(wait % 1 * 1e6)))
for _ in range(count):
    due = time.monotonic_ns() + int(wait * 1e9)
    if kind == "itimer":
        signal.setitimer(signal.ITIMER_REAL, wait)
        signal.sigwait({signal.SIGALRM})
    else:
        with contextlib.suppress(BlockingIOError):
            quiet.recv(1)
    print(due, time.monotonic_ns())
