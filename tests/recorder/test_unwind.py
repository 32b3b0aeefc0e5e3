import contextlib
import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c_programs import compiled, needs_gcc, running
from ptrace_samples import record_dtype, samples, why_no_ptrace
from tracelab.recorder import callframes as cf
from tracelab.recorder import cfi, ehframe, frameprogram
from tracelab.recorder.diskcache import DiskCache
from tracelab.recorder.elf import Elf, MemorySource, NotElf, open_regular
from tracelab.recorder.fdeindex import fde_index
from tracelab.recorder.images import Image, Images
from tracelab.recorder.maps import AddressSpaces
from tracelab.recorder.unwind import (
    COMPAT,
    COMPLETE,
    MAX_FRAMES,
    NO_FRAME_POINTERS,
    NO_MAPS,
    NO_STACK,
    OFF_STACK,
    TOO_DEEP,
    UNMAPPED,
    Unwinder,
    too_short,
)
from tracelab.recorder.unwindtables import UnwindTables

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the unwinder knows x86-64 alone")

needs_ptrace = pytest.mark.skipif(why_no_ptrace() is not None, reason=str(why_no_ptrace()))


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


SOMEBODY = 2**31 - 2  # no process has this number
CODE, STACK = 0x7000_0000, 0x7FFE_0000_0000
IP, BP, SP, CS = 16, 4, 19, 17  # in struct pt_regs


def jit_sample(rbp, stack, *, rsp=STACK, rip=CODE + 0x10, stack_bytes=None, pid=SOMEBODY):
    """One sample in code without unwind information; `stack` is the words from the stack pointer upwards."""
    record = np.zeros(1, record_dtype())
    record["time_ns"], record["pid"], record["user_ok"] = 1, pid, 1
    record["regs"][0, [IP, BP, SP, CS]] = rip, rbp, rsp, 0x33
    raw = np.frombuffer(struct.pack(f"<{len(stack)}Q", *stack), np.uint8)
    record["stack"][0, : len(raw)] = raw
    record["stack_bytes"] = len(raw) if stack_bytes is None else stack_bytes
    return record


def jit_spaces():
    spaces = AddressSpaces()
    spaces.mmap(0, SOMEBODY, CODE, 0x1000, 0, "//anon")
    return spaces


def addresses(unwound, row=0):
    return [int(a) - CODE for a in unwound.address[row, : unwound.count[row]]]


@pytest.mark.parametrize("misaligned", [0, 1, 4])
def test_code_without_unwind_information_is_followed_by_its_frame_pointers(misaligned):
    rsp = STACK + misaligned
    words = [7, 7, rsp + 48, CODE + 0x20, 7, 7, 0, CODE + 0x30, 7, 7]
    unwound = Unwinder(jit_spaces()).unwind(jit_sample(rsp + 16, words, rsp=rsp))
    assert unwound.status.tolist() == [COMPLETE]
    assert addresses(unwound) == [0x10, 0x1F, 0x2F]


def test_the_reasons_for_an_incomplete_stack_are_told_apart():
    full = 16384
    cases = {
        too_short(full): jit_sample(STACK + full + 64, [7] * 512, stack_bytes=full),
        NO_FRAME_POINTERS: jit_sample(STACK + full + 64, [7] * 512),
        NO_STACK: jit_sample(STACK, []),
        NO_MAPS: jit_sample(STACK, [0, CODE], pid=SOMEBODY - 1),
        UNMAPPED: jit_sample(STACK, [0, CODE], rip=CODE + 0x2000),
    }
    records = np.concatenate([*cases.values(), jit_sample(STACK, [0, CODE])])
    records["regs"][-1, CS] = 0x23
    unwinder = Unwinder(jit_spaces())
    unwound = unwinder.unwind(records)
    assert unwound.status.tolist() == [*cases, COMPAT]
    assert unwound.count.tolist() == [1] * 6, "the frame that was sampled is there all the same"
    assert unwinder.spaces.deep_pids == {SOMEBODY}


