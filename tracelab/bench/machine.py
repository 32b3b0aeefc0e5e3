"""The machine that a benchmark runs on: what it is, and the part of it that others use meanwhile."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tracelab.errors import TracelabError
from tracelab.recorder import host
from tracelab.recorder.loader import import_bcc

NICE = -15  #: of the workload and of every tracer, where allowed, against disturbances
AUTOGROUP = Path("/proc/self/autogroup")


def describe() -> str:
    """One line: kernel, CPUs, versions."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    parts = [
        f"Linux {platform.release()} {platform.machine()}",
        f"{os.cpu_count()} CPUs" + (f" ({' '.join(model[1].split())})" if model else ""),
        f"Python {platform.python_version()}",
        f"pyarrow {importlib.metadata.version('pyarrow')}",
    ]
    with contextlib.suppress(TracelabError):
        parts.append(f"BCC {import_bcc().__version__}")
    parts += [version for name in ("bpftrace", "perf", "trace-cmd") if (version := _version_of(name))]
    return ", ".join(parts)


def _version_of(program: str) -> str | None:
    if not shutil.which(program):
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return f"{program} {found[0]}" if found else program


@contextlib.contextmanager
def preferred(cpus: frozenset[int]) -> Iterator[None]:
    """Run on `cpus` meanwhile, with what is started, before processes of normal priority."""
    before = os.sched_getaffinity(0)
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    group = re.search(r"nice (-?\d+)", AUTOGROUP.read_text()) if AUTOGROUP.exists() else None
    os.sched_setaffinity(0, cpus)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        if group:
            AUTOGROUP.write_text(str(NICE))  # else the priority counts among processes of this terminal only
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, priority)
            if group:
                AUTOGROUP.write_text(group[1])


class Others:
    """CPU that processes other than this one and its children use, from construction on."""

    def __init__(self) -> None:
        self._begun, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def share(self) -> float:
        """Share of all CPUs of the machine, 0 to 1."""
        spent = _busy_s() - self._busy_s - (_own_s() - self._own_s)
        return max(0.0, spent / ((time.monotonic() - self._begun) * (os.cpu_count() or 1)))


def _busy_s() -> float:
    whole, *_ = host.cpu_times()[0]
    return (whole.user_ns + whole.system_ns + whole.irq_ns + whole.steal_ns) / 1e9


def _own_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
