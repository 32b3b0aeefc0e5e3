"""Stacks of real programs, recorded on this kernel."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from c_programs import compiled, needs_gcc
from probe_records import recorded_in_full
from recordings import command_pid, rows
from tracelab.recorder.recording import Recording

Stack = list[dict[str, object]]


def stacks_of(recording: Recording, pid: int) -> list[Stack]:
    """The frames of each sample of a process, root first."""
    frames = {f["frame_id"]: f for f in rows(recording, "frames")}
    stacks = {s["stack_id"]: s["frames"] for s in rows(recording, "stacks")}
    return [
        [frames[f] for f in stacks[sample["stack_id"]]]  # type: ignore[attr-defined]
        for sample in rows(recording, "samples", pid=pid)
    ]


def test_programs_are_frames_between_the_kernel_that_calls_them_and_what_they_call(tmp_path: Path) -> None:
    dd = shutil.which("dd")
    assert dd is not None
    argv = [dd, "if=/dev/zero", "of=/dev/null", "bs=1", "count=700000"]
    recording = recorded_in_full(tmp_path, argv, events="syscalls,oncpu", hz=499)
    pid = command_pid(recording)
    stacks = stacks_of(recording, pid)
    outcomes = [str(s["unwound"]) for s in rows(recording, "samples", pid=pid)]
    through = 0
    for stack, outcome in zip(stacks, outcomes, strict=True):
        domains = [f["domain"] for f in stack]
        if "bpf" in domains:
            assert domains[0] == "user"
            cut = domains[domains.index("bpf") - 1] != "kernel"
            assert cut == (outcome == "kernel stack incomplete"), (stack, outcome)
            through += not cut
    assert through > 10, "hardly a sample in a program that runs at every system call"
    programs = {str(f["symbol"]) for stack in stacks for f in stack if f["domain"] == "bpf"}
    assert all(p.startswith("bpf_prog_") and p.split("_", 3)[3] for p in programs), programs
    assert {str(f["module"]) for stack in stacks for f in stack if f["domain"] == "bpf"} == {"[bpf]"}


DEEP = """
#include <string.h>
volatile long sink;
__attribute__((noinline)) void down(int n) {
    char room[9000];
    memset(room, n, sizeof room);
    if (n) down(n - 1); else for (long i = 0; i < 6000000; i++) sink++;
    sink += room[n];
}
int main(void) { for (int i = 0; i < 80; i++) down(4); return 0; }
"""


@needs_gcc
def test_a_stack_longer_than_the_usual_copy_is_copied_whole_from_the_first_sample_on(tmp_path: Path) -> None:
    program = compiled(tmp_path, DEEP, "-O1")
    recording = recorded_in_full(tmp_path, [str(program)], events="oncpu", hz=199)
    pid = command_pid(recording)
    samples = sorted(rows(recording, "samples", pid=pid), key=lambda s: s["time_ns"])  # type: ignore[arg-type, return-value]
    outcome = Counter(str(s["unwound"]) for s in samples)
    assert outcome["complete"] >= 0.98 * len(samples), outcome
    down = [stack for stack in stacks_of(recording, pid) if any(f["symbol"] == "down" for f in stack)]
    assert sum([f["symbol"] for f in stack].count("down") == 5 for stack in down) >= 0.95 * len(down) > 50


GOROUTINE = """
package main

var sink int

//go:noinline
func down(n int) {
	var room [1200]byte
	room[n] = 1
	if n > 0 {
		down(n - 1)
	} else {
		for i := 0; i < 300000000; i++ {
			sink++
		}
	}
	sink += int(room[n])
}

func main() {
	for i := 0; i < 10; i++ {
		down(20)
	}
}
"""


@pytest.mark.skipif(shutil.which("go") is None, reason="go is missing; install golang-go")
def test_a_long_stack_whose_end_nobody_knows_is_copied_whole_once_it_has_proved_long(tmp_path: Path) -> None:
    (tmp_path / "deep.go").write_text(GOROUTINE)
    subprocess.run(["go", "build", "-o", tmp_path / "deep", tmp_path / "deep.go"], check=True, timeout=120)
    recording = recorded_in_full(tmp_path, [str(tmp_path / "deep")], events="oncpu", hz=199)
    samples = rows(recording, "samples", pid=command_pid(recording))
    outcome = [str(s["unwound"]) for s in sorted(samples, key=lambda s: s["time_ns"])]  # type: ignore[arg-type, return-value]
    assert "stack copy too short (16 KiB)" in outcome[:60]
    assert Counter(outcome[-60:])["complete"] >= 55, Counter(outcome)