def test_a_return_address_that_was_guessed_and_leads_nowhere_is_no_frame():
    unwound = Unwinder(jit_spaces()).unwind(jit_sample(STACK, [STACK + 16, 0xDEAD_BEEF_0000]))
    assert unwound.status.tolist() == [NO_FRAME_POINTERS]
    assert addresses(unwound) == [0x10]


def test_jit_code_is_not_outermost_because_its_frame_pointer_is_zero():
    """It is a register like others there, and 0 may be in it: here a function of libc was called meanwhile."""
    spaces = jit_spaces()
    entry = mapped_libc(spaces, CODE + 0x10_0000, is_entry)
    unwound = Unwinder(spaces).unwind(jit_sample(0, [CODE + 0x20, 0, 0], rip=entry))
    assert unwound.status.tolist() == [NO_FRAME_POINTERS]
    assert addresses(unwound)[1:] == [0x1F]


def test_jit_code_that_returns_to_nowhere_is_not_complete():
    unwound = Unwinder(jit_spaces()).unwind(jit_sample(STACK, [STACK + 16, 0, 0, 0]))
    assert unwound.status.tolist() == [NO_FRAME_POINTERS]


def test_a_kernel_thread_is_complete_without_user_frames():
    record = jit_sample(0, [])
    record["user_ok"] = 0
    unwound = Unwinder(AddressSpaces()).unwind(record)
    assert (unwound.status.tolist(), unwound.count.tolist()) == ([COMPLETE], [0])


def test_a_stack_of_endless_frames_ends_at_the_limit():
    record = np.zeros(1, record_dtype(65536))
    for name in record.dtype.names:
        if name != "stack":
            record[name] = jit_sample(STACK, [])[name]
    words = [w for i in range(1, 4000) for w in (STACK + 16 * i, CODE + 0x20)]
    record["stack"][0, : 8 * len(words)] = np.frombuffer(struct.pack(f"<{len(words)}Q", *words), np.uint8)
    record["stack_bytes"] = 65536
    unwound = Unwinder(jit_spaces()).unwind(record)
    assert (unwound.status.tolist(), unwound.count.tolist()) == ([TOO_DEEP], [MAX_FRAMES])


def test_no_samples_give_no_stacks():
    unwound = Unwinder(AddressSpaces()).unwind(np.zeros(0, record_dtype()))
    assert unwound.address.shape == (0, 0)


