"""Processes that are gone before anybody looks: what they ran is named all the same."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from c_programs import needs_gcc
from recordings import WORKLOADS, recorded
from sampled import C_ROOTS, Sampled, check_roots, samples_of

PROCESSES = "150"
HZ = 299


def made(folder: Path, source: str, name: str, *flags: str) -> Path:
    """A program from tests/workloads."""
    argv = ["gcc", "-O2", *flags, "-o", str(folder / name), str(WORKLOADS / source)]
    if (run := subprocess.run(argv, capture_output=True, text=True)).returncode:
        pytest.skip(f"gcc cannot build {name}: {run.stderr.splitlines()[-1]}; install the static libc")
    return folder / name


def named_share(samples: list[Sampled]) -> float:
    """Share of all frames, those of the kernel too, that have a name."""
    nameless = Counter(s for sample in samples for s in sample.symbols if s.startswith("["))
    frames = sum(len(sample.symbols) for sample in samples)
    print(frames, "frames, without names:", nameless.most_common(8))
    return 1 - sum(nameless.values()) / frames


@pytest.mark.timing
@needs_gcc
@pytest.mark.parametrize("deleted", [False, True], ids=["that stay", "of which every second is deleted"])
def test_processes_of_20_ms_are_named_dynamic_and_static_ones(tmp_path: Path, deleted: bool) -> None:
    storm = made(tmp_path, "storm.c", "storm")
    programs = [
        made(tmp_path, "short.c", "short_dynamic"),
        made(tmp_path, "short.c", "short_static", "-static"),
    ]
    copies = str(tmp_path) if deleted else "-"
    recording = recorded(
        tmp_path / "s", [str(storm), PROCESSES, copies, *map(str, programs)], events="oncpu", hz=HZ
    )
    for name in ("short_dynamic", "short_static"):
        samples = samples_of(recording, comm=name)
        assert named_share(samples) >= 0.98
        assert check_roots(samples, C_ROOTS) >= 0.98
        functions = {symbol for sample in samples for symbol in sample.user}
        assert {"main", "sorted", "printed", "qsort_r", "compared"} <= functions


@needs_gcc
def test_short_programs_of_the_system_are_named(tmp_path: Path) -> None:
    storm = made(tmp_path, "storm.c", "storm")
    recording = recorded(
        tmp_path / "s", [str(storm), "600", "-", "/bin/ls", "/usr/bin/id"], events="oncpu", hz=HZ
    )
    samples = [s for name in ("ls", "id") for s in samples_of(recording, comm=name)]
    assert check_roots(samples, C_ROOTS) >= 0.98
    assert named_share(samples) >= 0.9  # /bin/ls itself is stripped
