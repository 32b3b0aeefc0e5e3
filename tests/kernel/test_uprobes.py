"""Functions and USDT probes of real programs, by name."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from c_programs import compiled, needs_gcc
from recordings import PYTHON, command_pid, recorded, rows
from tracelab.errors import UsageError
from tracelab.recorder.sites import function_sites, usdt_sites

PROGRAM = """
#include <setjmp.h>
#include <time.h>
static jmp_buf out;
__attribute__((noinline)) int fib(int n) { __asm__ volatile(""); return n < 2 ? n : fib(n - 1) + fib(n - 2); }
__attribute__((noinline)) long nap(long ms)
{
	struct timespec t = {0, ms * 1000000};

	nanosleep(&t, 0);
	return 100 + ms;
}
__attribute__((noinline)) void leave(void) { longjmp(out, 1); }
int main(void)
{
	for (int i = 1; i <= 3; i++)
		nap(10 * i);
	fib(8);
	if (!setjmp(out))
		leave();
	return nap(5) == 105 ? 0 : 1;
}
"""
USDT = """
__attribute__((noinline)) void hit(long a, int b)
{
	__asm__ volatile(
		"990: nop\\n"
		".pushsection .note.stapsdt,\\"\\",\\"note\\"\\n"
		".balign 4\\n.4byte 992f-991f, 994f-993f, 3\\n991: .asciz \\"stapsdt\\"\\n992: .balign 4\\n"
		"993: .8byte 990b\\n.8byte _.stapsdt.base\\n.8byte 0\\n"
		".asciz \\"tracelab\\"\\n.asciz \\"hit\\"\\n.asciz \\"8@%%rdi -4@%%esi\\"\\n994: .balign 4\\n.popsection\\n"
		".pushsection .stapsdt.base,\\"aG\\",\\"progbits\\",.stapsdt.base,comdat\\n.weak _.stapsdt.base\\n"
		".hidden _.stapsdt.base\\n_.stapsdt.base: .space 1\\n.size _.stapsdt.base, 1\\n.popsection\\n"
		:: "D"(a), "S"(b));
}
int main(void)
{
	for (int i = 0; i < 7; i++)
		hit(1000000000000 + i, -i);
	return 0;
}
"""


@needs_gcc
def test_every_call_of_a_function_is_told_with_its_duration_and_result(tmp_path: Path) -> None:
    program = compiled(tmp_path, PROGRAM, "-O1", "-fno-inline")
    recording = recorded(
        tmp_path / "s", [str(program)], events="exit_group", uprobe=(f"{program}:nap", f"{program}:fib")
    )
    events = rows(recording, "events", pid=command_pid(recording))
    assert Counter(e["event"] for e in events) == {"nap": 4, "fib": 67}
    naps = [(int(str(e["value"])), e["ret"]) for e in events if e["event"] == "nap"]
    assert [ret for _, ret in naps] == [110, 120, 130, 105]
    assert all(
        ms * 1_000_000 <= value < ms * 1_000_000 + 100_000_000
        for (value, _), ms in zip(naps, (10, 20, 30, 5), strict=True)
    )
    results = Counter(e["ret"] for e in events if e["event"] == "fib")
    assert results == {0: 13, 1: 21 + 13, 2: 8, 3: 5, 5: 3, 8: 2, 13: 1, 21: 1}


@needs_gcc
def test_a_function_that_never_returns_does_not_spoil_the_durations_of_its_callers(tmp_path: Path) -> None:
    program = compiled(tmp_path, PROGRAM, "-O1", "-fno-inline")
    sites = tuple(f"{program}:{name}" for name in ("leave", "nap", "main"))
    recording = recorded(tmp_path / "s", [str(program)], events="exit_group", uprobe=sites)
    events = rows(recording, "events", pid=command_pid(recording))
    (whole,) = [int(str(e["value"])) for e in events if e["event"] == "main"]
    assert 65_000_000 <= whole < 1_000_000_000
    assert not [e for e in events if e["event"] == "leave"]


def test_a_function_of_a_library_is_found_by_its_short_name(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path / "s",
        [PYTHON, "-c", "import os; [os.getppid() for _ in range(40)]"],
        events="exit_group",
        uprobe=("c:getppid",),
    )
    pid = command_pid(recording)
    assert len([e for e in rows(recording, "events", pid=pid) if e["event"] == "getppid"]) == 40


@needs_gcc
def test_a_usdt_probe_tells_its_arguments(tmp_path: Path) -> None:
    program = compiled(tmp_path, USDT, "-O1")
    recording = recorded(
        tmp_path / "s", [str(program)], events="exit_group", usdt=(f"{program}:tracelab:hit",)
    )
    events = rows(recording, "events", pid=command_pid(recording))
    assert [(e["value"], e["key"]) for e in events if e["event"] == "tracelab:hit"] == [
        (1_000_000_000_000 + i, -i) for i in range(7)
    ]


def test_a_usdt_probe_that_waits_for_a_listener_is_heard(tmp_path: Path) -> None:
    try:
        usdt_sites(f"{PYTHON}:python:gc__start")
    except UsageError:
        pytest.skip(f"{PYTHON} was built without USDT probes; Debian's and Fedora's have them")
    recording = recorded(
        tmp_path / "s",
        [PYTHON, "-c", "import gc; [gc.collect(1) for _ in range(9)]"],
        events="exit_group",
        usdt=(f"{PYTHON}:python:gc__start",),
    )
    events = rows(recording, "events", pid=command_pid(recording))
    assert sum(e["event"] == "python:gc__start" and e["value"] == 1 for e in events) >= 9


@needs_gcc
@pytest.mark.parametrize(
    ("uprobe", "said"),
    [
        ("nothing", "say BINARY:FUNCTION"),
        ("/no/such:f", "there is no file /no/such"),
        ("no_such_program:f", "neither a program on PATH nor a library"),
        ("{program}:fibb", "no function 'fibb' that can be probed; did you mean fib"),
        ("/etc/passwd:f", "not a 64-bit little-endian ELF file"),
    ],
)
def test_what_cannot_be_probed_is_refused_with_the_reason(tmp_path: Path, uprobe: str, said: str) -> None:
    program = compiled(tmp_path, PROGRAM, "-O1")
    with pytest.raises(UsageError, match=said):
        function_sites(uprobe.format(program=program))


def test_the_return_of_a_function_of_go_is_never_probed(tmp_path: Path) -> None:
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        pytest.skip("go is missing; install golang-go")
    (tmp_path / "main.go").write_text(
        "package main\n\n//go:noinline\nfunc Twice(n int) int { return 2 * n }\n\n"
        "func main() {\n\tsum := 0\n\tfor i := 0; i < 12; i++ {\n\t\tsum += Twice(i)\n\t}\n\tprintln(sum)\n}\n"
    )
    program = tmp_path / "twice"
    subprocess.run([go, "build", "-o", str(program), "main.go"], cwd=tmp_path, check=True, timeout=120)
    (site,) = function_sites(f"{program}:main.Twice")
    assert not site.returns
    recording = recorded(
        tmp_path / "s", [str(program)], events="exit_group", uprobe=(f"{program}:main.Twice",)
    )
    hits = [e["value"] for e in rows(recording, "events") if e["event"] == "main.Twice"]
    assert hits == [None] * 12
