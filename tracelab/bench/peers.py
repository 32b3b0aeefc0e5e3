"""bpftrace, perf and trace-cmd, asked for what the recorder is asked for, with buffers of the same size.

They need tracefs. Where it is not mounted they get it in a mount namespace of their own, which goes when they go.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tracelab.bench.tracer import RING_MIB, NotRun, Outcome, Tracer

TRACEFS = Path("/sys/kernel/tracing")
WITH_TRACEFS = ["unshare", "--mount", "sh", "-c", f'mount -t tracefs tracefs {TRACEFS} && exec "$@"', "sh"]
BPFTRACE = """
tracepoint:raw_syscalls:sys_enter /pid == PID/ { @start[tid] = nsecs; }
tracepoint:raw_syscalls:sys_exit /pid == PID/ {
    printf("%llu %d %d %d %d %ld %llu\\n", nsecs, cpu, pid, tid, args->id, args->ret, nsecs - @start[tid]);
}
interval:ms:100 { printf("ready\\n"); }
END { clear(@start); }
"""


class Peer(Tracer):
    """A program of its own."""

    program: str

    def refusal(self) -> str | None:
        """Needs the program, and tracefs."""
        if not shutil.which(self.program):
            return f"{self.program} is not installed"
        return tracefs_refusal()


class Bpftrace(Peer):
    """A script that prints a line for each finished call, with the fields of table events."""

    name = program = "bpftrace"
    environment = {"BPFTRACE_PERF_RB_PAGES": str((RING_MIB << 20) // 4096)}

    def command(self, pid: int, folder: Path) -> list[str]:
        """Its output goes to a file, as that of everything here."""
        return [*namespace(), "bpftrace", "-e", BPFTRACE.replace("PID", str(pid))]

    def records(self, own_pid: int, folder: Path) -> bool:
        """Its interval probe fires, which is attached after the others."""
        return b"ready\n" in (folder / "stdout").read_bytes()

    def outcome(self, folder: Path) -> Outcome:
        """Counted from what it printed."""
        printed = folder / "stdout"
        kept, lost, size_bytes = bpftrace_counts(printed, folder / "stderr")
        return Outcome(kept, lost, size_bytes, printed.stat().st_mtime_ns)


class Perf(Peer):
    """Two records per call. Build ids are left out: finding them crashes some versions, and is not the point."""

    name = "perf record"
    program = "perf"

    def command(self, pid: int, folder: Path) -> list[str]:
        """The raw_syscalls tracepoints of one process."""
        options = ["-B", "-N", "--no-bpf-event", "-m", f"{RING_MIB}M", "-p", str(pid)]
        options += ["-o", str(folder / "data")]
        for event in ("sys_enter", "sys_exit"):
            options += ["-e", f"raw_syscalls:{event}"]
        return [*namespace(), "perf", "record", *options]

    def records(self, own_pid: int, folder: Path) -> bool:
        """It has mapped its buffers, the last step before it begins."""
        try:
            return "[perf_event]" in Path(f"/proc/{own_pid}/maps").read_text()
        except OSError:
            return False

    def outcome(self, folder: Path) -> Outcome:
        """From `perf report --stats`."""
        data = folder / "data"
        stored_ns, size_bytes = data.stat().st_mtime_ns, data.stat().st_size
        kept, lost = perf_counts(_said_by([*namespace(), "perf", "report", "--stats", "-i", str(data)]))
        return Outcome(kept, lost, size_bytes, stored_ns)


class TraceCmd(Peer):
    """Two records per call, spliced from the ftrace ring of each CPU into a file."""

    name = "trace-cmd record"
    program = "trace-cmd"

    def command(self, pid: int, folder: Path) -> list[str]:
        """The same; line by line, for `records`."""
        options = ["-e", "raw_syscalls", "-b", str(RING_MIB << 10), "-P", str(pid)]
        options += ["-o", str(folder / "data")]
        return [*namespace(), "stdbuf", "-oL", "trace-cmd", "record", *options]

    def records(self, own_pid: int, folder: Path) -> bool:
        """It says how to stop it."""
        return "to stop recording" in (folder / "stdout").read_text()

    def outcome(self, folder: Path) -> Outcome:
        """From the ring statistics that it keeps in its file."""
        data = folder / "data"
        said = _said_by(["trace-cmd", "report", "--stat", "-i", str(data)])
        kept, lost = trace_cmd_counts(said)
        return Outcome(kept, lost, data.stat().st_size, data.stat().st_mtime_ns)


PEERS = (Bpftrace(), Perf(), TraceCmd())


def namespace() -> list[str]:
    """What to put before a command so that it finds tracefs."""
    return [] if (TRACEFS / "events").is_dir() else WITH_TRACEFS


def tracefs_refusal() -> str | None:
    """Why tracefs cannot be had here, or None."""
    if namespace() and not shutil.which("unshare"):
        return f"tracefs is not mounted at {TRACEFS}, and unshare (util-linux) is not installed"
    tried = subprocess.run([*namespace(), "true"], capture_output=True, text=True)
    if tried.returncode:
        return f"tracefs is not mounted at {TRACEFS} and cannot be: {tried.stderr.strip()}"
    return None


def bpftrace_counts(printed: Path, errors: Path) -> tuple[int, int, int]:
    """Lines of events, events said to be lost, and bytes of the former."""
    kept = lost = size_bytes = 0
    for file in (printed, errors):
        with open(file, "rb") as lines:
            for line in lines:
                if line[:1].isdigit():
                    kept += 1
                    size_bytes += len(line)
                elif found := re.match(rb"Lost (\d+) events", line):
                    lost += int(found[1])
    return kept, lost, size_bytes


def perf_counts(stats: str) -> tuple[int, int | None]:
    """Finished calls kept and lost, from `perf report --stats`; perf before 6.1 does not tell the lost ones."""
    total, _, by_exit = stats.partition("raw_syscalls:sys_exit stats:")
    kept = re.search(r"\bSAMPLE events: +(\d+)", by_exit)
    if not kept:
        raise NotRun(f"perf report has no statistics of raw_syscalls:sys_exit; it said: {_end_of(stats)}")
    lost = re.search(r"\bLOST_SAMPLES events: +(\d+)", by_exit)
    if lost:
        return int(kept[1]), int(lost[1])
    return int(kept[1]), None if re.search(r"\bLOST events: +[1-9]", total) else 0


def trace_cmd_counts(stats: str) -> tuple[int, int]:
    """Finished calls kept and lost, from `trace-cmd report --stat`, which counts records: two for a call.

    What it calls entries left in the ring is in the file too (3.1, counted in the file): they are read at its end.
    """
    kept = sum(map(int, re.findall(r"^(?:read events|entries): (\d+)", stats, re.M)))
    lost = sum(map(int, re.findall(r"^(?:overrun|dropped events): (\d+)", stats, re.M)))
    if not kept:
        raise NotRun(f"trace-cmd report has no events; it said: {_end_of(stats)}")
    return kept // 2, lost // 2


def _said_by(command: list[str]) -> str:
    said = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    return said.stdout or said.stderr


def _end_of(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines()[-2:]) or "nothing"
