"""A pytest plugin that writes each outcome down at once, for a machine that may not live to the end.

The file that OUTCOMES_FILE names gets one JSON object a line: what the kernel has, the tests that were
collected, then for each test that it began and how it ended. A test that began and never ended took the
machine, or the run, with it. A test that takes longer than TEST_LIMIT_S fails, so that one that hangs does
not cost the others their turn.
"""

from __future__ import annotations

import json
import os
import platform
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

OUTCOMES = Path(os.environ.get("OUTCOMES_FILE", os.devnull))
TEST_LIMIT_S = float(os.environ.get("TEST_LIMIT_S", "300"))


def write(**record: object) -> None:
    """Append a line, which is on the host's disk when this returns."""
    with OUTCOMES.open("a") as file:
        print(json.dumps(record), file=file)


def pytest_sessionstart(session: pytest.Session) -> None:
    write(facts=facts())


def pytest_collection_finish(session: pytest.Session) -> None:
    write(collected=[item.nodeid for item in session.items])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    write(test=item.nodeid, began=True)
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, TEST_LIMIT_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        write(
            test=report.nodeid,
            outcome=report.outcome,
            reason=reason(report),
            duration_s=round(report.duration, 1),
        )


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        write(
            test=report.nodeid,
            outcome="failed",
            reason=str(report.longrepr).strip().splitlines()[-1],
            duration_s=0,
        )


def reason(report: pytest.TestReport) -> str:
    """Why a test did not pass, in a line; empty for one that did."""
    if isinstance(report.longrepr, tuple):  # a skip: file, line, text
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr or "")
    lines = text.strip().splitlines()
    return f"{report.when}: {lines[0]}" if lines and report.when != "call" else "".join(lines[:1])


def facts() -> dict[str, str]:
    """What this kernel has of the things that probes need."""
    try:
        symbols = Path("/proc/kallsyms").read_text()
    except OSError:
        symbols = ""

    def yes(condition: bool) -> str:
        return "yes" if condition else "no"

    return {
        "release": platform.release(),
        "BTF": yes(Path("/sys/kernel/btf/vmlinux").exists()),
        "kprobes": yes(" register_kprobe\n" in symbols),
        "BPF trampolines": yes(" bpf_trampoline_link_prog\n" in symbols),
        "PMU": yes(Path("/sys/bus/event_source/devices/cpu").exists()),
        "PSI": yes(Path("/proc/pressure/cpu").exists()),
        "CPUs": str(os.cpu_count()),
    }


def _too_long(signum: int, frame: object) -> None:
    pytest.fail(f"took longer than {TEST_LIMIT_S:g} s")
