"""A recorder that keeps itself within a budget, which these are too small for."""

from __future__ import annotations

import re
from pathlib import Path

from recordings import command_pid, recorded, rows, workload

CALLS, SECONDS = 3_000_000, 10


def test_weights_tell_how_many_there_were_while_n_follows_the_budget(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path / "s",
        workload("calls", CALLS, SECONDS),
        events="syscalls:getppid,offcpu",
        budget="0.5%",
        sample=("syscalls=2",),
    )
    weights = [int(str(r["weight"])) for r in rows(recording, "events", pid=command_pid(recording))]
    assert {1, 2} & set(weights) == {2}, "one of two was asked for, and not a finer measure"
    said = [str(m["text"]) for m in rows(recording, "marks")]
    assert max(weights) >= 8, said
    error = sum(w * (w - 1) for w in weights) ** 0.5
    assert abs(sum(weights) - CALLS) < 5 * error
    steps = [re.search(r"1 of (\d+) events is kept from here on, 1 of (\d+) before", text) for text in said]
    assert steps and all(steps)
    assert [m[2] for m in steps if m] == ["1", *[m[1] for m in steps[:-1] if m]]


def test_what_a_clock_asks_for_is_left_alone_and_other_stacks_are_thinned_out(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path / "s", workload("naps", 3000, 0.0015), events="oncpu,offcpu", hz=49, budget="0.1%"
    )
    counts = {name: about["counts"] for name, about in recording.manifest.probes.items()}
    assert counts["offcpu"]["sampled_out"] > 100  # how soon it begins, the machine's speed says
    assert counts["oncpu"]["sampled_out"] == 0
    clocked = {r["weight"] for r in rows(recording, "samples") if r["kind"] == "on-CPU"}
    assert clocked == {1_000_000_000 // 49}