@given(st.binary(min_size=168, max_size=168), st.binary(max_size=256), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_nothing_is_raised_for_whatever_registers_and_stacks_hold(regs, stack, stack_bytes):
    record = np.zeros(1, record_dtype())
    record["pid"], record["user_ok"], record["stack_bytes"] = SOMEBODY, 1, stack_bytes
    record["regs"] = np.frombuffer(regs, np.uint64)
    record["regs"][0, IP] = CODE + record["regs"][0, IP] % 0x1000
    record["stack"][0, : len(stack)] = np.frombuffer(stack, np.uint8)
    Unwinder(jit_spaces()).unwind(record)


CPYTHON = """
import sys
def leaf(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    return total
def middle(n): return sum(map(lambda _: leaf(60), range(n)))
def top(n): return sorted((middle(9) for _ in range(n)), key=lambda x: leaf(x % 40))
print("ready", flush=True)
while True:
    top(12)
"""


@needs_ptrace
def test_cpython_without_frame_pointers_is_complete_from_start_to_leaf():
    python = shutil.which("python3", path="/usr/bin") or sys.executable
    with running(python, "-c", CPYTHON) as process:
        spaces = AddressSpaces()
        records = samples(process.pid, 200)
        unwound = Unwinder(spaces).unwind(records)
    assert len(records) == 200
    outcome = Counter(unwound.status.tolist())
    assert outcome[COMPLETE] >= 190, outcome
    deepest = unwound.address[np.arange(200), unwound.count - 1]
    assert len(set(deepest[unwound.status == COMPLETE].tolist())) == 1, "all end in one place: _start"
    assert np.median(unwound.count) > 8


CHAIN = """
#include <stdio.h>
volatile long sink;
__attribute__((noinline)) void c(void) { for (;;) sink++; }
__attribute__((noinline)) void b(int n) { volatile char room[200]; room[n] = 1; c(); sink++; }
__attribute__((noinline)) void a(int n) { long spare[30]; for (int i = 0; i < 30; i++) spare[i] = sink + n;
    b(n); sink += spare[n]; }
int main(int argc, char **argv) { puts("ready"); fflush(stdout); a(argc); return 0; }
"""


def function_ranges(program: Path) -> dict[str, range]:
    """Addresses of functions, from the symbol table, relative to the image base."""
    listing = subprocess.run(["readelf", "-sW", program], capture_output=True, text=True, check=True).stdout
    base = Elf(open_regular(str(program))).load_address
    found = re.findall(r": ([0-9a-f]+) +(\d+) FUNC .* (\S+)$", listing, re.M)
    return {name: range(int(at, 16) - base, int(at, 16) - base + int(size)) for at, size, name in found}


def chain_of(unwound, program: Path, row: int = 0) -> list[str]:
    """Names of a stack's frames inside a program, leaf first."""
    functions = function_ranges(program)
    names = []
    for m, address in zip(
        unwound.mapping[row, : unwound.count[row]], unwound.address[row, : unwound.count[row]], strict=True
    ):
        mapping = unwound.view.mappings[m]
        if mapping.image.module == str(program):
            relative = int(address) - mapping.base
            names += [name for name, span in functions.items() if relative in span]
    return names


@needs_gcc
@needs_ptrace
@pytest.mark.parametrize(
    "flags", ["-O2 -fomit-frame-pointer", "-O0", "-O2 -no-pie -static", "-O2 -mstackrealign", "-Os"]
)
def test_a_known_chain_of_calls_comes_out_whole_and_in_order(tmp_path, flags):
    program = compiled(tmp_path, CHAIN, *flags.split())
    with running(program) as process:
        unwound = Unwinder(AddressSpaces()).unwind(samples(process.pid, 10))
    assert unwound.status.tolist() == [COMPLETE] * 10
    for row in range(10):
        names = chain_of(unwound, program, row)
        assert names[:4] == ["c", "b", "a", "main"]
        assert names[-1] == "_start"


SIGNAL = """
#include <signal.h>
#include <stdio.h>
volatile long sink;
__attribute__((noinline)) void spin(void) { for (;;) sink++; }
void handler(int n) { puts("ready"); fflush(stdout); spin(); sink++; }
__attribute__((noinline)) void work(void) { raise(SIGUSR1); sink++; }
int main(void) { signal(SIGUSR1, handler); work(); return 0; }
"""


@needs_gcc
@needs_ptrace
def test_a_signal_handler_leads_to_the_code_that_it_interrupted(tmp_path):
    program = compiled(tmp_path, SIGNAL, "-O2")
    with running(program) as process:
        unwound = Unwinder(AddressSpaces()).unwind(samples(process.pid, 3))
    assert unwound.status.tolist() == [COMPLETE] * 3
    assert chain_of(unwound, program) == ["spin", "handler", "work", "main", "_start"]


DEEP = """
#include <stdio.h>
volatile long sink;
__attribute__((noinline)) void down(int n) { volatile char room[9000]; room[n] = 1;
    if (n) down(n - 1); else { puts("ready"); fflush(stdout); for (;;) sink++; } sink += room[n]; }
int main(void) { down(4); return 0; }
"""


@needs_gcc
@needs_ptrace
def test_a_stack_longer_than_its_copy_asks_for_a_longer_copy_which_is_enough(tmp_path):
    program = compiled(tmp_path, DEEP, "-O1")
    with running(program) as process:
        unwinder = Unwinder(AddressSpaces())
        assert unwinder.unwind(samples(process.pid, 3)).status.tolist() == [too_short(16384)] * 3
        assert unwinder.spaces.deep_pids == {process.pid}
        longer = unwinder.unwind(samples(process.pid, 3, stack_bytes=65536))
    assert longer.status.tolist() == [COMPLETE] * 3
    assert chain_of(longer, program) == ["down"] * 5 + ["main", "_start"]


REALIGNED = """
#include <stdio.h>
#include <stdalign.h>
volatile long sink;
__attribute__((noinline)) void use(volatile char *p) { for (;;) sink += *p; }
__attribute__((noinline)) void realigned(int n) {
    alignas(64) volatile char room[n + 64];
    alignas(64) volatile char fixed[128];
    fixed[0] = room[0] = 1; puts("ready"); fflush(stdout); use(fixed); sink += room[1]; }
int main(int argc, char **argv) { realigned(argc * 100); return 0; }
"""


@needs_gcc
@needs_ptrace
def test_a_stack_that_a_function_realigned_is_unwound(tmp_path):
    program = compiled(tmp_path, REALIGNED, "-O2")
    with running(program) as process:
        unwound = Unwinder(AddressSpaces()).unwind(samples(process.pid, 3))
    assert unwound.status.tolist() == [COMPLETE] * 3
    assert chain_of(unwound, program) == ["use", "realigned", "main", "_start"]


THREAD = """
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
volatile long sink;
__attribute__((noinline)) void spin(void) { for (;;) sink++; }
void *thread(void *x) { printf("%ld\\n", (long)syscall(SYS_gettid)); fflush(stdout); spin(); sink++; return x; }
int main(void) { pthread_t t; pthread_create(&t, 0, thread, 0); pthread_join(t, 0); return 0; }
"""


@needs_gcc
@needs_ptrace
def test_a_thread_is_complete_where_it_was_cloned(tmp_path):
    program = compiled(tmp_path, THREAD, "-O2", "-pthread")
    with subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True) as process:
        try:
            tid = int(process.stdout.readline())
            unwound = Unwinder(AddressSpaces()).unwind(samples(process.pid, 3, tid=tid))
        finally:
            process.kill()
    assert unwound.status.tolist() == [COMPLETE] * 3
    assert chain_of(unwound, program) == ["spin", "thread"]


