"""Readings of the machine and of its processes, from /proc."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class CpuTime(NamedTuple):
    """CPU time since boot, of one CPU or, as cpu -1, of all together."""

    cpu: int
    user_ns: int
    system_ns: int
    irq_ns: int
    idle_ns: int
    steal_ns: int


class Memory(NamedTuple):
    """Memory of the machine."""

    total_bytes: int
    available_bytes: int


class Process(NamedTuple):
    """One process: CPU time and page faults since its start, and what it holds."""

    pid: int
    comm: str
    ppid: int
    user_ns: int
    system_ns: int
    rss_bytes: int
    threads: int
    minor_faults: int
    major_faults: int
    start_ticks: int  #: since boot: tells a process from a later one with its pid


def cpu_times() -> tuple[list[CpuTime], int]:
    """CPU times, the whole machine first, and the context switches since boot."""
    times, switches = [], 0
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("cpu"):
            name, *fields = line.split()
            user, nice, system, idle, iowait, irq, softirq, steal = (int(f) * TICK_NS for f in fields[:8])
            cpu = int(name[3:] or -1)
            times.append(CpuTime(cpu, user + nice, system, irq + softirq, idle + iowait, steal))
        elif line.startswith("ctxt "):
            switches = int(line.split()[1])
    return times, switches


def memory() -> Memory:
    """Total and available memory."""
    text = Path("/proc/meminfo").read_text()
    values = {name: int(kib) << 10 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    return Memory(values.get("MemTotal", 0), values.get("MemAvailable", 0))


def processes() -> list[Process]:
    """Every process; those that end meanwhile are left out."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                found.append(parse_stat(_whole(f"/proc/{entry.name}/stat")))
    return found


def _whole(path: str, most: int = 4096) -> bytes:
    """A small file of /proc; of many, Python's own files would cost more than the kernel does."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


def parse_stat(line: bytes) -> Process:
    """One line of /proc/PID/stat; the name may hold blanks and brackets.

    >>> parse_stat(b"7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 3 4 0 0 20 0 2 0 9 0 5 0").comm
    'a) b'
    """
    left, right = line.index(b"("), line.rindex(b")")
    fields = line[right + 2 :].split()
    return Process(
        pid=int(line[:left]),
        comm=line[left + 1 : right].decode("utf-8", "replace"),
        ppid=int(fields[1]),
        user_ns=int(fields[11]) * TICK_NS,
        system_ns=int(fields[12]) * TICK_NS,
        rss_bytes=int(fields[21]) * PAGE_BYTES,
        threads=int(fields[17]),
        minor_faults=int(fields[7]),
        major_faults=int(fields[9]),
        start_ticks=int(fields[19]),
    )


def pss_bytes(pid: int) -> int | None:
    """Proportional memory of a process; None when it cannot be told. It takes the kernel 1 ms per 30 MB or so."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        if found := re.search(rb"^Pss:\s+(\d+) kB", file.read(), re.M):
            return int(found[1]) << 10
    return None


def switches(tid: int) -> tuple[int, int] | None:
    """Waits and preemptions of a thread since its start; None when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{tid}/status", "rb") as file:
        found = re.findall(rb"^(?:non)?voluntary_ctxt_switches:\s+(\d+)", file.read(), re.M)
        if len(found) == 2:
            return int(found[0]), int(found[1])
    return None


def storage_bytes(pid: int) -> tuple[int, int] | None:
    """Bytes that a process had read from storage and written to it since its start; None when it cannot be told."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/io", "rb") as file:
        found = dict(re.findall(rb"^(read_bytes|write_bytes): (\d+)", file.read(), re.M))
        if len(found) == 2:
            return int(found[b"read_bytes"]), int(found[b"write_bytes"])
    return None


def thread_ids(pid: int) -> list[int]:
    """The threads of a process; empty when it is gone."""
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []


def threads(pid: int) -> list[tuple[int, str]]:
    """The threads of a process with their names."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                text = Path(entry.path, "comm").read_text(errors="replace")
                found.append((int(entry.name), text.rstrip("\n")))
    return found


def executable(pid: int) -> str | None:
    """Path of the program that a process runs, or None."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/exe")
    return None


def cgroups(pid: int) -> list[str]:
    """Control groups of a process, that of the unified hierarchy first if there is one; empty when it is gone."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/cgroup").read_text(errors="replace").splitlines()
        fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
        unified_first = sorted(fields, key=lambda f: (f[0] != "0", f[1] != "name=systemd"))
        return list(dict.fromkeys(path.removesuffix(" (deleted)") for _, _, path in unified_first))
    return []


def cgroup(pid: int) -> str | None:
    """Control group of a process, in the unified hierarchy if there is one, or None."""
    return next(iter(cgroups(pid)), None)


def describe() -> dict[str, Any]:
    """What the manifest keeps of the machine."""
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
        distribution = release.get("PRETTY_NAME", release.get("NAME", ""))
        return {**_machine(), "distribution": distribution}
    return {**_machine(), "distribution": ""}


def _machine() -> dict[str, Any]:
    return {
        "hostname": platform.node(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 1,
        "mem_total_bytes": memory().total_bytes,
    }
