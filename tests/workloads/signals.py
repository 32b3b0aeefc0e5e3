"""Sends signals to a child in known ways; prints the numbers of both, and how long the blocked signal waited at least.

The child handles SIGUSR1 and SIGUSR2, ignores SIGHUP, and SIGTERM ends it.
"""

import os
import signal
import time

told, tells = os.pipe()
asks, answers = os.pipe()


def tell(*_):
    os.write(answers, b".")


parent = os.getpid()
child = os.fork()
if not child:
    signal.signal(signal.SIGUSR1, tell)
    signal.signal(signal.SIGUSR2, tell)
    signal.signal(signal.SIGRTMIN + 1, tell)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    tell()
    while True:
        if os.read(told, 1) == b"u":
            start = time.monotonic_ns()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
            os.write(answers, start.to_bytes(8, "little"))
os.read(asks, 1)
for _ in range(3):
    os.kill(child, signal.SIGUSR1)
    os.read(asks, 1)
os.kill(child, signal.SIGHUP)
os.kill(child, signal.SIGRTMIN + 1)
os.read(asks, 1)
os.kill(child, signal.SIGUSR2)
sent = time.monotonic_ns()
os.kill(child, signal.SIGUSR2)  # is waiting already
time.sleep(0.05)
os.write(tells, b"u")
os.read(asks, 1)
unblocked = int.from_bytes(os.read(asks, 8), "little")
os.kill(child, signal.SIGTERM)
os.waitpid(child, 0)
print(parent, child, unblocked - sent)
