"""A recorder in a process of its own, steered through a socket.

`tl.record()` and `%%record` record the process they are called from. The recorder leaves its own process out, so
it has to be another one; it is `tracelab record` itself, so that there is one way to record. When the steering
process dies, the socket closes, and the recording ends as it should.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tracelab import errors
from tracelab.errors import CannotRecord, TracelabError

START_S = 60.0  #: longest wait for the recorder to have loaded its probes
STOP_S = 60.0  #: longest wait for the session to be closed


class ChildRecording:
    """A recording under way in another process, from construction to `stop`.

    Raises what the recorder raises: NeedsRoot, NeedsBcc, SessionExists, and so on.
    """

    def __init__(self, path: Path, arguments: Sequence[str]) -> None:
        self.path = path
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._stopped = False
        command = [sys.executable, "-m", "tracelab", "record", "-o", str(path), "--control-fd"]
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno()), *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        try:
            self._expect("ready", START_S)
        except BaseException:
            self._end()
            raise

    def mark(self, text: str) -> None:
        """Put an annotation on the time axis, now."""
        message = {"mark": text, "time_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC)}
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def stop(self) -> Path:
        """End the recording and wait for the closed session; returns its path."""
        if not self._stopped:
            self._stopped = True
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            try:
                self._expect("done", STOP_S)
            finally:
                self._end()
        return self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _expect(self, word: str, seconds: float) -> None:
        message = _receive(self._socket, seconds)
        if message is None:
            self._process.kill()
            said = self._process.communicate()[1].decode(errors="replace").strip()
            raise CannotRecord(
                f"the recorder ended without a word: {said or 'no output'}; try `tracelab record`"
            )
        if "error" in message:
            kind = getattr(errors, str(message["error"]), TracelabError)
            error = TracelabError.__new__(kind)
            error.args = (str(message["message"]),)
            raise error
        if word not in message:
            raise CannotRecord(f"the recorder said {message!r} where {word!r} was expected")

    def _end(self) -> None:
        self._socket.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


class Control:
    """The recorder's end of the socket."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._pending = b""
        self.closed = False

    def tell(self, **message: Any) -> None:
        """Say something to the steering process; it may be gone."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the steering process said meanwhile; `closed` is true once it wants the recording to end."""
        with contextlib.suppress(BlockingIOError):
            while not self.closed:
                received = self._socket.recv(4096)
                self._pending += received
                self.closed = not received
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            yield json.loads(line)


def _receive(connection: socket.socket, seconds: float) -> dict[str, Any] | None:
    """The next line, as JSON; None when the other side is gone or silent."""
    line = b""
    until = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = until - time.monotonic()
        if left <= 0 or not select.select([connection], [], [], left)[0]:
            return None
        received = connection.recv(4096)
        if not received:
            return None
        line += received
    message = json.loads(line.splitlines()[-1])
    return message if isinstance(message, dict) else None


def arguments(**options: object) -> list[str]:
    """Command line of `tracelab record` for keyword options; None, False and empty ones are left out.

    >>> arguments(hz=99, pid=(1, 2), comm=(), ring_mib=None, paths=True)
    ['--hz', '99', '--pid', '1', '--pid', '2', '--paths']
    """
    words: list[str] = []
    for name, value in options.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is True:
                words.append(f"--{name.replace('_', '-')}")
            elif item not in (None, False, ""):
                words += [
                    f"--{name.replace('_', '-')}",
                    os.fspath(item) if isinstance(item, Path) else str(item),
                ]
    return words
