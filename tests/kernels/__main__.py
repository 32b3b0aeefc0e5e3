"""`make kernels`: the recorder's tests on this kernel and on Debian's 6.1 and 6.12, in one matrix.

    make kernels                                              all tests below tests/kernel on all three
    make kernels KERNELS=6.1 PYTEST_ARGS=tests/kernel/test_stopping.py
    make kernels KERNELS="running 6.12" PYTEST_ARGS="-k reads -x"
    make kernels KERNELS="6.1 --command 'cat /proc/pressure/cpu'"   instead of tests

Debian's cloud kernels have what a distribution's kernel has, kprobes and BTF among it. Each is fetched from
the mirror that apt knows into build/kernels, nothing is installed, and `make clean` removes it. It boots
under qemu in about 5 s, with this machine's files below a layer in memory: the tests run there as they stand
here, in this folder's .venv, and write nothing here. With KVM it has two CPUs and is about as fast as here;
without, it has one that is ten times slower, and tests marked slow or timing are left out unless PYTEST_ARGS
asks for some.

What each kernel left behind is in build/kernels/VERSION/results: `output` of pytest, `console` of the kernel,
`outcomes` line by line. Exit code 0: every kernel ran and nothing failed; 1: something failed; 2: a kernel
could not be run at all. amd64 only, as the kernel has to run this machine's programs.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from kernels import debian, machine
from kernels.matrix import Column, column, matrix

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "kernels"
RUNNING = "running"
LIMIT_S = 3600  # for all tests on one kernel; about 10 s each without KVM
TEST_LIMIT_S = 300
NOT_SLOW = ["-m", "not slow and not timing"]


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for and print the matrix; the exit code is in the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="make kernels", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--kernels", nargs="+", default=[RUNNING, "6.1", "6.12"], metavar="VERSION")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="for everything on one kernel")
    parser.add_argument("--mirror", metavar="URL", help="a Debian archive, where apt's own sources name none")
    parser.add_argument(
        "--command", metavar="SHELL", help="run this there instead of the tests and print its output"
    )
    parser.add_argument(
        "pytest", nargs="*", metavar="PYTEST_ARGS", help="after --: tests, or options of pytest"
    )
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no machine outlives this
    columns: dict[str, Column] = {}
    for version in dict.fromkeys(asked.kernels):
        begun = time.monotonic()
        with _results(version) as results:
            inside = results if version == RUNNING else machine.RESULTS
            usual = [] if version == RUNNING or machine.has_kvm() else NOT_SLOW
            command = asked.command or pytest_command(asked.pytest or usual, inside)
            columns[version] = ran(version, command, results, asked.limit_s, asked.mirror)
            if asked.command:
                print(f"== {version}\n{columns[version].stopped or _text(results / 'output')}")
        print(f"kernel {version}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    if asked.command:
        return 2 if any(c.stopped for c in columns.values()) else 0
    print(matrix(columns))
    if not all(c.outcomes for c in columns.values()):
        return 2
    return 0 if all(c.good for c in columns.values()) else 1


def ran(version: str, command: str, results: Path, limit_s: float, mirror: str | None = None) -> Column:
    """What a command did on one kernel, with the outcomes of its tests."""
    for name in ("outcomes", "output", "status"):
        (results / name).unlink(missing_ok=True)
    try:
        if version == RUNNING:
            run_here(command, results, limit_s)
            stopped = None
        else:
            stopped = machine.run(
                debian.kernel(version, BUILD, mirror), command, ROOT, results, limit_s=limit_s
            )
    except (debian.NoKernel, machine.NoMachine) as why:
        stopped = str(why)
    return column(_text(results / "outcomes").splitlines(), stopped or ended(results))


def pytest_command(arguments: list[str], results: Path) -> str:
    """A shell command that runs the tests and has each outcome written to `results`.

    Tests have TEST_LIMIT_S there instead of pytest's time limit, whose traceback of threads that run may crash Python.

    Example:
        >>> pytest_command(["-k", "reads"], Path("/results")).split(" -v ")[1]
        'tests/kernel -k reads'
    """
    variables = {"OUTCOMES_FILE": results / "outcomes", "TEST_LIMIT_S": TEST_LIMIT_S, "PYTHONPATH": "tests"}
    variables |= {"NPY_DISABLE_CPU_FEATURES": "X86_V3"}  # with qemu 7.2, the first to translate AVX2, sorting crashed
    plugins = ["-p", "kernels.outcomes", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0"]
    pytest = [sys.executable, "-m", "pytest", *plugins, "-v"]
    paths = [argument.removeprefix("@").partition("::")[0] for argument in arguments]  # pytest reads @FILE, too
    names_tests = any((ROOT / path).exists() for path in paths)
    chosen = arguments if names_tests else ["tests/kernel", *arguments]
    return " ".join(
        [*(f"{name}={shlex.quote(str(v))}" for name, v in variables.items()), shlex.join([*pytest, *chosen])]
    )


def run_here(command: str, results: Path, limit_s: float) -> None:
    """Run a shell command on the kernel that is running; output and status are where `machine.run` puts them."""
    with (results / "output").open("w") as output:
        argv = ["timeout", "--signal=INT", "--kill-after=30", str(limit_s), "sh", "-c", command]
        done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    (results / "status").write_text(f"{done.returncode}\n")


def ended(results: Path) -> str | None:
    """What the command's exit status says beyond passed and failed; None when that is nothing."""
    status = int(_text(results / "status") or 0)
    if status in (124, 137):
        return "did not end within its time"
    return (
        None
        if status in (0, 1)
        else f"ended with exit code {status}: {_text(results / 'output').strip()[-500:]}"
    )


@contextlib.contextmanager
def _results(version: str) -> Iterator[Path]:
    """The folder of a kernel's results, for one run at a time."""
    results = BUILD / version / "results"
    results.mkdir(parents=True, exist_ok=True)
    with (BUILD / version / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield results


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