def mapped_file(part: str) -> str:
    with contextlib.suppress(OSError):
        ctypes.CDLL("libstdc++.so.6")
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if part in path and Path(path).is_file():
            return path
    pytest.skip(f"no {part} is mapped here")


def symbolic_rows(path: str) -> list[tuple[int, dict[bytes, bytes]]]:
    """What the symbolic package makes of the same section: address, and rules that hold from there on."""
    from symbolic.debuginfo import Archive

    text = next(Archive.open(path).iter_objects()).make_cficache().open_stream().read()
    rows = []
    rules: dict[bytes, bytes] = {}
    for init, address, told in re.findall(rb"STACK CFI (INIT )?([0-9a-f]+) (?(1)[0-9a-f]+ )(.*)", text):
        rules = {} if init else dict(rules)
        rules.update(re.findall(rb"(\S+): ([^:]*?)(?= \S+:|$)", told))
        rows.append((int(address, 16), rules))
    return rows


@pytest.mark.parametrize("part", ["libc.so", "libm.so", "libstdc++.so"])
def test_tables_agree_with_those_of_an_independent_reader(part):
    """Wherever both know a CFA; symbolic knows no expressions, and keeps registers that were restored."""
    path = mapped_file(part)
    table = cfi.unwind_table(Elf(open_regular(path)))
    registers = {b"$rsp": cf.RSP, b"$rbp": cf.RBP, b"$rbx": cf.RBX}
    compared = 0
    for address, rules in symbolic_rows(path):
        cfa = re.fullmatch(rb"(\$\w+) (-?\d+) \+", rules.get(b".cfa", b""))
        if cfa is None or cfa[1] not in registers:
            continue
        rule = table.rules[table.rule[np.searchsorted(table.start, address, "right") - 1]]
        assert rule[: cf.CFA_ADD].tolist() == [cf.REGISTER, registers[cfa[1]], int(cfa[2])], hex(address)
        for name, kind in ((b".ra", cf.RA_KIND), (b"$rbp", cf.RBP_KIND), (b"$rbx", cf.RBX_KIND)):
            saved = re.fullmatch(rb"\.cfa (-?\d+) \+ \^", rules.get(name, b""))
            if saved:
                assert rule[kind] in (cf.AT_CFA, cf.SAME), hex(address)
                assert rule[kind] == cf.SAME or rule[kind + 1] == int(saved[1]), hex(address)
            elif name not in rules:
                assert rule[kind] in (cf.SAME, cf.UNDEFINED, cf.IN_REGISTER, cf.UNSUPPORTED), hex(address)
        compared += 1
    assert compared > 500


