"""The matrix says of every test on every kernel how it went, and of what did not pass why."""

from __future__ import annotations

import json

from kernels.matrix import Column, column, matrix


def written(*records: dict[str, object]) -> list[str]:
    return [json.dumps(record) for record in records]


def ended(test: str, outcome: str, reason: str = "") -> dict[str, object]:
    return {"test": test, "outcome": outcome, "reason": reason, "duration_s": 0.1}


def test_a_row_for_each_test_a_column_for_each_kernel_and_reasons_once_for_all_that_share_them() -> None:
    old = column(
        written(
            {"facts": {"release": "6.1.0-50", "kprobes": "yes"}},
            {"collected": ["test_a.py::test_reads", "test_a.py::test_cycles", "test_b.py::test_kprobe"]},
            {"test": "test_a.py::test_reads", "began": True},
            ended("test_a.py::test_reads", "passed"),
            {"test": "test_a.py::test_cycles", "began": True},
            ended("test_a.py::test_cycles", "skipped", "no PMU"),
            {"test": "test_b.py::test_kprobe", "began": True},
            ended("test_b.py::test_kprobe", "passed"),
        )
    )
    running = column(
        written(
            {"facts": {"release": "6.18.44", "kprobes": "no"}},
            ended("test_a.py::test_reads", "failed", "assert 22 == 23"),
            ended("test_a.py::test_cycles", "skipped", "no PMU"),
            ended("test_b.py::test_kprobe", "skipped", "no kprobes"),
        )
    )
    assert (
        matrix({"running": running, "6.1": old})
        == """\
               running  6.1
release        6.18.44  6.1.0-50
kprobes        no       yes
test_a.py
  test_reads   FAIL     pass
  test_cycles  skip     skip
test_b.py
  test_kprobe  skip     pass
passed         0        2
failed         1        0
skipped        2        1

FAIL on running: test_a.py::test_reads
  assert 22 == 23
skip on running, 6.1: test_a.py::test_cycles
  no PMU
skip on running: test_b.py::test_kprobe
  no kprobes"""
    )


def test_a_test_that_took_the_machine_with_it_has_died_and_those_after_it_did_not_run() -> None:
    lines = written(
        {"collected": ["t.py::one", "t.py::two", "t.py::three"]},
        {"test": "t.py::one", "began": True},
        ended("t.py::one", "passed"),
        {"test": "t.py::two", "began": True},
    )
    made = column([*lines, '{"test": "t.py::tw'], "the machine went down: Kernel panic - not syncing: hung")
    assert made.outcomes == {"t.py::one": "passed", "t.py::two": "died", "t.py::three": "not run"}
    assert not made.good
    assert (
        matrix({"6.12": made})
        == """\
         6.12
t.py
  one    pass
  two    DIED
  three  ----
passed   1
died     1
not run  1

6.12: the machine went down: Kernel panic - not syncing: hung
DIED on 6.12: t.py::two
  the machine or the run ended in it"""
    )


def test_a_test_that_passed_and_left_something_behind_has_failed() -> None:
    made = column(
        written(ended("t.py::one", "passed"), ended("t.py::one", "failed", "teardown: a program is there"))
    )
    assert made.outcomes == {"t.py::one": "failed"}
    assert made.reasons == {"t.py::one": "teardown: a program is there"}


def test_a_run_in_which_nothing_passed_is_not_good() -> None:
    assert column(written(ended("t.py::one", "passed"), ended("t.py::two", "skipped", "no PMU"))).good
    assert not column(written(ended("t.py::two", "skipped", "no PMU"))).good
    assert not column(written(ended("t.py::one", "passed")), "did not end within its time").good
    assert not Column().good


def test_a_kernel_that_could_not_be_run_says_why() -> None:
    assert matrix({"6.1": column([], "virtiofsd is missing")}) == "  6.1\n\n6.1: virtiofsd is missing"
