"""Stacks of real programs that were built without frame pointers, sampled on this kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tracelab as tl
from probe_records import recorded_in_full
from recordings import command_pid, recorded, rows, workload
from sampled import samples_of
from tracelab.profile import Profile


def profile_of_command(path: Path, *argv: str) -> Profile:
    recording = recorded(path, argv, events="oncpu", hz=199)
    return tl.open(path).select(pid=command_pid(recording)).profile()


def test_a_python_loop_is_complete_from_start_to_leaf(tmp_path: Path) -> None:
    profile = profile_of_command(tmp_path / "s", *workload("spins", 3))
    assert profile.complete_share is not None
    assert profile.complete_share >= 0.95
    from_start = sum(weight for stack, weight in profile.stacks() if stack[0].symbol == "_start")
    assert from_start / profile.total >= 0.95
    deep = sum(weight for stack, weight in profile.stacks() if len(stack) >= 8)
    assert deep / profile.total >= 0.9


def test_time_is_split_70_to_30_as_it_was_spent(tmp_path: Path) -> None:
    recording = recorded_in_full(tmp_path, workload("spins", 4), events="oncpu", hz=199)
    names = [" ".join(s.symbols) for s in samples_of(recording, pid=command_pid(recording))]
    spun = [next((f for f in ("crc32", "adler32") if f in symbols), "neither") for symbols in names]
    spun = spun[spun.index("crc32") :]  # after Python's start
    assert spun.count("neither") < 0.1 * len(spun)
    assert spun.count("crc32") / (len(spun) - spun.count("neither")) == pytest.approx(0.70, abs=0.05)


def test_a_sample_weighs_what_one_over_its_rate_is(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("spins", 1), events="oncpu", hz=99)
    samples = rows(recording, "samples", pid=command_pid(recording))
    assert {(s["weight"], s["unit"], s["kind"]) for s in samples} == {(1_000_000_000 // 99, "ns", "on-CPU")}
    assert len(recording.manifest.achieved["hz_per_cpu"]) == os.cpu_count()


@pytest.mark.timing
def test_a_process_that_is_gone_before_anybody_looks_is_still_named(tmp_path: Path) -> None:
    loop = "i=0; while [ $i -lt 60 ]; do /bin/gzip -9 < /usr/bin/env > /dev/null; i=$((i+1)); done"
    recording = recorded(tmp_path / "s", ["/bin/sh", "-c", loop], events="oncpu", hz=999)
    profile = tl.open(tmp_path / "s").select(comm="gzip").profile()
    assert len(profile) > 5
    assert profile.complete_share is not None
    assert profile.complete_share > 0.8
    modules = {frame.module for stack, _ in profile.stacks() for frame in stack}
    assert any("gzip" in module for module in modules)
    assert recording.manifest.end_ns is not None


def test_time_in_an_ebpf_program_is_a_frame_of_its_own(tmp_path: Path) -> None:
    recorded(tmp_path / "s", workload("calls", 4_000_000), events="syscalls,oncpu", hz=499)
    profile = tl.open(tmp_path / "s").profile()
    bpf = [frame for frame in profile.frames if frame.domain == "bpf"]
    assert any(frame.symbol.startswith("bpf_prog_") and frame.module == "[bpf]" for frame in bpf)
