"""The checkers of the code find nothing; `make lint` runs the same ones by hand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["ruff check", "mypy"])
def test_a_checker_finds_nothing(command):
    tool, *arguments = command.split()
    if not importlib.util.find_spec(tool):
        pytest.skip(f"{tool} is missing; pip install 'tracelab-ebpf[test]'")
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
