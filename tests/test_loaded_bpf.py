"""The check that no test leaves an eBPF program behind sees one that does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loaded_bpf import leftover_programs, load_smallest_program, tracing_programs, why_no_recording

# Not marked as kernel tests: these record nothing, so they must not count as recordings.
pytestmark = pytest.mark.skipif(bool(why_no_recording()), reason=f"kernel: {why_no_recording()}")

HOLD_A_PROGRAM = "from loaded_bpf import *; load_smallest_program(); print(flush=True); input()"


def test_a_program_is_left_over_until_it_is_closed():
    before = set(tracing_programs())
    program = load_smallest_program()
    try:
        assert list(leftover_programs(before, patience_s=0).values()) == ["raw_tracepoint "]
    finally:
        os.close(program)
    assert leftover_programs(before) == {}


def held_by_another_process(environment: dict[str, str]) -> list[str]:
    """What is left over while a process started with `environment` holds a program."""
    before = set(tracing_programs())
    command = [sys.executable, "-c", HOLD_A_PROGRAM]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=os.path.dirname(__file__), env=environment, **pipes) as holder:
        assert holder.stdout.readline() == b"\n"
        left = leftover_programs(before, patience_s=0)
        holder.communicate(b"\n", timeout=30)
    return list(left.values())


def test_a_program_held_by_a_process_of_this_run_is_left_over():
    assert held_by_another_process(dict(os.environ)) == ["raw_tracepoint "]


def test_a_program_of_somebody_elses_process_is_not():
    assert held_by_another_process({}) == []
