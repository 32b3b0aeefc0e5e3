"""What all tests share: which of them need a real kernel or a browser, and that none leaves a program behind."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import what_ran
from chromium import BROWSERS, chromium_path
from loaded_bpf import MARK, leftover_programs, tracing_programs, why_no_recording
from what_ran import LANES

collect_ignore = ["data", "workloads"]  # programs and files that tests use

os.environ[MARK] = uuid.uuid4().hex


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--must-run",
        action="append",
        default=[],
        choices=tuple(LANES),
        help="fail when no test of this kind ran: where they can run, skipping all of them is not a pass",
    )
    parser.addoption(
        "--soak", default="12", metavar="S", help="seconds for which memory has to stay flat at full rate"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A plugin, because the hooks of this file see nothing of the doctests outside its folder.
    config.pluginmanager.register(what_ran, "what-ran")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test below tests/kernel or tests/browser is marked so; what cannot run here is skipped with the reason."""
    tests = Path(__file__).parent
    for item in items:
        for lane in LANES:
            if (tests / lane) in item.path.parents:
                item.add_marker(lane)
        for lane in what_ran.lanes_of(item):
            reason = why_no_recording() if lane == "kernel" else why_no_browser()
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"{lane}: {reason}"))


@functools.cache
def why_no_browser() -> str | None:
    """Why browser tests cannot run here; None where they can."""
    if not chromium_path():
        return f"no {' or '.join(BROWSERS)} that starts is on PATH; install chromium"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "the playwright package is missing; pip install 'tracelab-ebpf[test]'"
    return None


@pytest.fixture(scope="session", autouse=True)
def _no_program_outlives_the_run() -> Iterator[None]:
    before = set(tracing_programs())
    yield
    left = leftover_programs(before)
    assert not left, f"eBPF programs that this run loaded are still there at its end: {left}"


@pytest.fixture(autouse=True)
def _no_program_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    if not request.node.get_closest_marker("kernel"):
        yield
        return
    from recordings import end_recorders

    before = set(tracing_programs())
    yield
    left = leftover_programs(before)
    end_recorders()
    assert not left, f"eBPF programs that this test loaded are still there after it: {left}"
