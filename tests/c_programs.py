"""Small C programs for tests: compiled here, started, sampled and ended."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is missing; install gcc")


def compiled(folder: Path, source: str, *flags: str, name: str = "program") -> Path:
    """The program made from a C source."""
    text = folder / f"{name}.c"
    text.write_text(source)
    subprocess.run(["gcc", *flags, "-o", str(folder / name), str(text)], check=True, timeout=60)
    return folder / name


@contextlib.contextmanager
def running(*argv: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program that says on its standard output when it is ready, until the block ends."""
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), f"{argv[0]} ended before it was ready"
            yield process
        finally:
            process.kill()
