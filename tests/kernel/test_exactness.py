"""Counts add up, per CPU and in time, and estimates from samples are not biased."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from c_programs import compiled, needs_gcc
from probe_records import adds_up, taking
from recordings import WORKLOADS, command_pid, counting_exits, recorded, rows, workload
from tracelab.recorder.accounting import COUNTERS
from tracelab.recorder.filters import Filters
from tracelab.recorder.recording import Recording

MIXED = (WORKLOADS / "mixed.c").read_text()
KINDS = COUNTERS[1:-1]  # what `seen` is the sum of
CALLS = 60_000


def _account(recording: Recording) -> dict[tuple[int, str], int]:
    """Sum over time of table accounts, by CPU and counter."""
    totals: Counter[tuple[int, str]] = Counter()
    for row in rows(recording, "accounts"):
        for name in COUNTERS[:-1]:
            totals[int(str(row["cpu"])), name] += int(str(row[name]))
    return totals


@pytest.mark.parametrize(
    "options",
    [
        {"ring_mib": 0.004},
        {"ring_mib": 0.004, "sample": ("7",)},
        {"sample": ("10%",), "comm": ("python*",)},
        {"limit": 500, "rings": 2},
        {"errors": True, "min_us": 1.0},
    ],
    ids=[
        "overload",
        "overload and sampled",
        "by chance and name",
        "limited, two rings",
        "filtered at the end",
    ],
)
def test_on_every_cpu_what_was_seen_was_kept_lost_sampled_out_or_left_out(
    tmp_path: Path, options: dict[str, object]
) -> None:
    recording = recorded(tmp_path / "s", workload("calls", 200_000), events="syscalls", **options)
    totals = _account(recording)
    cpus = {cpu for cpu, _ in totals}
    assert cpus
    for cpu in cpus:
        assert totals[cpu, "seen"] == sum(totals[cpu, kind] for kind in KINDS)
    counts = recording.manifest.probes["syscalls"]["counts"]
    assert counts["seen"] == sum(totals[cpu, "seen"] for cpu in cpus) >= 200_000
    kept = Counter(int(str(e["cpu"])) for e in rows(recording, "events"))
    assert kept == {cpu: totals[cpu, "kept"] for cpu in cpus if totals[cpu, "kept"]}


def test_in_every_reading_the_account_adds_up_but_for_what_was_under_way(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("calls", 900_000), events="syscalls", ring_mib=0.004)
    readings = rows(recording, "accounts")
    assert len({r["time_ns"] for r in readings}) > 1
    for row in readings:
        assert abs(int(str(row["seen"])) - sum(int(str(row[k])) for k in KINDS)) <= 2


def test_what_is_kept_lost_and_sampled_out_is_what_an_independent_program_counted(tmp_path: Path) -> None:
    with counting_exits() as finished_calls:
        recording = recorded(
            tmp_path / "s",
            workload("calls", 200_000),
            events="syscalls",
            children=True,
            sample=("3",),
            ring_mib=0.004,
        )
        counted = finished_calls(command_pid(recording))
    counts = recording.manifest.probes["syscalls"]["counts"]
    assert counts["lost"] and counts["sampled_out"]
    assert counts["kept"] + counts["lost"] + counts["sampled_out"] == counted


def _made(program: Path, seed: int) -> dict[str, int]:
    words = subprocess.run([program, str(seed), str(CALLS)], capture_output=True, check=True).stdout.split()
    return {name.decode(): int(count) for name, count in zip(words[::2], words[1::2], strict=True)}


def _errors(program: Path, seed: int, one_in: int, macros: dict[str, object]) -> dict[str, float]:
    """By kind of call, the error of its estimated number, in standard errors."""
    only = Filters(comm=(program.name,)).macros()
    with taking("syscalls", one_in=one_in, **{"SEED": seed, **only, **macros}) as taken:
        made = _made(program, seed)
        records = taken.records()
        assert taken.counts()["lost"] == 0
        assert adds_up(taken.counts())
    names = np.array(taken.names(records))
    weights = records["weight"].astype(np.int64)
    errors = {}
    for name, truth in made.items():
        of_name = weights[names == name]
        variance = float((of_name * (of_name - 1)).sum())
        errors[name] = (of_name.sum() - truth) / max(variance, 1.0) ** 0.5
    return errors


@needs_gcc
@pytest.mark.parametrize(
    ("one_in", "macros"),
    [(25, {"SAMPLED": 1}), (25, {"SAMPLED": 2}), (1, {"RATE_LIMIT": 150})],
    ids=["one of each 25", "each by chance", "limited by kind"],
)
def test_estimates_from_weights_are_within_their_standard_errors_in_20_seeded_runs(
    tmp_path: Path, one_in: int, macros: dict[str, object]
) -> None:
    program = compiled(tmp_path, MIXED)
    runs = [_errors(program, seed, one_in, macros) for seed in range(1, 21)]
    errors = np.array([list(run.values()) for run in runs])
    # of 100 fair estimates, about one in a thousand sets has more than two beyond 3 standard errors
    assert (np.abs(errors) > 3).sum() <= 2, errors
    assert np.abs(errors).max() < 5, errors
    mean = errors.mean(axis=0) * len(runs) ** 0.5
    assert np.abs(mean).max() < 3.5, mean


@needs_gcc
def test_a_limit_of_the_rate_keeps_rare_events_and_thins_out_the_frequent(tmp_path: Path) -> None:
    program = compiled(tmp_path, MIXED)
    with taking("syscalls", RATE_LIMIT=100) as taken:
        made = _made(program, 1)
        records = taken.records()
    names = np.array(taken.names(records))
    assert (names == "getegid").sum() < made["getegid"] / 5
    assert (names == "getppid").sum() > made["getppid"] / 5