@pytest.mark.parametrize("part", ["libc.so", "libm.so", "libstdc++.so"])
def test_functions_that_are_read_one_by_one_have_the_rows_that_all_at_once_have(part):
    elf = Elf(open_regular(mapped_file(part)))
    table, index = cfi.unwind_table(elf), fde_index(elf)
    assert len(index) > 500
    for n in range(0, len(index), 1 + len(index) // 2000):
        found = index.rows(n)
        assert found.rows and found.rows[0][0] == index.start[n] < found.end
        for address, rule in found.rows:
            at = np.searchsorted(table.start, address, "right") - 1
            assert table.rules[table.rule[at]].tolist() == list(rule), hex(address)


def test_of_a_large_library_only_what_is_asked_for_is_read():
    images = Images()
    image = images.find(SOMEBODY, 0, 4096, mapped_file("libc.so"))
    tables, whole = UnwindTables(images), cfi.unwind_table(image.elf)
    slot = np.array([tables.slot(image)], np.uint64)
    before = len(tables._keys)
    at = np.unique(np.linspace(0, len(whole) - 1, 40).astype(int))
    addresses = np.concatenate([whole.start[at], whole.start[at] + 1, np.array([0, 1 << 31])]).astype(
        np.uint64
    )
    numbers = tables.rule_at(np.repeat(slot, len(addresses)), addresses)
    rows = np.searchsorted(whole.start, addresses, "right").astype(np.int64) - 1
    expected = np.where(rows < 0, 0, whole.rule[rows])
    assert len(tables._keys) < before + 40 * 60 < len(whole)
    for rule, number in zip(tables.rules[numbers].tolist(), expected.tolist(), strict=True):
        assert rule == (whole.rules[number].tolist() if number else tables.rules[0].tolist())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("77 08 80 00 3f 1a 3b 2a 33 24 22", (cf.PLT, cf.RSP, 8, 11)),
        ("77 08 80 00 3f 1a 3a 2a 33 24 22", (cf.PLT, cf.RSP, 8, 10)),
        ("76 58 06", (cf.MEMORY, cf.RBP, -40, 0)),
        ("77 a0 01 06", (cf.MEMORY, cf.RSP, 160, 0)),
        ("77 08 06 23 08", (cf.MEMORY, cf.RSP, 8, 8)),
        ("73 10", (cf.REGISTER, cf.RBX, 16, 0)),
        ("77 08 23 10", (cf.REGISTER, cf.RSP, 24, 0)),
        ("77 08 79 00 38 1e 22 06 23 08", (cf.UNKNOWN, 0, 0, 0)),
        ("77", (cf.UNKNOWN, 0, 0, 0)),
        ("77 80", (cf.UNKNOWN, 0, 0, 0)),
        ("", (cf.UNKNOWN, 0, 0, 0)),
    ],
)
def test_the_expressions_that_occur_are_understood_and_others_are_not(expression, expected):
    assert cf.cfa_of_expression(bytes.fromhex(expression)) == expected


