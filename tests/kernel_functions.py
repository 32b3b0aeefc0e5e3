"""Addresses of functions of the running kernel."""

from __future__ import annotations

from pathlib import Path

import pytest


def addresses(name: str) -> set[int]:
    """Where functions of that name are; the test is skipped where the kernel has none, or hides it."""
    lines = (line.split() for line in Path("/proc/kallsyms").read_text().splitlines() if f" {name}" in line)
    found = {int(line[0], 16) for line in lines if line[2] == name} - {0}
    if not found:
        pytest.skip(f"/proc/kallsyms has no address of {name}: another kernel, or kernel.kptr_restrict")
    return found
