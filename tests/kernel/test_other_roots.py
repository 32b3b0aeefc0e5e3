"""Processes that see other files than the recorder does: their code is read where they see it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from c_programs import needs_gcc
from probe_records import recorded_in_full
from recordings import WORKLOADS, recorded, rows
from sampled import C_ROOTS, check_roots, samples_of

#: A file system that is seen inside alone, with the programs at paths that hold others outside.
INSIDE = """
set -e
mount -t tmpfs none {root}
mkdir -p {root}/usr/bin {root}/tmp
cp {programs}/* {root}/usr/bin/
for file in {libraries}; do mkdir -p {root}$(dirname $file); cp $file {root}$file; done
exec chroot {root} {command}
"""
needs_unshare = pytest.mark.skipif(
    shutil.which("unshare") is None, reason="unshare is missing; install util-linux"
)
pytestmark = [needs_gcc, needs_unshare]


def program(folder: Path, source: str, name: str) -> None:
    """A program from tests/workloads that goes by a name that is another's outside."""
    subprocess.run(["gcc", "-O2", "-o", str(folder / name), str(WORKLOADS / source), "-lm"], check=True)


def inside(folder: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs a command in a mount namespace and a root of its own."""
    programs, root = folder / "programs", folder / "root"
    root.mkdir()
    said = subprocess.run(["ldd", *programs.iterdir()], capture_output=True, text=True, check=True).stdout
    libraries = sorted(set(re.findall(r"(/\S+\.so\S*) ", said)))
    script = INSIDE.format(
        root=root, programs=programs, libraries=" ".join(libraries), command=" ".join(command)
    )
    return ["unshare", "--mount", "sh", "-c", script]


def test_a_program_in_a_root_of_its_own_is_resolved_by_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    program(tmp_path / "programs", "languages/busy.c", "perl")  # not the perl that is outside
    recording = recorded_in_full(tmp_path, inside(tmp_path, ["/usr/bin/perl", "2"]), events="oncpu", hz=199)
    assert not list((tmp_path / "root").iterdir()), "the recorder sees the files, and the test shows nothing"
    samples = [s for s in samples_of(recording, comm="perl") if "work" in s.user]
    assert check_roots(samples, C_ROOTS) >= 0.99
    assert {"main", "work", "in_assembly", "sorting", "qsort_r"} <= {name for s in samples for name in s.user}
    assert "/usr/bin/perl" in {str(f["module"]) for f in rows(recording, "frames")}


@pytest.mark.timing
def test_short_processes_in_a_root_that_is_gone_with_them_are_named(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    program(tmp_path / "programs", "storm.c", "storm")
    program(tmp_path / "programs", "short.c", "env")
    recording = recorded(
        tmp_path / "s",
        inside(tmp_path, ["/usr/bin/storm", "100", "/tmp", "/usr/bin/env"]),
        events="oncpu",
        hz=299,
    )
    samples = [s for s in samples_of(recording, comm="env") if s.outcome != "no user stack"]
    assert check_roots(samples, C_ROOTS) >= 0.98
    frames = [name for s in samples for name in s.user]
    assert sum(not name.startswith("[") for name in frames) >= 0.98 * len(frames)
    assert {"main", "sorted", "printed"} <= set(frames)