def entry(program: bytes, covers: int = 0x100, start: int = 0x5000) -> bytes:
    """A .eh_frame at address 0 with one CIE (CFA rsp + 8, return address below it) and one FDE."""
    cie = struct.pack("<IIB", 0, 0, 1) + b"zR\0" + b"\x01\x78\x10\x01\x1b" + b"\x0c\x07\x08\x90\x01"
    cie = struct.pack("<I", len(cie) - 4 + 3) + cie[4:] + bytes(3)
    at = len(cie)
    body = struct.pack("<IiIB", at + 4, start - (at + 8), covers, 0) + program
    return cie + struct.pack("<I", len(body)) + body


def rows_of(frame: bytes) -> list[tuple[int, list[int]]]:
    rows = ehframe.read_rows(frame, 0, ehframe.entries_in_order(frame))
    order = np.argsort(rows.start, kind="stable")
    return [(int(rows.start[i]), rows.rule[i].tolist()) for i in order]


def rule(register, offset, *, ra=(cf.AT_CFA, -8), rbp=(cf.SAME, 0), rbx=(cf.SAME, 0)):
    return [cf.REGISTER, register, offset, 0, *ra, *rbp, *rbx, 0]


def test_a_call_frame_program_is_run():
    program = bytes.fromhex(
        "41 0e 10 86 02"  # push rbp: advance 1, def_cfa_offset 16, offset rbp at cfa-16
        "43 0d 06"  # mov rbp, rsp: advance 3, def_cfa_register rbp
        "02 20 83 03"  # advance 32, offset rbx at cfa-24
        "0a 03 00 01 c3 c6 0c 07 08"  # remember; advance 256 is beyond the function; restore rbx, rbp; cfa rsp+8
        "41 0b"  # advance 1, restore state
    )
    assert rows_of(entry(program, covers=0x1000)) == [
        (0x5000, rule(cf.RSP, 8)),
        (0x5001, rule(cf.RSP, 16, rbp=(cf.AT_CFA, -16))),
        (0x5004, rule(cf.RBP, 16, rbp=(cf.AT_CFA, -16))),
        (0x5024, rule(cf.RBP, 16, rbp=(cf.AT_CFA, -16), rbx=(cf.AT_CFA, -24))),
        (0x5124, rule(cf.RSP, 8)),
        (0x5125, rule(cf.RBP, 16, rbp=(cf.AT_CFA, -16), rbx=(cf.AT_CFA, -24))),
    ]


def test_an_entry_that_says_what_is_not_understood_is_left_out_and_the_others_stay():
    assert rows_of(entry(bytes.fromhex("41 3f"))) == []
    assert rows_of(entry(bytes.fromhex("0b"))) == [], "a state that was never remembered"
    assert rows_of(entry(bytes.fromhex("41 0e 10"))) != []


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_whatever_program_is_given_is_survived(program):
    rows = rows_of(entry(program))
    assert all(0x5000 <= start < 0x5100 for start, _ in rows)
    raw = entry(program)
    about, at = ehframe.read_cie(raw), len(raw) - len(program) - 17
    code, start, covers = ehframe.read_entry(raw[at:], at, about)
    try:
        one_by_one = dict(frameprogram.run(code, about.cie, start, start + covers))
    except frameprogram.BadProgram:
        one_by_one = {}
    assert {at: tuple(rule) for at, rule in rows} == one_by_one, "both readers agree"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_forged_file_is_survived(data):
    raw = bytearray(Path(mapped_file("libm.so")).read_bytes())
    raw = raw[: data.draw(st.sampled_from([len(raw), 64, 200, 4096, len(raw) - 4000]))]
    frame = Elf(open_regular(mapped_file("libm.so"))).section(".eh_frame")
    for _ in range(data.draw(st.integers(1, 20))):
        near = data.draw(st.sampled_from([0, 64, len(raw) - 64 * 30, frame.offset, frame.offset - 5000]))
        at = near + data.draw(st.integers(0, 600))
        if 0 <= at < len(raw):
            raw[at] = data.draw(st.integers(0, 255))
    try:
        elf = Elf(MemorySource(bytes(raw)))
    except NotElf:
        return
    table = cfi.unwind_table(elf)
    assert len(table.start) == len(table.rule)
    images, image = Images(), Image(1, "/forged")
    image.elf = elf
    tables = UnwindTables(images)
    addresses = np.arange(0, 1 << 20, 4099, dtype=np.uint64)
    rules = tables.rule_at(np.full(len(addresses), tables.slot(image), np.uint64), addresses)
    assert rules.min() >= 0
    elf.symbols_only()


