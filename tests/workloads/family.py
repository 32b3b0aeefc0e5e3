"""Has children that end in known ways; prints of each what wait(2) says: name, pid, status and CPU time in ns.

They call themselves c and a number, which is the name of the first thread of each.
"""

import ctypes
import os
import signal
import threading
import time


def compute(seconds):
    """Use that much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def call_oneself(name):
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)  # PR_SET_NAME


def several_threads():
    threads = [threading.Thread(target=compute, args=(0.05,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    compute(0.05)
    for thread in threads:
        thread.join()


def killed():
    compute(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
    compute(10)


def told_to_end():
    compute(0.05)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    compute(10)


def first_thread_ends_first():
    """Each thread ends for itself, with a code of its own."""
    libc = ctypes.CDLL(None)
    threading.Thread(target=lambda: (compute(0.05), libc.syscall(60, 9))).start()
    libc.syscall(60, 5)  # exit of this thread only


WAYS = {
    "returns": lambda: compute(0.1),
    "fails": lambda: os._exit(7),
    "threads": several_threads,
    "killed": killed,
    "terminated": told_to_end,
    "leaderless": first_thread_ends_first,
    "another": lambda: os.execv("/bin/sh", ["sh", "-c", "exit 3"]),
}

for number, (name, way) in enumerate(WAYS.items()):
    pid = os.fork()
    if not pid:
        call_oneself(f"c{number}")
        way()
        os._exit(0)
    _, status, usage = os.wait4(pid, 0)
    print(name, pid, status, round(1e9 * (usage.ru_utime + usage.ru_stime)), flush=True)
