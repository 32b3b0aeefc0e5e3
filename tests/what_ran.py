"""What really ran in a test run: a plugin that counts, says so at the end, and takes no silent skip for a pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

LANES = {"kernel": "real-kernel", "browser": "browser"}  # marker, and what the summary calls it

_ran: Counter[str] = Counter()  # tests that passed or failed: all of them, and those of each lane


def lanes_of(item: pytest.Item) -> list[str]:
    """The lanes that a test is marked with."""
    return [lane for lane in LANES if item.get_closest_marker(lane)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and not report.skipped:
        _ran.update(["all", *lanes_of(item)])
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _lanes_that_did_not_run(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    kinds = " and ".join(f"{_ran[lane]} {word}" for lane, word in LANES.items())
    reasons = Counter(_skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    skipped = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common()) or "none"
    terminalreporter.section("what ran")
    terminalreporter.line(f"{_ran['all']} tests ran, of them {kinds}; skipped: {skipped}")
    for lane in _lanes_that_did_not_run(config):
        what = f"FAILED: no {LANES[lane]} test ran, and --must-run={lane} asks for some"
        terminalreporter.line(what, red=True)


def _lanes_that_did_not_run(config: pytest.Config) -> list[str]:
    if config.option.collectonly:
        return []
    return [lane for lane in config.getoption("--must-run") if not _ran[lane]]


def _skip_reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    return where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)
