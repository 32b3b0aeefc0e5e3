"""A few real programs at once: a compile, a file walk, SQLite and a Python loop. `python -m tracelab.demo.programs S`.

Only the standard library, so that the machine's own Python can run it: its stacks are what the demo is about.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FUNCTIONS = 1200  #: of the C file that is compiled again and again
WALKED = ("/usr/lib", "/usr/share")


def main(argv: list[str]) -> int:
    """Run one program by name, or all of them, for so many seconds."""
    seconds = float(argv[0])
    if len(argv) > 1:
        globals()[argv[1]](time.monotonic() + seconds)
        return 0
    names = ("compile_c", "walk_files", "fill_database", "loop_in_python")
    running = [subprocess.Popen([sys.executable, __file__, argv[0], name]) for name in names]
    return max(abs(process.wait()) for process in running)


def compile_c(until: float) -> None:
    """Compile a generated C file; with no compiler, byte-compile the standard library."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "generated.c")
        source.write_text("".join(_function(i) for i in range(FUNCTIONS)))
        if compiler:
            command = [compiler, "-O2", "-c", "-o", os.devnull, str(source)]
        else:
            command = [sys.executable, "-m", "compileall", "-q", "-f", "-d", folder, os.path.dirname(os.__file__)]
        while time.monotonic() < until:
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                try:
                    process.wait(max(0.1, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.terminate()


def walk_files(until: float) -> None:
    """Look at every file below WALKED, as `find` or a virus scanner does."""
    while time.monotonic() < until:
        for top in WALKED:
            for folder, _, files in os.walk(top):
                for name in files:
                    try:
                        os.lstat(os.path.join(folder, name))
                    except OSError:
                        continue
                if time.monotonic() > until:
                    return


def fill_database(until: float) -> None:
    """Many small transactions, each of them synced to disk."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(os.path.join(folder, "orders.db"))
        database.execute("create table orders (id integer primary key, item text, price real)")
        number = 0
        while time.monotonic() < until:
            with database:
                rows = [(f"item {number + i}", i * 0.25) for i in range(20)]
                database.executemany("insert into orders (item, price) values (?, ?)", rows)
            number += 20
            database.execute("select sum(price), count(*) from orders where item like '%7%'").fetchall()
        database.close()


def loop_in_python(until: float) -> None:
    """Spend 70 % of the time in one function and 30 % in another."""
    while time.monotonic() < until:
        heavy(time.thread_time() + 0.070)
        light(time.thread_time() + 0.030)


def heavy(until: float) -> int:
    """Burn CPU until this thread has had so much of it."""
    n = 0
    while time.thread_time() < until:
        n += sum(i * i for i in range(2000))
    return n


def light(until: float) -> str:
    """Burn CPU in other bytecodes."""
    text = ""
    while time.thread_time() < until:
        text = "".join(sorted(str(i) for i in range(500)))
    return text


def _function(i: int) -> str:
    return (
        f"static int table_{i}[64];\n"
        f"int work_{i}(int n) {{ int s = {i}; for (int k = 0; k < n; k++) {{ s += table_{i}[k & 63] * k; "
        f"if (s & {i % 31 + 1}) s ^= k << {i % 7}; table_{i}[s & 63] = s; }} return s; }}\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
