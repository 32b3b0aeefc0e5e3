"""py-spy as a reader of Python stacks: one run of it on a process, and what it wrote.

py-spy is told to write a Chrome trace, the one of its formats that keeps times and threads, into a FIFO. Its times
count from a moment that it keeps to itself, on CLOCK_MONOTONIC; the FIFO gives that away. py-spy's last times are
those of the moment at which it can open the FIFO, and that is when the recorder opens the other end. Measured
against a program that logs when it changes from one function to another, this is right to 0.2 ms on an idle
machine; `clock_error_ns` bounds it.

Options, and why (py-spy 0.4.3, one busy thread, two cores):

    blocking      the process stands still while it is read: for 0.4 % of the time at 49 Hz, 0.6 % at 98, 0.8 % at
                  196. Without (--nonblocking), a third of the stacks of a program that calls short functions are
                  mixed of two moments: functions appear under callers that never call them.
    --idle        waiting threads too. They are read in any case; without it, the last stack before a wait would
                  look as if it went on.
    --threads     names the kernel's number of each thread.

A stack is written when it differs from the one before of its thread, so that each holds until the next. py-spy
samples at random moments, so gaps between them are 1 / rate on average, and three times that one time in twenty.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tracelab.profile import Frame

BEGIN_S = 10.0  #: longest wait for py-spy to find the interpreter in a process
END_S = 0.7  #: and for it to notice that it shall end, at its next sample
NICE, NICE_AT_END = -10, -20  #: a reader that waits for a CPU samples too late
_THREAD = re.compile(r"thread \((\d+|0x[0-9A-Fa-f]+)\)")
_LIBRARY = re.compile(r".*/(?:site-packages|dist-packages|python\d+\.\d+)/(.+)")
_EVENT = b'},{"args":'  #: between two events; cannot be part of a string, where quotes are escaped


class Held(NamedTuple):
    """A stack that a thread had for a while."""

    start_ns: int  #: CLOCK_MONOTONIC
    end_ns: int
    pid: int
    tid: int
    stack: tuple[Frame, ...]  #: root first


class PySpy:
    """A run of py-spy, from construction to `finish`; `failure` says why there is none."""

    def __init__(self, pid: int, hz: int, *, children: bool = False) -> None:
        self.pid = pid
        self.hz = hz
        self.failure = ""
        self.begun_ns = 0
        self.clock_error_ns = 0
        self._said = b""
        self._folder = tempfile.mkdtemp(prefix="tracelab-python-")
        self._fifo = os.path.join(self._folder, "stacks")
        self._process: subprocess.Popen[bytes] | None = None
        program = py_spy()
        if program is None:
            self.failure = "py-spy is not installed; pip install py-spy"
            return
        os.mkfifo(self._fifo, 0o600)
        words = [
            "record",
            "--pid",
            str(pid),
            "--rate",
            str(hz),
            "--format",
            "chrometrace",
            "--threads",
            "--idle",
        ]
        argv = [
            *_end_with_me(),
            program,
            *words,
            *(["--subprocesses"] if children else []),
            "--output",
            self._fifo,
        ]
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            self.failure = f"py-spy does not start: {error.strerror}"
            return
        self._hasten(NICE)

    @property
    def reader_pid(self) -> int:
        """The process of py-spy itself; 0 when there is none."""
        return self._process.pid if self._process else 0

    def begin(self, stop_fd: int) -> bool:
        """Wait until it samples; False when it cannot, or when `stop_fd` becomes readable first."""
        if self._process is None:
            return False
        if self._wait_for(b"Sampling process", BEGIN_S, stop_fd):
            self.begun_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            return True
        if not self.failure and self._process.poll() is not None:
            self.failure = _reason(self._said)
        return False

    def ended(self, seconds: float, stop_fd: int) -> bool:
        """Wait for `seconds`, or until `stop_fd` becomes readable; True as soon as it has ended by itself."""
        assert self._process is not None
        return self._wait_for(b"Stopped sampling", seconds, stop_fd) or self._process.poll() is not None

    def cpu_ns(self) -> int:
        """CPU time that it has taken so far, to 10 ms; about the time for which it held the process still."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = Path(f"/proc/{self.reader_pid}/stat").read_text().rpartition(")")[2].split()
            return (int(words[11]) + int(words[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return 0

    def finish(self) -> list[Held]:
        """End it and return what it read, by thread in the order of time; nothing when it failed."""
        if self._process is None:
            self.close()
            return []
        try:
            self._hasten(NICE_AT_END)
            if self._process.poll() is None and b"Stopped sampling" not in self._said:
                self._process.send_signal(signal.SIGINT)
                self._wait_for(b"Stopped sampling", END_S, None)
            if b"Stopped sampling" in self._said:
                return list(self._read())
            self.failure = self.failure or "py-spy died, or did not end when it was asked to"
            return []
        finally:
            self.close()

    def close(self) -> None:
        """End it by force if it has not ended, and leave nothing behind; may be called again."""
        if self._process is not None and self._process.stdout and not self._process.stdout.closed:
            self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._said = b""

    def _read(self) -> Iterator[Held]:
        opened_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        fd = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        trace = _Trace()
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            while poll.poll(END_S * 1000):
                self.clock_error_ns = (
                    self.clock_error_ns or time.clock_gettime_ns(time.CLOCK_MONOTONIC) - opened_ns
                )
                block = os.read(fd, 1 << 20)
                if not block:
                    break
                trace.feed(block)
        finally:
            os.close(fd)
        if not trace.complete:
            self.failure = "py-spy was cut off while it wrote"
        return trace.held(opened_ns)

    def _hasten(self, nice: int) -> None:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{self.reader_pid}/task").iterdir():
                os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)

    def _wait_for(self, word: bytes, seconds: float, stop_fd: int | None) -> bool:
        assert self._process is not None and self._process.stdout is not None
        out, until = self._process.stdout.fileno(), time.monotonic() + seconds
        poll = select.poll()  # select() knows no descriptor above 1023
        for fd in (out, stop_fd):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        while word not in self._said:
            left = until - time.monotonic()
            if left <= 0 or out not in dict(poll.poll(left * 1000)):
                return False
            block = os.read(out, 4096)
            if not block:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_S)
                return False
            self._said = (self._said + block)[-8192:]
        return True

    def _kill(self) -> None:
        """End it if it has not ended; a process that it then leaves stopped goes on."""
        assert self._process is not None
        try:
            self._process.wait(0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError, IndexError):
                if Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                    os.kill(self.pid, signal.SIGCONT)
        if self._process.stdout:
            self._process.stdout.close()


class _Trace:
    """A Chrome trace on its way from events to stacks.

    py-spy keys threads by pthread_self(), which a forked process shares with its parent; their stacks differ at
    the root, in the names of thread and process, so that the state is kept by that key too.
    """

    def __init__(self) -> None:
        self.complete = False
        self._rest = b""
        self._stacks: dict[int, list[tuple[str, str, int]]] = {}
        self._since: dict[int, tuple[int, int, tuple[tuple[str, str, int], ...]]] = {}
        self._pending: dict[int, tuple[int, int, bool]] = {}  #: time, process, and whether a frame was added
        self._found: list[tuple[int, int, int, tuple[tuple[str, str, int], ...]]] = []
        self._last_us = 0

    def feed(self, block: bytes) -> None:
        """Take in the next bytes."""
        self._rest += block
        end = self._rest.rfind(_EVENT)
        if self._rest.endswith(b"]\n"):
            self.complete = True
            self._events(self._rest.strip())
            self._rest = b""
        elif end > 0:
            self._events(self._rest[: end + 1] + b"]")
            self._rest = b"[" + self._rest[end + 2 :]

    def held(self, last_ns: int) -> Iterator[Held]:
        """The stacks, their times told from the moment of the last event."""
        for key in list(self._pending):
            self._settle(key)
        for key, (start, pid, frames) in self._since.items():
            del key
            self._found.append((start, self._last_us, pid, frames))
        offset = last_ns - self._last_us * 1000
        known: dict[tuple[tuple[str, str, int], ...], tuple[int, tuple[Frame, ...]]] = {}
        for start, end, pid, raw in self._found:
            if raw not in known:
                known[raw] = _frames(raw)
            tid, stack = known[raw]
            if tid and end > start:
                yield Held(start * 1000 + offset, end * 1000 + offset, pid, tid, stack)

    def _events(self, text: bytes) -> None:
        for event in json.loads(text):
            phase = event["ph"]
            if phase not in "BE":
                continue
            key, at, pid = event["tid"], event["ts"], event["pid"]
            before = self._pending.get(key)
            if before is not None and (before[0] != at or before[1] != pid or (before[2] and phase == "E")):
                self._settle(key)
                before = None
            stack = self._stacks.setdefault(key, [])
            if phase == "B":
                stack.append(_raw(event))
            elif stack:
                stack.pop()
            self._pending[key] = (at, pid, phase == "B" or bool(before and before[2]))
            self._last_us = max(self._last_us, at)

    def _settle(self, key: int) -> None:
        """What a thread has come to when all changes of one moment are done."""
        at, pid, _ = self._pending.pop(key)
        if key in self._since:
            start, was_pid, frames = self._since[key]
            self._found.append((start, at, was_pid, frames))
        self._since[key] = (at, pid, tuple(self._stacks[key]))


def py_spy() -> str | None:
    """The program: that of this interpreter's environment, else the one on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("py-spy")


def _end_with_me() -> list[str]:
    """Has the reader end when the recorder dies, where the machine has setpriv (util-linux).

    Not by SIGINT, which is ignored until py-spy handles it where the recorder was started in the background of a shell.
    """
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "TERM"] if program else []


def _raw(event: dict[str, Any]) -> tuple[str, str, int]:
    about = event["args"]
    return str(event["name"]), str(about.get("filename") or ""), int(about.get("line") or 0)


def _frames(raw: tuple[tuple[str, str, int], ...]) -> tuple[int, tuple[Frame, ...]]:
    """Thread and frames of a stack, whose first frames are no functions: they name process and thread."""
    tid, stack = 0, []
    for name, file, line in raw:
        if file:
            stack.append(Frame(name, module_of(file), "python", file=file, line=line))
        elif thread := _THREAD.match(name):
            tid = int(thread[1], 0)
    return tid, tuple(stack)


def module_of(file: str) -> str:
    """The part of a file's path that says what it belongs to: below its library, or all of it.

    >>> module_of("/usr/lib/python3/dist-packages/numpy/core/numeric.py"), module_of("/srv/app.py")
    ('numpy/core/numeric.py', '/srv/app.py')
    """
    library = _LIBRARY.fullmatch(file)
    return library[1] if library else file


def _reason(said: bytes) -> str:
    """py-spy's own words for why it failed, in one line."""
    text = said.decode(errors="replace").partition("Stack backtrace")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("Error: ").removeprefix("Reason: ") for line in lines if "py-spy>" not in line]
    return "py-spy: " + ("; ".join(dict.fromkeys(told))[:400] or "ended without a word")
