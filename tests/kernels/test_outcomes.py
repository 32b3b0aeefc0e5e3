"""The plugin writes each outcome down at once, with the reason in a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def outcomes(tmp_path: Path, text: str, **variables: str) -> list[dict[str, object]]:
    """What the plugin wrote of a file of tests, without what it says of the machine and how long tests took."""
    (tmp_path / "test_it.py").write_text(text)
    written = tmp_path / "outcomes"
    environment = {**os.environ, "OUTCOMES_FILE": str(written), "PYTHONPATH": str(TESTS), **variables}
    argv = [sys.executable, "-m", "pytest", "-p", "kernels.outcomes", "-p", "no:cacheprovider", "test_it.py"]
    subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    facts, *records = map(json.loads, written.read_text().splitlines())
    assert facts["facts"]["release"] == os.uname().release
    return [{k: v for k, v in record.items() if k != "duration_s"} for record in records]


def test_tests_are_listed_then_each_begins_and_ends_with_its_reason(tmp_path: Path) -> None:
    text = """
import pytest

@pytest.fixture
def leaky():
    yield
    assert not "left"

def test_passes(): pass
def test_fails(): assert 22 == 23, "reads"
def test_skips(): pytest.skip("no PMU")
def test_leaves_something(leaky): pass
"""
    assert outcomes(tmp_path, text) == [
        {
            "collected": [
                f"test_it.py::test_{name}" for name in ("passes", "fails", "skips", "leaves_something")
            ]
        },
        {"test": "test_it.py::test_passes", "began": True},
        {"test": "test_it.py::test_passes", "outcome": "passed", "reason": ""},
        {"test": "test_it.py::test_fails", "began": True},
        {"test": "test_it.py::test_fails", "outcome": "failed", "reason": "AssertionError: reads"},
        {"test": "test_it.py::test_skips", "began": True},
        {"test": "test_it.py::test_skips", "outcome": "skipped", "reason": "no PMU"},
        {"test": "test_it.py::test_leaves_something", "began": True},
        {"test": "test_it.py::test_leaves_something", "outcome": "passed", "reason": ""},
        {
            "test": "test_it.py::test_leaves_something",
            "outcome": "failed",
            "reason": "teardown: AssertionError: assert not 'left'",
        },
    ]


def test_a_test_that_takes_the_run_with_it_is_the_last_that_began(tmp_path: Path) -> None:
    text = "import os\ndef test_one(): os._exit(9)\ndef test_two(): pass\n"
    assert outcomes(tmp_path, text)[-1] == {"test": "test_it.py::test_one", "began": True}


def test_a_test_that_hangs_fails_and_the_next_one_has_its_turn(tmp_path: Path) -> None:
    text = "import select\ndef test_hangs(): select.select([], [], [])\ndef test_two(): pass\n"
    written = outcomes(tmp_path, text, TEST_LIMIT_S="0.5")
    assert [(r["test"], r["outcome"], r["reason"]) for r in written if "outcome" in r] == [
        ("test_it.py::test_hangs", "failed", "Failed: took longer than 0.5 s"),
        ("test_it.py::test_two", "passed", ""),
    ]


def test_a_file_that_cannot_be_imported_has_failed(tmp_path: Path) -> None:
    (failed, collected) = outcomes(tmp_path, "import no_such_module\n")
    assert failed["outcome"] == "failed"
    assert "no_such_module" in str(failed["reason"])
    assert collected == {"collected": []}
