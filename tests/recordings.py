"""Real recordings for tests: run a workload, record it, read the tables."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from tracelab.recorder.loader import import_bcc, own_headers
from tracelab.recorder.options import Options
from tracelab.recorder.recording import Recording, record
from tracelab.session.parts import read_stream

_started: list[subprocess.Popen[bytes]] = []
WORKLOADS = Path(__file__).parent / "workloads"
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
COUNT_BY_PROCESS = r"""
BPF_HASH(seen, u32, u64, 65536);
RAW_TRACEPOINT_PROBE(sys_exit)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u64 zero = 0, *n = seen.lookup_or_try_init(&pid, &zero);
    if (n)
        __sync_fetch_and_add(n, 1);
    return 0;
}
"""


def workload(name: str, *arguments: object) -> list[str]:
    """Command line of a program in tests/workloads, for the machine's own Python."""
    return [PYTHON, str(WORKLOADS / f"{name}.py"), *map(str, arguments)]


def recorded(path: Path, argv: Sequence[str], **options: object) -> Recording:
    """Record a command from before its start to its end."""
    recording = record(path, Options(**options), argv)  # type: ignore[arg-type]
    assert recording.manifest.command is not None
    assert recording.manifest.command["exit_code"] == 0
    return recording


def rows(recording: Recording, table: str, *, pid: int | None = None) -> list[dict[str, object]]:
    """Rows of a table as dictionaries, of one process if asked."""
    found = rows_of(recording.path, table)
    return [row for row in found if pid is None or row["pid"] == pid]


def rows_of(session: Path, table: str) -> list[dict[str, object]]:
    """Rows of a table, from its closed parts and from streams that are none yet."""
    found: list[dict[str, object]] = []
    for part in sorted((session / table).glob("*.parquet")):
        found += pq.read_table(part).to_pylist()
    for stream in sorted((session / table).glob("*.arrows")):
        if not stream.with_suffix(".parquet").exists():
            for batch in read_stream(stream):
                found += batch.to_pylist()
    return found


def count_rows(session: Path, table: str) -> int:
    """Rows of a table, of all its parts."""
    closed = sum(pq.read_metadata(part).num_rows for part in (session / table).glob("*.parquet"))
    streams = [s for s in (session / table).glob("*.arrows") if not s.with_suffix(".parquet").exists()]
    return closed + sum(batch.num_rows for stream in streams for batch in read_stream(stream))


def command_pid(recording: Recording) -> int:
    """The process that was recorded."""
    assert recording.manifest.command is not None
    return int(recording.manifest.command["pid"])


@contextlib.contextmanager
def counting_exits() -> Iterator[Callable[[int], int]]:
    """Count finished system calls by process, in a program that has nothing in common with the recorder's.

    Yields a function that tells the count of a process so far.
    """
    with own_headers():
        program = import_bcc().BPF(text=COUNT_BY_PROCESS.encode(), cflags=["-w"])
    seen = program[b"seen"]

    def count(pid: int) -> int:
        return next((leaf.value for key, leaf in seen.items() if key.value == pid), 0)

    try:
        yield count
    finally:
        program.cleanup()


def start_recorder(path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """`tracelab record` as a process, which writes to `path`; comes back when it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tracelab", "record", "-o", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _started.append(process)
    while not list(path.glob("tasks/part-*")):
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1].decode())
        time.sleep(0.02)  # the only CPU may be needed for it
    return process


def end_recorders() -> None:
    """Kill what `start_recorder` started and a test that failed has not ended, so that the next ones do not fail."""
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.wait()
    _started.clear()