def test_a_kept_table_is_read_again_and_a_damaged_one_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(cfi, "WORTH_KEEPING", 1)
    elf = Elf(open_regular(mapped_file("libm.so")))
    fresh = cfi.unwind_table(elf)
    cache = DiskCache(tmp_path / "tracelab" / "unwind")
    cfi.unwind_table(elf, cache)
    [kept] = cache.folder.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(ehframe, "read_rows", None)  # it must not be needed
        again = cfi.unwind_table(elf, cache)
    for damage in (b"", b"no such thing", kept.read_bytes()[:-1]):
        kept.write_bytes(damage)
        anew = cfi.unwind_table(elf, cache)
        for table in (again, anew):
            assert np.array_equal(table.start, fresh.start)
            assert np.array_equal(table.rules[table.rule], fresh.rules[fresh.rule])


def test_a_cache_that_others_could_write_to_is_not_used(tmp_path):
    folder = tmp_path / "tracelab" / "unwind"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    cache = DiskCache(folder)
    cache.put("key", b"value")
    assert cache.get("key") is None and list(folder.iterdir()) == []
    folder.chmod(0o700)
    own = DiskCache(folder)
    own.put("key", b"value")
    assert own.get("key") == b"value"


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path, monkeypatch):
    monkeypatch.setattr("tracelab.recorder.diskcache.MAX_BYTES", 1500)
    cache = DiskCache(tmp_path / "tracelab" / "unwind")
    for n, key in enumerate(("old", "used", "new")):
        cache.put(key, bytes(500))
        at = time.time() - 1000 + n
        os.utime(cache.folder / f"{key}.cache", (at, at))
    assert cache.get("used") is not None
    again = DiskCache(cache.folder)
    assert [again.get(k) is not None for k in ("old", "used", "new")] == [False, True, True]


def is_entry(rules):
    """Whether rules hold where nothing was pushed yet."""
    return (rules[:, cf.CFA_REG] == cf.RSP) & (rules[:, cf.CFA_OFFSET] == 8)


def mapped_libc(spaces, start, chosen):
    """Map libc; returns the first address in it for which one of the `chosen` rules holds."""
    path = mapped_file("libc.so")
    elf = Elf(open_regular(path))
    table = cfi.unwind_table(elf)
    segment = next(s for s in elf.segments if s.kind == 1 and s.flags & 1)
    spaces.mmap(0, SOMEBODY, start, segment.file_size & ~4095, segment.offset, path)
    first = segment.vaddr - elf.load_address
    found = table.start[np.flatnonzero(chosen(table.rules[table.rule]))]
    return start + next(int(a) - first for a in found if first <= a < first + segment.file_size - 8192)


def test_off_stack_is_said_of_an_address_that_is_not_on_the_copied_stack():
    spaces = AddressSpaces()
    by_rbp = mapped_libc(spaces, CODE, lambda rules: rules[:, cf.CFA_REG] == cf.RBP)
    record = jit_sample(0x1000, [7] * 8, rip=by_rbp)
    assert Unwinder(spaces).unwind(record).status.tolist() == [OFF_STACK]
