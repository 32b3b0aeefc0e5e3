"""The summary of a test run: it counts what really ran, and a silent skip is no pass where running was asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SETTINGS = '[tool.pytest.ini_options]\npythonpath = ["tests"]\nmarkers = ["kernel", "browser", "slow"]\n'


@pytest.fixture
def run(tmp_path):
    """Runs pytest on the given files, below tests/, of a project that has this folder's conftest and nothing else."""

    def run_pytest(files: dict[str, str], *arguments: str) -> tuple[int, list[str]]:
        (tmp_path / "pyproject.toml").write_text(SETTINGS)
        for name in ("conftest.py", "chromium.py", "loaded_bpf.py", "what_ran.py"):
            (tmp_path / "tests").mkdir(exist_ok=True)
            shutil.copy(HERE / name, tmp_path / "tests")
        for name, text in files.items():
            path = tmp_path / "tests" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        environment = {**os.environ, "PATH": str(tmp_path)}  # where there is no browser
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout.splitlines()

    return run_pytest


def test_passed_and_failed_tests_ran_and_skipped_ones_did_not(run):
    files = {
        "test_some.py": """
import pytest

def test_passes(): pass
def test_fails(): assert False
def test_skips_within(): pytest.skip("no moon")

@pytest.mark.skip(reason="no sun")
@pytest.mark.parametrize("n", [1, 2])
def test_skips_before(n): pass
"""
    }
    status, lines = run(files)
    assert "2 tests ran, of them 0 real-kernel and 0 browser; skipped: 2 × no sun; 1 × no moon" in lines
    assert status == 1


def test_a_run_in_which_no_browser_test_ran_fails_when_some_must(run):
    files = {"browser/test_page.py": "def test_page(): pass", "test_other.py": "def test_other(): pass"}
    status, lines = run(files)
    assert status == 0
    (summary,) = (line for line in lines if " ran, of them " in line)
    assert summary.startswith(
        "1 tests ran, of them 0 real-kernel and 0 browser; skipped: 1 × browser: no chromium"
    )

    status, lines = run(files, "--must-run=browser")
    assert "FAILED: no browser test ran, and --must-run=browser asks for some" in lines
    assert status == 1
