"""Tools that watch the whole machine, each as its users start it: profilers, and recorders of every system call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tracelab.bench.drain import session_outcome
from tracelab.bench.peers import bpftrace_counts, namespace, perf_counts, tracefs_refusal
from tracelab.bench.tracer import Outcome, Tracer

HZ = 49
_STACKS = f"profile:hz:{HZ} {{ @[kstack, ustack, comm] = count(); }}"
#: without its own calls, as we do: else it prints for each line that it prints
_CALLS = (
    'tracepoint:raw_syscalls:sys_enter /comm != "bpftrace"/ { @start[tid] = nsecs; } '
    'tracepoint:raw_syscalls:sys_exit /comm != "bpftrace"/ { '
    'printf("%llu %d %d %d %d %ld %llu\\n", nsecs, cpu, pid, tid, args->id, args->ret, nsecs - @start[tid]); } '
    'interval:ms:100 { printf("ready\\n"); } END { clear(@start); }'
)


class Ours(Tracer):
    """`tracelab record`, with its defaults."""

    name = "tracelab record"

    def __init__(self, *options: str) -> None:
        self._options = options

    def command(self, pid: int, folder: Path) -> list[str]:
        """Of the whole machine."""
        options = ["--hz", str(HZ), *self._options]
        return [sys.executable, "-m", "tracelab", "record", "-o", str(folder / "session"), *options]

    def records(self, own_pid: int, folder: Path) -> bool:
        """The first table is written by its threads."""
        return any(folder.glob("session/tasks/part-*"))

    def outcome(self, folder: Path) -> Outcome:
        """From the session."""
        if "syscalls" in self._options:
            return session_outcome(folder / "session")
        return Outcome(0, 0, None, time.time_ns())


class Tool(Tracer):
    """A program of its own; its words in `command` are those a user types."""

    def __init__(self, name: str, words: list[str], *, counts: str = "") -> None:
        self.name = name
        self._words = words
        self._counts = counts  #: whose output it is: bpftrace, perf; empty: it keeps no events

    def refusal(self) -> str | None:
        """Needs the program, and tracefs."""
        if not shutil.which(self._words[0]):
            return f"{self._words[0]} is not installed"
        return tracefs_refusal()

    def command(self, pid: int, folder: Path) -> list[str]:
        """In a mount namespace with tracefs, if need be."""
        return [*namespace(), *(word.replace("FOLDER", str(folder)) for word in self._words)]

    def records(self, own_pid: int, folder: Path) -> bool:
        """It has programs or perf events of its own."""
        if self._counts == "bpftrace":
            return b"ready\n" in (folder / "stdout").read_bytes()
        return any(_watches(pid) for pid in _group(own_pid))

    def outcome(self, folder: Path) -> Outcome:
        """What it kept and lost, where it keeps events."""
        if self._counts == "bpftrace":
            return Outcome(*bpftrace_counts(folder / "stdout", folder / "stderr"), time.time_ns())
        if self._counts == "perf":
            data = folder / "data"
            report = [*namespace(), "perf", "report", "--stats", "-i", str(data)]
            said = subprocess.run(report, capture_output=True, text=True, timeout=120).stdout
            kept, lost = perf_counts(said)
            return Outcome(kept, lost, data.stat().st_size, time.time_ns())
        return Outcome(0, 0, None, time.time_ns())


class BccProfile(Tool):
    """BCC's `profile`, which compiles against kernel headers: this kernel's, else any that are installed.

    What it takes from them, registers and the layout of its own keys, is the same in all of them.
    """

    def refusal(self) -> str | None:
        """Needs headers of some kernel, too."""
        if not _OWN_HEADERS.is_dir() and _debian_headers() is None:
            return "no headers of any kernel are installed; install linux-headers-cloud-amd64"
        return super().refusal()

    def command(self, pid: int, folder: Path) -> list[str]:
        """With headers of another kernel where this one has none."""
        words = super().command(pid, folder)
        headers = None if _OWN_HEADERS.is_dir() else _debian_headers()
        if headers is None:
            return words
        for place in headers:
            shutil.copytree(place, folder / "headers", copy_function=_link, dirs_exist_ok=True)
        return ["env", f"BCC_KERNEL_SOURCE={folder / 'headers'}", *words]


def _debian_headers() -> tuple[Path, Path] | None:
    """The folders of all flavours and of one, of which Debian's headers of a kernel consist."""
    for common in sorted(Path("/usr/src").glob("linux-headers-*-common"), reverse=True):
        for flavour in sorted(common.parent.glob(common.name.removesuffix("common") + "*")):
            if (flavour / "include" / "generated").is_dir():
                return common, flavour
    return None


def _link(file: str, place: str) -> str:
    Path(place).unlink(missing_ok=True)
    os.symlink(file, place)
    return place


_OWN_HEADERS = Path("/lib/modules", os.uname().release, "build")
_PERF = ["perf", "record", "-B", "-N", "--no-bpf-event", "-a", "-o", "FOLDER/data"]
PROFILERS: tuple[Tracer, ...] = (
    Ours("--events", "oncpu"),
    Tool("bpftrace", ["bpftrace", "-e", _STACKS]),
    BccProfile("BCC profile", ["profile-bpfcc", "-F", str(HZ), "-f"]),
    Tool("perf record -g", [*_PERF, "-g", "-F", str(HZ), "-e", "cpu-clock"]),
)
RECORDERS: tuple[Tracer, ...] = (
    Ours("--events", "syscalls"),
    Tool("bpftrace, printing", ["bpftrace", "-e", _CALLS], counts="bpftrace"),
    Tool("BCC syscount, counting", ["syscount", "-L"]),
    Tool(
        "perf record", [*_PERF, "-e", "raw_syscalls:sys_enter", "-e", "raw_syscalls:sys_exit"], counts="perf"
    ),
)


def _group(leader: int) -> list[int]:
    """Processes of a process group."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == leader:
                found.append(int(entry.name))
    return found


def _watches(pid: int) -> bool:
    """Whether a process holds perf events, the last that all of these tools open."""
    try:
        links = [os.readlink(fd.path) for fd in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return any(re.search(r"perf_event|raw_tracepoint|bpf_link|bpf-link", link) for link in links)
