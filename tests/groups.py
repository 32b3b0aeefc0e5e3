"""Real control groups for tests, made below the root of version 2 and gone after the test."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tracelab.errors import CannotRecord
from tracelab.recorder.cgroups import unified


@contextlib.contextmanager
def control_group(path: str) -> Iterator[Path]:
    """The directory of a new group of version 2, and of those above it; all of them are removed again."""
    try:
        mount = unified().mount
    except CannotRecord as error:
        pytest.skip(str(error))
    made: list[Path] = []
    folder = mount
    try:
        for part in path.strip("/").split("/"):
            folder = folder / part
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        yield folder
    except PermissionError:
        pytest.skip(f"control groups cannot be made in {mount}; run as root with it writable")
    finally:
        for folder in reversed(made):
            _remove(folder)


def entering(group: Path) -> Callable[[], None]:
    """What puts a child into a group before it executes a program: `preexec_fn` of subprocess."""

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    return enter


def _remove(folder: Path) -> None:
    """A group is busy for some moments after its last process was reaped."""
    for _ in range(100):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
